"""A query -> the memories that answer it best, by meaning and by words.

Both sides contribute to a pool of candidates, so that a few hundred memories are scored, whatever the store holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

import numpy as np

from agentmem_cli.embedding.base import Embedder, embed_checked, embed_queries_checked
from agentmem_cli.embedding.languages import ModelAdvice, better_model, letters_by_script
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Hit, Memory, ScoreParts, Span, from_microseconds
from agentmem_cli.records.values import is_possible_id
from agentmem_cli.search.evaluation import Evaluation, evaluate
from agentmem_cli.search.mentions import named_speaker, named_times, names_in
from agentmem_cli.search.query import LabelledQuery, Query, Ranking
from agentmem_cli.search.relevance import (
    SECOND_NEIGHBOUR,
    SPEAKER_FACTOR,
    TIME_FACTOR,
    CosineScale,
    evidence,
    importance_factor,
    k1_for,
    recency_factor,
    shown_score,
    words_score,
)
from agentmem_cli.store.base import Candidate, MemoryStore, Pin, Snapshot, TextScore, Vector

_POOL: Final = 100  # candidates from each side, at least
_ENOUGH: Final = 2  # times k: the last candidates of an approximate search are uncertain
_LENDERS: Final = 30  # the best candidates whose neighbours are scored, at least
_DUPLICATE_COSINE: Final = 0.95
_FOLDED: Final = 10_000  # candidates to go through for k that are not near-duplicates, at least
_JUDGED: Final = 3  # the best candidates, whose evidence is looked at
_ADVISING_MEMORIES: Final = 100


@dataclass(slots=True)
class _Scored:
    """A candidate on its way to a hit."""

    candidate: Candidate
    chunk: Span | None  # the chunk of a long text that is nearer than its beginning
    cosine: float | None
    word_share: float | None
    base: float
    score: float  # the base, until `_weigh` adds the rest
    meaning: float = 0.0
    words: float = 0.0
    neighbours: float = 0.0
    speaker: float = 1.0
    time: float = 1.0
    recency: float = 1.0
    importance: float = 1.0
    shown: float = 0.0


def pool(k: int, ranking: Ranking) -> int:
    """How many candidates each side gives at first for k hits: more than k, as the final order may differ."""
    alone = ranking.mode == "meaning" and ranking.recency_half_life_s is None and not ranking.importance_weight
    return _ENOUGH * k if alone else max(_POOL, _ENOUGH * k)


class Search:
    """One query, asked of one snapshot of a store."""

    def __init__(
        self, snapshot: Snapshot, query: str, vector: Vector | None, ranking: Ranking, unread_ratio: float = 0.0
    ) -> None:
        """`vector` (dim,) is the query's, of unit length; mode `words` needs none. `unread_ratio` is the share of the
        query that the model has no words for. Raises StoreError."""
        self._snapshot = snapshot
        self._query = query
        self._vector = None if ranking.mode == "words" else vector
        self._ranking = ranking
        self._by_words = ranking.mode != "meaning"
        self._k1 = k1_for(snapshot.sample().mean_words) if self._by_words else 0.0
        self._scale: CosineScale | None = None
        if ranking.mode == "hybrid" and vector is not None:
            sample = snapshot.sample().vectors
            self._scale = CosineScale.of(sample @ vector if len(sample) else np.empty(0, np.float32), unread_ratio)

    def hits(self, k: int) -> list[Hit]:
        """The k matching memories that answer the query best, best first; fewer where fewer match.

        Among equal scores the nearest in meaning come first, then earlier arrivals.
        """
        floor = self._ranking.min_score
        groups = self._groups(k)
        return self._with_memories([group for group in groups if floor is None or group[0].shown >= floor])

    def _groups(self, k: int) -> list[list[_Scored]]:
        """The k best, each with its near-duplicates after it where they are folded."""
        n = pool(k, self._ranking)
        if not self._ranking.dedupe:
            ranked, _ = self._ranked(k, n)
            return self._shown(ranked, [[scored] for scored in ranked[:k]])
        while True:
            ranked, more = self._ranked(k, n)
            groups = self._folded(ranked, k)
            if len(groups) == k or not more or len(ranked) >= _FOLDED:
                return self._shown(ranked, groups)
            n *= 4

    def _ranked(self, k: int, n: int) -> tuple[list[_Scored], bool]:
        """The candidates among the n best of each side, best first, and whether there may be more."""
        candidates, more = self._candidates(k, n)
        if self._scale is not None and self._ranking.neighbour_share:
            candidates = self._with_neighbours(candidates, max(k, _LENDERS))
        self._weigh(candidates)
        return sorted(candidates, key=_place), more

    # Candidates

    def _candidates(self, k: int, n: int) -> tuple[list[_Scored], bool]:
        while True:
            near, more = self._nearest(n)
            texts = self._snapshot.best_texts(self._query, n, self._k1) if self._by_words else {}
            candidates = self._snapshot.candidates(list({**near, **texts}))
            more = more or len(texts) == n
            # A graph may still hold vectors of removed texts: then ask for more.
            if len(candidates) >= _ENOUGH * k or not more:
                return self._scored(candidates, near, texts), more
            n *= 4

    def _nearest(self, n: int) -> tuple[dict[int, TextScore], bool]:
        """The texts of the n nearest vectors by the vector's id, and whether there may be more."""
        return ({}, False) if self._vector is None else self._snapshot.nearest(self._vector, n)

    def _scored(
        self, candidates: Sequence[Candidate], near: Mapping[int, TextScore], texts: Mapping[int, float]
    ) -> list[_Scored]:
        """The candidates with both sides' scores, of which `near` and `texts` are those known by now."""
        ids = {candidate.text_id for candidate in candidates}
        if self._vector is not None:
            near = {**near, **self._snapshot.cosines(self._vector, list(ids - near.keys()))}
        if self._by_words:
            texts = {**texts, **self._snapshot.text_scores(self._query, list(ids - texts.keys()), self._k1)}
        return [self._base(c, near.get(c.text_id), texts.get(c.text_id)) for c in candidates]

    def _base(self, candidate: Candidate, near: TextScore | None, word_share: float | None) -> _Scored:
        cosine = None if near is None else max(-1.0, min(1.0, near.score))  # float32 rounds a little past the ends
        chunk = None if near is None else near.chunk
        if self._scale is None or cosine is None or word_share is None:
            base = cosine or word_share or 0.0
            return _Scored(candidate, chunk, cosine, word_share, base, base)
        meaning, words = self._scale.meaning(cosine), words_score(word_share)
        base = max(0.0, meaning + words)
        return _Scored(candidate, chunk, cosine, word_share, base, base, meaning, words)

    # Ranking

    def _with_neighbours(self, candidates: list[_Scored], lenders: int) -> list[_Scored]:
        """The candidates and their neighbours in their runs, each with the score that its neighbours add."""
        lending = [scored.candidate.seq for scored in sorted(candidates, key=_place)[:lenders]]
        pairs: dict[tuple[int, int], float] = {}  # two memories of a run, and the share that they give each other
        share = self._ranking.neighbour_share
        for seq, (before, after) in self._snapshot.around(lending, 2).items():
            for side in (before[::-1], after):
                for distance, other in enumerate(side):
                    pairs[min(seq, other), max(seq, other)] = share * SECOND_NEIGHBOUR**distance
        by_seq = {scored.candidate.seq: scored for scored in candidates}
        missing = {seq for pair in pairs for seq in pair} - by_seq.keys()
        for scored in self._scored(self._snapshot.candidates_at(sorted(missing)), {}, {}):
            by_seq[scored.candidate.seq] = scored
        for (first, second), share in pairs.items():
            if first in by_seq and second in by_seq:
                one, two = by_seq[first], by_seq[second]
                one.neighbours += share * two.base
                two.neighbours += share * one.base
        return list(by_seq.values())

    def _weigh(self, candidates: Iterable[_Scored]) -> None:
        half_life_s, weight = self._ranking.recency_half_life_s, self._ranking.importance_weight
        now = self._ranking.now or datetime.now(timezone.utc)
        is_hybrid = self._scale is not None
        said_by = self._named_speaker() if is_hybrid else frozenset[str]()
        times = named_times(self._query, now) if is_hybrid else []
        for scored in candidates:
            candidate = scored.candidate
            if candidate.said_by in said_by:
                scored.speaker = SPEAKER_FACTOR
            if times and any(time.holds(from_microseconds(candidate.created_at_us)) for time in times):
                scored.time = TIME_FACTOR
            if half_life_s is not None:
                scored.recency = recency_factor(now.timestamp() - candidate.created_at_us / 1e6, half_life_s)
            if weight:
                scored.importance = importance_factor(candidate.importance, weight)
            scored.score = scored.base + scored.neighbours
            if scored.score > 0:
                scored.score *= scored.speaker * scored.time * scored.recency * scored.importance

    def _named_speaker(self) -> frozenset[str]:
        return named_speaker(self._snapshot.speakers(names_in(self._query)))

    def _shown(self, ranked: Sequence[_Scored], groups: list[list[_Scored]]) -> list[list[_Scored]]:
        """The groups, after the first of each has got the score that its hit shows."""
        scale = self._scale
        if scale is None:
            for scored, *_ in groups:
                scored.shown = scored.score
            return groups
        unspaced = self._snapshot.unspaced_weight(self._query)
        sure = max(
            (evidence(s.cosine or 0.0, s.word_share or 0.0, scale.readable, unspaced) for s in ranked[:_JUDGED]),
            default=0.0,
        )
        best = ranked[0].score if ranked else 0.0
        for scored, *_ in groups:
            scored.shown = shown_score(sure, scored.score, best)
        return groups

    def _folded(self, ranked: Sequence[_Scored], k: int) -> list[list[_Scored]]:
        """The k best that are not near-duplicates of a better one, each with its near-duplicates after it."""
        if not ranked:
            return []
        vectors = self._snapshot.vectors([scored.candidate.text_id for scored in ranked])
        kept = np.empty((0, vectors.shape[1]), dtype=np.float32)
        groups: list[list[_Scored]] = []
        for scored, vector in zip(ranked, vectors, strict=True):
            cosines = kept @ vector
            if len(cosines) and cosines.max() >= _DUPLICATE_COSINE:
                groups[int(cosines.argmax())].append(scored)
            elif len(groups) < k:
                groups.append([scored])
                kept = np.vstack([kept, vector])
        return groups

    # Hits

    def _with_memories(self, groups: Sequence[Sequence[_Scored]]) -> list[Hit]:
        context = self._ranking.context
        around = self._snapshot.around([best.candidate.seq for best, *_ in groups], context) if context else {}
        seqs = {scored.candidate.seq for group in groups for scored in group}
        seqs |= {seq for sides in around.values() for side in sides for seq in side}
        memories = self._snapshot.memories_at(sorted(seqs))
        hits = []
        for best, *others in groups:
            before, after = around.get(best.candidate.seq, ([], []))
            hits.append(
                _hit(
                    best,
                    memories[best.candidate.seq],
                    before=tuple(memories[seq] for seq in before),
                    after=tuple(memories[seq] for seq in after),
                    duplicates=tuple(memories[scored.candidate.seq].id for scored in others),
                )
            )
        return hits


