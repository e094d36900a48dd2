"""The part of AgentMem that searches: one question, or many at once."""

import threading
from collections.abc import Mapping, Sequence
from typing import Final

from agentmem_cli.checks import JsonScalar, is_encodable
from agentmem_cli.embedding.base import Embedder, embed_checked
from agentmem_cli.errors import UsageError
from agentmem_cli.memory import Hit, SearchFilter
from agentmem_cli.ranking import NEIGHBOUR_SHARE, Mode, Query, Ranking
from agentmem_cli.scripts import ModelAdvice, better_model, letters_by_script
from agentmem_cli.search.retrieve import ranked_hits
from agentmem_cli.store.embedded import EmbeddedStore

_ADVISING_MEMORIES: Final = 100


class StoreSearch:
    """The part of AgentMem that searches. Every method raises UsageError, ModelError and StoreError."""

    _store: EmbeddedStore
    _turn: threading.RLock

    def load(self) -> Embedder:
        """The embedder."""
        raise NotImplementedError

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        agent_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        memory_type: str | None = None,
        where: Mapping[str, JsonScalar] | None = None,
        mode: Mode = "hybrid",
        neighbour_share: float = NEIGHBOUR_SHARE,
        recency_half_life_s: float | None = None,
        importance_weight: float = 0.0,
        dedupe: bool = False,
        context: int = 0,
    ) -> list[Hit]:
        """The k memories that answer a query best, best first, of those that match: every scope given, and every
        metadata key of `where` with an equal value of the same type.

        The filter applies before the k are taken, so fewer come back only where fewer match. How they are ranked is
        said in `Ranking`. Raises UsageError for a blank query or k below 1, and ModelError, StoreError.
        """
        wanted = SearchFilter.of(agent_id, user_id, run_id, memory_type, where)
        ranking = Ranking(mode, neighbour_share, recency_half_life_s, importance_weight, dedupe, context)
        return self.search_many([Query(query, wanted)], k, ranking)[0]

    def search_many(self, queries: Sequence[Query], k: int = 10, ranking: Ranking | None = None) -> list[list[Hit]]:
        """The hits of each query, in the order of the queries; they are embedded together."""
        if k < 1:
            raise UsageError(f"k is {k}: it must be at least 1")
        for query in queries:
            _check_text(query.text)
        with self._turn:
            return [
                ranked_hits(self._store, self.load, query, k, ranking or Ranking())
                if self._store.any(query.wanted)
                else []
                for query in queries
            ]

    def advice(self, queries: Sequence[str]) -> ModelAdvice | None:
        """That the model can't read these queries, and which can read them and the newest memories; None where it does.

        Queries in Latin letters are taken for read. Raises ModelError, StoreError.
        """
        foreign = [query for query in queries if better_model(letters_by_script([query])) is not None]
        if not foreign:
            return None
        with self._turn:
            embedder = self.load()
            embedded = embed_checked(embedder, foreign)
            reader = self._store.reader()
            newest = [] if reader is None else reader.newest(SearchFilter(), _ADVISING_MEMORIES, 0)
        tokens, letters = embedded.tokens - embedded.special_tokens, letters_by_script(foreign)
        store_letters = letters + letters_by_script(memory.text for memory in newest)
        return ModelAdvice.on(embedder.spec.name, tokens, embedded.unknown_tokens, letters, store_letters)


def _check_text(text: str) -> None:
    if not text.strip():
        raise UsageError("the query is empty: say what to search for")
    if not is_encodable(text):
        raise UsageError("the query is not valid text: it has bytes that aren't UTF-8")
