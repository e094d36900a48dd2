"""The part of AgentMem that searches: one question, or many at once."""

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from agentmem_cli.embedding.base import Embedder, Vectors, embed_checked, embed_queries_checked
from agentmem_cli.embedding.languages import ModelAdvice, better_model, letters_by_script
from agentmem_cli.errors import UsageError
from agentmem_cli.records.filter import Where
from agentmem_cli.records.memory import Hit, SearchFilter
from agentmem_cli.records.times import parse_span
from agentmem_cli.records.values import check_whole, is_encodable, kind_of
from agentmem_cli.search.evaluation import Evaluation, evaluate
from agentmem_cli.search.query import NEIGHBOUR_SHARE, LabelledQuery, Mode, Query, Ranking
from agentmem_cli.search.retrieve import Search
from agentmem_cli.store.embedded.store import EmbeddedStore

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
        where: Where | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        mode: Mode = "hybrid",
        neighbour_share: float = NEIGHBOUR_SHARE,
        recency_half_life: timedelta | str | None = None,
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
        half_life_s = (
            None if recency_half_life is None else parse_span("recency_half_life", recency_half_life).total_seconds()
        )
        ranking = Ranking(mode, neighbour_share, half_life_s, importance_weight, dedupe, context)
        return self.search_many([Query(query, wanted)], k, ranking)[0]

    def search_many(self, queries: Sequence[Query], k: int = 10, ranking: Ranking | None = None) -> list[list[Hit]]:
        """The hits of each query, in the order of the queries; they are embedded together."""
        check_whole("k", k, at_least=1)
        for query in queries:
            if not isinstance(query, Query):
                raise UsageError(f"a query is a Query(text, filter), not {kind_of(query)}")
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
    if not isinstance(text, str):
        raise UsageError(f"a query's text must be a string, not {kind_of(text)}")
    if not text.strip():
        raise UsageError("the query is empty: say what to search for")
    if not is_encodable(text):
        raise UsageError("the query is not valid text: it has bytes that aren't UTF-8")