def _place(scored: _Scored) -> tuple[float, float, int]:
    """The sort key of candidates: the score, among equals the cosine, then the order of arrival."""
    return -scored.score, -(scored.cosine or 0.0), scored.candidate.seq


def _hit(
    scored: _Scored,
    memory: Memory,
    before: tuple[Memory, ...],
    after: tuple[Memory, ...],
    duplicates: tuple[str, ...],
) -> Hit:
    scope = memory.scope
    return Hit(
        id=memory.id,
        score=scored.shown,
        text=memory.text,
        agent_id=scope.agent_id,
        user_id=scope.user_id,
        run_id=scope.run_id,
        memory_type=scope.memory_type,
        importance=memory.importance,
        created_at=memory.created_at or from_microseconds(0),
        metadata=memory.metadata,
        speaker=memory.said_by,
        parts=ScoreParts(
            cosine=scored.cosine,
            word_share=scored.word_share,
            meaning=scored.meaning,
            words=scored.words,
            neighbours=scored.neighbours,
            speaker=scored.speaker,
            time=scored.time,
            recency=scored.recency,
            importance=scored.importance,
        ),
        before=before,
        after=after,
        chunk=None if scored.chunk is None else memory.text[slice(*scored.chunk)],
        duplicates=duplicates,
        expires_at=memory.expires_at,
    )


