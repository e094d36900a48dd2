"""The tables of one model: where its time goes, latencies, growth, answers, and the rest."""

from collections.abc import Sequence
from typing import Final

from agentmem_cli.bench.figures import BatchFigures, Figures, Latencies, RetrievalFigures, StoreFigures
from agentmem_cli.bench.result import ModelResult
from agentmem_cli.formats.building import Row, interval_text, or_none, table
from agentmem_cli.formats.document import Cell, Table
from agentmem_cli.formats.wording import Words

STAGES: Final = ("parse", "plan", "tokenize", "embed", "commit")


def tables(measured: ModelResult, figures: Figures, words: Words) -> list[Table]:
    """Every table that something was measured for."""
    name = measured.model.name
    found = [
        _stages(figures.batches, words),
        _latencies(figures, words),
        *([scale(name, figures.stores, words)] if len(figures.stores) > 1 else []),
        *([retrieval(name, figures.retrieval, words)] if figures.retrieval else []),
        _rest(measured, figures, words),
    ]
    return [one for one in found if one.rows]


def shares_ms(batch: BatchFigures) -> list[float | None] | None:
    """The median of each of `STAGES` and the rest of the batch, None where its stages were not measured."""
    known = [batch.stages_ms.get(stage) for stage in STAGES]
    if all(spent_ms is None for spent_ms in known):
        return None
    return [*known, max(0.0, batch.total_ms - sum(spent_ms or 0.0 for spent_ms in known))]


def scale(model: str, stores: Sequence[StoreFigures], words: Words) -> Table:
    """A store that grows."""
    rows: list[Row] = [
        [
            f"{store.memories:,}",
            f"{store.ops_per_s:,.0f}",
            or_none(".2f", None if store.index_ms is None else store.index_ms / 1000),
            or_none(",.2f", store.search.p50_ms),
            or_none(",.2f", store.search.p95_ms),
            or_none(".3f", store.graph_recall_at_10),
            f"{store.bytes_per_memory:,.0f}",
            f"{store.peak_resident_bytes / 1e6:,.0f}",
        ]
        for store in stores
    ]
    columns = ("memories", "ops", "index", "p50", "p95", "recall", "bytes", "peak")
    return table(words, "scale", words("scale.title", model), (), columns, rows, caption=words("scale.caption"))


def retrieval(model: str, found: Sequence[RetrievalFigures], words: Words) -> Table:
    """What labelled queries found, by mode."""
    metrics = ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10")
    rows: list[Row] = [
        [
            mode.mode,
            *(f"{mode.metrics[metric].mean:.3f}" for metric in metrics),
            interval_text(words, mode.metrics["ndcg@10"].interval, ".3f"),
        ]
        for mode in found
    ]
    title, caption = words("retrieval.title", model), words("retrieval.caption", found[0].queries)
    return table(words, "retrieval", title, ("mode",), (*metrics, "interval"), rows, caption=caption)


def _stages(batches: Sequence[BatchFigures], words: Words) -> Table:
    rows: list[Row] = []
    for batch in batches:
        shares = shares_ms(batch)
        if shares is not None:
            rows.append([str(batch.batch_size), *(or_none(",.2f", spent_ms) for spent_ms in shares)])
    columns = ("size", *STAGES, "rest")
    return table(words, "stages", words("stages.title"), (), columns, rows, caption=words("stages.caption"))


def _latencies(figures: Figures, words: Words) -> Table:
    found = [] if figures.add is None else [(words("latency.add"), figures.add)]
    found += [(words("latency.search", store.memories), store.search) for store in figures.stores[-1:]]
    rows: list[Row] = [[what, *_quantiles(latencies)] for what, latencies in found]
    return table(words, "latency", words("latency.title"), ("what",), ("n", "p50", "p95", "p99"), rows)


def _quantiles(found: Latencies) -> list[str]:
    return [f"{found.n:,}", *(or_none(",.2f", value_ms) for value_ms in (found.p50_ms, found.p95_ms, found.p99_ms))]


def _rest(measured: ModelResult, figures: Figures, words: Words) -> Table:
    rows: list[Row] = [
        [what, Cell(figure)] for what, figure in (*_of_texts(measured, figures, words), *_of_store(figures, words))
    ]
    return table(words, "rest", words("rest.title"), ("what", "figure"), (), rows)


def _of_texts(measured: ModelResult, figures: Figures, words: Words) -> list[tuple[str, str]]:
    found = []
    best, cold = figures.best, measured.cold_start
    if best is not None:
        found.append((words("rest.tokens_per_s"), f"{best.tokens_per_s:,.0f}"))
    if figures.ceiling_ratio is not None:
        found.append((words("rest.ceiling"), f"{figures.ceiling_ratio:.0%}"))
    if figures.tokens_per_memory is not None:
        unknown = figures.unknown_token_ratio or 0.0
        found.append((words("rest.tokens"), words("rest.unknown", figures.tokens_per_memory, unknown)))
    if cold is not None and figures.cold_start_ms is not None:
        parts = (cold.process_s or 0.0, cold.load_s, cold.memories, cold.first_batch_s)
        found.append((words("rest.cold"), words("rest.cold_parts", figures.cold_start_ms / 1000, *parts)))
    return found


def _of_store(figures: Figures, words: Words) -> list[tuple[str, str]]:
    found = []
    for store in figures.stores[-1:]:
        found.append((words("rest.peak"), f"{store.peak_resident_bytes / 1e6:,.0f}"))
        found.append((words("rest.bytes"), f"{store.bytes_per_memory:,.0f}"))
        if store.index_ms is not None:
            found.append((words("rest.index", store.memories), f"{store.index_ms:,.1f}"))
        if store.graph_recall_at_10 is not None:
            found.append((words("rest.recall"), words("rest.exact", store.graph_recall_at_10)))
    return found
