"""The figures of a benchmark, derived from its samples: medians, intervals, rates, quantiles, targets. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from agentmem_cli.bench import verdict
from agentmem_cli.bench.bottleneck import Bottleneck, bottleneck_of
from agentmem_cli.bench.result import (
    BatchRun,
    BenchResult,
    CallsSample,
    ClientsRun,
    Comparison,
    EfRun,
    Likeness,
    ModelResult,
    ProcessesRun,
    Remedy,
    Retrieval,
    StorePoint,
    TokenCounts,
    WorkersRun,
)
from agentmem_cli.bench.verdict import TargetVerdict
from agentmem_cli.support.statistics import (
    Estimate,
    Interval,
    bootstrap_interval,
    bootstrap_intervals,
    bootstrap_ratio,
    median,
    quantile,
)

K: Final = 10


@dataclass(frozen=True, slots=True)
class Latencies:
    """Quantiles of `n` durations, ms; None for a quantile that needs more samples."""

    n: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """Medians of batches of one size, with 95 % intervals from 5 samples on.

    `stages_ms` are medians by stage. `tokens_per_s` counts tokens that the model read. `target_ratio` is the share of
    the target of 5,000 ops/s.
    """

    batch_size: int
    total_ms: float
    total_ms_interval: Interval | None
    ms_per_memory: float
    ops_per_s: float
    ops_per_s_interval: Interval | None
    tokens_per_s: float
    target_ratio: float
    stages_ms: dict[str, float]

    @property
    def ms_per_memory_interval(self) -> Interval | None:
        """The 95 % interval of `ms_per_memory`."""
        return _scaled(self.total_ms_interval, 1 / self.batch_size)


@dataclass(frozen=True, slots=True)
class ModeFigures:
    """One way of adding memories."""

    total_ms: float
    total_ms_interval: Interval | None
    ops_per_s: float


@dataclass(frozen=True, slots=True)
class ComparisonFigures:
    """One by one against one batch; `speedup` is the median of the ratios of the repeats."""

    memories: int
    tokens_per_memory: float | None
    single: ModeFigures
    batch: ModeFigures
    speedup: float
    speedup_interval: Interval | None
    time_saved_ratio: float


@dataclass(frozen=True, slots=True)
class SearchFigures:
    """Searches in one mode, of one user's memories where `filtered`, and their mean number of requests to a server."""

    mode: str
    filtered: bool
    search: Latencies
    round_trips: float


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """A store of one size; `ops_per_s` is the rate of the last step of its growth, without building the graph."""

    memories: int
    ops_per_s: float
    batch: Latencies
    index_ms: float | None
    search: Latencies
    bytes_per_memory: float
    peak_resident_bytes: int
    graph_recall_at_10: float | None
    searches: list[SearchFigures]


@dataclass(frozen=True, slots=True)
class LikenessFigures:
    """The similarity of a model's vectors to the reference's; the cosines are None if the dimensions differ."""

    reference: str
    median_cosine: float | None
    least_cosine: float | None
    shared_neighbours_at_10: float


@dataclass(frozen=True, slots=True)
class MeanFigure:
    """A mean over queries, and its 95 % interval."""

    mean: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class RetrievalFigures:
    """The quality of the answers to labelled queries in one mode, by metric."""

    mode: str
    queries: int
    metrics: dict[str, MeanFigure]


@dataclass(frozen=True, slots=True)
class RemedyFigures:
    """How many times faster a remedy makes an ingest: as predicted, and as tried, with its 95 % interval."""

    name: str
    at: str
    predicted_speedup: float
    speedup: float
    speedup_interval: Interval | None
    cosine: float | None


@dataclass(frozen=True, slots=True)
class CallsFigures:
    """Calls of clients at once: the median rate of the rounds, and the quantiles of all calls.

    `ratio` is the median of the ratios to the base's rate in the same round; it is None for the base itself.
    """

    calls_per_s: float
    calls_per_s_interval: Interval | None
    ratio: float | None
    ratio_interval: Interval | None
    latencies: Latencies


