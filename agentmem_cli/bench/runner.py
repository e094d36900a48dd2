"""Runs a benchmark: what is measured, in which order, how often. Returns data and prints nothing.

The sizes run in turn within a repeat, and the models too, and each repeat begins with another, so that a drift of the
machine falls on all of them alike. What the machine itself can do is measured before each repeat. At the end each model
grows a store, in a process of its own where it can have one: for its cold start, its searches and its memory.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, TypeVar

from agentmem_cli.bench import calibrate
from agentmem_cli.bench.environment import this_environment
from agentmem_cli.bench.growth import Grow, Growth, write_growth
from agentmem_cli.bench.measuring import add_one_by_one, ingest_and_read, ingest_batch
from agentmem_cli.bench.quality import likeness
from agentmem_cli.bench.result import (
    AddSample,
    BatchRun,
    BenchResult,
    ColdStart,
    Comparison,
    Config,
    IngestSample,
    Machine,
    ModelFacts,
    ModelResult,
    StorePoint,
    TokenCounts,
)
from agentmem_cli.bench.warning import warnings_of
from agentmem_cli.bench.workload import Workload
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder, Vectors
from agentmem_cli.errors import UsageError
from agentmem_cli.ingest import MAX_BATCH_SIZE, MIN_BATCH_SIZE

MAX_SCALE: Final = 10_000_000
_WARMUP_MEMORIES: Final = 100

OnStep = Callable[[str], None]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure. Raises UsageError for sizes that no batch, or no store, can have.

    `scale` are the sizes that a store grows to, the largest batch's by default. `threads` and `device` are only told of
    in the result: they belong to the embedders.
    """

    sizes: Sequence[int]
    compare: int = 100
    repeats: int = 5
    warmup: int = 1
    scale: Sequence[int] = ()
    threads: int | None = None
    device: str = "cpu"

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
        for size in self.scale:
            if not MIN_BATCH_SIZE <= size <= MAX_SCALE:
                raise UsageError(f"--scale: {size} memories is not between {MIN_BATCH_SIZE} and {MAX_SCALE:,}")
        if any(size >= larger for size, larger in zip(self.scale, self.scale[1:], strict=False)):
            raise UsageError("--scale: give sizes that grow, such as 1000,10000,100000")

    @property
    def store_sizes(self) -> list[int]:
        """The sizes that a store is grown to."""
        return list(self.scale) or [max(self.sizes)]

    @property
    def memories(self) -> int:
        """How many memories the workload must have."""
        return max(*self.sizes, *self.store_sizes)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure: `load` opens it in this process, `grow` grows a store with it, best in one of its own."""

    load: Callable[[], Embedder]
    grow: Grow


class Bench:
    """One benchmark of several models. Raises UsageError for a workload that is too small."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        workload: Workload,
        options: BenchOptions,
        on_step: OnStep = lambda step: None,
    ) -> None:
        if len(workload.batch_lines) < options.memories or len(workload.compare_lines) < options.compare:
            raise UsageError(f"workload {workload.name} has too few memories for the sizes asked for")
        self._subjects = subjects
        self._workload = workload
        self._options = options
        self._on_step = on_step
        self._runs: list[_ModelRun] = []
        self._sgemm_flop_per_s: list[float] = []
        self._fsync_s: list[list[float]] = []
        self._started_at = datetime.now(timezone.utc)
        self._load_average = calibrate.load_average()
        self._steal = calibrate.StealClock()
        self._complete = False

    def run(self) -> BenchResult:
        """Measures everything. Raises AgentMemError; `result` has what was measured before."""
        for subject in self._subjects:
            self._on_step("loading the model")
            self._runs.append(_ModelRun(subject, self._workload, self._options, self._on_step))
        for run in self._runs:
            run.warm_up()
        for repeat in range(self._options.repeats):
            self._sgemm_flop_per_s.append(calibrate.sgemm_flop_per_s())
            self._fsync_s.append(calibrate.fsync_times_s())
            for run in rotated(self._runs, repeat):
                run.measure(repeat)
        self._grow_stores()
        self._complete = True
        return self.result()

    @property
    def has_samples(self) -> bool:
        """Whether anything has been measured."""
        return any(run.has_samples for run in self._runs)

    def result(self) -> BenchResult:
        """What has been measured so far."""
        options = self._options
        result = BenchResult(
            complete=self._complete,
            started_at=self._started_at.isoformat(timespec="seconds"),
            environment=this_environment(),
            config=Config(
                sizes=list(options.sizes),
                compare=options.compare,
                repeats=options.repeats,
                warmup=options.warmup,
                scale=list(options.scale),
                threads=options.threads,
                device=options.device,
            ),
            workload=self._workload.facts(),
            machine=Machine(self._sgemm_flop_per_s, self._fsync_s, self._load_average, self._steal.ratio()),
            models=[run.result(self._reference()) for run in self._runs],
            warnings=[],
        )
        result.warnings.extend(warnings_of(result))
        return result

    def _grow_stores(self) -> None:
        options, workload = self._options, self._workload
        with tempfile.TemporaryDirectory(prefix="agentmem-bench-") as folder:
            growth = write_growth(workload.batch_lines, options.store_sizes, workload.queries, Path(folder))
            for run in self._runs:
                run.grow(growth)

    def _reference(self) -> "_ModelRun | None":
        """The fp32 model that others are held against: the first of them."""
        return next((run for run in self._runs if run.facts.precision == "fp32" and run.vectors is not None), None)


