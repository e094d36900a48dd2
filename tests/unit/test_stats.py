"""Medians, the sample nearest to them, and the spread."""

import pytest

from agentmem_cli.bench.stats import median, nearest_to_median, relative_spread


@pytest.mark.parametrize(
    ("samples", "expected"), [([3.0], 3.0), ([9.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 9.0, 2.0], 3.0), ([2.0, 2.0], 2.0)]
)
def test_the_median_is_in_the_middle_whatever_the_order(samples: list[float], expected: float) -> None:
    assert median(samples) == expected


def test_one_wild_sample_does_not_move_the_median() -> None:
    assert median([1.0, 1.0, 1.0, 1.0, 1000.0]) == 1.0


@pytest.mark.parametrize("figure", [median, nearest_to_median])
def test_there_is_no_median_of_no_samples(figure: object) -> None:
    assert callable(figure)
    with pytest.raises(ValueError, match="no samples"):
        figure([])


@pytest.mark.parametrize(
    ("samples", "index"), [([5.0], 0), ([9.0, 1.0, 2.0], 2), ([1.0, 4.0, 2.0, 9.0], 1), ([1.0, 3.0], 0), ([7.0] * 3, 0)]
)
def test_the_sample_nearest_to_the_median_is_named_by_its_place(samples: list[float], index: int) -> None:
    assert nearest_to_median(samples) == index


@pytest.mark.parametrize(
    ("samples", "spread"), [([2.0], 0.0), ([2.0, 2.0], 0.0), ([1.0, 2.0, 3.0], 1.0), ([0.5, 0.25, 0.375], 2 / 3)]
)
def test_the_spread_is_relative_to_the_median(samples: list[float], spread: float) -> None:
    assert relative_spread(samples) == pytest.approx(spread)
