"""Figures from samples: pure functions. Intervals are in `agentmem_cli.stats`."""

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Final

_ONE_WAY: Final = 0.8  # so much of Kendall's tau five samples in any order have in 1 of 12 cases


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle. Raises ValueError for none."""
    if not samples:
        raise ValueError("no samples")
    return statistics.median(samples)


def quantile(samples: Sequence[float], share: float) -> float | None:
    """The least sample that this share of them does not exceed, or None where too few lie beyond it to tell.

    The inverse of the empirical distribution (Hyndman, Fan 1996, definition 1): it is always one of the samples. At
    least one must be expected beyond it: 2 samples for a share of 0.5, 20 for 0.95, 100 for 0.99.
    """
    if round(len(samples) * (1 - share), 9) < 1:
        return None
    return sorted(samples)[math.ceil(round(len(samples) * share, 9)) - 1]


def relative_spread(samples: Sequence[float]) -> float:
    """(max - min) / median: 0 for equal samples."""
    return (max(samples) - min(samples)) / median(samples)


def drift(samples: Sequence[float]) -> float:
    """By how much of their median samples rise, or fall, from first to last; 0 where they do not go one way.

    Theil-Sen's slope (Sen 1968) over the whole series; one way is where Kendall's tau is at least 0.8. Less than 5
    samples go one way by chance too often, and have none.
    """
    if len(samples) < 5:
        return 0.0
    pairs = list(itertools.combinations(enumerate(samples), 2))
    signs = [(second > first) - (second < first) for (_, first), (_, second) in pairs]
    if abs(sum(signs)) / len(pairs) < _ONE_WAY:
        return 0.0
    slopes = [(second - first) / (j - i) for (i, first), (j, second) in pairs]
    return median(slopes) * (len(samples) - 1) / median(samples)
