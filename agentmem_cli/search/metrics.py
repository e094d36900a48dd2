"""How good a ranking is: pure functions of the ids that came back, with their scores, and the ids that should have.

Hits of equal score could as well stand in another order. So each figure is what it is on average over all orders that
the scores allow, in closed form (McSherry, Najork 2008, "Computing information retrieval performance measures
efficiently in the presence of tied scores"); without ties these are the usual figures. Every function takes the
ranking best first, each id once, and raises ValueError where no id is relevant.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

Ranked: TypeAlias = Sequence[tuple[str, float]]  # ids with their scores


class _Ties(NamedTuple):
    """Hits of one score: how many come before them, how many they are, and how many of them are relevant."""

    before: int
    size: int
    relevant: int


def recall_at(k: int, ranked: Ranked, relevant: Collection[str]) -> float:
    """The share of the relevant ids that are among the first k."""
    wanted = _checked(relevant)
    return sum(share for _, share in _relevance(k, ranked, wanted)) / len(wanted)


def ndcg_at(k: int, ranked: Ranked, relevant: Collection[str]) -> float:
    """Normalised discounted cumulative gain of the first k, each relevant id a gain of 1 (Järvelin, Kekäläinen 2002).

    The discount of rank r, counted from 1, is 1 / log2(r + 1).
    """
    wanted = _checked(relevant)
    gain = sum(share * _discount(rank) for rank, share in _relevance(k, ranked, wanted))
    return gain / sum(_discount(rank) for rank in range(1, min(k, len(wanted)) + 1))


def reciprocal_rank_at(k: int, ranked: Ranked, relevant: Collection[str]) -> float:
    """1 / the rank of the first relevant id, counted from 1, or 0 where it is not among the first k."""
    for ties in _ties(ranked, _checked(relevant)):
        if ties.relevant:
            ranks = range(1, min(ties.size, k - ties.before) + 1)
            return sum(_first_at(rank, ties) / (ties.before + rank) for rank in ranks)
    return 0.0


def first_rank(ranked: Ranked, relevant: Collection[str]) -> int | None:
    """The rank of the first relevant id, counted from 1, and with ties the last that it may have; None for none."""
    for ties in _ties(ranked, _checked(relevant)):
        if ties.relevant:
            return ties.before + ties.size - ties.relevant + 1
    return None


def _relevance(k: int, ranked: Ranked, wanted: set[str]) -> Iterator[tuple[int, float]]:
    """The ranks among the first k that may be relevant, and how likely they are."""
    for ties in _ties(ranked, wanted):
        if ties.relevant:
            for rank in range(ties.before + 1, min(ties.before + ties.size, k) + 1):
                yield rank, ties.relevant / ties.size


def _ties(ranked: Ranked, wanted: set[str]) -> Iterator[_Ties]:
    before = 0
    for _, group in groupby(ranked, key=lambda hit: hit[1]):
        ids = [identity for identity, _ in group]
        yield _Ties(before, len(ids), len(wanted.intersection(ids)))
        before += len(ids)


def _first_at(rank: int, ties: _Ties) -> float:
    """How likely the first relevant of these hits, in random order, is at this rank of theirs."""
    return math.comb(ties.size - rank, ties.relevant - 1) / math.comb(ties.size, ties.relevant)


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def _checked(relevant: Collection[str]) -> set[str]:
    if not relevant:
        raise ValueError("no id is relevant: such a query can't be judged")
    return set(relevant)
