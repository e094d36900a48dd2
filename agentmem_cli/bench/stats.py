"""Figures from samples: pure functions."""

import statistics
from collections.abc import Sequence


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle. Raises ValueError for none."""
    if not samples:
        raise ValueError("no samples")
    return statistics.median(samples)


def nearest_to_median(samples: Sequence[float]) -> int:
    """The index of the sample that is nearest to the median; the first of equals."""
    middle = median(samples)
    return min(range(len(samples)), key=lambda i: abs(samples[i] - middle))


def relative_spread(samples: Sequence[float]) -> float:
    """(max - min) / median: 0 for equal samples."""
    return (max(samples) - min(samples)) / median(samples)
