"""Searches by meaning alone, in a store that is opened without an AgentMem, and searches that walk the graph."""

from collections.abc import Mapping

import pytest

from agentmem_cli.embedding.base import Vectors
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Hit
from agentmem_cli.search.query import Ranking
from agentmem_cli.search.retrieve import Search
from agentmem_cli.store.base import MemoryStore
from agentmem_cli.store.embedded import snapshot

BY_MEANING = Ranking(mode="meaning")
ALWAYS, NEVER = 0, 10**9


def walk_from(monkeypatch: pytest.MonkeyPatch, vectors: int) -> None:
    """Walks the graph under a filter from so many matching vectors on: a small store takes the way of a large one."""
    monkeypatch.setattr(snapshot, "WALK_VECTORS", vectors)


def nearest(
    store: MemoryStore, query: Vectors, k: int, filter: SearchFilter, pin: Mapping[str, str | int]
) -> list[Hit]:
    """The k matching memories nearest to a query (dim,), best first."""
    with store.snapshot(filter, pin) as taken:
        return [] if taken is None else Search(taken, "", query, BY_MEANING).hits(k)