@dataclass(frozen=True, slots=True)
class ClientsFigures:
    """What threads that share one AgentMem do at once; the base of their ratios is the smallest number of threads."""

    clients: int
    adds: CallsFigures
    searches: CallsFigures


@dataclass(frozen=True, slots=True)
class ProcessesFigures:
    """What processes do at once on one store; the base of each ratio is the same work alone."""

    readers: int
    memories: int
    searches_alone: CallsFigures
    searches_beside_writer: CallsFigures
    adds_alone: CallsFigures
    adds_beside_readers: CallsFigures


@dataclass(frozen=True, slots=True)
class WorkersFigures:
    """Ingests by workers on a cluster; the base of `ratio` is the smallest number of workers, which has none."""

    workers: int
    memories: int
    memories_per_s: float
    memories_per_s_interval: Interval | None
    ratio: float | None
    ratio_interval: Interval | None


@dataclass(frozen=True, slots=True)
class EfFigures:
    """Searches of the graph with one ef; `used_by` are the modes of searching that use it."""

    ef: int
    memories: int
    used_by: list[str]
    recall_at_10: float
    search: Latencies


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one model. Figures that were not measured are None or empty.

    `best_batch` is the size with the highest rate. `ceiling_ratio` is its tokens/s times the model's operations per
    token, divided by the best rate of the machine's matrix products; None if one of these is unknown, or if the model
    runs in another precision, on a GPU or on fewer cores.
    """

    batches: list[BatchFigures]
    best_batch: int | None
    comparison: ComparisonFigures | None
    tokens_per_memory: float | None
    unknown_token_ratio: float | None
    add: Latencies | None
    stores: list[StoreFigures]
    cold_start_ms: float | None
    likeness: LikenessFigures | None
    retrieval: list[RetrievalFigures]
    ceiling_ratio: float | None
    bottleneck: Bottleneck | None
    remedies: list[RemedyFigures]
    clients: list[ClientsFigures]
    processes: ProcessesFigures | None
    ef: list[EfFigures]
    workers: list[WorkersFigures]
    targets: list[TargetVerdict]

    @property
    def best(self) -> BatchFigures | None:
        """The figures of the best batch size."""
        return next((batch for batch in self.batches if batch.batch_size == self.best_batch), None)


def figures_of(result: BenchResult, measured: ModelResult) -> Figures:
    """The figures of one model of a result."""
    batches = [_batch_figures(run) for run in measured.batches]
    best = max(batches, key=lambda batch: batch.ops_per_s, default=None)
    comparison = None if measured.comparison is None else _comparison_figures(measured.comparison)
    counts = max(measured.batches, key=lambda run: run.batch_size).counts if measured.batches else None
    own_tokens = 0 if counts is None else counts.tokens - counts.special_tokens
    cold = measured.cold_start
    ceiling_ratio = _ceiling_ratio(result, measured, best)
    return Figures(
        batches=batches,
        best_batch=None if best is None else best.batch_size,
        comparison=comparison,
        tokens_per_memory=None if counts is None else _tokens_per_memory(counts),
        unknown_token_ratio=counts.unknown_tokens / own_tokens if counts is not None and own_tokens else None,
        add=_add_latencies(measured.comparison),
        stores=[_store_figures(store) for store in measured.stores],
        cold_start_ms=None if cold is None else 1000 * ((cold.process_s or 0.0) + cold.load_s + cold.first_batch_s),
        likeness=None if measured.likeness is None else _likeness_figures(measured.likeness),
        retrieval=[_retrieval_figures(retrieval) for retrieval in measured.retrieval],
        ceiling_ratio=ceiling_ratio,
        bottleneck=_bottleneck(result, measured, batches, comparison, ceiling_ratio),
        remedies=[_remedy_figures(remedy) for remedy in measured.remedies],
        clients=_clients_figures(measured.clients),
        processes=None if measured.processes is None else _processes_figures(measured.processes),
        ef=[_ef_figures(run) for run in measured.ef],
        workers=_workers_figures(measured.workers),
        targets=[] if best is None else _targets(best, comparison),
    )


def latencies(samples_s: Sequence[float]) -> Latencies:
    """Quantiles of samples."""
    quantiles_s = [quantile(samples_s, share) for share in (0.5, 0.95, 0.99)]
    return Latencies(len(samples_s), *(None if value_s is None else 1000 * value_s for value_s in quantiles_s))


def _interval(samples: Sequence[float]) -> Interval | None:
    return bootstrap_interval(samples, "median") if len(samples) >= verdict.LEAST_SAMPLES else None


def _batch_figures(run: BatchRun) -> BatchFigures:
    totals_s = [sample.total_s for sample in run.samples]
    total_s, interval = median(totals_s), _interval(totals_s)
    stages = dict.fromkeys(stage for sample in run.samples for stage in sample.stages_s)
    ops_per_s = run.batch_size / total_s
    return BatchFigures(
        batch_size=run.batch_size,
        total_ms=1000 * total_s,
        total_ms_interval=_scaled(interval, 1000),
        ms_per_memory=1000 * total_s / run.batch_size,
        ops_per_s=ops_per_s,
        ops_per_s_interval=_rates(interval, run.batch_size),
        tokens_per_s=run.counts.tokens / total_s,
        target_ratio=ops_per_s / verdict.TARGET_OPS_PER_S,
        stages_ms={
            stage: 1000 * median([sample.stages_s[stage] for sample in run.samples if stage in sample.stages_s])
            for stage in stages
        },
    )


def _tokens_per_memory(counts: TokenCounts) -> float | None:
    return counts.tokens / counts.texts if counts.texts else None


def _scaled(interval: Interval | None, factor: float) -> Interval | None:
    return None if interval is None else Interval(factor * interval.low, factor * interval.high)


def _rates(interval: Interval | None, count: int) -> Interval | None:
    return None if interval is None else Interval(count / interval.high, count / interval.low)


def _comparison_figures(comparison: Comparison) -> ComparisonFigures:
    singles_s = [sample.total_s for sample in comparison.single]
    batches_s = [sample.total_s for sample in comparison.batch]
    single, batch = (_mode_figures(comparison.memories, samples_s) for samples_s in (singles_s, batches_s))
    speedup = _paired_ratio(singles_s, batches_s)
    return ComparisonFigures(
        memories=comparison.memories,
        tokens_per_memory=_tokens_per_memory(comparison.counts),
        single=single,
        batch=batch,
        speedup=speedup.figure,
        speedup_interval=speedup.interval,
        time_saved_ratio=1 - 1 / speedup.figure,
    )


def _paired_ratio(dividends: Sequence[float], divisors: Sequence[float]) -> Estimate:
    """The median of the ratios of the repeats, in which both sides ran in turn, and its interval."""
    ratios = [dividend / divisor for dividend, divisor in zip(dividends, divisors, strict=True)]
    is_sure = len(ratios) >= verdict.LEAST_SAMPLES
    return Estimate(median(ratios), bootstrap_ratio(dividends, divisors, "median", paired=True) if is_sure else None)


def _mode_figures(memories: int, samples_s: Sequence[float]) -> ModeFigures:
    total_s = median(samples_s)
    return ModeFigures(1000 * total_s, _scaled(_interval(samples_s), 1000), memories / total_s)


def _add_latencies(comparison: Comparison | None) -> Latencies | None:
    samples_s = [] if comparison is None else [s for sample in comparison.single for s in sample.latencies_s]
    return latencies(samples_s) if samples_s else None


def _store_figures(store: StorePoint) -> StoreFigures:
    found = store.graph_found
    return StoreFigures(
        memories=store.memories,
        ops_per_s=store.added / store.ingest_s,
        batch=latencies(store.batches_s),
        index_ms=None if store.index_s is None else 1000 * store.index_s,
        search=latencies(store.searches_s),
        bytes_per_memory=store.bytes / store.memories,
        peak_resident_bytes=store.peak_resident_bytes,
        graph_recall_at_10=sum(found) / (K * len(found)) if found else None,
        searches=[
            SearchFigures(run.mode, run.filtered, latencies(run.latencies_s), run.round_trips) for run in store.searches
        ],
    )


def _likeness_figures(likeness: Likeness) -> LikenessFigures:
    cosines, shared = likeness.cosines, likeness.shared_neighbours
    return LikenessFigures(
        reference=likeness.reference,
        median_cosine=median(cosines) if cosines else None,
        least_cosine=min(cosines) if cosines else None,
        shared_neighbours_at_10=sum(shared) / (min(K, len(shared) - 1) * len(shared)),
    )


def _retrieval_figures(retrieval: Retrieval) -> RetrievalFigures:
    rows = np.array(list(retrieval.figures.values()), dtype=np.float64).T
    means, intervals = rows.mean(axis=0).tolist(), bootstrap_intervals(rows, "mean")
    metrics = [MeanFigure(mean, interval) for mean, interval in zip(means, intervals, strict=True)]
    return RetrievalFigures(retrieval.mode, len(rows), dict(zip(retrieval.figures, metrics, strict=True)))


def _remedy_figures(remedy: Remedy) -> RemedyFigures:
    speedup = _paired_ratio(remedy.base_s, remedy.remedy_s)
    return RemedyFigures(
        name=remedy.name,
        at=remedy.at,
        predicted_speedup=remedy.predicted_speedup,
        speedup=speedup.figure,
        speedup_interval=speedup.interval,
        cosine=remedy.cosine,
    )


def _calls_figures(samples: Sequence[CallsSample], base: Sequence[CallsSample]) -> CallsFigures:
    rates = _rates_of(samples)
    ratio = None if samples is base else _paired_ratio(rates, _rates_of(base))
    return CallsFigures(
        calls_per_s=median(rates),
        calls_per_s_interval=_interval(rates),
        ratio=None if ratio is None else ratio.figure,
        ratio_interval=None if ratio is None else ratio.interval,
        latencies=latencies([latency_s for sample in samples for latency_s in sample.latencies_s]),
    )


def _rates_of(samples: Sequence[CallsSample]) -> list[float]:
    return [len(sample.latencies_s) / sample.total_s for sample in samples]


def _clients_figures(runs: Sequence[ClientsRun]) -> list[ClientsFigures]:
    if not runs:
        return []
    base = min(runs, key=lambda run: run.clients)
    return [
        ClientsFigures(run.clients, _calls_figures(run.adds, base.adds), _calls_figures(run.searches, base.searches))
        for run in sorted(runs, key=lambda run: run.clients)
    ]


def _processes_figures(run: ProcessesRun) -> ProcessesFigures:
    return ProcessesFigures(
        readers=run.readers,
        memories=run.memories,
        searches_alone=_calls_figures(run.searches_alone, run.searches_alone),
        searches_beside_writer=_calls_figures(run.searches_beside_writer, run.searches_alone),
        adds_alone=_calls_figures(run.adds_alone, run.adds_alone),
        adds_beside_readers=_calls_figures(run.adds_beside_readers, run.adds_alone),
    )


def _workers_figures(runs: Sequence[WorkersRun]) -> list[WorkersFigures]:
    base = min(runs, key=lambda run: run.workers, default=None)
    found = []
    for run in sorted(runs, key=lambda run: run.workers):
        rates = run.memories_per_s
        ratio = None if base is None or run is base else _paired_ratio(rates, base.memories_per_s)
        found.append(
            WorkersFigures(
                run.workers,
                run.memories,
                median(rates),
                _interval(rates),
                None if ratio is None else ratio.figure,
                None if ratio is None else ratio.interval,
            )
        )
    return found


def _ef_figures(run: EfRun) -> EfFigures:
    recall = sum(run.found) / (K * len(run.found))
    return EfFigures(run.ef, run.memories, run.used_by, recall, latencies(run.searches_s))


def _ceiling_ratio(result: BenchResult, measured: ModelResult, best: BatchFigures | None) -> float | None:
    """None unless the model runs like the matrix products: in float32, on all cores."""
    model, config, sgemm = measured.model, result.config, result.machine.sgemm_flop_per_s
    is_alike = model.precision == "fp32" and config.device == "cpu" and config.threads == result.environment.cores
    if model.flop_per_token is None or best is None or not sgemm or not is_alike:
        return None
    return best.tokens_per_s * model.flop_per_token / max(sgemm)


def _bottleneck(
    result: BenchResult,
    measured: ModelResult,
    batches: Sequence[BatchFigures],
    comparison: ComparisonFigures | None,
    ceiling_ratio: float | None,
) -> Bottleneck | None:
    fsyncs_s = [spent_s for repeat in result.machine.fsync_s for spent_s in repeat]
    best = max(batches, key=lambda batch: batch.ops_per_s, default=None)
    samples = [run.samples for run in measured.batches if best is not None and run.batch_size == best.batch_size]
    busy = [s.cpu_s / s.total_s for s in (samples[0] if samples else []) if s.cpu_s is not None and s.total_s > 0]
    return bottleneck_of(
        {batch.batch_size: batch.stages_ms for batch in batches},
        {batch.batch_size: batch.total_ms for batch in batches},
        ceiling_ratio=ceiling_ratio,
        fsync_ms=1000 * median(fsyncs_s) if fsyncs_s else None,
        single_ms=None if comparison is None else comparison.single.total_ms / comparison.memories,
        batched=None if comparison is None else (comparison.memories, comparison.batch.total_ms),
        busy_cores=median(busy) if busy else None,
        cores=result.environment.cores,
    )


def _targets(best: BatchFigures, comparison: ComparisonFigures | None) -> list[TargetVerdict]:
    return verdict.judge(
        Estimate(best.ops_per_s, best.ops_per_s_interval),
        Estimate(best.ms_per_memory, best.ms_per_memory_interval),
        None if comparison is None else Estimate(comparison.speedup, comparison.speedup_interval),
    )


Metric: TypeAlias = Literal["ops_per_s", "add_ms", "search_ms", "peak_resident_bytes", "bytes_per_memory"]
COUNTED: Final[tuple[Metric, ...]] = ("peak_resident_bytes", "bytes_per_memory")
HIGHER_IS_BETTER: Final[tuple[Metric, ...]] = ("ops_per_s",)


@dataclass(frozen=True, slots=True)
class MeasureKey:
    """A metric of a model, at a batch size or store size."""

    model: str
    metric: Metric
    at: str

    def __str__(self) -> str:
        return " ".join(filter(None, [self.metric, self.at, f"({self.model})"]))


def measures_of(result: BenchResult) -> dict[MeasureKey, list[float]]:
    """The samples of each metric that has any, in the order of the report.

    Raises ValueError if a sample is not positive: the clock did not advance, or a file is damaged.
    """
    samples_by_key = {
        MeasureKey(measured.model.name, metric, at): samples
        for measured in result.models
        for metric, at, samples in _of_model(measured)
        if samples
    }
    wrong = next(
        (key for key, samples in samples_by_key.items() if not all(0 < sample < math.inf for sample in samples)), None
    )
    if wrong is not None:
        raise ValueError(f"{wrong}: a sample is not positive")
    return samples_by_key


def _of_model(measured: ModelResult) -> Iterator[tuple[Metric, str, list[float]]]:
    for run in measured.batches:
        rates = [run.batch_size / sample.total_s if sample.total_s else 0.0 for sample in run.samples]
        yield "ops_per_s", f"batch {run.batch_size}", rates
    if measured.comparison is not None:
        yield _adds(measured.comparison)
    for store in measured.stores:
        at = f"of {store.memories:,}"
        yield "search_ms", at, [1000 * spent_s for spent_s in store.searches_s]
        yield "peak_resident_bytes", at, [float(store.peak_resident_bytes)]
        yield "bytes_per_memory", at, [store.bytes / store.memories if store.memories else 0.0]


def _adds(comparison: Comparison) -> tuple[Metric, str, list[float]]:
    """One figure per repeat: the median of its adds, or the mean if the result holds no latencies."""
    of = f"of {comparison.memories}"
    if all(sample.latencies_s for sample in comparison.single):
        return "add_ms", of, [1000 * median(sample.latencies_s) for sample in comparison.single]
    return "add_ms", f"mean {of}", [1000 * sample.total_s / comparison.memories for sample in comparison.single]
