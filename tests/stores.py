"""Stores beneath an AgentMem: batches put into them, and the embedded store for tests that look into its folder."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from agentmem_cli.api import AgentMem
from agentmem_cli.ingest.options import Observer, Progress
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


class At(Observer):
    """Does something after a number of commits."""

    def __init__(self, commits: int, act: Callable[[], None]) -> None:
        self._left, self._act = commits, act

    def committed(self, progress: Progress) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()


def events_of(mem: AgentMem, count: int) -> Counter[tuple[str, ...]]:
    """How many of the memories m0, m1, ... have which events."""
    return Counter(tuple(event.event for event in mem.history(f"m{i}")) for i in range(count))


def embedded(mem: AgentMem) -> EmbeddedStore:
    """The embedded store of an AgentMem."""
    store = mem._store
    assert isinstance(store, EmbeddedStore)
    return store
