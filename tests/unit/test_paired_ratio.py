"""The ratio of pairs: against tables of signed ranks, by hand, and by how often its interval holds the truth."""

import math
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmem_cli.support.statistics import Interval, paired_ratio

RATIOS = st.floats(1e-4, 1e4)


def test_of_six_pairs_the_interval_is_from_the_least_ratio_to_the_greatest() -> None:
    found = paired_ratio([1.0, 2.0, 3.0, 4.0, 5.0, 60.0])
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((1.0, 60.0))


@pytest.mark.parametrize(("pairs", "rank"), [(7, 3), (8, 4), (9, 6), (10, 9), (11, 11), (12, 14)])
def test_of_more_pairs_its_ends_are_the_means_of_two_that_tables_name(pairs: int, rank: int) -> None:
    logs = [math.sqrt(i) for i in range(pairs)]
    means = sorted((a + b) / 2 for a, b in combinations_with_replacement(logs, 2))
    found = paired_ratio([math.exp(log) for log in logs]).interval
    assert found is not None
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((means[rank - 1], means[-rank]), abs=1e-12)


@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_five_pairs_are_too_few_for_an_interval(pairs: int) -> None:
    assert paired_ratio([1.0, 1.1, 0.9, 1.2, 1.3][:pairs]).interval is None


def test_one_wild_pair_of_seven_moves_neither_the_figure_nor_the_end_away_from_it() -> None:
    calm = paired_ratio([1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.0])
    wild = paired_ratio([1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 50.0])
    assert calm.interval is not None
    assert wild.interval is not None
    assert wild.figure == pytest.approx(calm.figure, abs=0.02)
    assert wild.interval.low == pytest.approx(calm.interval.low, abs=0.02)


@given(st.lists(RATIOS, min_size=1, max_size=12))
def test_sides_that_change_places_have_the_inverse(ratios: list[float]) -> None:
    found, inverse = paired_ratio(ratios), paired_ratio([1 / ratio for ratio in ratios])
    assert found.figure == pytest.approx(1 / inverse.figure)
    if found.interval is None or inverse.interval is None:
        assert (found.interval, inverse.interval) == (None, None)
    else:
        assert found.interval.low == pytest.approx(1 / inverse.interval.high)
        assert found.interval.low * (1 - 1e-9) <= found.figure <= found.interval.high * (1 + 1e-9)


@pytest.mark.parametrize("spikes", [0.0, 6.0])
def test_the_interval_of_seven_pairs_holds_the_truth_95_times_in_100(spikes: float) -> None:
    generator = np.random.default_rng(11)
    logs = generator.normal(0, 0.05, (1500, 7))
    logs += spikes * (generator.random(logs.shape) < 0.15) * generator.normal(0, 0.05, logs.shape)
    found = [paired_ratio(np.exp(row).tolist()).interval for row in logs]
    held = sum(interval is not None and interval.low <= 1 <= interval.high for interval in found)
    assert 0.935 <= held / len(found) <= 0.97


@pytest.mark.parametrize("ratios", [[], [0.0], [1.0, -1.0], [float("nan")], [float("inf")]])
def test_what_is_no_ratio_is_refused(ratios: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        paired_ratio(ratios)


def test_equal_pairs_are_equal() -> None:
    assert paired_ratio([1.2] * 7).interval == Interval(1.2, 1.2)
