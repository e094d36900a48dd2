"""Searches by meaning alone, in a store that is opened without an AgentMem."""

from collections.abc import Mapping

from agentmem_cli.embedding.base import Vectors
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Hit
from agentmem_cli.search.query import Ranking
from agentmem_cli.search.retrieve import Search
from agentmem_cli.store.embedded.store import EmbeddedStore

BY_MEANING = Ranking(mode="vector")


def nearest(
    store: EmbeddedStore, query: Vectors, k: int, wanted: SearchFilter, pin: Mapping[str, str | int]
) -> list[Hit]:
    """The k matching memories nearest to a query (dim,), best first."""
    with store.snapshot(wanted, pin) as snapshot:
        return [] if snapshot is None else Search(snapshot, "", query, BY_MEANING).hits(k)
