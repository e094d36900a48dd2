"""Runs a benchmark: its measurements and their order. Returns data and prints nothing.

Within a repeat, sizes and models run in turn, and each repeat starts with another one, so that a drift of the machine
affects all alike. The machine itself is measured before each repeat. At the end, each model grows a store in a separate
process, which measures its cold start, its searches and its memory.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, TypeAlias

from agentmem_cli.bench import machine
from agentmem_cli.bench.clients import add_at_once, readers, search_at_once
from agentmem_cli.bench.cluster import cluster, rate_of_workers
from agentmem_cli.bench.growth import Doing, Grow, Growth, write_growth
from agentmem_cli.bench.machine import this_environment
from agentmem_cli.bench.measure import add_one_by_one, ingest_and_read, ingest_batch, likeness, rotated
from agentmem_cli.bench.place import Place
from agentmem_cli.bench.recall import searches_by_ef
from agentmem_cli.bench.result import (
    BatchRun,
    BenchResult,
    CallsSample,
    ClientsRun,
    ColdStart,
    Comparison,
    Config,
    EfRun,
    IngestSample,
    Machine,
    ModelFacts,
    ModelResult,
    ProcessesRun,
    Retrieval,
    StorePoint,
    TokenCounts,
    WorkersRun,
)
from agentmem_cli.bench.warnings import warnings_of
from agentmem_cli.bench.workload import BenchOptions, Workload, asked
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder, Vectors
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import UsageError
from agentmem_cli.ingest.options import MIN_BATCH_SIZE
from agentmem_cli.store import shown_location
from agentmem_cli.support.safe_text import printable

# A model may switch to a faster path after many texts; the static model does after 1,000. A warm-up embeds that many
# memories, or as many as it can in the time below (in 1 s, a busy machine does not reach the faster path). Its texts
# are those of turns of its own.
WARMUP_MEMORIES: Final = 1000
_WARMUP_BATCH: Final = 100
WARMUP_S: Final = 3.0

OnStep: TypeAlias = Callable[[str], None]  # called before each step, which begins when it returns


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure: `load` loads it in this process, `grow` grows a store, preferably in another process.

    `choice` says how other processes load it.
    """

    load: Callable[[], Embedder]
    grow: Grow
    choice: ModelChoice = field(default_factory=ModelChoice)


@dataclass(slots=True)
class _Batches:
    """The samples of batches of one size."""

    counts: TokenCounts
    samples: list[IngestSample] = field(default_factory=list)


