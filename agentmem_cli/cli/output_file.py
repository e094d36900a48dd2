"""Output files of commands. All commands write files through this module.

A file is replaced atomically once its content is on the disk. If the command fails or is killed, the old file stays. A
command's inputs and the files of a store are never replaced.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agentmem_cli.errors import AgentMemError, UsageError
from agentmem_cli.records.lines import STDIN
from agentmem_cli.support.files import fsync_folder

_NAME_BYTES: Final = 200  # of a file's name in the name of its temporary file; file systems allow 255 in total
_MOST_LINKS: Final = 40


@dataclass(frozen=True, slots=True)
class Output:
    """An output file of an option, for a command that reads `inputs` and uses the store in `store`.

    An input may be a file, a folder with all its content, or `-` for standard input. FIFOs, devices such as /dev/null
    and descriptors of this process (/dev/stdout, /dev/fd/3) are written directly, and so is a file with `appends`.
    """

    name: str
    option: str = "--output"
    inputs: Sequence[str] = ()
    store: str | None = None
    appends: bool = False

    def check(self) -> None:
        """Raises UsageError, before the command does its work, if the file can't or must not be written."""
        try:
            status = _stat(self.name)
            if status is not None and stat.S_ISDIR(status.st_mode):
                raise self._refusal("is a folder: give a file in it")
            if status is None or stat.S_ISREG(status.st_mode):
                self._check_regular(Path(os.path.realpath(self.name)))
        except OSError as error:
            raise self._refusal(f"can't be written: {error.strerror}") from error

    @contextmanager
    def opened(self) -> Iterator["OutputStream"]:
        """Replaces the file by what is written inside the `with` block; if the block raises, the old file stays.

        Raises UsageError as `check` does, and AgentMemError if the disk is full or failing.
        """
        self.check()
        with self._at_place() if self._is_direct() else self._replacing() as stream:
            yield stream

    def write(self, content: bytes) -> None:
        """Replaces the content of the file or, with `appends`, adds to it. Raises as `opened` does."""
        with self.opened() as stream:
            stream.write(content)

    def _check_regular(self, real: Path) -> None:
        from agentmem_cli.store.embedded.schema import is_database  # and numpy, which no --help waits for

        for name in self.inputs:
            if _is_input(name, real):
                raise self._refusal("is an input of this command: give another file")
            if any(_is_same(name, folder) for folder in real.parents):
                raise self._refusal(f"lies in {name}, which this command reads: give a file elsewhere")
        for folder in (real, *real.parents):
            # The command's own store is recognised by its path: opening its database would disturb SQLite's locks.
            if self._is_own_store(folder) or is_database(folder / "memories.db"):
                raise self._refusal(f"lies in the store {folder}: give a file elsewhere")
        if _descriptor(self.name) is not None:
            return
        if not real.parent.is_dir():
            raise self._refusal("there is no such folder")
        is_there = real.exists()
        if is_there and not os.access(real, os.W_OK):
            raise self._refusal("can't be written: it is write-protected")
        if not (is_there and self.appends) and not os.access(real.parent, os.W_OK | os.X_OK):
            raise self._refusal(f"can't be written: folder {real.parent} is write-protected")

    def _is_own_store(self, folder: Path) -> bool:
        if self.store is None:
            return False
        return _is_same(self.store, folder) or folder == Path(os.path.realpath(self.store))

    def _is_direct(self) -> bool:
        status = _stat(self.name)
        is_special = status is not None and not stat.S_ISREG(status.st_mode)
        return self.appends or is_special or _descriptor(self.name) is not None

    @contextmanager
    def _at_place(self) -> Iterator["OutputStream"]:
        descriptor = _descriptor(self.name)
        flags = os.O_WRONLY | os.O_NOCTTY | (os.O_APPEND | os.O_CREAT if self.appends else 0)
        try:
            opened = os.open(self.name, flags, 0o666) if descriptor is None else os.dup(descriptor)
        except OSError as error:
            raise self._refusal(f"can't be written: {error.strerror}") from error
        file = os.fdopen(opened, "wb")
        try:
            yield OutputStream(file, self, is_live=True)
        finally:
            with suppress(OSError):  # the error was reported by `write`
                file.close()

    @contextmanager
    def _replacing(self) -> Iterator["OutputStream"]:
        real = Path(os.path.realpath(self.name))
        start = os.fsdecode(os.fsencode(real.name)[:_NAME_BYTES])
        temporary = real.with_name(f".{start}.agentmem-{os.urandom(6).hex()}.tmp")
        try:
            file = self._made(temporary, _stat(real))
            try:
                yield OutputStream(file, self)
                with self.failing():
                    file.flush()
                    os.fsync(file.fileno())
                    temporary.replace(real)
                    fsync_folder(real.parent)
            finally:
                with suppress(OSError):  # after a failure, the content is discarded anyway
                    file.close()
        finally:
            temporary.unlink(missing_ok=True)

    def _made(self, temporary: Path, old: os.stat_result | None) -> IO[bytes]:
        """A new file with the mode and, if permitted, the owner of the file that it replaces."""
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o666 if old is None else 0o600)
            if old is not None:
                with suppress(PermissionError):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
            return os.fdopen(descriptor, "wb")
        except OSError as error:
            raise self._refusal(f"can't be written: {error.strerror}") from error

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Turns an OSError inside into an AgentMemError that names the option and the file."""
        try:
            yield
        except OSError as error:
            raise AgentMemError(f"{self.option} {self.name}: can't be written: {error.strerror}") from error

    def _refusal(self, why: str) -> UsageError:
        separator = " " if why.startswith(("is ", "lies ")) else ": "
        return UsageError(f"{self.option} {self.name}{separator}{why}")


class OutputStream:
    """An output that is being written."""

    def __init__(self, file: IO[bytes], output: Output, *, is_live: bool = False) -> None:
        """With `is_live`, each write is flushed at once, for the reader of a pipe."""
        self._file = file
        self._output = output
        self._is_live = is_live

    def write(self, content: bytes) -> None:
        """Writes to the file. Raises AgentMemError if that fails."""
        with self._output.failing():
            self._file.write(content)
            if self._is_live:
                self._file.flush()


def _stat(path: str | Path) -> os.stat_result | None:
    """The status of the file at a path, links followed; None if there is none."""
    try:
        return os.stat(path)  # noqa: PTH116 - the path may be a string
    except FileNotFoundError:
        return None


def _is_input(name: str, real: Path) -> bool:
    if name != STDIN:
        return _is_same(name, real)
    try:
        return os.path.samestat(os.fstat(0), real.stat())
    except OSError:
        return False


def _is_same(one: str | Path, other: Path) -> bool:
    """Whether both paths lead to the same existing file or folder."""
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - the path may be a string
    except OSError:
        return False


def _descriptor(name: str) -> int | None:
    """The descriptor for a path such as /dev/stdout or /dev/fd/3, or None."""
    path = Path(name)
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if folder in (f"/proc/{os.getpid()}/fd", "/dev/fd") and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder) / path.readlink()
    return None
