"""Bootstrap intervals: against draws that can be counted by hand, and against what normal theory says."""

import numpy as np
import pytest

from agentmem_cli.support.statistics import Interval, bootstrap_interval, bootstrap_intervals, bootstrap_ratio


@pytest.mark.parametrize(
    ("confidence", "expected"), [(0.95, Interval(0.0, 1.0)), (0.6, Interval(0.0, 1.0)), (0.4, Interval(0.5, 0.5))]
)
def test_of_two_samples_a_quarter_of_the_draws_is_the_one_twice_and_a_half_is_both(
    confidence: float, expected: Interval
) -> None:
    assert bootstrap_interval([0.0, 1.0], "mean", confidence=confidence) == expected


def test_the_median_of_three_draws_is_an_end_in_seven_of_27() -> None:
    assert bootstrap_interval([1.0, 2.0, 4.0], "median", confidence=0.6) == Interval(1.0, 4.0)
    assert bootstrap_interval([1.0, 2.0, 4.0], "median", confidence=0.4) == Interval(2.0, 2.0)


def test_many_samples_give_what_normal_theory_gives() -> None:
    samples = np.random.default_rng(7).normal(10, 2, 2_000)
    found = bootstrap_interval(samples.tolist(), "mean")
    half = 1.96 * samples.std() / 2_000**0.5
    assert (found.low, found.high) == pytest.approx((samples.mean() - half, samples.mean() + half), abs=0.01)


def test_equal_samples_leave_no_doubt() -> None:
    assert bootstrap_interval([3.0] * 5, "mean") == Interval(3.0, 3.0)
    assert bootstrap_interval([3.0], "median") == Interval(3.0, 3.0)


def test_the_same_samples_have_the_same_interval_and_another_seed_another() -> None:
    samples = [1.0, 5.0, 2.0, 8.0, 4.0, 4.5]
    found = bootstrap_interval(samples, "mean")
    assert bootstrap_interval(samples, "mean") == found
    assert bootstrap_interval(samples, "mean", seed=1) != found


def test_columns_are_drawn_together_and_have_the_intervals_that_each_has_alone() -> None:
    rows = np.random.default_rng(3).random((40, 3))
    for column, interval in zip(rows.T, bootstrap_intervals(rows, "mean"), strict=True):
        alone = bootstrap_interval(column.tolist(), "mean")
        assert (interval.low, interval.high) == pytest.approx((alone.low, alone.high))


def test_a_ratio_of_pairs_is_sure_where_both_drift_together_and_that_of_the_sides_is_not() -> None:
    base = [1.0, 3.0, 2.0, 9.0, 4.0]
    twice = [2 * figure for figure in base]
    assert bootstrap_ratio(twice, base, "median", paired=True) == Interval(2.0, 2.0)
    apart = bootstrap_ratio(twice, base, "median", paired=False)
    assert apart.low < 1.5 < 3 < apart.high


def test_sides_of_a_ratio_may_be_of_unequal_number_but_pairs_may_not() -> None:
    assert bootstrap_ratio([6.0, 6.0], [2.0], "mean", paired=False) == Interval(3.0, 3.0)
    with pytest.raises(ValueError, match="2 samples and 1 of the base"):
        bootstrap_ratio([6.0, 6.0], [2.0], "mean", paired=True)


def test_what_has_no_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        bootstrap_interval([], "mean")
    with pytest.raises(ValueError, match="not a finite number"):
        bootstrap_interval([1.0, float("nan")], "median")
    with pytest.raises(ValueError, match="positive"):
        bootstrap_ratio([1.0], [0.0], "mean", paired=True)
    with pytest.raises(ValueError, match="confidence is 95"):
        bootstrap_interval([1.0], "mean", confidence=95)
