"""Two installations of agentmem measured in turn on one machine: a fresh process each, a pair of them a round.

What a machine does meanwhile falls on both of a pair alike, and whoever begins changes from round to round, so that
what the first of two always gains or loses falls on both as often.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from agentmem_cli.bench.comparing import GateReport, compare_rounds
from agentmem_cli.bench.reading import read_result
from agentmem_cli.bench.result import BenchResult
from agentmem_cli.errors import MeasurementError, UsageError

LEAST_ROUNDS: Final = 6  # fewer pairs have no 95 % interval
_GRACE_S: Final = 5.0
_OWN_LINE: Final = "agentmem: error: "

Which: TypeAlias = Literal["base", "head"]


@dataclass(frozen=True, slots=True)
class Installation:
    """An agentmem that can be run: what it is called, its command, and what its process needs to find its modules."""

    name: str
    command: list[str]
    python_path: str | None = None


def this_installation() -> Installation:
    """The agentmem that runs now."""
    package = Path(__file__).parents[2]
    return Installation(str(package), [sys.executable, "-m", "agentmem_cli"], str(package))


def installation_at(path: str) -> Installation:
    """The agentmem at a path: its executable, or the folder of the virtual environment that it is in.

    Raises UsageError where there is none.
    """
    executable = Path(path).absolute()
    if executable.is_dir():
        executable = executable / "bin" / "agentmem"
    if not executable.is_file() or not os.access(executable, os.X_OK):
        raise UsageError(f"{executable} is no program: give an agentmem, or the folder of its virtual environment")
    return Installation(path, [str(executable)])


@dataclass(slots=True)
class AbRun:
    """Rounds of two installations, measured by `agentmem bench` with the same options.

    `arguments` are those options; files among them are named by absolute paths, for each process runs in a folder of
    its own, where it finds no package, configuration or store of somebody else.
    """

    base: Installation
    head: Installation
    arguments: Sequence[str]
    rounds: int
    max_regression: float
    on_step: Callable[[str], None] = lambda step: None
    _pairs: list[tuple[BenchResult, BenchResult]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rounds < LEAST_ROUNDS:
            raise UsageError(f"--rounds must be at least {LEAST_ROUNDS}: fewer pairs have no 95 % interval")

    def run(self) -> GateReport:
        """Measures all rounds. Raises MeasurementError; `report` has the rounds that were finished before."""
        for done in range(self.rounds):
            order: list[Which] = ["base", "head"] if done % 2 == 0 else ["head", "base"]
            found = {which: self._measure(which, done) for which in order}
            self._pairs.append((found["base"], found["head"]))
        return self.report()

    @property
    def has_rounds(self) -> bool:
        """Whether a round has been finished."""
        return bool(self._pairs)

    def report(self) -> GateReport:
        """What the rounds so far say, of which there is one at least."""
        base, head = ([pair[side] for pair in self._pairs] for side in (0, 1))
        return compare_rounds(base, head, (self.base.name, self.head.name), self.max_regression)

    def _measure(self, which: Which, done: int) -> BenchResult:
        self.on_step(f"round {done + 1} of {self.rounds}: {which}")
        installation = self.base if which == "base" else self.head
        content = _run(installation, self.arguments)
        try:
            return read_result(content, "what it printed")
        except UsageError as error:
            raise MeasurementError(f"{installation.name} can't be measured: {error}") from error


def _run(installation: Installation, arguments: Sequence[str]) -> bytes:
    """What `agentmem bench --json` prints; the process and all that it started are gone when this returns."""
    with tempfile.TemporaryDirectory(prefix="agentmem-ab-") as folder:
        try:
            process = subprocess.Popen(
                [*installation.command, "bench", "--json", "--quiet", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=_environment(installation, folder),
                start_new_session=True,  # what it starts in its turn can be ended with it
            )
        except OSError as error:
            raise MeasurementError(f"{installation.name} can't be run: {error.strerror}") from error
        try:
            printed, said = process.communicate()
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().rpartition("\n")[2].removeprefix(_OWN_LINE)
        why = last or f"it ended with exit code {process.returncode}"
        raise MeasurementError(f"{installation.name} can't be measured: {why}")
    return printed


def _environment(installation: Installation, folder: str) -> dict[str, str]:
    """The user's, but for what would make one installation load the modules of another."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own = {} if installation.python_path is None else {"PYTHONPATH": installation.python_path}
    return {**kept, **own, "TMPDIR": folder}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Asks it to end, so that it removes what it has made, and makes it end, and all that it started, if need be."""
    try:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_GRACE_S)
    finally:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: "subprocess.Popen[bytes]", sent: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # all have ended; macOS says the latter of what only has
        os.killpg(process.pid, sent)
