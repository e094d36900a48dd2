"""A server of embeddings for those tests that ask for one, and an environment that names none."""

from collections.abc import Iterator

import pytest

from tests.embedding_server import Server, serving


@pytest.fixture(autouse=True)
def no_embedder_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a server and a key of their own."""
    for name in ("AGENTMEM_EMBEDDER_KEY", "AGENTMEM_EMBEDDER_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    """An embeddings server on loopback."""
    with serving() as running:
        yield running
