"""What a benchmark measured -> what Rich prints. Text that came from outside is never markup."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from agentmem_cli.bench.figures import (
    BatchFigures,
    ComparisonFigures,
    Figures,
    Latencies,
    RetrievalFigures,
    StoreFigures,
    figures_of,
)
from agentmem_cli.bench.gate import TargetVerdict
from agentmem_cli.bench.result import BenchResult, ModelResult
from agentmem_cli.bench.stats import median
from agentmem_cli.printable import printable
from agentmem_cli.stats import Interval
from agentmem_cli.tables import inert, plain_table

_STAGES = ("parse", "plan", "tokenize", "embed", "commit")
_NONE = "-"


def bench_report(result: BenchResult) -> list[RenderableType]:
    """A benchmark's tables: what it was measured on, the figures, the targets, and what speaks against them."""
    measured = [(model, figures_of(result, model)) for model in result.models]
    body = _one_model(result, *measured[0]) if len(measured) == 1 else _several_models(measured)
    return [
        _header(result),
        *body,
        *(Text(f"Warning: {printable(warning.message)}", style="yellow") for warning in result.warnings),
    ]


def _one_model(result: BenchResult, measured: ModelResult, figures: Figures) -> list[RenderableType]:
    found: list[RenderableType] = []
    if figures.batches:
        found += [_batch_table(figures.batches), _stages_table(figures.batches)]
    if figures.comparison is not None:
        found.append(_comparison_table(figures.comparison))
    found.append(_latency_table(figures))
    if len(figures.stores) > 1:
        found.append(_scale_table(measured.model.name, figures.stores))
    if figures.retrieval:
        found.append(_retrieval_table(measured.model.name, figures.retrieval))
    found.append(_summary_table(result, measured, figures))
    if figures.targets:
        found.append(_targets_table(figures.targets))
    return found


def _several_models(measured: Sequence[tuple[ModelResult, Figures]]) -> list[RenderableType]:
    found: list[RenderableType] = [_models_table(measured), _costs_table(measured)]
    found += [_retrieval_table(model.model.name, figures.retrieval) for model, figures in measured if figures.retrieval]
    found += [_scale_table(model.model.name, figures.stores) for model, figures in measured if len(figures.stores) > 1]
    return found


def _header(result: BenchResult) -> Text:
    environment, config, workload = result.environment, result.config, result.workload
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    models = ", ".join(f"{printable(m.model.name)} ({m.model.revision[:12]})" for m in result.models)
    memory = "" if environment.memory_bytes is None else f", {environment.memory_bytes / 2**30:.0f} GiB"
    threads = "" if config.threads is None else f"{config.device}, {config.threads} threads at most · "
    lines = [
        f"agentmem {environment.agentmem} · {models}",
        f"{environment.cpu}, {environment.cores} cores{memory} · {environment.platform} · Python {environment.python}",
        versions,
        f"workload {printable(workload.name)}, {workload.memories:,} memories · {threads}"
        f"median of {config.repeats} and its 95 % interval, fresh store each, after {config.warmup} warm-up",
    ]
    machine = result.machine
    if machine.sgemm_flop_per_s and machine.fsync_s:
        fsyncs_s = [spent_s for repeat in machine.fsync_s for spent_s in repeat]
        lines.append(
            f"this machine's own ceiling: {max(machine.sgemm_flop_per_s) / 1e9:,.0f} GFLOP/s (float32 products), "
            f"{1 / median(fsyncs_s):,.0f} fsync/s"
        )
    if not result.complete:
        lines.append("interrupted: this is what was measured by then")
    return Text("\n".join(lines))


def _batch_table(batches: Sequence[BatchFigures]) -> Table:
    table = plain_table("Batches: parsed, embedded, durable and searchable")
    for heading in ("batch size", "total, ms", "95 %, ms", "ms/memory", "ops/s", "% of target"):
        table.add_column(heading, justify="right", no_wrap=True)
    for batch in batches:
        table.add_row(
            str(batch.batch_size),
            f"{batch.total_ms:,.2f}",
            _interval(batch.total_ms_interval, ",.1f"),
            f"{batch.ms_per_memory:.3f}",
            Text(f"{batch.ops_per_s:,.2f}", style="bold"),
            f"{batch.target_ratio:.0%}",
        )
    table.caption = "total is the median; the target is 5,000 ops/s"
    return table


