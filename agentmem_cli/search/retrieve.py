"""A query's text -> the memories nearest to it."""

from agentmem_cli.embedding.base import Embedder, embed_query_checked
from agentmem_cli.memory import Hit, Memory, SearchFilter, from_microseconds
from agentmem_cli.store.embedded import EmbeddedStore


def nearest_hits(store: EmbeddedStore, embedder: Embedder, query: str, k: int, wanted: SearchFilter) -> list[Hit]:
    """The k matching memories whose vectors are nearest to the query's, best first; fewer where fewer match."""
    vector, fingerprint = embed_query_checked(embedder, query), embedder.spec.fingerprint()
    return [_hit(memory, score) for memory, score in store.nearest(vector, k, wanted, fingerprint)]


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
