"""How good a ranking is: pure functions of the ids that came back and the ids that should have."""

import math
from collections.abc import Collection, Sequence


def recall_at(k: int, ranked: Sequence[str], relevant: Collection[str]) -> float:
    """The share of the relevant ids that are among the first k. Raises ValueError where none is relevant."""
    return len(set(ranked[:k]) & _checked(relevant)) / len(set(relevant))


def ndcg_at(k: int, ranked: Sequence[str], relevant: Collection[str]) -> float:
    """Normalised discounted cumulative gain of the first k, each relevant id a gain of 1 (Järvelin, Kekäläinen 2002).

    The discount of rank r, counted from 1, is 1 / log2(r + 1). Raises ValueError where none is relevant.
    """
    wanted = _checked(relevant)
    gain = sum(_discount(rank) for rank, identity in enumerate(ranked[:k], start=1) if identity in wanted)
    return gain / sum(_discount(rank) for rank in range(1, min(k, len(wanted)) + 1))


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def _checked(relevant: Collection[str]) -> set[str]:
    if not relevant:
        raise ValueError("no id is relevant: such a query can't be judged")
    return set(relevant)