def _stages_table(batches: Sequence[BatchFigures]) -> Table:
    table = plain_table("Stages, ms")
    for heading in ("batch size", *_STAGES, "rest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for batch in batches:
        known = [batch.stages_ms.get(stage) for stage in _STAGES]
        if any(spent_ms is not None for spent_ms in known):
            rest = max(0.0, batch.total_ms - sum(spent_ms or 0.0 for spent_ms in known))
            table.add_row(str(batch.batch_size), *(_ms(spent_ms) for spent_ms in (*known, rest)))
    table.caption = "medians of each; commit is one durable transaction; the graph is built after, and apart"
    return table


def _comparison_table(comparison: ComparisonFigures) -> Table:
    table = plain_table(f"Single against batch: the same {comparison.memories} memories")
    for heading in ("mode", "total, ms", "95 %, ms", "ops/s", "speed-up"):
        table.add_column(heading, justify="left" if heading == "mode" else "right", no_wrap=True)
    modes = (("one by one", comparison.single, 1.0), ("in one batch", comparison.batch, comparison.speedup))
    for name, mode, speedup in modes:
        table.add_row(
            name,
            f"{mode.total_ms:,.2f}",
            _interval(mode.total_ms_interval, ",.1f"),
            f"{mode.ops_per_s:,.2f}",
            Text(f"{speedup:.2f}x", style="bold"),
        )
    sure = comparison.speedup_interval
    interval = "" if sure is None else f"; speed-up 95 %: {sure.low:.2f} to {sure.high:.2f}"
    table.caption = f"time saved: {comparison.time_saved_ratio:.1%}{interval}"
    return table


def _latency_table(figures: Figures) -> Table:
    table = plain_table("Latencies, ms")
    table.add_column("")
    for heading in ("n", "p50", "p95", "p99"):
        table.add_column(heading, justify="right", no_wrap=True)
    if figures.add is not None:
        table.add_row("one add, until it is durable", *_quantiles(figures.add))
    for store in figures.stores[-1:]:
        table.add_row(f"one search of {store.memories:,} memories", *_quantiles(store.search))
    return table


def _scale_table(model: str, stores: Sequence[StoreFigures]) -> Table:
    table = plain_table(f"A store that grows: {model}")
    for heading in ("memories", "ops/s", "graph, s", "p50, ms", "p95, ms", "recall", "bytes", "peak MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for store in stores:
        recall = store.graph_recall_at_10
        table.add_row(
            f"{store.memories:,}",
            f"{store.ops_per_s:,.0f}",
            _NONE if store.index_ms is None else f"{store.index_ms / 1000:.2f}",
            _ms(store.search.p50_ms),
            _ms(store.search.p95_ms),
            _NONE if recall is None else f"{recall:.3f}",
            f"{store.bytes_per_memory:,.0f}",
            f"{store.peak_resident_bytes / 1e6:,.0f}",
        )
    table.caption = (
        "ops/s: of the memories since the row above, in batches of 1,000, without the graph; p50, p95: of a search; "
        "recall@10 of the graph against an exact scan; bytes of the store a memory; peak of resident memory"
    )
    return table


def _summary_table(result: BenchResult, measured: ModelResult, figures: Figures) -> Table:
    table = plain_table("The rest", show_header=False)
    table.add_column("")
    table.add_column("", overflow="fold")
    best, cold = figures.best, measured.cold_start
    if best is not None:
        table.add_row("tokens/s, best batch", f"{best.tokens_per_s:,.0f}")
    if figures.ceiling_ratio is not None:
        table.add_row("of what this machine's arithmetic allows", f"{figures.ceiling_ratio:.0%}")
    if figures.tokens_per_memory is not None:
        unknown = figures.unknown_token_ratio or 0.0
        table.add_row("tokens a memory", f"{figures.tokens_per_memory:.1f}, {unknown:.1%} of them unknown to the model")
    if cold is not None and figures.cold_start_ms is not None:
        table.add_row(
            "cold start, s",
            f"{figures.cold_start_ms / 1000:.2f}: process {cold.process_s or 0.0:.2f}, model {cold.load_s:.2f}, "
            f"first {cold.memories} memories {cold.first_batch_s:.2f}",
        )
    for store in figures.stores[-1:]:
        table.add_row("peak resident memory, MB", f"{store.peak_resident_bytes / 1e6:,.0f}")
        table.add_row("store, bytes a memory", f"{store.bytes_per_memory:,.0f}")
        if store.index_ms is not None:
            table.add_row(f"building the graph of {store.memories:,}, ms", f"{store.index_ms:,.1f}")
        if store.graph_recall_at_10 is not None:
            table.add_row("recall@10 of the graph", f"{store.graph_recall_at_10:.4f} (against an exact scan)")
    return table


def _models_table(measured: Sequence[tuple[ModelResult, Figures]]) -> Table:
    table = plain_table("Models: measured in turn within each repeat, on the same memories")
    table.add_column("model", overflow="fold")
    for heading in ("ops/s", "95 %", "x first", "x single"):
        table.add_column(heading, justify="right", no_wrap=True)
    first = measured[0][1].best if measured else None
    for model, figures in measured:
        best, comparison = figures.best, figures.comparison
        table.add_row(
            inert(model.model.name),
            _NONE if best is None else Text(f"{best.ops_per_s:,.0f}", style="bold"),
            _NONE if best is None else _interval(best.ops_per_s_interval, ",.0f"),
            _NONE if best is None or first is None else f"{best.ops_per_s / first.ops_per_s:.2f}x",
            _NONE if comparison is None else f"{comparison.speedup:.1f}x",
        )
    table.caption = "the best batch size of each; x first: against the first model; x single: against adds one by one"
    return table


def _costs_table(measured: Sequence[tuple[ModelResult, Figures]]) -> Table:
    table = plain_table("Models: what they cost, and how like full precision they are")
    table.add_column("model", overflow="fold")
    for heading in ("cold, s", "peak MB", "bytes each", "search p50", "cosine", "near"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model, figures in measured:
        like, store = figures.likeness, figures.stores[-1] if figures.stores else None
        table.add_row(
            inert(model.model.name),
            _NONE if figures.cold_start_ms is None else f"{figures.cold_start_ms / 1000:.2f}",
            _NONE if store is None else f"{store.peak_resident_bytes / 1e6:,.0f}",
            _NONE if store is None else f"{store.bytes_per_memory:,.0f}",
            _NONE if store is None else _ms(store.search.p50_ms),
            _NONE if like is None or like.median_cosine is None else f"{like.median_cosine:.4f}",
            _NONE if like is None else f"{like.shared_neighbours_at_10:.2f}",
        )
    references = {figures.likeness.reference for _, figures in measured if figures.likeness is not None}
    of_reference = "".join(
        f"; cosine: in the median, to the vectors of {name}; near: the share of its 10 nearest texts that are nearest "
        "here too"
        for name in references
    )
    table.caption = inert(f"cold: a new process, until its first memories are durable; search: ms{of_reference}")
    return table


def _retrieval_table(model: str, retrieval: Sequence[RetrievalFigures]) -> Table:
    table = plain_table(f"Answers to labelled queries: {model}")
    for heading in ("mode", "recall@1", "recall@5", "recall@10", "MRR", "nDCG@10", "95 %"):
        table.add_column(heading, justify="left" if heading == "mode" else "right", no_wrap=True)
    for found in retrieval:
        shown = [found.metrics[name].mean for name in ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10")]
        sure = _interval(found.metrics["ndcg@10"].interval, ".3f")
        table.add_row(found.mode, *(f"{mean:.3f}" for mean in shown), sure)
    table.caption = f"{retrieval[0].queries:,} queries, asked of all memories of the workload's file; 95 %: of nDCG@10"
    return table


def _targets_table(targets: Sequence[TargetVerdict]) -> Table:
    table = plain_table("Targets")
    for heading in ("target", "wanted", "measured", "verdict"):
        table.add_column(heading, justify="right" if heading in ("wanted", "measured") else "left")
    wording = {
        "ops_per_s": ("throughput, best batch", ">= {:,.0f} ops/s", "{:,.2f} ops/s"),
        "ms_per_memory": ("latency, best batch", "< {:g} ms/memory", "{:.3f} ms/memory"),
        "speedup": ("batch against single", ">= {:g}x", "{:.2f}x"),
    }
    for verdict in targets:
        name, wanted, measured = wording[verdict.name]
        table.add_row(
            name,
            wanted.format(verdict.target),
            measured.format(verdict.actual),
            Text("met", style="bold green") if verdict.met else Text("missed", style="bold red"),
        )
    return table


def _quantiles(found: Latencies) -> list[str]:
    return [f"{found.n:,}", *(_ms(value_ms) for value_ms in (found.p50_ms, found.p95_ms, found.p99_ms))]


def _ms(value_ms: float | None) -> str:
    return _NONE if value_ms is None else f"{value_ms:,.2f}"


def _interval(interval: Interval | None, form: str) -> str:
    return _NONE if interval is None else f"{interval.low:{form}} to {interval.high:{form}}"
