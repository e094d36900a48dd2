"""A server of embeddings and impatience for those tests that ask for them, and an environment that names no server."""

from collections.abc import Iterator

import pytest

from agentmem_cli.store.embedded import connection
from tests.embedding_server import Server, serving


@pytest.fixture(autouse=True)
def no_embedder_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may have a server and a key of its own."""
    for name in ("AGENTMEM_EMBEDDER_KEY", "AGENTMEM_EMBEDDER_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    """An embeddings server on loopback."""
    with serving() as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a database that another program has locked."""
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.0)
