"""Ranking metrics against cases worked out by hand."""

import math

import pytest

from agentmem_cli.search.metrics import ndcg_at, recall_at


@pytest.mark.parametrize(
    ("k", "ranked", "relevant", "expected"),
    [
        (10, ["a", "b", "c"], ["a"], 1.0),
        (10, ["a", "b", "c"], ["a", "x"], 0.5),
        (1, ["a", "b"], ["b"], 0.0),
        (2, ["a", "b"], ["b"], 1.0),
        (10, [], ["b"], 0.0),
    ],
)
def test_recall_is_the_share_of_the_relevant_that_came_back(
    k: int, ranked: list[str], relevant: list[str], expected: float
) -> None:
    assert recall_at(k, ranked, relevant) == expected


@pytest.mark.parametrize(
    ("k", "ranked", "relevant", "expected"),
    [
        (10, ["a", "b"], ["a"], 1.0),
        (10, ["b", "a"], ["a"], 1 / math.log2(3)),
        (10, ["x", "a", "b"], ["a", "b"], (1 / math.log2(3) + 0.5) / (1 + 1 / math.log2(3))),
        (1, ["a"], ["a", "b", "c"], 1.0),
        (10, ["x", "y"], ["a"], 0.0),
    ],
)
def test_ndcg_discounts_by_rank_and_is_one_for_the_ideal_order(
    k: int, ranked: list[str], relevant: list[str], expected: float
) -> None:
    assert ndcg_at(k, ranked, relevant) == pytest.approx(expected)


def test_a_query_without_relevant_ids_can_not_be_judged() -> None:
    with pytest.raises(ValueError, match="no id is relevant"):
        ndcg_at(10, ["a"], [])
