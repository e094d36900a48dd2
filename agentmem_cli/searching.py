"""The part of AgentMem that searches: one question, or many at once."""

import threading
from collections.abc import Sequence
from datetime import datetime

from agentmem_cli.checks import is_encodable
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.errors import UsageError
from agentmem_cli.memory import Hit, SearchFilter
from agentmem_cli.ranking import NEIGHBOUR_SHARE, Mode, Query, Ranking
from agentmem_cli.search.retrieve import ranked_hits
from agentmem_cli.store.embedded import EmbeddedStore
from agentmem_cli.where import Where


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
        where: Where | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        mode: Mode = "hybrid",
        neighbour_share: float = NEIGHBOUR_SHARE,
        recency_half_life_s: float | None = None,
        importance_weight: float = 0.0,
        dedupe: bool = False,
        context: int = 0,
    ) -> list[Hit]:
        """The k memories that answer a query best, best first, of those that match: every scope given, every
        condition of `where`, and created at `since` or later and before `until`.

        `where` maps a key of metadata to the value that it must equal, or to operators and operands:
        `{"topic": "food", "turn": {">=": 3, "<": 9}, "kind": {"in": ["a", "b"]}, "seat": {"exists": True}}`. Values
        are compared with those of their own type alone (3 is not "3"); `!=` and `not in` take all that `=` and `in`
        leave, so also what has no such key; `a.b` is a key of that name, or `b` in the object under `a`. The times
        are datetimes, ISO 8601 strings (UTC where no zone is said), or ages such as `7d` (s, m, h, d, w).

        The filter applies before the k are taken, so fewer come back only where fewer match. How they are ranked is
        said in `Ranking`. Raises UsageError for a blank query or k below 1, and ModelError, StoreError.
        """
        wanted = SearchFilter.of(agent_id, user_id, run_id, memory_type, where, since, until)
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


def _check_text(text: str) -> None:
    if not text.strip():
        raise UsageError("the query is empty: say what to search for")
    if not is_encodable(text):
        raise UsageError("the query is not valid text: it has bytes that aren't UTF-8")
