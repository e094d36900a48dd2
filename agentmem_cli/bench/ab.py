"""Two installations of agentmem measured in turn on one machine: a fresh process each, a pair of them a round.

What a machine does meanwhile falls on both of a pair alike: they take turns at every step, a fraction of a second each.
Before every step the other has run, so neither finds the caches as it left them. Whoever begins changes from round to
round, so that what the first of two always gains or loses falls on both as often.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from agentmem_cli.bench.gates import GateReport, compare_rounds
from agentmem_cli.bench.result import BenchResult
from agentmem_cli.bench.result_file import read_result
from agentmem_cli.errors import MeasurementError, UsageError
from agentmem_cli.support.processes import module_command

IN_TURN: Final = "AGENTMEM_BENCH_IN_TURN"
OVER: Final = b'{"event":"step"}\n'  # what a process prints when its turn is over; it goes on when it is sent a line


def in_turn(on_step: Callable[[str], None]) -> Callable[[str], None]:
    """What to tell of each step before it begins: it returns when that step's turn has come.

    That is at once where IN_TURN is not set, as `bench ab` sets it. Raises MeasurementError where nobody gives turns.
    """
    if IN_TURN not in os.environ:
        return on_step

    def wait(step: str) -> None:
        on_step(step)
        sys.stdout.buffer.write(OVER)
        sys.stdout.buffer.flush()
        if not sys.stdin.buffer.readline():
            raise MeasurementError(f"{IN_TURN} is set, and nobody gives turns on standard input")

    return wait


_GRACE_S: Final = 5.0
_OWN_LINE: Final = "agentmem: error: "


@dataclass(frozen=True, slots=True)
class Installation:
    """An agentmem that can be run: what it is called, and its command."""

    name: str
    command: list[str]


def this_installation() -> Installation:
    """The agentmem that runs now."""
    return Installation(str(Path(__file__).parents[2]), module_command("agentmem_cli"))


def installation_at(path: str) -> Installation:
    """The agentmem at a path: its executable, or the folder of the virtual environment that it is in.

    Raises UsageError if it is missing.
    """
    executable = Path(path).absolute()
    if executable.is_dir():
        executable = executable / "bin" / "agentmem"
    if not executable.is_file() or not os.access(executable, os.X_OK):
        raise UsageError(
            f"{executable} is not an executable: give an agentmem, or the folder of its virtual environment"
        )
    return Installation(path, [str(executable)])


class Measuring:
    """A running `agentmem bench --json`, and what comes of it."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
        self._name = name
        self._process = process
        self._said = said
        self._printed: list[bytes] = []
        self._waits = False
        self._result: BenchResult | None = None

    @property
    def result(self) -> BenchResult:
        """What it has measured; only where it has ended."""
        assert self._result is not None
        return self._result

    def go_on(self) -> bool:
        """Lets it run until its turn is over: false where it has ended. One that knows of no turns has a single one.

        Raises MeasurementError where it has failed, or printed no result.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._waits:
            with suppress(BrokenPipeError):  # it has ended: how is seen below
                self._process.stdin.write(b"\n")
                self._process.stdin.flush()
        for line in self._process.stdout:
            if line == OVER:
                self._waits = True
                return True
            self._printed.append(line)
        if self._process.wait() != 0:
            raise MeasurementError(f"{self._name} can't be measured: {self._last_words()}")
        try:
            self._result = read_result(b"".join(self._printed), "what it printed")
        except UsageError as error:
            raise MeasurementError(f"{self._name} can't be measured: {error}") from error
        return False

    def _last_words(self) -> str:
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().rpartition("\n")[2].removeprefix(_OWN_LINE)
        return last or f"it ended with exit code {self._process.returncode}"


@contextmanager
def measuring(installation: Installation, arguments: Sequence[str]) -> Iterator[Measuring]:
    """Starts `agentmem bench` with these options, in a folder of its own, where it finds nothing of somebody else.

    It has ended when what it is wanted for goes well; otherwise it is ended, and all that it started.
    """
    with tempfile.TemporaryDirectory(prefix="agentmem-ab-") as folder, tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [*installation.command, "bench", "--json", "--quiet", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,  # what it starts in its turn can be ended with it
            )
        except OSError as error:
            raise MeasurementError(f"{installation.name} can't be run: {error.strerror}") from error
        with process:
            try:
                yield Measuring(installation.name, process, said)
            except BaseException:
                _end(process)
                raise


def _environment(folder: str) -> dict[str, str]:
    """The user's, but for what would make one installation load the modules of another."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "TMPDIR": folder, IN_TURN: "1"}


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


LEAST_ROUNDS: Final = 6  # fewer pairs have no 95 % interval


@dataclass(slots=True)
class AbRun:
    """Rounds of two installations, measured by `agentmem bench` with the same options.

    `arguments` are those options; files among them are named by absolute paths, for each process runs in a folder of
    its own.
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
            raise UsageError(f"--rounds must be at least {LEAST_ROUNDS}: fewer rounds have no 95 % interval")

    def run(self) -> GateReport:
        """Measures all rounds. Raises MeasurementError; `report` has the rounds that were finished before."""
        for done in range(self.rounds):
            self.on_step(f"round {done + 1} of {self.rounds}")
            if done % 2 == 0:
                base, head = self._round(self.base, self.head)
            else:
                head, base = self._round(self.head, self.base)
            self._pairs.append((base, head))
        return self.report()

    @property
    def has_rounds(self) -> bool:
        """Whether a round has been finished."""
        return bool(self._pairs)

    def report(self) -> GateReport:
        """What the rounds so far say, of which there is one at least."""
        base, head = ([pair[side] for pair in self._pairs] for side in (0, 1))
        return compare_rounds(base, head, (self.base.name, self.head.name), self.max_regression)

    def _round(self, first: Installation, second: Installation) -> tuple[BenchResult, BenchResult]:
        with ExitStack() as running:
            sides = []
            for installation in (first, second):
                sides.append(running.enter_context(measuring(installation, self.arguments)))
                sides[-1].go_on()  # to its first step; only then does the other start
            _take_turns(sides)
        return sides[0].result, sides[1].result


def _take_turns(sides: Sequence[Measuring]) -> None:
    """A step each, one after the other, until all have ended."""
    while sides:
        sides = [side for side in sides if side.go_on()]
