"""The one writer of a store: a lock that dies with its holder, and says who that is."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from agentmem_cli.errors import StoreBusyError, StoreWriteError

_HOLDER_TRIES: Final = 20
_HOLDER_WAIT_S: Final = 0.005


class WriterLock:
    """An exclusive `flock` on a file that holds the pid of its holder. The kernel drops it when the process ends.

    Written by hand rather than with a lock library: those empty the file when a second process tries the lock, and
    then nobody can be told who holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Takes the lock at once, or raises StoreBusyError that names the holder."""
        if self.held:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreWriteError(f"store {self._path.parent} can't be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise StoreBusyError(
                f"store {self._path.parent} is being written by process {holder}: wait for it to end, and try again"
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise StoreWriteError(f"store {self._path.parent} can't be locked: {error.strerror}") from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise StoreWriteError(f"store {self._path.parent} can't be written: {error.strerror}") from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Gives the lock up, if it is held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether anybody holds the lock in this file; a file that isn't there is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(descriptor: int) -> str:
    """The pid in a lock's file; a holder that has only just got the lock may not have written it yet."""
    for _ in range(_HOLDER_TRIES):
        pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        if pid.isdecimal() and _is_alive(int(pid)):
            return pid
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
