"""Runs a benchmark: the real ingest, from bytes to durable and searchable, in a fresh store each time.

Returns data and prints nothing. The sizes run in turn within a repeat, and each repeat begins with another, so that a
drift of the machine falls on all of them alike.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentmem_cli.api import AgentMem
from agentmem_cli.bench import gate
from agentmem_cli.bench.environment import this_environment
from agentmem_cli.bench.result import BatchMeasurement, BenchResult, Comparison, Config, ModeMeasurement
from agentmem_cli.bench.stats import median, nearest_to_median, relative_spread
from agentmem_cli.bench.workload import Workload
from agentmem_cli.embedding.base import Embedder, embed_checked
from agentmem_cli.errors import StoreError, UsageError
from agentmem_cli.ingest import MAX_BATCH_SIZE, MIN_BATCH_SIZE, IngestOptions
from agentmem_cli.jsonl import parse_memory
from agentmem_cli.memory import UNKNOWN_WARNING_RATIO, IngestReport

_SPREAD_WARNING: Final = 0.25
_WARMUP_MEMORIES: Final = 100

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure. Raises UsageError for sizes that no batch can have."""

    sizes: Sequence[int]
    compare: int = 100
    repeats: int = 5
    warmup: int = 1

    def __post_init__(self) -> None:
        if not self.sizes:
            raise UsageError("--sizes is empty: give batch sizes such as 10,50,100,500,1000")
        for size in (*self.sizes, self.compare):
            if not MIN_BATCH_SIZE <= size <= MAX_BATCH_SIZE:
                raise UsageError(f"size {size} is not between {MIN_BATCH_SIZE} and {MAX_BATCH_SIZE}")
        if len(set(self.sizes)) != len(self.sizes):
            raise UsageError("--sizes names a size twice")
        if self.repeats < 1 or self.warmup < 0:
            raise UsageError("--repeats must be at least 1, and --warmup at least 0")


@dataclass(slots=True)
class _Samples:
    """Whole times, and the stages of each, of one thing that is measured."""

    totals_s: list[float] = field(default_factory=list)
    stages_s: list[dict[str, float]] = field(default_factory=list)

    def add(self, total_s: float, stages_s: dict[str, float]) -> None:
        self.totals_s.append(total_s)
        self.stages_s.append(stages_s)


def run_bench(embedder: Embedder, workload: Workload, options: BenchOptions, on_step: OnStep) -> BenchResult:
    """Measures batches of each size, and single against batch. Raises AgentMemError."""
    return run_benches([embedder], workload, options, on_step)[0]


def run_benches(
    embedders: Sequence[Embedder], workload: Workload, options: BenchOptions, on_step: OnStep
) -> list[BenchResult]:
    """The same for several models in turn within each repeat, so that they can be compared. Raises AgentMemError."""
    if len(workload.batch_lines) < max(options.sizes) or len(workload.compare_lines) < options.compare:
        raise UsageError(f"workload {workload.name} has too few memories for the sizes asked for")
    runs = [_ModelRun(embedder, workload, options, on_step) for embedder in embedders]
    for run in runs:
        run.warm_up()
    for repeat in range(options.repeats):
        for run in _rotated(runs, repeat):
            run.measure(repeat)
    return [run.result() for run in runs]


class _ModelRun:
    """The measurements of one model."""

    def __init__(self, embedder: Embedder, workload: Workload, options: BenchOptions, on_step: OnStep) -> None:
        self._on_step = on_step
        self._embedder = embedder
        self._workload = workload
        self._options = options
        self._by_size = {size: _Samples() for size in options.sizes}
        self._single, self._batch = _Samples(), _Samples()

    def warm_up(self) -> None:
        self._say("warm-up")
        lines, most = self._workload.batch_lines, max(self._options.sizes)
        for _ in range(self._options.warmup):
            _ingest_batch(self._embedder, lines[: min(_WARMUP_MEMORIES, most)])
            _add_one_by_one(self._embedder, self._workload.compare_lines[:MIN_BATCH_SIZE])

    def _say(self, step: str) -> None:
        self._on_step(f"{self._embedder.spec.name}: {step}")

    def measure(self, repeat: int) -> None:
        options = self._options
        of = f"repeat {repeat + 1} of {options.repeats}"
        for size in _rotated(options.sizes, repeat):
            self._say(f"{of}: batch of {size}")
            self._by_size[size].add(*_ingest_batch(self._embedder, self._workload.batch_lines[:size]))
        self._say(f"{of}: {options.compare} one by one, and in one batch")
        lines = self._workload.compare_lines[: options.compare]
        for samples, measure in _rotated([(self._single, _add_one_by_one), (self._batch, _ingest_batch)], repeat):
            samples.add(*measure(self._embedder, lines))

    def result(self) -> BenchResult:
        batches = [_batch_measurement(size, samples) for size, samples in self._by_size.items()]
        comparison = _comparison(self._options.compare, self._single.totals_s, self._batch.totals_s)
        config = _config(self._embedder, self._workload, self._options)
        return BenchResult(
            environment=this_environment(),
            config=config,
            batches=batches,
            comparison=comparison,
            targets=gate.judge(batches, comparison),
            warnings=_warnings(config, batches),
        )


