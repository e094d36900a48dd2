"""A connection to PostgreSQL: it connects again, counts its round trips, and translates errors."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias

from agentmem_cli.errors import StoreBusyError, StoreDamagedError, StoreError, StoreWriteError, UsageError
from agentmem_cli.store.postgres import binary
from agentmem_cli.store.postgres.address import Address
from agentmem_cli.store.postgres.filters import Parameter

try:
    import psycopg
    from psycopg import errors
    from psycopg.adapt import Dumper
    from psycopg.pq import Format
except ImportError as _error:
    raise UsageError("a store in PostgreSQL needs the extra postgres: pip install 'agentmem-cli[postgres]'") from _error

Row: TypeAlias = tuple[Any, ...]  # Any: a query says the types of its columns
_CONNECT_TIMEOUT_S: Final = 10
_RECONNECT_S: Final = 10.0  # how long a server that restarts is waited for
_RECONNECT_EVERY_S: Final = 0.2
_PAGE_ROWS: Final = 2000
# An unscoped search walks the HNSW graph until it has as many as asked for. They are set before pgvector is loaded.
_SETTINGS: Final = "-c hnsw.iterative_scan=strict_order -c hnsw.ef_search=200 -c jit=off -c timezone=UTC"
# Hosts of databases install pgvector in a schema of extensions.
_FIND_VECTOR: Final = (
    "SELECT set_config('search_path', current_setting('search_path') || ', ' || quote_ident(n.nspname), false)"
    " FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    " WHERE e.extname = 'vector' AND n.nspname <> 'public'"
)
_CONFLICTS: Final = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
)


class _ArrayDumper(Dumper):
    """Sends what `binary.array` has encoded: psycopg's own takes ten times as long for a thousand texts."""

    format = Format.BINARY

    def dump(self, obj: binary.Array) -> bytes:
        return obj


_DUMPERS: Final = {kind: type(kind.__name__, (_ArrayDumper,), {"oid": oid}) for kind, oid in binary.OIDS.items()}


class LostConnectionError(StoreError):
    """The connection to the server broke."""


class ConflictError(StoreError):
    """Another writer committed the same ids or texts first: the transaction can be tried again."""


