"""A connection to SQLite: it checks a file before opening it, begins and ends transactions, and translates errors."""

import os
import sqlite3
import threading
import uuid
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import orjson

from agentmem_cli.errors import StoreBusyError, StoreDamagedError, StoreError, StoreNotFoundError, StoreWriteError
from agentmem_cli.store.embedded.folder import LOCK, MAGIC, NEW_DATABASE, check_database
from agentmem_cli.store.embedded.lock import is_held
from agentmem_cli.store.embedded.schema import APPLICATION_ID, PAGE_BYTES, SCHEMA, SCHEMA_VERSION
from agentmem_cli.support.failpoints import reached
from agentmem_cli.support.files import fsync_folder
from agentmem_cli.support.processes import abandon, tell_after_fork
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
    """Translates errors of sqlite3 and the file system into the StoreError that describes them."""
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


Parameter: TypeAlias = "str | int | float | bytes | None"
Row: TypeAlias = tuple[Any, ...]  # Any: a query says the types of its columns, and a damaged row has others
VERIFY_HINT: Final = "'agentmem verify' lists what is damaged"
PAGE_ROWS: Final = 2048
VARIABLES: Final = 1000  # bound in one statement
MOST_ROWS: Final = 2**63 - 1  # SQLite counts no further
_INSERTED_ROWS: Final = 250  # by one statement
# Batches change the same pages of the indexes over and over: a log of 64 MB is copied into the database rarely.
_LOG_PAGES: Final = 8192
_CACHE_KIB: Final = 65_536
_AS_IT_IS: Final = "ro&immutable=1"  # without a log, and without checking for writers
BUSY_TIMEOUT_S: Final = 10.0  # how long a statement waits while another program has the database locked
# How many connections this process has to a file. SQLite's locks on it are the process's, and the kernel drops them all
# when any descriptor of the file is closed: whatever looks at it past SQLite must come before the first.
_OPEN: Final[Counter[tuple[int, int]]] = Counter()
_opening = threading.RLock()


