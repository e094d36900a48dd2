"""SQLite's errors in our words, and the look at a file before SQLite touches it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agentmem_cli.errors import StoreBusyError, StoreDamagedError, StoreError, StoreWriteError
from agentmem_cli.store.folder import MAGIC
from agentmem_cli.support.safe_text import printable

_DAMAGE: Final = ("malformed", "not a database", "corrupt", "no such table", "no such column", "could not decode")
_MISUSE: Final = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    sqlite3.NotSupportedError,
)
_UNWRITABLE: Final = ("full", "readonly", "disk i/o", "unable to open")


def check_header(path: Path) -> None:
    """Raises StoreDamagedError where the file can't be a database, before anything could be written to it."""
    try:
        with path.open("rb") as stream:
            header = stream.read(len(MAGIC))
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
    if header != MAGIC:
        what = "is empty" if not header else "is not a database"
        raise StoreDamagedError(f"{path} {what}: it was left as it is; restore it from a copy, or use another --store")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises what sqlite3 and the file system raise inside as the StoreError that it means."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(path, error) from error
    except UnicodeDecodeError as error:  # SQLite quotes what it met in its message
        raise StoreDamagedError(f"{path} is damaged: it was left as it is; restore it from a copy") from error
    except OSError as error:
        if error.errno is None:  # not the system's, but a signal handler's, such as a TimeoutError
            raise
        raise StoreWriteError(f"{path} can't be written: {error.strerror or error}") from error


def _translate(path: Path, error: sqlite3.Error) -> StoreError:
    quoted = printable(" ".join(str(error).split()))
    message = quoted.lower()
    # sqlite3 raises this very class, and none below it, for a corrupt file; Python 3.10 may then have no message.
    if type(error) is sqlite3.DatabaseError or any(word in message for word in _DAMAGE):
        return StoreDamagedError(
            f"{path} is damaged ({quoted or 'SQLite gives no reason'}): it was left as it is; restore it from a copy"
        )
    if "locked" in message:
        return StoreBusyError(f"{path} is locked by another program: close it, and try again")
    if any(word in message for word in _UNWRITABLE):
        return StoreWriteError(f"{path} can't be written or opened ({quoted}): check the disk's space and permissions")
    if isinstance(error, _MISUSE) or "transaction" in message:  # SQLite refused a statement: the database is whole
        return StoreError(f"{path}: {quoted}: nothing was changed; close the store and open it again")
    return StoreError(f"{path}: {quoted}: 'agentmem verify' lists what is damaged")
