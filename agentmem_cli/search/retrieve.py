"""A query and its vector -> the memories nearest to it."""

from collections.abc import Mapping

from agentmem_cli.embedding.base import Vectors
from agentmem_cli.memory import Hit, Memory, from_microseconds
from agentmem_cli.ranking import Query, Ranking
from agentmem_cli.store.embedded import EmbeddedStore


def ranked_hits(
    store: EmbeddedStore, query: Query, vector: Vectors, fingerprint: Mapping[str, str | int], k: int, ranking: Ranking
) -> list[Hit]:
    """The k matching memories that answer a query of vector (dim,) best, best first; fewer where fewer match."""
    return [_hit(memory, score) for memory, score in store.nearest(vector, k, query.wanted, fingerprint)]


def _hit(memory: Memory, score: float) -> Hit:
    scope = memory.scope
    return Hit(
        id=memory.id,
        score=max(-1.0, min(1.0, score)),  # float32 rounds a little past the ends
        text=memory.text,
        agent_id=scope.agent_id,
        user_id=scope.user_id,
        run_id=scope.run_id,
        memory_type=scope.memory_type,
        importance=memory.importance,
        created_at=memory.created_at or from_microseconds(0),
        metadata=memory.metadata,
    )
