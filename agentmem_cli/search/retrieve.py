"""A query -> the memories that answer it best: found by meaning and by words, ranked together.

A pool of candidates comes from both sides, so that no more than a few hundred memories are looked at one by one,
whatever the store holds.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.records.memory import Hit, Memory, ScoreParts, from_microseconds
from agentmem_cli.search.query import Ranking
from agentmem_cli.store.embedded.chunks import Span, TextScore
from agentmem_cli.store.embedded.rows import Candidate
from agentmem_cli.store.embedded.snapshot import Snapshot

_UNSAID_IMPORTANCE: Final = 0.5


def hybrid_score(cosine: float, text: float) -> float:
    """Half of it by meaning, half by words: (max(cosine, 0) + text) / 2, a convex sum (Bruch et al., arXiv:2210.11934).

    `text` is the share of the query's words, by weight, that a memory has; nothing depends on the other hits.
    """
    return (max(cosine, 0.0) + text) / 2


def recency_factor(age_s: float, half_life_s: float) -> float:
    """2 ** (-age / half-life): 1 for what is new, half after each half-life. What is in the future is new."""
    return float(0.5 ** (max(age_s, 0.0) / half_life_s))


def importance_factor(importance: float | None, weight: float) -> float:
    """1 - weight + weight * importance: of 1 for the most important. What nobody weighed counts as a half."""
    known = _UNSAID_IMPORTANCE if importance is None else min(max(importance, 0.0), 1.0)
    return 1 - weight + weight * known


_POOL: Final = 100  # candidates from each side at least, where both are looked at
_ENOUGH: Final = 2  # candidates, times what is asked for: the last of an approximate search are not sure
_LENDERS: Final = 30  # of the best at least, or what is asked for, whose neighbours are looked at
_DUPLICATE_COSINE: Final = 0.95
_FOLDED: Final = 10_000  # candidates at least that are looked through for k memories that are no near-duplicates

Vector: TypeAlias = NDArray[np.float32]


@dataclass(slots=True)
class _Scored:
    """A candidate on its way to a hit."""

    candidate: Candidate
    chunk: Span | None  # of a long text, where one of its chunks was nearer than its beginning
    cosine: float | None
    text: float | None
    base: float
    neighbours: float = 0.0
    recency: float = 1.0
    importance: float = 1.0

    @property
    def score(self) -> float:
        relevance = self.base + self.neighbours
        return relevance * self.recency * self.importance if relevance > 0 else relevance


class Search:
    """One query, asked of one snapshot of a store."""

    def __init__(self, snapshot: Snapshot, query: str, vector: Vector | None, ranking: Ranking) -> None:
        """`vector` (dim,) is the query's, of unit length; mode `text` needs none. Raises StoreError."""
        self._snapshot = snapshot
        self._vector = None if ranking.mode == "text" else vector
        self._ranking = ranking
        looks_at_words = ranking.mode != "vector"
        self._texts = snapshot.text_scores(query) if looks_at_words else None

    def hits(self, k: int) -> list[Hit]:
        """The k matching memories that answer the query best, best first; fewer where fewer match.

        Of equal scores comes first what arrived earlier.
        """
        if not self._ranking.dedupe:
            return self._with_memories([[scored] for scored in self._ranked(k, self._pool(k))[0][:k]])
        n = self._pool(k)
        while True:
            ranked, more = self._ranked(k, n)
            groups = self._folded(ranked, k)
            if len(groups) == k or not more or len(ranked) >= _FOLDED:
                return self._with_memories(groups)
            n *= 4

    def _pool(self, k: int) -> int:
        """How many candidates each side is asked for at first: more than the best, where these may change places."""
        ranking = self._ranking
        alone = ranking.mode == "vector" and ranking.recency_half_life_s is None and not ranking.importance_weight
        return _ENOUGH * k if alone else max(_POOL, _ENOUGH * k)

    def _ranked(self, k: int, n: int) -> tuple[list[_Scored], bool]:
        """The candidates, of the n best from each side, best first, and whether there may be more."""
        found, more = self._found(k, n)
        if self._ranking.mode == "hybrid" and self._ranking.neighbour_share:
            found = self._with_neighbours(found, max(k, _LENDERS))
        self._weigh(found)
        return sorted(found, key=_place), more

    # Candidates

    def _found(self, k: int, n: int) -> tuple[list[_Scored], bool]:
        while True:
            near, more = self._nearest(n)
            texts = self._best_texts(n)
            candidates = self._snapshot.candidates(list({**near, **dict.fromkeys(texts)}))
            more = more or len(texts) == n
            # A graph may still hold vectors of texts that are gone: then more must be asked of it.
            if len(candidates) >= _ENOUGH * k or not more:
                return self._scored(candidates, near), more
            n *= 4

    def _nearest(self, n: int) -> tuple[dict[int, TextScore], bool]:
        """The texts of the n nearest vectors by the vector's id, and whether there may be more."""
        return ({}, False) if self._vector is None else self._snapshot.nearest(self._vector, n)

    def _best_texts(self, n: int) -> list[int]:
        """The n texts that have most of the query; of equals the oldest, as among the hits."""
        if self._texts is None:
            return []
        held = np.flatnonzero(self._texts)
        if len(held) <= n:
            return [int(i) for i in held]
        scores = self._texts[held]
        last = np.partition(scores, len(held) - n)[len(held) - n]
        better = held[scores > last]
        return [int(i) for i in (*better, *held[scores == last][: n - len(better)])]

    def _scored(self, candidates: Sequence[Candidate], near: Mapping[int, TextScore]) -> list[_Scored]:
        if self._vector is not None:
            unknown = list({c.vector_id for c in candidates} - near.keys())
            near = {**near, **self._snapshot.cosines(self._vector, unknown)}
        return [self._base(candidate, near.get(candidate.vector_id)) for candidate in candidates]

    def _base(self, candidate: Candidate, near: TextScore | None) -> _Scored:
        cosine = None if near is None else max(-1.0, min(1.0, near.score))  # float32 rounds a little past the ends
        chunk = None if near is None else near.chunk
        text = None if self._texts is None else _at(self._texts, candidate.vector_id)
        if cosine is not None and text is not None:
            return _Scored(candidate, chunk, cosine, text, hybrid_score(cosine, text))
        return _Scored(candidate, chunk, cosine, text, cosine or text or 0.0)

    # Ranking

    def _with_neighbours(self, found: list[_Scored], lenders: int) -> list[_Scored]:
        """The candidates and their neighbours in their runs, each with what its neighbours lend to it."""
        pairs: set[tuple[int, int]] = set()
        for scored in sorted(found, key=_place)[:lenders]:
            seq = scored.candidate.seq
            before, after = self._snapshot.around(seq, 1)
            pairs |= {(seq_before, seq) for seq_before in before} | {(seq, seq_after) for seq_after in after}
        by_seq = {scored.candidate.seq: scored for scored in found}
        missing = {seq for pair in pairs for seq in pair} - by_seq.keys()
        for scored in self._scored(self._snapshot.candidates_at(sorted(missing)), {}):
            by_seq[scored.candidate.seq] = scored
        for pair in pairs:
            if all(seq in by_seq for seq in pair):
                one, other = by_seq[pair[0]], by_seq[pair[1]]
                one.neighbours += self._ranking.neighbour_share * other.base
                other.neighbours += self._ranking.neighbour_share * one.base
        return list(by_seq.values())

    def _weigh(self, found: Iterable[_Scored]) -> None:
        half_life_s, weight = self._ranking.recency_half_life_s, self._ranking.importance_weight
        now_s = time.time()
        for scored in found:
            if half_life_s is not None:
                scored.recency = recency_factor(now_s - scored.candidate.created_at_us / 1e6, half_life_s)
            if weight:
                scored.importance = importance_factor(scored.candidate.importance, weight)

    def _folded(self, ranked: Sequence[_Scored], k: int) -> list[list[_Scored]]:
        """The k best that are not near-duplicates of a better one, each with its near-duplicates after it."""
        if not ranked:
            return []
        vectors = self._snapshot.vectors([scored.candidate.vector_id for scored in ranked])
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
        around = {g[0].candidate.seq: self._snapshot.around(g[0].candidate.seq, context) for g in groups if context}
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


def _at(texts: NDArray[np.float32], vector_id: int) -> float:
    return float(texts[vector_id]) if 0 <= vector_id < len(texts) else 0.0  # a damaged row may say anything


def _place(scored: _Scored) -> tuple[float, int]:
    """What candidates are sorted by."""
    return -scored.score, scored.candidate.seq


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
        score=scored.score,
        text=memory.text,
        agent_id=scope.agent_id,
        user_id=scope.user_id,
        run_id=scope.run_id,
        memory_type=scope.memory_type,
        importance=memory.importance,
        created_at=memory.created_at or from_microseconds(0),
        metadata=memory.metadata,
        parts=ScoreParts(scored.cosine, scored.text, scored.neighbours, scored.recency, scored.importance),
        before=before,
        after=after,
        chunk=None if scored.chunk is None else memory.text[slice(*scored.chunk)],
        duplicates=duplicates,
    )
