"""The files that options of a command name for its output: every command writes them here, and nowhere else.

A file is replaced in one step when all of it is on the disk: until then, and where the command fails or is killed, the
old one stays as it is. A command's own inputs and the files of a store are never replaced.
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
from agentmem_cli.store.embedded.schema import is_database
from agentmem_cli.support.files import fsync_folder

_NAME_BYTES: Final = 200  # of a file's name in that of its temporary file: file systems allow 255 in all
_MOST_LINKS: Final = 40


@dataclass(frozen=True, slots=True)
class Output:
    """A file that an option names, written by a command that reads `inputs` and works on the store in `store`.

    An input may be a folder, which all that it holds belongs to, or `-` for standard input. What is no regular file
    (a FIFO, /dev/null), and a descriptor of this process (/dev/stdout, /dev/fd/3), is written to directly; so is the
    end of a file that `appends`.
    """

    name: str
    option: str = "--output"
    inputs: Sequence[str] = ()
    store: str | None = None
    appends: bool = False

    def check(self) -> None:
        """Raises UsageError where the file must not or can't be written: before anybody waits for what goes there."""
        try:
            found = _stat(self.name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                raise self._refusal("is a folder: give a file in it")
            if found is None or stat.S_ISREG(found.st_mode):
                self._check_regular(Path(os.path.realpath(self.name)))
        except OSError as error:
            raise self._refusal(f"can't be written: {error.strerror}") from error

    @contextmanager
    def opened(self) -> Iterator["OutputStream"]:
        """What is written inside is the file's content once it ends; if it raises, the file stays as it was.

        Raises UsageError as `check` does, and AgentMemError where the disk is full or failing.
        """
        self.check()
        with self._at_place() if self._is_direct() else self._replacing() as stream:
            yield stream

    def write(self, content: bytes) -> None:
        """Makes this the file's content, or adds it to a file that `appends`. Raises as `opened` does."""
        with self.opened() as stream:
            stream.write(content)

    def _check_regular(self, real: Path) -> None:
        for name in self.inputs:
            if _is_input(name, real):
                raise self._refusal("is an input of this command: give another file")
            if any(_is_same(name, folder) for folder in real.parents):
                raise self._refusal(f"lies in {name}, which this command reads: give a file elsewhere")
        for folder in (real, *real.parents):
            # The command's own store by its place: the database must not be opened beside SQLite's own connections.
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
        found = _stat(self.name)
        is_special = found is not None and not stat.S_ISREG(found.st_mode)
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
            with suppress(OSError):  # what could not be written was said when it was tried
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
                with suppress(OSError):  # what is lost by a failure was lost before
                    file.close()
        finally:
            temporary.unlink(missing_ok=True)

    def _made(self, temporary: Path, old: os.stat_result | None) -> IO[bytes]:
        """A new file with the mode and, where this user may give it, the owner of the one that it will replace."""
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
        """Raises what the file system raises inside as an AgentMemError that names the option and the file."""
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
        """With `is_live`, each piece is flushed at once, for a reader at the other end."""
        self._file = file
        self._output = output
        self._is_live = is_live

    def write(self, content: bytes) -> None:
        """Adds a piece. Raises AgentMemError where it can't be written."""
        with self._output.failing():
            self._file.write(content)
            if self._is_live:
                self._file.flush()


def _stat(path: str | Path) -> os.stat_result | None:
    """What is at a path, links followed; None where there is nothing."""
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
    """Whether both paths are of one file or folder, which is there."""
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - the path may be a string
    except OSError:
        return False


def _descriptor(name: str) -> int | None:
    """The descriptor of this process that a path such as /dev/stdout or /dev/fd/3 stands for."""
    path = Path(name)
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if folder in (f"/proc/{os.getpid()}/fd", "/dev/fd") and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder) / path.readlink()
    return None
