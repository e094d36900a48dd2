"""Intervals of means, medians and ratios. Pure functions; equal arguments give equal results.

All intervals except that of `paired_ratio` are bootstrap percentile intervals (Efron, Tibshirani 1993, chapter 13): the
samples are redrawn with replacement, and the interval is the middle 95 % of the resulting figures. Measured coverage of
these 95 % intervals: means, 81 to 86 % with 5 samples and 90 to 94 % with 30; medians, 94 % with 5 samples and 87 to
93 % with 6 to 11; ratios of two unpaired medians, 97 % with 5 samples and 90 % with 3.

scipy.stats has these functions too, but importing it takes 1.3 s longer than numpy alone (best of 10 on 2 cores), and
it is the largest package of an installation (143 MB).
"""

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Statistic: TypeAlias = Literal["mean", "median"]
Samples: TypeAlias = NDArray[np.float64]
_DRAWS_AT_ONCE: Final = 1 << 20
_TAIL: Final = 0.025


@dataclass(frozen=True, slots=True)
class Interval:
    """The bounds of a figure."""

    low: float
    high: float


def bootstrap_interval(
    samples: Sequence[float],
    statistic: Statistic,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The interval of the mean or median of samples. Raises ValueError if there are none."""
    columns = np.asarray(samples, dtype=np.float64).reshape(-1, 1)
    return bootstrap_intervals(columns, statistic, confidence=confidence, resamples=resamples, seed=seed)[0]


def bootstrap_intervals(
    rows: Samples, statistic: Statistic, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> list[Interval]:
    """The interval of the mean or median of each column of `rows` (n, columns); whole rows are redrawn.

    Each interval is the same as for that column alone. Raises ValueError if there are no rows or a sample is not
    finite.
    """
    return _intervals(_resampled(rows, statistic, resamples, np.random.default_rng(seed)), confidence)


def bootstrap_ratio(
    samples: Sequence[float],
    base: Sequence[float],
    statistic: Statistic,
    *,
    paired: bool,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The interval of the ratio of samples to a base.

    Paired, it is the interval of the statistic of the ratios of the pairs. Unpaired, it is that of the ratio of the two
    statistics; each side is redrawn independently. Raises ValueError if there are no samples, if the sides of pairs
    differ in number, or if a sample of the base is not positive.
    """
    over, under = np.asarray(samples, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if not (under > 0).all():
        raise ValueError("the base of a ratio must be positive")
    generator = np.random.default_rng(seed)
    if paired:
        if len(over) != len(under):
            raise ValueError(f"{len(over)} samples and {len(under)} of the base can't be paired")
        return _intervals(_resampled((over / under)[:, None], statistic, resamples, generator), confidence)[0]
    figures = [_resampled(side[:, None], statistic, resamples, generator) for side in (over, under)]
    return _intervals(figures[0] / figures[1], confidence)[0]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; None if there are too few samples."""

    figure: float
    interval: Interval | None


def paired_ratio(ratios: Sequence[float]) -> Estimate:
    """The ratio of two quantities from the ratios of pairs measured in turn; it has an interval from 6 pairs on.

    The figure is the median of the geometric means of all pairs of ratios, each ratio with itself included. The
    interval follows from Wilcoxon's signed ranks (Hodges, Lehmann 1963; Hollander, Wolfe, Chicken 2014, section 3.3).
    The only assumption is that logarithms of ratios are distributed symmetrically, which holds if the sides alternate
    in going first. Measured with 7 pairs, the coverage is 95 %, for normal samples and for samples with many outliers;
    that of a bootstrapped median is 87 %. Student's interval is 1.05 times narrower for normal samples, but a single
    outlier shifts it. Raises ValueError if there are no ratios, or if one is not positive and finite.
    """
    samples = np.asarray(ratios, dtype=np.float64)
    if not len(samples) or not ((samples > 0) & np.isfinite(samples)).all():
        raise ValueError("give at least one ratio; ratios must be positive and finite")
    logs = np.log(samples)
    first, second = np.triu_indices(len(logs))
    means = np.sort((logs[first] + logs[second]) / 2)
    rank = _signed_rank(len(logs))
    ends = None if rank == 0 else np.exp(means[[rank - 1, -rank]])
    return Estimate(float(np.exp(np.median(means))), None if ends is None else Interval(float(ends[0]), float(ends[1])))


def _signed_rank(count: int) -> int:
    """The rank, from each end, of the pairwise mean that bounds the 95 % interval; 0 if there are too few samples."""
    ways = np.array(
        [1.0]
    )  # of the 2**count ways to sign the ranks 1 to count, how many have each sum of positive ranks
    for rank in range(1, count + 1):
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    return int(np.count_nonzero(np.cumsum(ways) / 2.0**count <= _TAIL))


def _resampled(rows: Samples, statistic: Statistic, resamples: int, generator: np.random.Generator) -> Samples:
    """The statistic of each column for each resampling of the rows: (resamples, columns)."""
    if not len(rows):
        raise ValueError("no samples")
    if not np.isfinite(rows).all():
        raise ValueError("a sample is not a finite number")
    of_draws = _means if statistic == "mean" else _medians
    return np.concatenate([of_draws(rows, draws) for draws in _draws(len(rows), resamples, generator)])


def _draws(count: int, resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The row numbers of each draw, (draws, count), in blocks of bounded size."""
    at_once = max(1, _DRAWS_AT_ONCE // count)
    for start in range(0, resamples, at_once):
        yield generator.integers(count, size=(min(at_once, resamples - start), count))


def _means(rows: Samples, draws: NDArray[np.int64]) -> Samples:
    # A matrix product with the number of times each row was drawn is faster than gathering the rows.
    cells = draws + np.arange(len(draws))[:, None] * len(rows)
    times = np.bincount(cells.ravel(), minlength=draws.size).reshape(draws.shape)
    means: Samples = times.astype(np.float64) @ rows / len(rows)
    return means


def _medians(rows: Samples, draws: NDArray[np.int64]) -> Samples:
    return np.stack([np.median(column[draws], axis=1) for column in rows.T], axis=1)


def _intervals(figures: Samples, confidence: float) -> list[Interval]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: it must be between 0 and 1")
    tail = (1 - confidence) / 2
    lows, highs = np.quantile(figures, [tail, 1 - tail], axis=0)
    return [Interval(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]


_MONOTONIC: Final = 0.8  # five samples in random order reach this Kendall's tau in 1 of 12 cases


def median(samples: Sequence[float]) -> float:
    """The median of samples. Raises ValueError if there are none."""
    if not samples:
        raise ValueError("no samples")
    return statistics.median(samples)


def quantile(samples: Sequence[float], share: float) -> float | None:
    """The smallest sample that at least this share of the samples does not exceed; None if there are too few samples.

    It is the inverse of the empirical distribution (Hyndman, Fan 1996, definition 1), so it is always one of the
    samples. It needs 2 samples for a share of 0.5, 20 for 0.95 and 100 for 0.99: one is expected above it.
    """
    if round(len(samples) * (1 - share), 9) < 1:
        return None
    return sorted(samples)[math.ceil(round(len(samples) * share, 9)) - 1]


def relative_spread(samples: Sequence[float]) -> float:
    """(max - min) / median: 0 for equal samples."""
    return (max(samples) - min(samples)) / median(samples)


def drift(samples: Sequence[float]) -> float:
    """The rise (negative: the fall) from the first sample to the last, as a share of their median; 0 without a trend.

    The slope is Theil-Sen's (Sen 1968). There is a trend if Kendall's tau is at least 0.8; fewer than 5 samples reach
    that too often by chance, so they have none.
    """
    if len(samples) < 5:
        return 0.0
    pairs = list(itertools.combinations(enumerate(samples), 2))
    signs = [(second > first) - (second < first) for (_, first), (_, second) in pairs]
    if abs(sum(signs)) / len(pairs) < _MONOTONIC:
        return 0.0
    slopes = [(second - first) / (j - i) for (i, first), (j, second) in pairs]
    return median(slopes) * (len(samples) - 1) / median(samples)