class Connection:
    """A connection to a store's schema. Raises StoreError and its kinds, never psycopg.Error."""

    def __init__(self, address: Address, *, writable: bool) -> None:
        """Connects. Raises StoreError."""
        self._address = address
        self._begin = "BEGIN" if writable else "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        self.round_trips: int = 0
        self._connection = self._connected()

    def _connected(self) -> "psycopg.Connection[Row]":
        with translated(self._address):
            connection = psycopg.connect(
                self._address.url,
                autocommit=True,
                connect_timeout=_CONNECT_TIMEOUT_S,
                application_name="agentmem",
                options=f"{self._address.options} {_SETTINGS} -c search_path={self._address.schema},public",
            )
            for kind, dumper in _DUMPERS.items():
                connection.adapters.register_dumper(kind, dumper)
            connection.execute(_FIND_VECTOR.encode())
            return connection

    def reconnect(self) -> None:
        """Connects again, waiting a while for a server that restarts. Raises StoreError."""
        self.close()
        until = time.monotonic() + _RECONNECT_S
        while True:
            try:
                self._connection = self._connected()
            except StoreError:
                if time.monotonic() > until:
                    raise
                time.sleep(_RECONNECT_EVERY_S)
            else:
                return

    @property
    def password(self) -> str:
        """The password that connected: of the URL, the environment or a file; empty where none was needed."""
        return self._connection.info.password

    @property
    def is_lost(self) -> bool:
        """Whether the connection broke."""
        return self._connection.closed

    def close(self) -> None:
        """Closes it."""
        with suppress(psycopg.Error):
            self._connection.close()

    def read(self, query: str, parameters: Sequence[Parameter] = ()) -> list[Row]:
        """The rows of a query, in one round trip."""
        self.round_trips += 1
        with translated(self._address):
            return self._connection.execute(query.encode(), _sent(parameters), binary=True).fetchall()

    def one(self, query: str, parameters: Sequence[Parameter] = ()) -> int:
        """The only number of a query."""
        return int(self.read(query, parameters)[0][0])

    def change(self, query: str, parameters: Sequence[Parameter] = ()) -> int:
        """Runs a statement, and returns how many rows it changed."""
        self.round_trips += 1
        with translated(self._address):
            return self._connection.execute(query.encode(), _sent(parameters)).rowcount

    def copy(self, table: str, columns: str, content: bytes) -> None:
        """Adds rows in the binary format of COPY."""
        self.round_trips += 1
        statement = f"COPY {table}({columns}) FROM STDIN (FORMAT BINARY)"
        with (
            translated(self._address),
            self._connection.cursor() as cursor,
            cursor.copy(statement.encode()) as copy,
        ):
            copy.write(content)

    def pages(self, query: str, parameters: Sequence[Parameter]) -> Iterator[list[Row]]:
        """The rows of a query, page by page, within a transaction."""
        with translated(self._address), self._connection.cursor(name="pages", binary=True) as cursor:
            cursor.execute(query.encode(), _sent(parameters))
            while rows := cursor.fetchmany(_PAGE_ROWS):
                yield rows

    @contextmanager
    def transaction(self, first: str = "SELECT 1", parameters: Sequence[Parameter] = ()) -> Iterator[list[Row]]:
        """A transaction: committed at the end, rolled back after an error; reads see one moment of the store.

        Gives the rows of its first query, which takes no round trip of its own. Connects again first where the
        connection broke. Raises LostConnectionError, ConflictError.
        """
        if self.is_lost:
            self.reconnect()
        try:
            rows = self._begun(first, parameters)
        except LostConnectionError:
            self.reconnect()
            rows = self._begun(first, parameters)
        try:
            yield rows
        except BaseException:
            with suppress(StoreError):
                self.change("ROLLBACK")
            raise
        self.change("COMMIT")

    def _begun(self, first: str, parameters: Sequence[Parameter]) -> list[Row]:
        self.round_trips += 1
        with translated(self._address), self._connection.pipeline():
            self._connection.execute(self._begin.encode())
            return self._connection.execute(first.encode(), _sent(parameters), binary=True).fetchall()


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Translates errors of psycopg into the StoreError that describes them, without the password."""
    try:
        yield
    except psycopg.Error as error:
        raise _translate(address, error) from _Cause(address.redacted(str(error)))


class _Cause(Exception):
    """The message of an error of psycopg, whose own objects may hold the password."""


def _translate(address: Address, error: "psycopg.Error") -> StoreError:
    store, said = f"store {address.shown}", address.redacted(str(error.diag.message_primary or error))
    if isinstance(error, _CONFLICTS):
        return ConflictError(f"{store}: other writers change the same memories ({said}): try again")
    if isinstance(error, errors.QueryCanceled):
        return StoreError(f"{store}: the server cancelled a statement ({said}): raise its limit, or try again")
    if isinstance(error, (errors.DiskFull, errors.ReadOnlySqlTransaction, errors.OutOfMemory)):
        return StoreWriteError(f"{store} can't be written: {said}: nothing was stored")
    if isinstance(error, errors.InsufficientPrivilege):
        return StoreError(f"{store}: {said}: let an administrator grant it to this user")
    if isinstance(error, errors.LockNotAvailable):
        return StoreBusyError(f"{store}: {said}: try again")
    if isinstance(error, (errors.UndefinedTable, errors.UndefinedColumn, errors.DataCorrupted, errors.IndexCorrupted)):
        return StoreDamagedError(f"{store}: {said}: restore it from a backup, or use another schema")
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return LostConnectionError(f"{store} can't be reached: {said}: check the server and the URL, and try again")
    return StoreError(f"{store}: {said}")


def _sent(parameters: Sequence[Parameter]) -> "Sequence[Parameter | binary.Array] | None":
    """Parameters as psycopg takes them."""
    return [binary.array(value) if isinstance(value, list) and value else value for value in parameters] or None
