"""What tests of the remote embedder share: quick limits, an embedder of a server, what its vectors should be."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from agentmem_cli.embedding import remote
from agentmem_cli.embedding.base import Embedded
from agentmem_cli.embedding.endpoint import Limits
from agentmem_cli.embedding.remote import RemoteEmbedder
from agentmem_cli.errors import AgentMemError
from tests.embedding_server import Server
from tests.fakes import FakeEmbedder

QUICK: Final = Limits(
    requests_at_once=4,
    connect_s=5,
    answer_s=0.5,
    deadline_s=10,
    failures=3,
    first_pause_s=0.01,
    longest_pause_s=0.02,
)
TEXTS: Final = [f"item {i} colour{i % 7}" for i in range(200)]
KEY: Final = "sk-very-secret-0123456789"


def connect(server: Server, limits: Limits = QUICK) -> RemoteEmbedder:
    """An embedder of the server's only model; the server forgets that it was asked."""
    embedder = RemoteEmbedder(remote.find(server.url, None, limits), "", limits)
    server.requests.clear()
    return embedder


def error_of(call: Callable[[], object]) -> str:
    """The message of the error that the call ends in, after a check that it is one line that a terminal can show."""
    with pytest.raises(AgentMemError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    return message


def assert_right(embedded: Embedded, texts: list[str] = TEXTS) -> None:
    """Fails unless the vectors are those of the server's model, in order, and the tokens counted."""
    expected = FakeEmbedder().embed(texts)
    np.testing.assert_allclose(embedded.vectors, expected.vectors, atol=1e-6)
    assert embedded.tokens == expected.tokens


class Noisy(FakeEmbedder):
    """The same model in a precision so coarse that each answer differs, as int8 does with other batch-mates."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self._noise = noise
        self._random = np.random.default_rng(0)

    def embed(self, texts: list[str]) -> Embedded:  # type: ignore[override]
        sound = super().embed(texts)
        rows = sound.vectors + self._noise * self._random.standard_normal(sound.vectors.shape, dtype=np.float32)
        return Embedded(rows.astype(np.float32), sound.tokens, 0, 0, sound.cut)