@dataclass(slots=True)
class _Batches:
    """The samples of batches of one size."""

    counts: TokenCounts
    samples: list[IngestSample] = field(default_factory=list)


class _ModelRun:
    """The measurements of one model."""

    def __init__(self, subject: Subject, workload: Workload, options: BenchOptions, on_step: OnStep) -> None:
        self._subject = subject
        self._on_step = on_step
        self._embedder = subject.load()
        self._workload = workload
        self._options = options
        self._by_size = {size: _Batches(TokenCounts(0, 0, 0, 0, 0)) for size in options.sizes}
        self._single: list[AddSample] = []
        self._batch: list[IngestSample] = []
        self._cold_start: ColdStart | None = None
        self._stores: list[StorePoint] = []
        self.vectors: Vectors | None = None  # of the largest batch

    @property
    def facts(self) -> ModelFacts:
        """Which model this is."""
        spec = self._embedder.spec
        flop_per_token = catalog.flop_per_token(spec)
        return ModelFacts(spec.name, spec.revision, spec.dim, spec.precision, spec.token_limit, flop_per_token)

    @property
    def has_samples(self) -> bool:
        """Whether anything has been measured."""
        return any(found.samples for found in self._by_size.values())

    def warm_up(self) -> None:
        """Runs what is measured, without counting it."""
        self._say("warm-up")
        most = min(_WARMUP_MEMORIES, max(self._options.sizes))
        for _ in range(self._options.warmup):
            ingest_batch(self._embedder, self._workload.batch_lines[:most])
            add_one_by_one(self._embedder, self._workload.compare_lines[:MIN_BATCH_SIZE])

    def measure(self, repeat: int) -> None:
        """One repeat: each size, then one by one against one batch."""
        of = f"repeat {repeat + 1} of {self._options.repeats}"
        for size in rotated(self._options.sizes, repeat):
            self._say(f"{of}: batch of {size}")
            self._measure_batch(size)
        self._say(f"{of}: {self._options.compare} one by one, and in one batch")
        for measure in rotated([self._measure_single, self._measure_whole], repeat):
            measure(self._workload.compare_lines[: self._options.compare])

    def grow(self, growth: Growth) -> None:
        """Grows a store."""
        self._say("a store grows")
        for item in self._subject.grow(growth):
            if isinstance(item, ColdStart):
                self._cold_start = item
            else:
                self._say(f"a store of {item.memories:,}")
                self._stores.append(item)

    def result(self, reference: "_ModelRun | None") -> ModelResult:
        """What has been measured so far; the likeness to a reference where that is another model."""
        measured = min(len(self._single), len(self._batch))
        like = None
        if reference not in (None, self) and reference.vectors is not None and self.vectors is not None:
            like = likeness(self.vectors, reference.vectors, reference.facts.name)
        return ModelResult(
            model=self.facts,
            batches=[
                BatchRun(size, found.counts, list(found.samples))
                for size, found in self._by_size.items()
                if found.samples
            ],
            comparison=Comparison(self._options.compare, self._single[:measured], self._batch[:measured])
            if measured
            else None,
            cold_start=self._cold_start,
            stores=list(self._stores),
            likeness=like,
        )

    def _measure_batch(self, size: int) -> None:
        found, lines = self._by_size[size], self._workload.batch_lines[:size]
        if size == max(self._options.sizes) and self.vectors is None:
            sample, found.counts, self.vectors = ingest_and_read(self._embedder, lines)
        else:
            sample, found.counts = ingest_batch(self._embedder, lines)
        found.samples.append(sample)

    def _measure_single(self, lines: Sequence[bytes]) -> None:
        self._single.append(add_one_by_one(self._embedder, lines))

    def _measure_whole(self, lines: Sequence[bytes]) -> None:
        self._batch.append(ingest_batch(self._embedder, lines)[0])

    def _say(self, step: str) -> None:
        self._on_step(f"{self._embedder.spec.name}: {step}")


def rotated(items: Sequence[Item], by: int) -> list[Item]:
    """The items, beginning with another one: that at `by`, counted round."""
    by %= len(items)
    return [*items[by:], *items[:by]]