class ModelRun:
    """The measurements of one model."""

    def __init__(
        self, subject: Subject, workload: Workload, options: BenchOptions, place: Place, on_step: OnStep
    ) -> None:
        self._subject = subject
        self._place = place
        self._on_step = on_step
        self._embedder = subject.load()
        self._workload = workload
        self._options = options
        self._turn = 0
        self._by_size = {size: _Batches(TokenCounts(0, 0, 0, 0, 0)) for size in options.sizes}
        self._single: list[CallsSample] = []
        self._batch: list[IngestSample] = []
        self._compared = TokenCounts(0, 0, 0, 0, 0)
        self._cold_start: ColdStart | None = None
        self._stores: list[StorePoint] = []
        self._retrieval: list[Retrieval] = []
        self._clients = {count: ClientsRun(count, [], []) for count in options.clients}
        self._processes: ProcessesRun | None = None
        self._ef: list[EfRun] = []
        self._workers: dict[int, WorkersRun] = {}
        self.vectors: Vectors | None = None  # of the largest batch

    @property
    def facts(self) -> ModelFacts:
        """Which model this is."""
        spec = self._embedder.spec
        flop_per_token = catalog.flop_per_token(spec)
        return ModelFacts(spec.name, spec.revision, spec.dim, spec.precision, spec.token_limit, flop_per_token)

    @property
    def has_samples(self) -> bool:
        """Whether there are any samples."""
        return any(batches.samples for batches in self._by_size.values())

    def warm_up(self) -> None:
        """Runs the measurements without recording them."""
        self._say("warm-up")
        size = min(_WARMUP_BATCH, max(self._options.sizes))
        batches = len(range(0, WARMUP_MEMORIES, size))
        for warmup in range(self._options.warmup):
            start = time.perf_counter()
            first = warmup * (batches + 1)
            for turn in range(first, first + batches):
                ingest_batch(self._embedder, self._workload.batch(size, turn), self._place)
                if time.perf_counter() - start > WARMUP_S:
                    break
            add_one_by_one(self._embedder, self._workload.compared(MIN_BATCH_SIZE, first + batches), self._place)
        self._turn = self._options.warmup * (batches + 1)  # however far it came, so that all models get the same texts

    def measure(self, repeat: int) -> None:
        """One repeat: each batch size, then one by one and in one batch."""
        of = f"repeat {repeat + 1}" + ("" if self._options.max_time_s else f" of {self._options.repeats}")
        for size in rotated(self._options.sizes, repeat):
            self._say(f"{of}: batch of {size}")
            self._measure_batch(size)
        for measure in rotated([self._measure_single, self._measure_whole], repeat):
            self._say(f"{of}: {self._options.singles} one by one, or in one batch")
            measure(self._workload.compared(self._options.singles, self._next_turn()))

    def grow(self, growth: Growth) -> None:
        """Grows a store."""
        self._say("a cold start")
        for item in self._subject.grow(growth):
            if isinstance(item, Doing):
                self._say(item.what)
            elif isinstance(item, ColdStart):
                self._cold_start = item
            elif isinstance(item, StorePoint):
                self._stores.append(item)
            else:
                self._retrieval.append(item)

    def use_at_once(self, store: str) -> None:
        """Measures what many clients do at once, and searches with other values of ef, on the store that was grown."""
        if self._options.clients:
            self._measure_clients(store)
        if self._options.processes:
            self._measure_processes(store)
        if self._options.ef:
            self._say("searches by ef")
            queries, rounds = self._workload.queries, self._options.repeats
            self._ef = searches_by_ef(self._embedder, store, queries, self._options.ef, rounds)

    def use_workers(self, files: Sequence[str], place: Place) -> None:
        """Measures ingests by workers on a cluster."""
        options, memories = self._options, self._options.store_sizes[-1]
        on, choice = options.on, self._subject.choice
        assert on is not None
        self._say("a cluster starts")
        self._workers = {count: WorkersRun(count, memories, []) for count in options.workers}
        with cluster(on, max(options.workers)):
            for turn in range(options.repeats):
                for count in rotated(options.workers, turn):
                    self._say(f"round {turn + 1} of {options.repeats}: workers: {count}")
                    rate = rate_of_workers(choice, files, memories, on, count, place)
                    self._workers[count].memories_per_s.append(rate)

    def _measure_clients(self, store: str) -> None:
        options, workload = self._options, self._workload
        for turn in range(options.repeats):
            for count in rotated(options.clients, turn):
                self._say(f"round {turn + 1} of {options.repeats}: clients at once: {count}")
                lines = workload.batch(options.adds, self._next_turn())
                queries = list(itertools.islice(asked(workload.queries, self._next_turn()), 1 + options.searches))
                self._clients[count].adds.append(add_at_once(self._embedder, lines, count, self._place))
                self._clients[count].searches.append(search_at_once(self._embedder, queries, count, store))

    def _measure_processes(self, store: str) -> None:
        options, choice, embedder = self._options, self._subject.choice, self._embedder
        self._say(f"{options.processes} processes start")
        run = self._processes = ProcessesRun(options.processes, options.store_sizes[-1], [], [], [], [])
        with readers(options.processes, embedder, choice, self._workload, store, self._place) as processes:
            for turn in range(options.repeats):
                for arm in rotated(["readers", "writer", "both"], turn):
                    self._say(f"round {turn + 1} of {options.repeats}: searches of processes, {arm}")
                    searching, adding = arm != "writer", arm != "readers"
                    searches, adds = processes.window(self._next_turn(), searching=searching, adding=adding)
                    if searching:
                        (run.searches_beside_writer if adding else run.searches_alone).append(searches)
                    if adding:
                        (run.adds_beside_readers if searching else run.adds_alone).append(adds)

    def result(self, reference: "ModelRun | None") -> ModelResult:
        """The measurements so far, with the similarity to a reference model unless that is this model."""
        measured = min(len(self._single), len(self._batch))
        like = None
        if reference not in (None, self) and reference.vectors is not None and self.vectors is not None:
            like = likeness(self.vectors, reference.vectors, reference.facts.name)
        return ModelResult(
            model=self.facts,
            batches=[
                BatchRun(size, batches.counts, list(batches.samples))
                for size, batches in self._by_size.items()
                if batches.samples
            ],
            comparison=Comparison(
                self._options.singles, self._compared, self._single[:measured], self._batch[:measured]
            )
            if measured
            else None,
            cold_start=self._cold_start,
            stores=list(self._stores),
            likeness=like,
            retrieval=list(self._retrieval),
            clients=self._clients_so_far(),
            processes=self._processes_so_far(),
            ef=list(self._ef),
            workers=self._workers_so_far(),
        )

    def _clients_so_far(self) -> list[ClientsRun]:
        """The rounds that were completed."""
        runs = self._clients.values()
        rounds = min((len(run.searches) for run in runs), default=0)
        return [ClientsRun(run.clients, run.adds[:rounds], run.searches[:rounds]) for run in runs if rounds]

    def _workers_so_far(self) -> list[WorkersRun]:
        runs = self._workers.values()
        rounds = min((len(run.memories_per_s) for run in runs), default=0)
        return [replace(run, memories_per_s=run.memories_per_s[:rounds]) for run in runs if rounds]

    def _processes_so_far(self) -> ProcessesRun | None:
        run = self._processes
        if run is None:
            return None
        windows = run.searches_alone, run.searches_beside_writer, run.adds_alone, run.adds_beside_readers
        rounds = min(map(len, windows))
        return ProcessesRun(run.readers, run.memories, *(window[:rounds] for window in windows)) if rounds else None

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn - 1

    def _measure_batch(self, size: int) -> None:
        batches, lines = self._by_size[size], self._workload.batch(size, self._next_turn())
        if size == max(self._options.sizes) and self.vectors is None:
            sample, batches.counts, self.vectors = ingest_and_read(self._embedder, lines, self._place)
        else:
            sample, batches.counts = ingest_batch(self._embedder, lines, self._place)
        batches.samples.append(sample)

    def _measure_single(self, lines: Sequence[bytes]) -> None:
        self._single.append(add_one_by_one(self._embedder, lines, self._place))

    def _measure_whole(self, lines: Sequence[bytes]) -> None:
        sample, self._compared = ingest_batch(self._embedder, lines, self._place)
        self._batch.append(sample)

    def _say(self, step: str) -> None:
        self._on_step(f"{self._embedder.spec.name}: {step}")


