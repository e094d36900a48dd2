"""Ranking metrics against cases worked out by hand, and with ties against the mean over every order there is."""

import math
from collections.abc import Callable, Collection
from itertools import permutations
from statistics import mean

import pytest

from agentmem_cli.search.evaluation import Ranked, first_rank, ndcg_at, recall_at, reciprocal_rank_at

_LOG3 = 1 / math.log2(3)


def ranked(ids: str) -> Ranked:
    """Ids of a letter each, best first; those in brackets are of equal score."""
    scores, score, tied = [], 1.0, False
    for letter in ids:
        if letter in "()":
            tied = letter == "("
        else:
            scores.append((letter, score))
        score -= 0 if tied else 0.01
    return scores


@pytest.mark.parametrize(
    ("k", "ids", "relevant", "expected"),
    [
        (10, "abc", "a", 1.0),
        (10, "abc", "ax", 0.5),
        (1, "ab", "b", 0.0),
        (2, "ab", "b", 1.0),
        (10, "", "b", 0.0),
        (1, "(ab)", "b", 0.5),
        (2, "(ab)", "b", 1.0),
        (2, "a(bcd)", "d", 1 / 3),
        (2, "a(bcd)", "acd", (1 + 2 / 3) / 3),
        (1, "(abcd)e", "e", 0.0),
    ],
)
def test_recall_is_the_share_of_the_relevant_that_came_back(k: int, ids: str, relevant: str, expected: float) -> None:
    assert recall_at(k, ranked(ids), relevant) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("k", "ids", "relevant", "expected"),
    [
        (10, "ab", "a", 1.0),
        (10, "ba", "a", _LOG3),
        (10, "xab", "ab", (_LOG3 + 0.5) / (1 + _LOG3)),
        (1, "a", "abc", 1.0),
        (10, "xy", "a", 0.0),
        (10, "(ab)", "a", (1 + _LOG3) / 2),
        (10, "(ab)", "ab", 1.0),
        (2, "x(abc)", "a", _LOG3 / 3),
    ],
)
def test_ndcg_discounts_by_rank_and_is_one_for_the_ideal_order(
    k: int, ids: str, relevant: str, expected: float
) -> None:
    assert ndcg_at(k, ranked(ids), relevant) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("k", "ids", "relevant", "expected"),
    [
        (20, "abc", "a", 1.0),
        (20, "abc", "cb", 0.5),
        (2, "abc", "c", 0.0),
        (20, "abc", "x", 0.0),
        (20, "(ab)", "b", (1 + 1 / 2) / 2),
        (20, "x(abc)", "ab", (2 / 3) * (1 / 2) + (1 / 3) * (1 / 3)),
        (2, "x(abc)", "a", (1 / 3) * (1 / 2)),
        (1, "x(abc)", "a", 0.0),
    ],
)
def test_the_reciprocal_rank_is_of_the_first_relevant_one(k: int, ids: str, relevant: str, expected: float) -> None:
    assert reciprocal_rank_at(k, ranked(ids), relevant) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ids", "relevant", "expected"),
    [("abc", "a", 1), ("abc", "cb", 2), ("abc", "x", None), ("", "x", None), ("a(bcd)", "b", 4), ("a(bcd)", "bc", 3)],
)
def test_the_first_rank_is_the_last_that_ties_allow(ids: str, relevant: str, expected: int | None) -> None:
    assert first_rank(ranked(ids), relevant) == expected


@pytest.mark.parametrize("metric", [recall_at, ndcg_at, reciprocal_rank_at])
@pytest.mark.parametrize("relevant", ["b", "bd", "abf", "fx"])
def test_with_ties_a_figure_is_the_mean_over_all_orders_that_the_scores_allow(
    metric: Callable[[int, Ranked, Collection[str]], float], relevant: str
) -> None:
    orders = [ranked("a" + "".join(middle) + "f") for middle in permutations("bcde")]
    for k in (1, 2, 3, 4, 6):
        assert metric(k, ranked("a(bcde)f"), relevant) == pytest.approx(mean(metric(k, o, relevant) for o in orders))


@pytest.mark.parametrize("metric", [recall_at, ndcg_at, reciprocal_rank_at])
def test_an_id_that_is_said_to_be_relevant_twice_counts_once(
    metric: Callable[[int, Ranked, Collection[str]], float],
) -> None:
    assert metric(10, ranked("xab"), ["a", "a", "y"]) == metric(10, ranked("xab"), ["a", "y"])


def test_a_query_without_relevant_ids_can_not_be_judged() -> None:
    for metric in (recall_at, ndcg_at, reciprocal_rank_at):
        with pytest.raises(ValueError, match="no id is relevant"):
            metric(10, ranked("a"), [])
    with pytest.raises(ValueError, match="no id is relevant"):
        first_rank(ranked("a"), [])
