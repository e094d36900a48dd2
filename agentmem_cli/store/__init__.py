"""Stores of memories: `open_store` opens one, `agentmem_cli.store.base` says what it is."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentmem_cli.store.base import MemoryStore


def shown_location(location: str | Path) -> str:
    """A store's location as messages name it: without a password. Raises UsageError for a URL that is not valid."""
    if not _is_url(location):
        return str(location)
    from agentmem_cli.store.postgres.address import Address

    return Address.of(str(location)).shown


@contextmanager
def scratch_location(url: str) -> "Iterator[str]":
    """The URL of a store in a new schema of a database, which is dropped afterwards.

    The schema that the URL names is left alone. Raises UsageError where it is no URL of a server, StoreError.
    """
    from agentmem_cli.errors import UsageError

    if not _is_url(url):
        raise UsageError(f"store {url} is no server's: give postgresql://USER@HOST/DB")
    from agentmem_cli.store.postgres.server import scratch_schema

    with scratch_schema(url) as scratch:
        yield scratch


def _is_url(location: str | Path) -> bool:
    return str(location).startswith(("postgresql://", "postgres://"))


def open_store(location: str | Path, *, create: bool = True) -> "MemoryStore":
    """The store in a folder or at a URL of PostgreSQL, which need not be there yet unless `create` is False.

    Makes nothing. Raises StoreNotFoundError, StoreDamagedError, and UsageError where no store can be made.
    """
    from agentmem_cli.errors import StoreNotFoundError

    if _is_url(location):
        from agentmem_cli.store.postgres.store import PostgresStore

        server = PostgresStore(str(location))
        if not create and not server.exists:
            server.close()
            raise StoreNotFoundError.at(server.location)
        return server

    from agentmem_cli.store.embedded.folder import check_unused, path_of
    from agentmem_cli.store.embedded.store import EmbeddedStore

    store = EmbeddedStore(path_of(location))
    if not store.exists:
        if not create:
            raise StoreNotFoundError.at(store.folder)
        check_unused(store.folder)
    return store