class Connection:
    """A connection to a store's `memories.db`. Raises StoreError and its kind, never sqlite3.Error."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Opens a database that is there. Raises StoreNotFoundError, StoreDamagedError."""
        self._path = path
        check_database(path)
        if not path.exists():
            raise StoreNotFoundError.at(path.parent)
        with _opening:
            inode = _inode(path)
            if not _OPEN[inode]:
                check_header(path)
            with translated(path):
                if not _OPEN[inode]:
                    _check_log(path)
                self._begun = 0  # transactions and snapshots; each ends only itself
                self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()
                self._connection = _connect(path, "rw") if writable else _connect_for_reading(path)
            _OPEN[inode] += 1
            self._closed = weakref.finalize(self, _count_closed, inode)
        self._place = _place(path) if writable else None
        tell_after_fork(self)
        try:
            self._set_up(path, writable)
        except BaseException:
            self.close()
            raise

    def _set_up(self, path: Path, writable: bool) -> None:
        with translated(path):
            self._check_version()
            if writable:
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
                self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    @staticmethod
    def create(path: Path, embedder: Mapping[str, str | int]) -> None:
        """Makes an empty database, pinned to an embedder; it appears under its name whole, or not at all."""
        temporary = path.with_name(NEW_DATABASE)
        check_database(temporary)
        with translated(path):
            temporary.unlink(missing_ok=True)
            connection = _connect(temporary, "rwc")
            try:
                temporary.chmod(0o600)
                connection.executescript(
                    f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                    f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};{SCHEMA}"
                )
                connection.execute("INSERT INTO meta VALUES ('embedder', ?)", (orjson.dumps(embedder).decode(),))
                connection.execute("INSERT INTO meta VALUES ('store_id', ?), ('commits', '0')", (uuid.uuid4().hex,))
                connection.execute("COMMIT")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()
            reached("create.schema")
            temporary.replace(path)
            reached("create.named")
            fsync_folder(path.parent)

    def close(self) -> None:
        """Closes the connection."""
        try:
            if self._closed.alive:
                self.settle()
        finally:
            self._connection.close()
            self._closed()

    def forget_parent(self) -> None:
        """In a forked child: SQLite's connections must not cross a fork, not even to be closed."""
        self._begun += 1  # its transaction is the parent's to end
        self._closed.detach()
        abandon(self._connection)

    def _check_place(self) -> None:
        """Raises StoreWriteError where the files are no longer at their path: a commit would be lost."""
        if self._place is not None and _place(self._path) != self._place:
            raise StoreWriteError(
                f"store {self._path.parent} was removed, moved or replaced while it was open for writing: nothing was "
                "committed; open it again"
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside becomes durable together when it ends, or nothing of it if it raises."""
        with translated(self._path), self._undone_unless_committed():
            self._connection.execute("BEGIN IMMEDIATE")
            # It stands beside the store's id, which so is in every log: see `_check_log`.
            self._connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'commits'")
            yield
            self._check_place()
            self._connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Every read inside sees the same commits, whatever is committed meanwhile."""
        with self._undone_unless_committed():
            with translated(self._path):
                self._connection.execute("BEGIN")
            yield

    @contextmanager
    def _undone_unless_committed(self) -> Iterator[None]:
        self._begun += 1
        begun = self._begun
        try:
            yield
        finally:
            # After an interrupt Python may close this generator late, when another call has begun its own snapshot.
            if begun == self._begun:
                self.settle()

    def settle(self) -> None:
        """Ends what an interrupted call left open, so that the next call sees all commits and can make its own.

        An exception that a signal handler raises may come between any two steps, also between a transaction's
        beginning and the `with` that would end it. Must not be called within a transaction or snapshot.
        """
        self._begun += 1
        with translated(self._path):
            for cursor in list(self._cursors):  # one that is read in part would hold its snapshot
                cursor.close()
            self._cursors.clear()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def version(self) -> tuple[int, int]:
        """A value that changes whenever this connection sees a new commit or makes a change."""
        return self.one("PRAGMA data_version"), self._connection.total_changes

    def one(self, sql: str, parameters: Sequence[Parameter] = ()) -> int:
        """The single number that a query returns."""
        return int(self.read(sql, parameters)[0][0])

    def read(self, sql: str, parameters: Sequence[Parameter] = ()) -> list[Row]:
        """The rows that a query returns."""
        with translated(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    def read_in(self, sql: str, values: Sequence[str | int | bytes], parameters: Sequence[Parameter] = ()) -> list[Row]:
        """The rows of a query with `IN ({})`, run in parts where there are many values."""
        rows = []
        for start in range(0, len(values), VARIABLES):
            part = values[start : start + VARIABLES]
            rows += self.read(sql.format(",".join("?" * len(part))), [*part, *parameters])
        return rows

    def change(self, sql: str, parameters: Sequence[Parameter] = ()) -> int:
        """Changes rows and returns how many."""
        with translated(self._path):
            return self._connection.execute(sql, parameters).rowcount

    def change_many(self, sql: str, rows: Iterable[Sequence[Parameter]]) -> None:
        """The same change for each row of parameters, within a transaction."""
        self._check_in_transaction()
        with translated(self._path):
            self._connection.executemany(sql, rows)

    def insert_many(self, insert: str, rows: Sequence[Sequence[Parameter]], conflict: str = "") -> None:
        """Inserts rows, many a statement, within a transaction.

        While a statement runs, Python's other threads do too, and they are woken rarely.
        """
        self._check_in_transaction()
        with translated(self._path):
            for start in range(0, len(rows), _INSERTED_ROWS):
                part = rows[start : start + _INSERTED_ROWS]
                row = f"({','.join('?' * len(part[0]))})"
                sql = f"{insert} VALUES {','.join([row] * len(part))} {conflict}"
                self._connection.execute(sql, list(chain.from_iterable(part)))

    def _check_in_transaction(self) -> None:
        if not self._connection.in_transaction:  # or what is left of it would be stored without the rest
            raise StoreError(
                f"{self._path}: another call, as by a signal handler, has ended this transaction: nothing of it was "
                "stored; try again"
            )

    def pages(self, sql: str, parameters: Sequence[Parameter] = (), rows: int = PAGE_ROWS) -> Iterator[list[Row]]:
        """The rows of a query that may return many, in pages."""
        with translated(self._path):
            cursor = self._connection.cursor()
            self._cursors.add(cursor)
            cursor.execute(sql, parameters)
            while part := cursor.fetchmany(rows):
                yield part

    def keep_undecodable_text(self) -> None:
        """From now on, reads text that is not UTF-8 with lone surrogates, which no memory contains, instead of
        raising."""
        self._connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")

    def _check_version(self) -> None:
        application_id = self.one("PRAGMA application_id")
        version = self.one("PRAGMA user_version")
        if application_id != APPLICATION_ID:
            raise StoreDamagedError(f"{self._path} is not an agentmem store: give another folder with --store")
        if version < 1:
            raise StoreDamagedError(
                f"{self._path} does not say its version: it was left as it is; restore it from a copy"
            )
        if version > SCHEMA_VERSION:
            raise StoreDamagedError(f"{self._path} was made by a newer agentmem (schema {version}): upgrade agentmem")


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _place(path: Path) -> list[tuple[int, int] | None]:
    """The identities of a store's database and lock files; None for a missing one."""
    places: list[tuple[int, int] | None] = []
    for file in (path, path.with_name(LOCK)):
        try:
            places.append(_inode(file))
        except OSError:
            places.append(None)
    return places


def _count_closed(inode: tuple[int, int]) -> None:
    with _opening:
        _OPEN[inode] -= 1


def _connect_for_reading(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "ro")
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        connection.close()
        # Reading beside a write-ahead log needs a file that a read-only or full disk can't have. Where there is no log,
        # and nobody who could write one, the database alone is the whole store.
        if _has_log(path) or is_held(path.with_name(LOCK)):
            raise
        return _connect(path, _AS_IT_IS)
    return connection


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _check_log(path: Path) -> None:
    """SQLite takes whatever log lies beside a database for its own, and would write its pages into it."""
    if _has_log(path):
        without, through = _store_id(path, _AS_IT_IS), _store_id(path, "ro")
        if without is not None and through is not None and without != through:
            raise StoreDamagedError(
                f"{path}-wal is the log of another store: nothing was changed; put its own back, or move it away"
            )


def _store_id(path: Path, mode: str) -> str | None:
    with closing(_connect(path, mode)) as connection:
        try:
            rows = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchall()
        except sqlite3.Error:
            return None  # using the database will raise the error
    return str(rows[0][0]) if rows else None


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,  # transactions are begun and ended by hand
        check_same_thread=False,
    )


def _forget_parents_connections() -> None:
    global _opening
    _opening = threading.RLock()  # another thread of the parent may have held it
    _OPEN.clear()


os.register_at_fork(after_in_child=_forget_parents_connections)
