"""The formulas of a score, by hand."""

import numpy as np
import pytest

from agentmem_cli.search.relevance import (
    CosineScale,
    evidence,
    importance_factor,
    k1_for,
    recency_factor,
    shown_score,
    words_score,
)

_DAY_S = 86_400.0


def test_meaning_is_the_distance_from_the_mean_in_standard_deviations() -> None:
    scale = CosineScale.of(np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32), 0.0)
    assert scale.meaning(0.25) == pytest.approx(0, abs=1e-5)
    assert scale.meaning(0.25 + 3 * scale.spread) == pytest.approx(3)


@pytest.mark.parametrize("cosines", [[], [0.7], [0.5, 0.5, 0.5]])
def test_memories_that_are_equally_near_say_nothing(cosines: list[float]) -> None:
    assert CosineScale.of(np.array(cosines, dtype=np.float32), 0.0).meaning(0.9) == 0


@pytest.mark.parametrize(("unread", "say"), [(0, 1), (0.2, 1), (0.35, 0.5), (0.5, 0), (1, 0)])
def test_a_model_that_does_not_read_the_query_has_no_say(unread: float, say: float) -> None:
    scale = CosineScale.of(np.array([0.1, 0.3], dtype=np.float32), unread)
    assert scale.readable == pytest.approx(say)
    assert scale.meaning(0.3) == pytest.approx(say)


@pytest.mark.parametrize(("share", "score"), [(0, 0), (1, 13), (0.5, 13 * 0.5**1.25)])
def test_all_words_of_a_query_outweigh_any_cosine(share: float, score: float) -> None:
    assert words_score(share) == pytest.approx(score)


@pytest.mark.parametrize(("mean_words", "k1"), [(0, 0), (30, 0), (80, 0.6), (130, 1.2), (5000, 1.2)])
def test_words_count_by_presence_in_short_memories_and_by_frequency_in_long_ones(mean_words: float, k1: float) -> None:
    assert k1_for(mean_words) == pytest.approx(k1)


def test_evidence_is_of_both_sides_unless_the_model_has_no_say() -> None:
    assert evidence(1.0, 1.0, 1.0, 0.0) == pytest.approx(1)
    assert evidence(0.6, 0.0, 1.0, 0.0) == pytest.approx(0.6 / 2**0.5)
    assert evidence(0.9, 0.5, 0.0, 0.0) == pytest.approx(0.5)
    assert evidence(-0.5, 0.3, 0.0, 1.0) == pytest.approx(0.6)


def test_the_best_hit_shows_the_evidence_and_the_others_less() -> None:
    assert shown_score(0.8, 5.0, 5.0) == 0.8
    assert 0 < shown_score(0.8, 1.0, 5.0) < 0.8
    assert (shown_score(0.8, 0.0, 5.0), shown_score(0.3, 0.0, 0.0)) == (0, 0.3)


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
