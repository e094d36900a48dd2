"""The report of a benchmark: its header, tables, warnings and glossary."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentmem_cli.bench import verdict
from agentmem_cli.bench.figures import (
    BatchFigures,
    ComparisonFigures,
    Figures,
    Latencies,
    RetrievalFigures,
    StoreFigures,
    figures_of,
)
from agentmem_cli.bench.result import BenchResult, BenchWarning, ModelResult
from agentmem_cli.bench.verdict import Outcome, TargetVerdict, Verdict
from agentmem_cli.bench.workload import PHASE4
from agentmem_cli.report.clients_report import clients_tables
from agentmem_cli.report.document import NONE, Cell, Document, Facts, Row, Section, Table, interval_text, or_none, table
from agentmem_cli.report.findings import analysis, hint, next_steps, remedies
from agentmem_cli.report.gate_report import MOODS, bounds_table
from agentmem_cli.report.translations import TEXTS, Words
from agentmem_cli.support.statistics import median


@dataclass(frozen=True, slots=True)
class Measured:
    """A result, the figures of its models, and the verdicts of a gate, if there is one."""

    result: BenchResult
    models: list[tuple[ModelResult, Figures]]
    verdicts: Sequence[Verdict]


def with_figures(result: BenchResult, verdicts: Sequence[Verdict] = ()) -> Measured:
    """A result with its figures."""
    return Measured(result, [(model, figures_of(result, model)) for model in result.models], verdicts)


def tables_of_several(measured: Sequence[tuple[ModelResult, Figures]], words: Words) -> list[Table]:
    """Tables for several models: speed, cost and similarity side by side, then quality and growth."""
    named = [(model.model.name, figures) for model, figures in measured]
    return [
        _speeds(named, words),
        _costs(named, words),
        *(retrieval(name, figures.retrieval, words) for name, figures in named if figures.retrieval),
        *(scale(name, figures.stores, words) for name, figures in named if len(figures.stores) > 1),
    ]


def _speeds(named: Sequence[tuple[str, Figures]], words: Words) -> Table:
    first = named[0][1].best if named else None
    rows: list[Row] = []
    for name, figures in named:
        best, comparison = figures.best, figures.comparison
        rows.append(
            [
                name,
                Cell(or_none(",.0f", None if best is None else best.ops_per_s), strong=True),
                interval_text(words, None if best is None else best.ops_per_s_interval, ",.0f"),
                NONE if best is None or first is None else f"{best.ops_per_s / first.ops_per_s:.2f}x",
                NONE if comparison is None else f"{comparison.speedup:.1f}x",
            ]
        )
    columns = ("ops", "interval", "first", "single")
    return table(words, "models", words("models.title"), ("model",), columns, rows, caption=words("models.caption"))


def _costs(named: Sequence[tuple[str, Figures]], words: Words) -> Table:
    rows: list[Row] = []
    for name, figures in named:
        like, store = figures.likeness, figures.stores[-1] if figures.stores else None
        rows.append(
            [
                name,
                or_none(".2f", None if figures.cold_start_ms is None else figures.cold_start_ms / 1000),
                or_none(",.0f", None if store is None else store.peak_resident_bytes / 1e6),
                or_none(",.0f", None if store is None else store.bytes_per_memory),
                or_none(",.2f", None if store is None else store.search.p50_ms),
                or_none(".4f", None if like is None else like.median_cosine),
                or_none(".2f", None if like is None else like.shared_neighbours_at_10),
            ]
        )
    references = {figures.likeness.reference for _, figures in named if figures.likeness is not None}
    caption = words("costs.caption") + "".join(words("costs.reference", name) for name in sorted(references))
    columns = ("cold", "peak", "bytes", "search", "cosine", "near")
    return table(words, "costs", words("costs.title"), ("model",), columns, rows, caption=caption)


STAGES: Final = ("parse", "plan", "tokenize", "embed", "commit")


def model_tables(measured: ModelResult, figures: Figures, words: Words) -> list[Table]:
    """The tables for which there are measurements."""
    name = measured.model.name
    found = [
        _stages(figures.batches, words),
        _latencies(figures, words),
        *([scale(name, figures.stores, words)] if len(figures.stores) > 1 else []),
        *(server_searches(store, words) for store in figures.stores[-1:] if store.searches),
        *([retrieval(name, figures.retrieval, words)] if figures.retrieval else []),
        _rest(measured, figures, words),
    ]
    return [one for one in found if one.rows]


def shares_ms(batch: BatchFigures) -> list[float | None] | None:
    """The medians of `STAGES` and of the rest of the batch; None if the stages were not measured."""
    known = [batch.stages_ms.get(stage) for stage in STAGES]
    if all(spent_ms is None for spent_ms in known):
        return None
    return [*known, max(0.0, batch.total_ms - sum(spent_ms or 0.0 for spent_ms in known))]


def scale(model: str, stores: Sequence[StoreFigures], words: Words) -> Table:
    """The table of a growing store."""
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


def server_searches(store: StoreFigures, words: Words) -> Table:
    """The searches of a store on a server, of one user and of all."""
    rows: list[Row] = [
        [
            run.mode,
            words("server.one" if run.filtered else "server.all"),
            *_quantiles(run.search),
            f"{run.round_trips:.1f}",
        ]
        for run in store.searches
    ]
    title, columns = words("server.title", store.memories), ("n", "p50", "p95", "p99", "trips")
    return table(words, "server", title, ("mode", "memories"), columns, rows, caption=words("server.caption"))


def retrieval(model: str, found: Sequence[RetrievalFigures], words: Words) -> Table:
    """The quality of answers to labelled queries, by mode."""
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
    found += [(words("latency.batch", store.memories), store.batch) for store in figures.stores[-1:] if store.searches]
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


# The seed's report calls 3 to 5 times good, and near its target.
_GOOD_SPEEDUP: Final = 3.0
_FAIR_SPEEDUP: Final = 2.0
_ALIKE: Final = 0.1  # lengths of texts that differ by less, as a share, are alike


def seed_tables(figures: Figures, words: Words) -> list[Table]:
    """Batches, and single against batch, as far as they were measured; their intervals where these have no column."""
    found = []
    if figures.batches:
        found.append(_batches(figures.batches, words))
    if figures.comparison is not None:
        found.append(_comparison(figures.comparison, figures.tokens_per_memory, words))
    if words("intervals.title") and figures.batches:
        found.append(_intervals(figures, words))
    return found


def verdicts(figures: Figures, words: Words) -> list[Table]:
    """The best figures and the targets."""
    if figures.best is None:
        return []
    return [_targets(figures.targets, _actual(figures.best, figures.targets[0].outcome, words), words)]


def _batches(batches: list[BatchFigures], words: Words) -> Table:
    rows: list[Row] = [
        [
            str(batch.batch_size),
            words("total", batch.total_ms),
            interval_text(words, batch.total_ms_interval, ",.1f"),
            words("each", batch.ms_per_memory),
            Cell(words("ops", batch.ops_per_s), strong=True),
            f"{batch.target_ratio:.0%}",
        ]
        for batch in batches
    ]
    columns = ("size", "total", "interval", "each", "ops", "target")
    return table(words, "batches", words("batches.title"), (), columns, rows, caption=words("batches.caption"))


def _comparison(comparison: ComparisonFigures, batch_tokens: float | None, words: Words) -> Table:
    speedups = {"single": Cell(words("comparison.one")), "batch": Cell(f"{comparison.speedup:.2f}x", strong=True)}
    rows: list[Row] = [
        [
            words(f"comparison.{name}"),
            words("total", mode.total_ms),
            interval_text(words, mode.total_ms_interval, ",.1f"),
            words("ops", mode.ops_per_s),
            speedups[name],
        ]
        for name, mode in (("single", comparison.single), ("batch", comparison.batch))
    ]
    return table(
        words,
        "comparison",
        words("comparison.title", comparison.memories),
        ("mode",),
        ("total", "interval", "ops", "speedup"),
        rows,
        caption=_compared_texts(comparison.tokens_per_memory, batch_tokens, words),
        facts=[
            (words("comparison.saved"), f"{comparison.time_saved_ratio:.1%}"),
            (words("comparison.sure"), interval_text(words, comparison.speedup_interval, ".2f")),
            (words("comparison.effect"), words(f"effect.{_effect(comparison.speedup)}")),
        ],
    )


def _compared_texts(tokens: float | None, batch_tokens: float | None, words: Words) -> str:
    """How long the texts are, and whether those of the table of batches are as long."""
    if not tokens or not batch_tokens:
        return ""
    is_alike = abs(tokens / batch_tokens - 1) < _ALIKE
    return words("comparison.alike" if is_alike else "comparison.other", tokens, batch_tokens)


def _effect(speedup: float) -> str:
    if speedup >= verdict.TARGET_SPEEDUP:
        return "excellent"
    if speedup >= _GOOD_SPEEDUP:
        return "good"
    return "fair" if speedup >= _FAIR_SPEEDUP else "poor"


def _intervals(figures: Figures, words: Words) -> Table:
    rows: list[Row] = [
        [
            words("intervals.batch", batch.batch_size),
            f"{interval_text(words, batch.total_ms_interval, '.1f')} ms",
            f"{interval_text(words, batch.ops_per_s_interval, '.1f')} ops/s",
        ]
        for batch in figures.batches
    ]
    comparison = figures.comparison
    if comparison is not None:
        for name, mode in (("single", comparison.single), ("batch", comparison.batch)):
            rows.append([words(f"comparison.{name}"), f"{interval_text(words, mode.total_ms_interval, '.1f')} ms", "-"])
    speedup = None if comparison is None else comparison.speedup_interval
    facts = [] if speedup is None else [(words("comparison.speedup"), f"{interval_text(words, speedup, '.2f')} x")]
    return table(words, "intervals", words("intervals.title"), ("what",), ("total", "ops"), rows, facts=facts)


def _actual(best: BatchFigures, outcome: Outcome, words: Words) -> Facts:
    return [
        (words("actual.figure"), words("actual.of_batch", best.ops_per_s, best.batch_size)),
        (words("actual.target"), words("actual.wanted", verdict.TARGET_OPS_PER_S)),
        (words("actual.gap"), words(f"actual.{outcome}", best.target_ratio)),
    ]


def _targets(targets: list[TargetVerdict], actual: Facts, words: Words) -> Table:
    rows: list[Row] = [
        [
            words(f"target.{verdict.name}"),
            words(f"wanted.{verdict.name}", verdict.target),
            words(f"measured.{verdict.name}", verdict.actual),
            Cell(words(_verdict(verdict)), mood=MOODS[verdict.outcome]),
        ]
        for verdict in targets
    ]
    columns = ("wanted", "measured", "verdict")
    return table(words, "targets", words("targets.title"), ("target",), columns, rows, facts=actual)


def _verdict(verdict: TargetVerdict) -> str:
    is_near = verdict.name == "speedup" and verdict.actual >= _GOOD_SPEEDUP
    return "outcome.near" if verdict.outcome == "missed" and is_near else f"outcome.{verdict.outcome}"


def bench_document(measured: Measured, words: Words) -> Document:
    """The report of a benchmark with the verdicts of its gate, in one language."""
    result, models = measured.result, measured.models
    is_one = len(models) == 1
    tables = _of_one(*models[0], words) if is_one else tables_of_several(models, words)
    judged = [
        *(verdicts(models[0][1], words) if is_one else []),
        *([bounds_table(measured.verdicts, words)] if measured.verdicts else []),
    ]
    return Document(
        lang=words.lang,
        title=words("title", _workload_title(result, words)),
        header=[(what, how) for what, how in _header(result, words) if how],
        sections=[
            Section(words("results"), tables),
            *(
                _findings(*models[0], words, advisable=result.config.store is None)
                if is_one
                else [_findings_of_several(models, words)]
            ),
            Section(words("targets"), judged, leads=True),
            Section(words("next"), sentences=next_steps(models[0][1], words) if is_one else []),
        ],
        warnings=[_warning(warning, words) for warning in result.warnings],
        glossary=_glossary([figures for _, figures in models], words),
    )


def _of_one(measured: ModelResult, figures: Figures, words: Words) -> list[Table]:
    return [*seed_tables(figures, words), *model_tables(measured, figures, words), *clients_tables(figures, words)]


def _findings(measured: ModelResult, figures: Figures, words: Words, *, advisable: bool) -> list[Section]:
    """What limits the model, and what would help."""
    found = figures.bottleneck
    if found is None:
        return []
    hints = [hint(measured.model.name, found, words)] if advisable and not figures.remedies else []
    tried = [remedies(figures.remedies, words)] if figures.remedies else []
    return [
        Section(words("analysis"), sentences=[*analysis(found, words), *hints]),
        Section(words("advice"), tried),
    ]


def _findings_of_several(models: Sequence[tuple[ModelResult, Figures]], words: Words) -> Section:
    """What takes longest with each model, and its limit."""
    sentences = [
        f"{measured.model.name}: {sentence}"
        for measured, figures in models
        if figures.bottleneck is not None
        for sentence in analysis(figures.bottleneck, words)[:1]
    ]
    return Section(words("analysis"), sentences=sentences)


def _workload_title(result: BenchResult, words: Words) -> str:
    name = result.workload.name
    if name == PHASE4 and words.lang == "zh":
        return "Phase 4"  # as in the earlier report
    return f"agentmem: {name}" if words.lang == "en" else name


def _header(result: BenchResult, words: Words) -> Facts:
    environment, config = result.environment, result.config
    memory = "" if environment.memory_bytes is None else words("machine.memory", environment.memory_bytes / 2**30)
    machine = (environment.cpu, environment.cores, memory, environment.platform, environment.python)
    models = ", ".join(f"{m.model.name} ({m.model.revision[:12]})" for m in result.models)
    threads = "" if config.threads is None else words("workload.threads", config.device, config.threads)
    workload = words("workload", result.workload.name, result.workload.memories)
    if result.workload.repeats_ratio:
        workload += words("workload.repeats", result.workload.repeats_ratio)
    return [
        (words("header.date"), _date(result.started_at)),
        (words("header.tool"), f"agentmem {environment.agentmem} · {models}"),
        (words("header.machine"), words("machine", *machine)),
        (words("header.versions"), ", ".join(f"{name} {version}" for name, version in environment.versions.items())),
        (words("header.store"), _store(result)),
        (words("header.workload"), workload + threads),
        (words("header.method"), words("method", result.repeats, config.warmup)),
        (words("header.ceiling"), _ceiling(result, words)),
        (words("header.interrupted"), "" if result.complete else words("interrupted")),
    ]


def _store(result: BenchResult) -> str:
    """The database of the stores, and what its server says of itself; "" for a folder."""
    stores = [store for measured in result.models for store in measured.stores]
    facts = [f"{name} {value}" for name, value in (stores[-1].server if stores else {}).items()]
    return "" if result.config.store is None else " · ".join([result.config.store, *facts])


def _date(started_at: str | None) -> str:
    """The date and time to the minute, if it is a valid time."""
    return "" if started_at is None else started_at[:16].replace("T", " ") + started_at[19:].replace("+00:00", " UTC")


def _ceiling(result: BenchResult, words: Words) -> str:
    machine = result.machine
    if not machine.sgemm_flop_per_s or not machine.fsync_s:
        return ""
    fsyncs_s = [spent_s for repeat in machine.fsync_s for spent_s in repeat]
    return words("ceiling", max(machine.sgemm_flop_per_s) / 1e9, 1 / median(fsyncs_s))


def _warning(warning: BenchWarning, words: Words) -> str:
    """English has the warning's own sentence; so has a kind, or a figure, that the other language doesn't know."""
    key = f"warning.{warning.kind}"
    template = TEXTS[key][1] if key in TEXTS and words.lang == "zh" else ""
    try:
        return template.format_map({"model": warning.model, **_data(warning.data)}) or warning.message
    except (KeyError, ValueError):
        return warning.message


def _data(data: Mapping[str, float | str | list[float]]) -> dict[str, float | str]:
    return {
        name: ", ".join(f"{number:g}" for number in value) if isinstance(value, list) else value
        for name, value in data.items()
    }


def _glossary(measured: list[Figures], words: Words) -> Facts:
    """The terms used in the tables of these figures."""
    return [(words(f"term.{term}"), words(f"mean.{term}")) for term in _terms(measured)]


def _terms(measured: list[Figures]) -> Iterator[str]:
    is_one = len(measured) == 1
    stores = [store for figures in measured for store in figures.stores]
    has = {
        "batch": any(figures.batches for figures in measured),
        "total": any(figures.batches for figures in measured),
        "interval": True,
        "target": is_one and bool(measured[0].batches),
        "stages": is_one and any(batch.stages_ms for batch in measured[0].batches),
        "speedup": any(figures.comparison for figures in measured),
        "ratio": any(figures.clients or figures.processes for figures in measured),
        "quantiles": bool(stores) or any(figures.add for figures in measured),
        "ef": any(figures.ef for figures in measured),
        "recall": any(store.graph_recall_at_10 is not None for store in stores),
        "ceiling": is_one and measured[0].ceiling_ratio is not None,
        "cold": any(figures.cold_start_ms is not None for figures in measured),
        "peak": bool(stores),
        "bytes": bool(stores),
        "cosine": any(figures.likeness for figures in measured),
        "retrieval": any(figures.retrieval for figures in measured),
    }
    return (term for term, is_there in has.items() if is_there)
