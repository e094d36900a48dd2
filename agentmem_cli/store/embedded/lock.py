"""The one writer of a store: a lock that ends with its holder and names it."""

import fcntl
import math
import os
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Final

from agentmem_cli.errors import StoreBusyError, StoreDamagedError, StoreWriteError
from agentmem_cli.store.embedded.folder import check_path, is_lock_content
from agentmem_cli.support.processes import tell_after_fork

_HOLDER_TRIES: Final = 20
_HOLDER_WAIT_S: Final = 0.005
_FOLDER_WAIT_S: Final = 0.02
_PUBLISHING_S: Final = 10.0
_AS_IT_IS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # neither through a link nor waiting for a pipe
_READ_BYTES: Final = 128
PUBLISHING: Final = "publishing a graph"


class WriterLock:
    """An exclusive `flock` on a file that holds the pid of its holder. The kernel drops it when the process ends.

    Not from a lock library: those empty the file when a second process tries the lock, and then the holder is unknown.
    """

    def __init__(self, path: Path, note: str = "") -> None:
        """A holder with the `note` PUBLISHING is done soon: others wait for it instead of being refused."""
        self._path = path
        self._note = note
        self._file: FileIO | None = None
        self._held = False
        tell_after_fork(self)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._held

    def acquire(self, wait_s: float = 0.0) -> None:
        """Takes the lock, or raises StoreBusyError that names the holder when it has waited for `wait_s`.

        Raises StoreDamagedError for a file that is not a lock of ours, which is left as it is, and StoreWriteError.
        """
        if self.held:
            return
        deadline_s = time.monotonic() + wait_s
        while not self._acquire(deadline_s):
            pass

    def _acquire(self, deadline_s: float) -> bool:
        """Takes the lock; False where another process has replaced the file meanwhile."""
        check_path(self._path)
        self.release()  # left by an earlier attempt or an interrupted call
        try:
            # Assigned before it is locked: after an interrupt in between, `release` closes it.
            self._file = FileIO(self._path, "r+", opener=_open_or_make)
        except OSError as error:
            raise StoreWriteError(f"store {self._path.parent} can't be written: {error.strerror}") from error
        try:
            self._held = self._take(self._file.fileno(), deadline_s)
        except BaseException:
            self.release()
            raise
        return self._held

    def _take(self, descriptor: int, deadline_s: float) -> bool:
        try:
            self._flock(descriptor, deadline_s)
            if not _is_at(descriptor, self._path):
                return False
            self._check_ours(descriptor)
        except OSError as error:
            raise StoreWriteError(
                f"store {self._path.parent} can't be locked: {error.strerror}: put it on a local disk"
            ) from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {self._note}".rstrip().encode() + b"\n", 0)
        except OSError as error:
            raise StoreWriteError(f"store {self._path.parent} can't be written: {error.strerror}") from error
        return True

    def forget_parent(self) -> None:
        """In a forked child: the lock stays the parent's."""
        if self._file is not None:
            self._held = False
            self._file.close()
            self._file = None

    def _check_ours(self, descriptor: int) -> None:
        if not is_lock_content(os.pread(descriptor, _READ_BYTES, 0)):
            raise StoreDamagedError(
                f"{self._path} is not a lock of agentmem: it was left as it is; move it away, or use another store"
            )

    def _flock(self, descriptor: int, deadline_s: float) -> None:
        published_s = time.monotonic() + _PUBLISHING_S
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = _holder(descriptor)
                now_s = time.monotonic()
                if now_s >= deadline_s and (PUBLISHING not in holder or now_s > published_s):
                    raise StoreBusyError(
                        f"store {self._path.parent} is being written by process {holder}: try again when it has ended, "
                        "or wait for it with --wait SECONDS"
                    ) from error
            time.sleep(_HOLDER_WAIT_S)

    def release(self) -> None:
        """Releases the lock, if it is held."""
        file = self._file
        if file is None:
            return
        try:
            if self._held:
                file.truncate(0)
                fcntl.flock(file, fcntl.LOCK_UN)  # a child that is being forked may have it open too
        finally:
            # Closed before it is forgotten: interrupted in between, it is closed again, which does nothing.
            self._held = False
            file.close()
            self._file = None


def _open_or_make(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | _AS_IT_IS, 0o600)


def _is_at(descriptor: int, path: Path) -> bool:
    opened = os.fstat(descriptor)
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock in this file; nobody holds a missing file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _AS_IT_IS)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class FolderLock:
    """Holds a folder, made if it is missing, against other holders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        tell_after_fork(self)

    def acquire(self, while_waiting: Callable[[], object] = lambda: None, wait_s: float = math.inf) -> None:
        """Waits for others, for `wait_s` at most, and then raises BlockingIOError. Raises OSError."""
        self.release()  # left by an interrupted call
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | _AS_IT_IS)
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            while_waiting()
            time.sleep(_FOLDER_WAIT_S)

    def forget_parent(self) -> None:
        """In a forked child: the lock stays the parent's."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def release(self) -> None:
        """Releases the folder, if it is held."""
        descriptor = self._descriptor
        if descriptor >= 0:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # while it is noted: an interrupt leaves no unknown lock
            self._descriptor = -1
            os.close(descriptor)


def _holder(descriptor: int) -> str:
    """The pid and the note in a lock file; a holder may not have written them yet."""
    for _ in range(_HOLDER_TRIES):
        pid, _, note = os.pread(descriptor, 64, 0).decode(errors="replace").strip().partition(" ")
        if pid.isdecimal() and _is_alive(int(pid)):
            return f"{pid} ({note})" if note else pid
        time.sleep(_HOLDER_WAIT_S)
    return "unknown"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
