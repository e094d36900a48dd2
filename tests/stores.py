"""Stores beneath an AgentMem: batches put into them, and the embedded store for tests that look into its folder."""

from typing import NamedTuple

from agentmem_cli.api import AgentMem
from agentmem_cli.records.memory import Memory, Position
from agentmem_cli.store.base import MemoryStore
from agentmem_cli.store.embedded.store import EmbeddedStore
from tests.fakes import FakeEmbedder

_EMBEDDER = FakeEmbedder()


class Put(NamedTuple):
    """What a batch did, and the texts that were embedded for it."""

    added: int
    updated: int
    unchanged: int
    new_texts: list[str]


def put(store: MemoryStore, *memories: Memory, position: Position | None = None) -> Put:
    """Plans, embeds and commits a batch."""
    plan = store.plan(memories)
    counts = store.commit(plan, _EMBEDDER.embed(list(plan.texts_to_embed)).vectors, position)
    return Put(counts.added, counts.updated, counts.unchanged, list(plan.new_texts))


def embedded(mem: AgentMem) -> EmbeddedStore:
    """The embedded store of an AgentMem."""
    store = mem._store
    assert isinstance(store, EmbeddedStore)
    return store
