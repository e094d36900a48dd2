"""A process of a module of agentmem that takes JSON lines and answers with JSON lines."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import msgspec

from agentmem_cli.errors import StoreError
from agentmem_cli.support.processes import module_command


class Child:
    """One such process."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str, errors: IO[bytes]) -> None:
        """`name` is used in messages; `errors` is the file of the process's standard error."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._name = name
        self._errors = errors

    def send(self, message: object = None) -> None:
        """Sends a message, or an empty line without one. If the process has ended, `check` says so."""
        line = b"" if message is None else msgspec.json.encode(message)
        with suppress(BrokenPipeError):
            self._stdin.write(line + b"\n")
            self._stdin.flush()

    def lines(self) -> Iterator[bytes]:
        """What the process answers, until it ends."""
        yield from self._stdout

    def receive(self) -> bytes:
        """The next answer. Raises StoreError if the process has ended."""
        line = self._stdout.readline()
        if not line:
            self.check()
            raise StoreError(f"benchmark: the process that measures {self._name} ended early")
        return line

    def check(self) -> None:
        """Waits for the end of the process. Raises StoreError with its error message if it failed."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        if self._process.wait() != 0:
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise StoreError(f"benchmark: the process that measures {self._name} failed: {last}")


@contextmanager
def child(module: str, name: str) -> Iterator[Child]:
    """Starts a process, which is killed if the caller is interrupted or fails. Raises StoreError if it failed."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            module_command(module), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        started = Child(process, name, errors)
        try:
            yield started
            started.check()
        except BaseException:
            process.kill()
            raise
