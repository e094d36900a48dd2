"""Two installations of agentmem measured in turn on one machine: in each round, one fresh process of each.

The two processes take turns at every step, which lasts a fraction of a second, so that other load on the machine
affects both alike. The other process has always run in between, so neither benefits from warm caches. The process that
goes first alternates from round to round.
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
OVER: Final = b'{"event":"step"}\n'  # a process prints this at the end of its turn, and continues when it reads a line


def in_turn(on_step: Callable[[str], None]) -> Callable[[str], None]:
    """A function to call before each step; it returns when it is this process's turn.

    `bench ab` sets IN_TURN; without it, that is at once. Raises MeasurementError if standard input is closed.
    """
    if IN_TURN not in os.environ:
        return on_step

    def wait(step: str) -> None:
        on_step(step)
        sys.stdout.buffer.write(OVER)
        sys.stdout.buffer.flush()
        if not sys.stdin.buffer.readline():
            raise MeasurementError(f"{IN_TURN} is set, but standard input is closed: only 'agentmem bench ab' sets it")

    return wait


_GRACE_S: Final = 5.0
_OWN_LINE: Final = "agentmem: error: "


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed agentmem: its name in reports, and its command."""

    name: str
    command: list[str]


def this_installation() -> Installation:
    """The running agentmem."""
    return Installation(str(Path(__file__).parents[2]), module_command("agentmem_cli"))


def installation_at(path: str) -> Installation:
    """The agentmem at a path: an executable, or the folder of a virtual environment. Raises UsageError."""
    executable = Path(path).absolute()
    if executable.is_dir():
        executable = executable / "bin" / "agentmem"
    if not executable.is_file() or not os.access(executable, os.X_OK):
        raise UsageError(
            f"{executable} is not an executable: give an agentmem executable or the folder of its virtual environment"
        )
    return Installation(path, [str(executable)])


class Measuring:
    """A running `agentmem bench --json`, and its result."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
        self._name = name
        self._process = process
        self._said = said
        self._printed: list[bytes] = []
        self._waits = False
        self._result: BenchResult | None = None

    @property
    def result(self) -> BenchResult:
        """The result; only after `go_on` returned false."""
        assert self._result is not None
        return self._result

    def go_on(self) -> bool:
        """Lets the process run until the end of its turn; returns false if it has ended.

        Raises MeasurementError if it failed or printed no result.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._waits:
            with suppress(BrokenPipeError):  # it has ended; the exit code below says how
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
    """Starts `agentmem bench` with these options in an empty temporary folder.

    If the caller fails, the process and its children are terminated.
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
                start_new_session=True,  # so that its children can be terminated with it
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
    """The user's environment without PYTHONPATH: each installation must load its own modules."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "TMPDIR": folder, IN_TURN: "1"}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Terminates a process, so that it removes its files; kills it and its children if it does not end in time."""
    try:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_GRACE_S)
    finally:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: "subprocess.Popen[bytes]", sent: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # all have ended; macOS reports PermissionError for zombies
        os.killpg(process.pid, sent)


LEAST_ROUNDS: Final = 6  # fewer pairs have no 95 % interval


@dataclass(slots=True)
class AbRun:
    """Rounds of two installations, measured by `agentmem bench` with the same options.

    `arguments` are those options, with absolute paths: each process runs in its own folder.
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
        """Measures all rounds. Raises MeasurementError; `report` then covers the rounds completed before."""
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
        """Whether a round is complete."""
        return bool(self._pairs)

    def report(self) -> GateReport:
        """The report on the rounds so far; there must be at least one."""
        base, head = ([pair[side] for pair in self._pairs] for side in (0, 1))
        return compare_rounds(base, head, (self.base.name, self.head.name), self.max_regression)

    def _round(self, first: Installation, second: Installation) -> tuple[BenchResult, BenchResult]:
        with ExitStack() as running:
            sides = []
            for installation in (first, second):
                sides.append(running.enter_context(measuring(installation, self.arguments)))
                sides[-1].go_on()  # runs to its first step before the other starts
            _take_turns(sides)
        return sides[0].result, sides[1].result


def _take_turns(sides: Sequence[Measuring]) -> None:
    """Runs one step of each in turn until all have ended."""
    while sides:
        sides = [side for side in sides if side.go_on()]