class Bench:
    """One benchmark of several models. Raises UsageError for a workload that is too small.

    `is_decided` says whether further repeats of a result would be of no use.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        workload: Workload,
        options: BenchOptions,
        on_step: OnStep = lambda step: None,
        is_decided: Callable[[BenchResult], bool] = lambda result: True,
    ) -> None:
        if (options.needs_store or options.workers) and len(subjects) > 1:
            raise UsageError("clients, processes, ef and workers are measured with one model")
        if len(workload.batch_lines) < options.memories or len(workload.compare_lines) < options.singles:
            raise UsageError(f"workload {workload.name} has too few memories for these sizes")
        self._subjects = subjects
        self._workload = workload
        self._options = options
        self._on_step = on_step
        self._is_decided = is_decided
        self._runs: list[ModelRun] = []
        self._sgemm_flop_per_s: list[float] = []
        self._fsync_s: list[list[float]] = []
        self._started_at = datetime.now(timezone.utc)
        self._load_average = machine.load_average()
        self._steal = machine.StealClock()
        self._complete = False

    def run(self) -> BenchResult:
        """Runs all measurements. Raises AgentMemError; `result` then holds those completed before."""
        with tempfile.TemporaryDirectory(prefix="agentmem-bench-") as folder:
            place = Place(Path(folder), self._options.store)
            self._measure(place)
            with ExitStack() as stack:
                kept = stack.enter_context(place.location()) if self._options.needs_store else None
                self._grow_stores(place, kept)
                if kept is not None:
                    for run in self._runs:
                        run.use_at_once(kept)
        self._complete = True
        return self.result()

    @property
    def has_samples(self) -> bool:
        """Whether there are any samples."""
        return any(run.has_samples for run in self._runs)

    def result(self) -> BenchResult:
        """The measurements so far."""
        options = self._options
        result = BenchResult(
            complete=self._complete,
            started_at=self._started_at.isoformat(timespec="seconds"),
            environment=this_environment(),
            config=Config(
                sizes=list(options.sizes),
                singles=options.singles,
                repeats=options.repeats,
                warmup=options.warmup,
                scale=list(options.scale),
                threads=options.threads,
                device=options.device,
                queries=None if options.labelled is None else printable(options.labelled.queries_file),
                max_time_s=options.max_time_s,
                clients=list(options.clients),
                processes=options.processes,
                ef=list(options.ef),
                store=None if options.store is None else shown_location(options.store),
                on=options.on,
                workers=list(options.workers),
            ),
            workload=self._workload.facts(),
            machine=Machine(self._sgemm_flop_per_s, self._fsync_s, self._load_average, self._steal.ratio()),
            models=[run.result(self._reference()) for run in self._runs],
            warnings=[],
        )
        result.warnings.extend(warnings_of(result))
        return result

    def _measure(self, place: Place) -> None:
        for subject in self._subjects:
            self._on_step("loading the model")
            self._runs.append(ModelRun(subject, self._workload, self._options, place, self._on_step))
        for run in self._runs:
            run.warm_up()
        repeat, start = 0, time.monotonic()
        while repeat < self._options.repeats or self._goes_on(repeat, time.monotonic() - start):
            self._on_step("measuring the machine")
            self._sgemm_flop_per_s.append(machine.sgemm_flop_per_s())
            self._fsync_s.append(machine.fsync_times_s(place.folder))
            for run in rotated(self._runs, repeat):
                run.measure(repeat)
            repeat += 1

    def _goes_on(self, repeats: int, spent_s: float) -> bool:
        """Whether there is time for one more repeat than those that were asked for, and a use for it."""
        time_s = self._options.max_time_s
        if time_s is None or spent_s * (repeats + 1) / repeats > time_s:
            return False
        return not self._is_decided(self.result())

    def _grow_stores(self, place: Place, kept: str | None) -> None:
        growth = write_growth(self._workload, self._options.store_sizes, place, self._options.labelled, kept)
        for run in self._runs:
            run.grow(growth)
            if self._options.workers:
                run.use_workers([step.file for step in growth.steps], place)

    def _reference(self) -> "ModelRun | None":
        """The reference for similarity: the first fp32 model."""
        return next((run for run in self._runs if run.facts.precision == "fp32" and run.vectors is not None), None)
