"""What a server must be for a store, and how a store is made in it."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import orjson

from agentmem_cli.errors import StoreDamagedError, StoreError
from agentmem_cli.store.base import Pin
from agentmem_cli.store.postgres.address import Address
from agentmem_cli.store.postgres.connection import Connection
from agentmem_cli.store.postgres.schema import SCHEMA_VERSION, TABLES

_MIN_SERVER: Final = 140_000  # server_version_num
_MIN_VECTOR: Final = (0, 8)  # the first with iterative scans
_MAKING: Final = 0x41474D45  # the advisory lock of those that make a store: "AGME"


def check_server(connection: Connection, address: Address) -> None:
    """Raises StoreError where the server does not keep what it has acknowledged, or can't search."""
    version, shown, fsync, full_pages, synchronous = connection.read(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
        " current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')"
    )[0]
    store = f"store {address.shown}"
    if version < _MIN_SERVER:
        raise StoreError(f"{store}: the server is PostgreSQL {shown}: agentmem needs 14 or later")
    if "off" in (fsync, full_pages):
        raise StoreError(
            f"{store}: the server has fsync {fsync} and full_page_writes {full_pages}, and may lose all data in a "
            "power cut: set both to on"
        )
    if synchronous == "off":
        raise StoreError(
            f"{store}: the server has synchronous_commit off, and may lose what it acknowledged: set it to on"
        )
    _check_vector(connection, store)


def _check_vector(connection: Connection, store: str) -> None:
    installed, available = connection.read(
        "SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vector'),"
        " (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')"
    )[0]
    version = installed or available
    if version is None:
        raise StoreError(f"{store}: the server has no pgvector: install pgvector 0.8 or later")
    if tuple(int(part) for part in version.split(".")[:2]) < _MIN_VECTOR:
        raise StoreError(f"{store}: the server has pgvector {version}: agentmem needs 0.8 or later")


def check_rights(connection: Connection, address: Address) -> None:
    """Raises StoreError where the user may not write to the store's tables."""
    missing = connection.read(
        "SELECT relname::text FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
        " AND NOT has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE') ORDER BY 1",
        (address.schema,),
    )
    if missing:
        raise StoreError(
            f"store {address.shown}: this user may not write to table {missing[0][0]}: grant it SELECT, INSERT, UPDATE "
            "and DELETE on all tables of the schema"
        )


def check_version(connection: Connection, address: Address) -> None:
    """Raises StoreDamagedError where the schema's tables are not those of a store of this version."""
    found = connection.read("SELECT value FROM meta WHERE key = 'schema_version'")
    if not found or found[0][0] != str(SCHEMA_VERSION):
        raise StoreDamagedError(
            f"store {address.shown} is not of this version of agentmem: update agentmem, or use another schema"
        )


def make_schema(connection: Connection, address: Address, embedder: Pin) -> None:
    """Makes the store where it is missing; of several that make it at once, one does."""
    with connection.transaction():
        connection.read("SELECT pg_advisory_xact_lock(%s)::text", (_MAKING,))
        tables = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'"
        if connection.one("SELECT (to_regclass(%s) IS NOT NULL)::int", (f"{address.schema}.meta",)):
            check_version(connection, address)
            return
        if connection.one(tables, (address.schema,)):
            raise StoreError(
                f"store {address.shown}: schema {address.schema} has tables that are not a store's: give a schema of "
                "its own with ?schema=NAME"
            )
        connection.change("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        connection.change(f"CREATE SCHEMA IF NOT EXISTS {address.schema}")
        for statement in TABLES:
            connection.change(statement)
        connection.change(
            "INSERT INTO meta VALUES ('schema_version', %s), ('embedder', %s)",
            (str(SCHEMA_VERSION), orjson.dumps(embedder).decode()),
        )


@contextmanager
def scratch_schema(url: str) -> Iterator[str]:
    """The URL of a store in a schema with a name of its own, which is dropped afterwards. Raises StoreError."""
    address = Address.of(url).in_schema(f"agentmem_scratch_{os.urandom(8).hex()}")
    try:
        yield address.given
    finally:
        with closing(Connection(address, writable=True)) as connection:
            connection.change(f"DROP SCHEMA IF EXISTS {address.schema} CASCADE")
