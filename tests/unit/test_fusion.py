"""The formulas of a score, by hand."""

import pytest

from agentmem_cli.search.retrieve import hybrid_score, importance_factor, recency_factor

_DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("cosine", "text", "score"),
    [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0.0, 0.5), (0.0, 1.0, 0.5), (0.6, 0.5, 0.55), (-0.8, 0.5, 0.25)],
)
def test_half_is_the_cosine_and_half_the_share_of_the_words(cosine: float, text: float, score: float) -> None:
    assert hybrid_score(cosine, text) == pytest.approx(score)


@pytest.mark.parametrize(
    ("age_s", "factor"),
    [(0, 1), (30 * _DAY_S, 0.5), (60 * _DAY_S, 0.25), (15 * _DAY_S, 0.5**0.5), (-5 * _DAY_S, 1), (1e300, 0)],
)
def test_each_half_life_halves_and_the_future_is_new(age_s: float, factor: float) -> None:
    assert recency_factor(age_s, 30 * _DAY_S) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("importance", "weight", "factor"),
    [(1.0, 0.4, 1.0), (0.0, 0.4, 0.6), (0.5, 0.4, 0.8), (None, 0.4, 0.8), (0.0, 1.0, 0.0), (0.2, 0.0, 1.0)],
)
def test_importance_takes_at_most_its_weight_away(importance: float | None, weight: float, factor: float) -> None:
    assert importance_factor(importance, weight) == pytest.approx(factor)


@pytest.mark.parametrize(("importance", "factor"), [(7.0, 1.0), (-3.0, 0.5)])
def test_importance_out_of_range_counts_as_its_nearest_end(importance: float, factor: float) -> None:
    assert importance_factor(importance, 0.5) == pytest.approx(factor)
