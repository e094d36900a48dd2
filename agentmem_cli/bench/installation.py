"""An agentmem that can be measured: where it is, and `agentmem bench` of it, which runs while it has its turn."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agentmem_cli.bench.reading import read_result
from agentmem_cli.bench.result import BenchResult
from agentmem_cli.bench.turns import IN_TURN, OVER
from agentmem_cli.errors import MeasurementError, UsageError
from agentmem_cli.support.processes import module_command

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

    Raises UsageError where there is none.
    """
    executable = Path(path).absolute()
    if executable.is_dir():
        executable = executable / "bin" / "agentmem"
    if not executable.is_file() or not os.access(executable, os.X_OK):
        raise UsageError(f"{executable} is no program: give an agentmem, or the folder of its virtual environment")
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
