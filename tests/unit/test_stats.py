"""Medians, quantiles that enough samples can tell, the spread, and drift."""

import pytest

from agentmem_cli.support.statistics import drift, median, quantile, relative_spread


@pytest.mark.parametrize(
    ("samples", "expected"), [([3.0], 3.0), ([9.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 9.0, 2.0], 3.0), ([2.0, 2.0], 2.0)]
)
def test_the_median_is_in_the_middle_whatever_the_order(samples: list[float], expected: float) -> None:
    assert median(samples) == expected


def test_one_wild_sample_does_not_move_the_median() -> None:
    assert median([1.0, 1.0, 1.0, 1.0, 1000.0]) == 1.0


def test_there_is_no_median_of_no_samples() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median([])


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        (0, 0.5, None),
        (1, 0.5, None),
        (2, 0.5, 1),
        (3, 0.5, 2),
        (19, 0.95, None),
        (20, 0.95, 19),
        (99, 0.99, None),
        (100, 0.99, 99),
        (101, 0.99, 100),
        (1000, 0.99, 990),
    ],
)
def test_a_quantile_is_a_sample_and_there_is_none_where_too_few_lie_beyond(
    count: int, share: float, expected: int | None
) -> None:
    descending = [float(value) for value in range(count, 0, -1)]
    assert quantile(descending, share) == expected


@pytest.mark.parametrize(
    ("samples", "spread"), [([2.0], 0.0), ([2.0, 2.0], 0.0), ([1.0, 2.0, 3.0], 1.0), ([0.5, 0.25, 0.375], 2 / 3)]
)
def test_the_spread_is_relative_to_the_median(samples: list[float], spread: float) -> None:
    assert relative_spread(samples) == pytest.approx(spread)


@pytest.mark.parametrize(
    ("samples", "change"),
    [
        ([1.0, 1.1, 1.2, 1.3, 1.4], 0.4 / 1.2),
        ([1.4, 1.3, 1.2, 1.1, 1.0], -0.4 / 1.2),
        ([1.0, 1.1, 1.2, 1.4, 1.3], 0.4 / 1.2),  # two have changed places
        ([1.0, 1.3, 1.1, 1.4, 1.0], 0.0),  # no way
        ([1.0, 1.2, 1.4, 1.6], 0.0),  # too few
        ([1.0] * 5, 0.0),
    ],
)
def test_samples_drift_where_they_go_one_way(samples: list[float], change: float) -> None:
    assert drift(samples) == pytest.approx(change, abs=0.02)
    assert (drift(samples) == 0.0) == (change == 0.0)


def test_one_wild_sample_is_no_drift() -> None:
    assert drift([1.0, 1.0, 5.0, 1.0, 1.0]) == 0.0