def _ingest_batch(embedder: Embedder, lines: Sequence[bytes]) -> tuple[float, dict[str, float]]:
    with _fresh_store(embedder) as (mem, folder):
        path = folder / "workload.jsonl"
        path.write_bytes(b"\n".join(lines))
        report: IngestReport = mem.ingest([str(path)], IngestOptions(batch_size=max(len(lines), MIN_BATCH_SIZE)))
        _check_searchable(mem, lines)
        return report.elapsed_s, report.stages_s


def _add_one_by_one(embedder: Embedder, lines: Sequence[bytes]) -> tuple[float, dict[str, float]]:
    with _fresh_store(embedder) as (mem, _):
        start = time.perf_counter()
        for line in lines:
            mem.add_batch([parse_memory(line)])
        total_s = time.perf_counter() - start
        _check_searchable(mem, lines)
        return total_s, {}


@contextmanager
def _fresh_store(embedder: Embedder) -> Iterator[tuple[AgentMem, Path]]:
    with (
        tempfile.TemporaryDirectory(prefix="agentmem-bench-") as folder,
        AgentMem(Path(folder) / "store", embedder=embedder, index="off") as mem,
    ):
        mem.open()
        yield mem, Path(folder)


def _check_searchable(mem: AgentMem, lines: Sequence[bytes]) -> None:
    """What was timed must have happened: all memories are there, and a search finds the last."""
    text = parse_memory(lines[-1]).text
    if len(mem) != len(lines) or text not in {hit.text for hit in mem.search(text, k=10, mode="vector")}:
        raise StoreError(f"benchmark: {len(mem)} of {len(lines)} memories are in the store, or the last is not found")


def _batch_measurement(size: int, samples: _Samples) -> BatchMeasurement:
    total_s = median(samples.totals_s)
    ops_per_s = size / total_s
    return BatchMeasurement(
        batch_size=size,
        memories=size,
        samples_s=samples.totals_s,
        total_ms=1000 * total_s,
        ms_per_memory=1000 * total_s / size,
        ops_per_s=ops_per_s,
        target_ratio=ops_per_s / gate.TARGET_OPS_PER_S,
        stages_s=samples.stages_s[nearest_to_median(samples.totals_s)],
    )


def _comparison(memories: int, single_s: list[float], batch_s: list[float]) -> Comparison:
    single, batch = _mode(memories, single_s), _mode(memories, batch_s)
    return Comparison(
        memories=memories,
        single=single,
        batch=batch,
        speedup=single.total_ms / batch.total_ms,
        time_saved_ratio=1 - batch.total_ms / single.total_ms,
    )


def _mode(memories: int, samples_s: list[float]) -> ModeMeasurement:
    total_s = median(samples_s)
    return ModeMeasurement(total_ms=1000 * total_s, ops_per_s=memories / total_s, samples_s=samples_s)


def _config(embedder: Embedder, workload: Workload, options: BenchOptions) -> Config:
    texts = workload.texts()
    embedded = embed_checked(embedder, texts)
    own_tokens = embedded.tokens - embedded.special_tokens
    return Config(
        model=embedder.spec.name,
        model_revision=embedder.spec.revision,
        workload=workload.name,
        sizes=list(options.sizes),
        compare=options.compare,
        repeats=options.repeats,
        warmup=options.warmup,
        tokens_per_memory=embedded.tokens / len(texts),
        unknown_token_ratio=embedded.unknown_tokens / own_tokens if own_tokens else 0.0,
        truncated=embedded.truncated,
    )


def _warnings(config: Config, batches: Sequence[BatchMeasurement]) -> list[str]:
    warnings = []
    if config.unknown_token_ratio > UNKNOWN_WARNING_RATIO:
        warnings.append(
            f"{config.unknown_token_ratio:.0%} of the workload's tokens are unknown to {config.model}: "
            "speed is real, but searches on such texts mean nothing"
        )
    if config.truncated:
        warnings.append(f"{config.truncated} texts are longer than {config.model} reads, and were cut")
    if config.repeats < 3:
        warnings.append(f"{config.repeats} repeats say little of the spread: use at least 3")
    noisy = [batch.batch_size for batch in batches if relative_spread(batch.samples_s) > _SPREAD_WARNING]
    if noisy:
        sizes = ", ".join(map(str, noisy))
        warnings.append(f"noisy run: the samples of batch size {sizes} are more than {_SPREAD_WARNING:.0%} apart")
    return warnings


def _rotated(items: Sequence, by: int) -> list:  # type: ignore[type-arg]
    by %= len(items)
    return [*items[by:], *items[:by]]
