"""Searches by meaning alone, in a store that is opened without an AgentMem."""

from collections.abc import Mapping

from agentmem_cli.embedding.base import Vectors
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Hit
from agentmem_cli.search.query import Ranking
from agentmem_cli.search.retrieve import Search
from agentmem_cli.store.base import MemoryStore

BY_MEANING = Ranking(mode="vector")


def nearest(
    store: MemoryStore, query: Vectors, k: int, filter: SearchFilter, pin: Mapping[str, str | int]
) -> list[Hit]:
    """The k matching memories nearest to a query (dim,), best first."""
    with store.snapshot(filter, pin) as snapshot:
        return [] if snapshot is None else Search(snapshot, "", query, BY_MEANING).hits(k)
