"""Children to be killed, stopped and listened to: each is forked by a small server and runs one of the programs."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_LIMIT_S: Final = 60.0  # a child that says nothing for so long hangs


class Forks:
    """The server of children; whatever it has started ends with it."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.server", str(theirs.fileno())],
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
            )
        self._connection.settimeout(_LIMIT_S)

    def __enter__(self) -> "Forks":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def start(self, program: str, *arguments: object) -> "Child":
        """A child that runs a program of `tests.crash.programs`."""
        reading, writing = os.pipe()
        request = {"run": program, "arguments": [str(a) if isinstance(a, Path) else a for a in arguments]}
        try:
            socket.send_fds(self._connection, [json.dumps(request).encode() + b"\n"], [writing])
            return Child(self, self._answer(), reading)
        finally:
            os.close(writing)

    def ask(self, question: str, pid: int) -> int:
        """Waits for a child to have `stopped`, or to end: its exit code, or minus the number of the signal."""
        self._connection.sendall(json.dumps({question: pid}).encode() + b"\n")
        return self._answer()

    def _answer(self) -> int:
        answer = b""
        while not answer.endswith(b"\n"):
            part = self._connection.recv(64)
            assert part, "the server of children has ended"
            answer += part
        return int(answer)


class Child:
    """A process that runs a program, and what it has noted so far."""

    def __init__(self, forks: Forks, pid: int, pipe: int) -> None:
        self.pid = pid
        self.notes: list[str] = []
        self.times_s: list[float] = []
        self._forks = forks
        self._pipe = pipe
        self._rest = b""
        self._returncode: int | None = None

    def listen(self, until: Callable[[], bool]) -> bool:
        """Takes notes until a condition on them holds; False where the child ended before."""
        while not until():
            if not self._read(_LIMIT_S):
                return until()
        return True

    def noted(self, line: str, times: int = 1) -> bool:
        """Listens until a line has been noted so many times; False where the child ended before."""
        return self.listen(lambda: self.notes.count(line) >= times)

    def stopped_at(self, line: str, times: int = 1) -> bool:
        """Listens until a line that comes before a stop has been noted, and the child has stopped."""
        return self.noted(line, times) and bool(self._forks.ask("stopped", self.pid))

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, unless the child has been waited for."""
        if self._returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> int:
        """Kills the child at once, and reads what it noted before."""
        self.send(signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """Takes notes until the child ends, and returns its exit code."""
        if self._returncode is None:
            while self._read(_LIMIT_S):
                pass
            self._returncode = self._forks.ask("wait", self.pid)
            os.close(self._pipe)
        return self._returncode

    @property
    def durable(self) -> int:
        """The last line of its input that it acknowledged as durable."""
        return max((int(note.split()[1]) for note in self.notes if note.startswith("durable ")), default=0)

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._pipe], [], [], timeout_s)
        if not ready:
            with suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            raise AssertionError(f"child {self.pid} hangs after {self.notes[-3:]}")
        part = os.read(self._pipe, 65536)
        *lines, self._rest = (self._rest + part).split(b"\n")
        self.notes += [line.decode() for line in lines]
        self.times_s += [time.perf_counter()] * len(lines)
        return bool(part)