class Searcher:
    """Searches of one store with one model, which is loaded when a query is to be embedded."""

    def __init__(self, store: MemoryStore, load: Callable[[], Embedder]) -> None:
        self._store = store
        self._load = load

    def hits(self, queries: Sequence[Query], k: int, ranking: Ranking) -> list[list[Hit]]:
        """The k best hits of each query, in the order of the queries. Raises ModelError, StoreError."""
        vectors = self._vectors(queries, [ranking])
        return self._answers(queries, vectors, self._unread(vectors, [ranking]), k, ranking)

    def evaluations(self, queries: Sequence[LabelledQuery], rankings: Sequence[Ranking]) -> list[Evaluation]:
        """How well each ranking finds the relevant memories; queries are embedded once. Raises UsageError."""
        vectors = self._vectors([query.query for query in queries if query.relevant], rankings)
        unread = self._unread(vectors, rankings)
        relevant = dict.fromkeys(identity for query in queries for identity in query.relevant)
        missing = [i for i in relevant if not self._can_find(i)]

        def evaluation(ranking: Ranking) -> Evaluation:
            return evaluate(queries, lambda asked, k: self._answers(asked, vectors, unread, k, ranking), missing)

        return [evaluation(ranking) for ranking in rankings]

    def advice(self, texts: Sequence[str]) -> ModelAdvice | None:
        """Which model reads these queries and the newest memories, where this one can't; None where it can.

        Queries in Latin letters count as read. Raises ModelError, StoreError.
        """
        foreign = _foreign(texts)
        if not foreign:
            return None
        embedder = self._load()
        embedded = embed_checked(embedder, foreign)
        newest = self._store.page(SearchFilter(), _ADVISING_MEMORIES, 0) if self._store.exists else []
        tokens, letters = embedded.tokens - embedded.special_tokens, letters_by_script(foreign)
        store_letters = letters + letters_by_script(memory.text for memory in newest)
        return ModelAdvice.on(embedder.spec.name, tokens, embedded.unknown_tokens, letters, store_letters)

    def _can_find(self, identity: str) -> bool:
        memory = self._store.get(identity) if is_possible_id(identity) else None
        return memory is not None and not memory.has_expired(datetime.now(timezone.utc))

    def _vectors(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> dict[str, Vector]:
        """The vectors, by text, of those queries that a memory may answer; without any, no model is loaded."""
        if all(ranking.mode == "words" for ranking in rankings):
            return {}
        texts = list(dict.fromkeys(query.text for query in queries if self._store.any(query.filter)))
        return dict(zip(texts, embed_queries_checked(self._load(), texts), strict=True)) if texts else {}

    def _unread(self, texts: Iterable[str], rankings: Sequence[Ranking]) -> dict[str, float]:
        """The share of each query that the model has no words for. Queries in Latin letters alone are left out."""
        if all(ranking.mode != "hybrid" for ranking in rankings):
            return {}
        return {text: self._unread_ratio(text) for text in _foreign(texts)}

    def _unread_ratio(self, text: str) -> float:
        embedder = self._load()
        embedded = embed_checked(embedder, [text])
        tokens = embedded.tokens - embedded.special_tokens
        advice = ModelAdvice.on(embedder.spec.name, tokens, embedded.unknown_tokens, letters_by_script([text]))
        if advice is not None:
            return advice.unread_ratio
        return embedded.unknown_tokens / tokens if tokens else 0.0

    def _answers(
        self,
        queries: Sequence[Query],
        vectors: Mapping[str, Vector],
        unread: Mapping[str, float],
        k: int,
        ranking: Ranking,
    ) -> list[list[Hit]]:
        pin = self._load().spec.fingerprint() if vectors else None
        return [
            self._answer(query, vectors.get(query.text), unread.get(query.text, 0.0), pin, k, ranking)
            for query in queries
        ]

    def _answer(
        self, query: Query, vector: Vector | None, unread_ratio: float, pin: Pin | None, k: int, ranking: Ranking
    ) -> list[Hit]:
        if vector is None and ranking.mode != "words":
            return []  # no memory matches
        with self._store.snapshot(query.filter, pin) as snapshot:
            return [] if snapshot is None else Search(snapshot, query.text, vector, ranking, unread_ratio).hits(k)


def _foreign(texts: Iterable[str]) -> list[str]:
    """Those of the texts that are not in Latin letters alone."""
    return [text for text in texts if better_model(letters_by_script([text])) is not None]
