"""How a score comes about: pure functions of figures between 0 and 1, but for the cosine, which may be negative."""

from typing import Final

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
