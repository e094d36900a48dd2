"""Runs a benchmark: what is measured, in which order, how often. Returns data and prints nothing.

The sizes run in turn within a repeat, and the models too, and each repeat begins with another, so that a drift of the
machine falls on all of them alike. What the machine itself can do is measured before each repeat. At the end each model
grows a store, in a process of its own where it can have one: for its cold start, its searches and its memory.
"""

import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from agentmem_cli.bench import calibrate
from agentmem_cli.bench.environment import this_environment
from agentmem_cli.bench.growth import write_growth
from agentmem_cli.bench.model_run import ModelRun, OnStep, Subject, rotated
from agentmem_cli.bench.options import BenchOptions
from agentmem_cli.bench.result import BenchResult, Config, Machine
from agentmem_cli.bench.warning import warnings_of
from agentmem_cli.bench.workload import Workload
from agentmem_cli.errors import UsageError
from agentmem_cli.support.safe_text import printable


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
        self._runs: list[ModelRun] = []
        self._sgemm_flop_per_s: list[float] = []
        self._fsync_s: list[list[float]] = []
        self._started_at = datetime.now(timezone.utc)
        self._load_average = calibrate.load_average()
        self._steal = calibrate.StealClock()
        self._complete = False

    def run(self) -> BenchResult:
        """Measures everything. Raises AgentMemError; `result` has what was measured before."""
        with tempfile.TemporaryDirectory(prefix="agentmem-bench-") as folder:
            self._measure(Path(folder))
            self._grow_stores(Path(folder))
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
                queries=None if options.labelled is None else printable(options.labelled.queries_file),
            ),
            workload=self._workload.facts(),
            machine=Machine(self._sgemm_flop_per_s, self._fsync_s, self._load_average, self._steal.ratio()),
            models=[run.result(self._reference()) for run in self._runs],
            warnings=[],
        )
        result.warnings.extend(warnings_of(result))
        return result

    def _measure(self, folder: Path) -> None:
        for subject in self._subjects:
            self._on_step("loading the model")
            self._runs.append(ModelRun(subject, self._workload, self._options, folder, self._on_step))
        for run in self._runs:
            run.warm_up()
        for repeat in range(self._options.repeats):
            self._on_step("the machine's own measures")
            self._sgemm_flop_per_s.append(calibrate.sgemm_flop_per_s())
            self._fsync_s.append(calibrate.fsync_times_s(folder))
            for run in rotated(self._runs, repeat):
                run.measure(repeat)

    def _grow_stores(self, folder: Path) -> None:
        options, workload = self._options, self._workload
        growth = write_growth(workload.batch_lines, options.store_sizes, workload.queries, folder, options.labelled)
        for run in self._runs:
            run.grow(growth)

    def _reference(self) -> "ModelRun | None":
        """The fp32 model that others are held against: the first of them."""
        return next((run for run in self._runs if run.facts.precision == "fp32" and run.vectors is not None), None)
