"""Labelled queries -> figures: against answers that are made up, and against a store."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Hit, UsageError
from agentmem_cli.embedding.base import Vectors
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Scope
from agentmem_cli.search.evaluation import DEPTH, METRICS, Answer, compare, evaluate
from agentmem_cli.search.query import LabelledQuery, Query, Ranking
from tests.fakes import FakeEmbedder

_TIME = datetime(2025, 1, 1, tzinfo=timezone.utc)


def hit(identity: str, score: float) -> Hit:
    return Hit(identity, score, f"text of {identity}", None, None, None, None, None, _TIME, {})


def falling(*ids: str) -> list[Hit]:
    """Hits of these ids, best first."""
    return [hit(identity, 1 - rank / 1000) for rank, identity in enumerate(ids)]


def answers(by_text: Mapping[str, Sequence[Hit]]) -> Answer:
    """A search that finds what it is told to."""
    return lambda queries, k: [by_text[query.text][:k] for query in queries]


def labelled(text: str, *relevant: str) -> LabelledQuery:
    return LabelledQuery(Query(text), relevant)


_QUERIES = [labelled("first", "a"), labelled("second", "b"), labelled("none", "x"), labelled("two", "a", "z")]
_FOUND = answers(
    {"first": falling("a", "b"), "second": falling("a", "b"), "none": falling("c"), "two": falling("b", "c", "a")}
)


def test_figures_are_means_over_queries() -> None:
    found = evaluate(_QUERIES, _FOUND)
    means = {name: estimate.mean for name, estimate in found.estimates.items()}
    log3 = 1 / math.log2(3)
    assert list(means) == ["recall@1", "recall@5", "recall@10", "recall@20", "mrr", "ndcg@10"] == list(METRICS)
    assert means == pytest.approx(
        {
            "recall@1": 1 / 4,
            "recall@5": (1 + 1 + 0 + 1 / 2) / 4,
            "recall@10": (1 + 1 + 0 + 1 / 2) / 4,
            "recall@20": (1 + 1 + 0 + 1 / 2) / 4,
            "mrr": (1 + 1 / 2 + 0 + 1 / 3) / 4,
            "ndcg@10": (1 + log3 + 0 + 0.5 / (1 + log3)) / 4,
        }
    )
    for estimate in found.estimates.values():
        assert 0 <= estimate.interval.low < estimate.mean < estimate.interval.high <= 1


def test_each_query_has_its_figures_in_the_order_of_the_queries() -> None:
    found = evaluate(_QUERIES, _FOUND)
    assert [judged.query for judged in found.judged] == _QUERIES
    assert [judged.figures["mrr"] for judged in found.judged] == pytest.approx([1, 1 / 2, 0, 1 / 3])
    assert [judged.first_rank for judged in found.judged] == [1, 2, None, 3]
    assert [judged.first.id for judged in found.judged if judged.first] == ["a", "a", "c", "b"]


def test_the_worst_come_first_and_of_equals_the_one_whose_answer_came_last() -> None:
    filler = [f"f{i}" for i in range(15)]
    queries = [labelled("good", "a"), labelled("12th", "a"), labelled("15th", "a"), labelled("never", "x")]
    found = evaluate(
        queries,
        answers(
            {
                "good": falling("a"),
                "12th": falling(*filler[:11], "a"),
                "15th": falling(*filler[:14], "a"),
                "never": falling(),
            }
        ),
    )
    assert [judged.query.query.text for judged in found.worst(3)] == ["never", "15th", "12th"]
    assert len(found.worst(99)) == 4
    assert found.worst(0) == []


def test_queries_without_relevant_ids_are_left_out_and_said() -> None:
    found = evaluate([labelled("unanswered"), *_QUERIES, labelled("unanswered")], _FOUND)
    assert found.judged == evaluate(_QUERIES, _FOUND).judged
    assert found.unlabelled == 2
    assert found.warnings == ["2 queries have no relevant ids, and were left out"]


@pytest.mark.parametrize("queries", [[], [labelled("unanswered")]])
def test_there_is_no_figure_without_a_labelled_query(queries: list[LabelledQuery]) -> None:
    with pytest.raises(UsageError, match="no query has relevant ids"):
        evaluate(queries, _FOUND)


def test_ids_that_are_not_there_are_said() -> None:
    assert evaluate(_QUERIES, _FOUND).warnings == []
    found = evaluate(_QUERIES, _FOUND, missing=["m1", "m2", "m3", "m4"])
    assert found.warnings == ["4 relevant ids are not in the store, and count as not found: m1, m2, m3, ..."]


def test_hits_that_are_as_good_as_the_last_are_asked_for_too() -> None:
    asked: list[int] = []
    tied = [hit("best", 0.9), *(hit(f"t{i}", 0.5) for i in range(99)), hit("after", 0.1)]

    def answer(queries: Sequence[Query], k: int) -> list[list[Hit]]:
        asked.append(k)
        return [tied[:k] for _ in queries]

    (judged,) = evaluate([labelled("tied", "t0")], answer).judged
    assert judged.figures["recall@20"] == pytest.approx(19 / 99)
    assert judged.first_rank == 100
    assert asked == [21, 84, 336]


def test_ties_within_the_first_20_need_no_second_question() -> None:
    asked: list[int] = []
    tied = [*(hit(f"t{i}", 0.5) for i in range(DEPTH)), hit("after", 0.1)]

    def answer(queries: Sequence[Query], k: int) -> list[list[Hit]]:
        asked.append(k)
        return [tied[:k] for _ in queries]

    (judged,) = evaluate([labelled("tied", "t0")], answer).judged
    assert judged.figures["recall@10"] == pytest.approx(0.5)
    assert asked == [21]


def test_a_comparison_pairs_the_queries() -> None:
    better = answers(
        {"first": falling("a"), "second": falling("b"), "none": falling("x", "y"), "two": falling("c", "b", "a")}
    )
    found = compare(evaluate(_QUERIES, better), evaluate(_QUERIES, _FOUND))
    assert list(found) == list(METRICS)
    assert (found["mrr"].wins, found["mrr"].losses, found["mrr"].ties) == (2, 0, 2)
    assert found["mrr"].mean == pytest.approx((0 + 1 / 2 + 1 + 0) / 4)
    assert found["mrr"].interval.low == 0 < found["mrr"].mean < found["mrr"].interval.high
    assert not found["mrr"].is_clear
    back = compare(evaluate(_QUERIES, _FOUND), evaluate(_QUERIES, better))["mrr"]
    assert (back.wins, back.losses) == (0, 2)
    assert back.mean == pytest.approx(-found["mrr"].mean)


def test_a_difference_that_every_query_shows_is_clear() -> None:
    queries = [labelled(str(i), "a") for i in range(10)]
    first = evaluate(queries, lambda asked, k: [falling("a", "b") for _ in asked])
    second = evaluate(queries, lambda asked, k: [falling("b", "a") for _ in asked])
    assert compare(first, second)["mrr"].is_clear
    assert not compare(first, first)["mrr"].is_clear
    assert compare(first, first)["mrr"].ties == 10


def test_evaluations_of_different_queries_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different queries"):
        compare(evaluate(_QUERIES, _FOUND), evaluate(_QUERIES[:2], _FOUND))


@pytest.fixture
def mem(tmp_path: Path) -> AgentMem:
    opened = AgentMem(tmp_path / "store", embedder=FakeEmbedder())
    opened.add_batch(
        [
            {"id": "ana", "text": "likes red apples", "user_id": "ana"},
            {"id": "ben", "text": "likes red apples", "user_id": "ben"},
            {"id": "other", "text": "owns a blue boat", "user_id": "ana"},
        ]
    )
    return opened


def test_a_store_is_asked_within_the_scope_of_each_query(mem: AgentMem) -> None:
    ana = LabelledQuery(Query("red apples", SearchFilter(Scope(user_id="ana"))), ("ana",))
    (found,) = mem.evaluate([ana], [Ranking("meaning")])
    assert found.estimates["recall@1"].mean == 1
    assert found.missing == ()


def test_the_same_text_twice_in_a_store_is_a_tie_whatever_its_order(mem: AgentMem) -> None:
    queries = [LabelledQuery(Query("red apples"), ("ana",)), LabelledQuery(Query("red apples"), ("ben",))]
    (found,) = mem.evaluate(queries, [Ranking("meaning")])
    assert [judged.figures["recall@1"] for judged in found.judged] == [0.5, 0.5]
    assert [judged.figures["mrr"] for judged in found.judged] == [0.75, 0.75]


def test_relevant_ids_that_the_store_lacks_are_listed_once_and_count(mem: AgentMem) -> None:
    queries = [labelled("red apples", "gone", "ben"), labelled("boat", "gone", "other", "half \ud800 a pair")]
    (found,) = mem.evaluate(queries, [Ranking("meaning")])
    assert found.missing == ("gone", "half \ud800 a pair")
    assert found.estimates["recall@20"].mean == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_rankings_are_evaluated_in_their_order_and_their_queries_embedded_once(tmp_path: Path) -> None:
    class Counting(FakeEmbedder):
        queries = 0

        def embed_query(self, query: str) -> Vectors:
            self.queries += 1
            return super().embed_query(query)

    embedder = Counting()
    with AgentMem(tmp_path / "counted", embedder=embedder) as mem:
        mem.add("likes red apples", id="ana")
        found = mem.evaluate([labelled("apples", "ana"), labelled("boats", "ana")], [Ranking("meaning")] * 3)
    assert len(found) == 3
    assert embedder.queries == 2


def test_an_empty_store_finds_nothing_and_says_so(tmp_path: Path) -> None:
    (found,) = AgentMem(tmp_path / "empty", embedder=FakeEmbedder()).evaluate([labelled("boat", "a")])
    assert found.estimates["recall@20"].mean == 0
    assert found.missing == ("a",)
