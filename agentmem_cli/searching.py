"""The part of AgentMem that searches: one question, or many at once."""

import threading
from collections.abc import Mapping, Sequence

from agentmem_cli.checks import JsonScalar, is_encodable
from agentmem_cli.embedding.base import Embedder, Vectors, embed_queries_checked
from agentmem_cli.errors import UsageError
from agentmem_cli.memory import Hit, SearchFilter
from agentmem_cli.queries import LabelledQuery
from agentmem_cli.ranking import NEIGHBOUR_SHARE, Mode, Query, Ranking
from agentmem_cli.search.evaluation import Evaluation, evaluate
from agentmem_cli.search.retrieve import Search
from agentmem_cli.store.embedded import EmbeddedStore


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
        ranking = ranking or Ranking()
        with self._turn:
            vectors = {} if ranking.mode == "text" else self._vectors(queries)
            return self._answers(queries, vectors, k, ranking)

    def evaluate(
        self, queries: Sequence[LabelledQuery], rankings: Sequence[Ranking] = (Ranking(),)
    ) -> list[Evaluation]:
        """How well each ranking finds what queries ask for, of those queries whose relevant ids are said.

        Queries are embedded once for all rankings. `agentmem_cli.search.evaluation.compare` compares two of the
        results, query by query. Raises UsageError where no query has relevant ids, and ModelError, StoreError.
        """
        labelled = [query.query for query in queries if query.relevant]
        for query in labelled:
            _check_text(query.text)
        with self._turn:
            by_words_alone = all(ranking.mode == "text" for ranking in rankings)
            vectors = {} if by_words_alone else self._vectors(labelled)
            relevant = dict.fromkeys(identity for query in queries for identity in query.relevant)
            missing = [i for i in relevant if not is_encodable(i) or self._store.get(i) is None]

            def evaluation(ranking: Ranking) -> Evaluation:
                return evaluate(queries, lambda asked, k: self._answers(asked, vectors, k, ranking), missing)

            return [evaluation(ranking) for ranking in rankings]

    def _vectors(self, queries: Sequence[Query]) -> dict[str, Vectors]:
        """The vectors of those queries that any memory may answer, by text; the model isn't loaded for none."""
        texts = list(dict.fromkeys(query.text for query in queries if self._store.any(query.wanted)))
        return dict(zip(texts, embed_queries_checked(self.load(), texts), strict=True)) if texts else {}

    def _answers(
        self, queries: Sequence[Query], vectors: Mapping[str, Vectors], k: int, ranking: Ranking
    ) -> list[list[Hit]]:
        pin = self.load().spec.fingerprint() if vectors else None
        return [self._hits(query, vectors.get(query.text), pin, k, ranking) for query in queries]

    def _hits(
        self, query: Query, vector: Vectors | None, pin: Mapping[str, str | int] | None, k: int, ranking: Ranking
    ) -> list[Hit]:
        if vector is None and ranking.mode != "text":
            return []  # no memory matches
        with self._store.view(query.wanted, pin) as view:
            return [] if view is None else Search(view, query.text, vector, ranking).hits(k)


def _check_text(text: str) -> None:
    if not text.strip():
        raise UsageError("the query is empty: say what to search for")
    if not is_encodable(text):
        raise UsageError("the query is not valid text: it has bytes that aren't UTF-8")
