"""The formulas of the ranking: how meaning, words, neighbours and mentions make one score.

A memory's relevance is max(0, r * z + W * share ** P). z is its cosine in standard deviations above the mean, estimated
from a sample of the memories that match, so models with wide and narrow ranges of cosines count alike. share is the
part of the query's words that it has, by weight. r is 0 where the model can't read the query. The constants hold for
every model and language; `tests/perf/ranking_trials` compares them with others.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.embedding.languages import UNREAD_WARNING_RATIO

WORDS: Final = 13.0  # what all of a query's words add, in standard deviations of the cosine
WORDS_POWER: Final = 1.25
SECOND_NEIGHBOUR: Final = 0.5  # of what the nearest neighbours add
SPEAKER_FACTOR: Final = 1.4
TIME_FACTOR: Final = 1.5
_UNREADABLE: Final = 0.5  # the unread share of a query from which the model has no say
_K1: Final = 1.2
_SHORT_WORDS, _LONG_WORDS = 30, 130  # mean lengths at which words count by presence, and by BM25 with the usual k1
_LEAST_SPREAD: Final = 1e-6
_EVIDENCE_POWER: Final = 0.25
_UNSAID_IMPORTANCE: Final = 0.5


@dataclass(frozen=True, slots=True)
class CosineScale:
    """The mean and the standard deviation of a query's cosines with the memories that match, and how far the model
    reads the query, 0 to 1."""

    mean: float
    spread: float
    readable: float

    @classmethod
    def of(cls, cosines: NDArray[np.float32], unread_ratio: float) -> "CosineScale":
        """The scale of a sample's cosines (n,), for a query of which the model does not know `unread_ratio`."""
        say = (_UNREADABLE - unread_ratio) / (_UNREADABLE - UNREAD_WARNING_RATIO)
        readable = min(max(say, 0.0), 1.0)
        return cls(float(cosines.mean()), float(cosines.std()), readable) if len(cosines) else cls(0.0, 0.0, readable)

    def meaning(self, cosine: float) -> float:
        """What a memory's cosine adds to its relevance: r * z."""
        if self.spread <= _LEAST_SPREAD:
            return 0.0
        return self.readable * (cosine - self.mean) / self.spread


def words_score(share: float) -> float:
    """What a memory's share of the query's words adds to its relevance."""
    return WORDS * math.pow(share, WORDS_POWER)


def k1_for(mean_words: float) -> float:
    """BM25's k1 for memories of this mean length: 0, which counts presence alone, for short ones."""
    long = (mean_words - _SHORT_WORDS) / (_LONG_WORDS - _SHORT_WORDS)
    return _K1 * min(max(long, 0.0), 1.0)


def evidence(cosine: float, share: float, readable: float, unspaced_weight: float) -> float:
    """How sure it is that a memory answers a query, 0 to 1: sqrt((r c^2 + s^2) / (1 + r)). Comparable between queries.

    Half of the character pairs of an unspaced query straddle two words, so s counts up to twice the share there.
    """
    fair = min(1.0, share * (1 + unspaced_weight))
    return math.sqrt((readable * max(cosine, 0.0) ** 2 + fair**2) / (1 + readable))


def shown_score(sure: float, score: float, best: float) -> float:
    """The score of a hit: the evidence of the best hits, less for a hit whose relevance is below the best."""
    return sure * (max(score, 0.0) / best) ** _EVIDENCE_POWER if best > 0 else sure


def recency_factor(age_s: float, half_life_s: float) -> float:
    """2 ** (-age / half-life): 1 for a new memory, half after each half-life. Times in the future count as new."""
    return float(0.5 ** (max(age_s, 0.0) / half_life_s))


def importance_factor(importance: float | None, weight: float) -> float:
    """1 - weight + weight * importance; a memory without an importance counts as 0.5."""
    known = _UNSAID_IMPORTANCE if importance is None else min(max(importance, 0.0), 1.0)
    return 1 - weight + weight * known
