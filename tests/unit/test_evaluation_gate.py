"""What an evaluation amounts to: verdicts on bounds, groups of queries, and advice that chance alone never gives."""

import math
import random
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import pytest

from agentmem_cli.bench.gates import check_bounds, check_loss
from agentmem_cli.errors import UsageError
from agentmem_cli.report.evaluation_report import advice
from agentmem_cli.search.evaluation import (
    MOST_GROUPS,
    Comparison,
    Difference,
    Evaluation,
    Run,
    by_label,
    compare,
    evaluate,
)
from agentmem_cli.search.query import LabelledQuery, Mode, Query
from agentmem_cli.support.statistics import Interval
from tests.unit.test_evaluation import falling


def evaluation(hits: Sequence[bool], labels: Sequence[Mapping[str, int | str]] = ()) -> Evaluation:
    """Queries of which each is answered at once or never."""
    queries = [
        LabelledQuery(Query(str(i)), ("a",), labels[i] if labels else {})  # a text each, so that answers are theirs
        for i in range(len(hits))
    ]
    return evaluate(queries, lambda asked, k: [falling("a" if hits[int(query.text)] else "b") for query in asked])


def share(of: int, percent: int, seed: int = 0) -> list[bool]:
    """So many per cent of the queries are answered, in random order."""
    answered = [i < of * percent // 100 for i in range(of)]
    random.Random(seed).shuffle(answered)
    return answered


def run(hits: Sequence[bool], mode: Mode = "hybrid", store: str = "one") -> Run:
    return Run(store, "minilm", mode, evaluation(hits))


@pytest.mark.parametrize(
    ("queries", "bound", "outcome"),
    [
        (100, 0.3, "met"),
        (100, 0.55, "inconclusive"),
        (100, 0.45, "inconclusive"),
        (100, 0.8, "missed"),
        (4, 0.9, "inconclusive"),
    ],
)
def test_a_bound_is_missed_or_met_only_by_the_whole_interval(queries: int, bound: float, outcome: str) -> None:
    (verdict,) = check_bounds(run(share(queries, 50)), {"ndcg@10": bound})
    assert (verdict.metric, verdict.at, verdict.bound, verdict.outcome) == ("ndcg@10", "hybrid", bound, outcome)
    assert verdict.figure == pytest.approx(0.5)
    assert verdict.has_failed == (outcome == "missed")


@pytest.mark.parametrize(
    ("lost", "max_loss", "outcome"),
    [(40, 0.1, "missed"), (4, 0.02, "inconclusive"), (0, 0.02, "met"), (4, 0.2, "met"), (-40, 0.02, "met")],
)
def test_a_loss_is_too_large_only_if_the_whole_interval_is(lost: int, max_loss: float, outcome: str) -> None:
    many, few = [True] * 100, [i >= abs(lost) for i in range(100)]
    new, old = run(few if lost > 0 else many), run(many if lost > 0 else few, store="old")
    verdict = check_loss(Comparison(old, new, compare(old.evaluation, new.evaluation)), max_loss)
    assert (verdict.outcome, verdict.bound, verdict.higher_is_better) == (outcome, max_loss, False)
    assert verdict.figure == pytest.approx(lost / 100)
    assert verdict.at == "hybrid, lost against old"


def test_figures_are_broken_down_by_a_label_with_numbers_in_order() -> None:
    labels: list[Mapping[str, int | str]] = [{"kind": 10}, {"kind": 2}, {"kind": "long"}, {}, {"kind": 2}]
    groups = by_label(evaluation([True, True, False, True, False], labels), "kind")
    assert {value: len(found.judged) for value, found in groups.items()} == {"2": 2, "10": 1, "long": 1, "-": 1}
    assert list(groups) == ["2", "10", "long", "-"]
    assert [found.estimates["recall@1"].mean for found in groups.values()] == [0.5, 1, 0, 1]


def test_a_label_that_no_query_has_or_every_one_for_itself_is_refused() -> None:
    found = evaluation([True] * (MOST_GROUPS + 1), [{"n": n} for n in range(MOST_GROUPS + 1)])
    with pytest.raises(UsageError, match='no query has "kind": the queries have "n"'):
        by_label(found, "kind")
    with pytest.raises(UsageError, match='"n" has 101 values: give a key with 100 or fewer'):
        by_label(found, "n")


def test_the_number_of_queries_to_show_a_difference_does_so_in_4_of_5_cases() -> None:
    measured = Difference(0.12, Interval(-0.018, 0.258), 40, 28, 32)
    deviation = (0.258 - 0.12) / 1.96 * math.sqrt(100)  # of a single query
    error = deviation / math.sqrt(measured.queries_to_show())
    assert 1 - NormalDist(0.12, error).cdf(1.96 * error) == pytest.approx(0.8, abs=0.005)


def test_no_number_of_queries_shows_that_there_is_no_difference() -> None:
    with pytest.raises(ValueError, match="no difference"):
        Difference(0.0, Interval(0, 0), 0, 0, 9).queries_to_show()


def test_a_mode_that_is_better_by_more_than_chance_is_recommended() -> None:
    (sentence,) = advice([run(share(100, 50)), run(share(100, 90), "meaning"), run(share(100, 20), "words")])
    assert sentence.startswith("Use --mode meaning: its nDCG@10 is better than that of hybrid by 0.400 (95 %: ")
    assert " and words by 0.700 (95 %: " in sentence
    assert sentence.endswith(", by more than chance.")


def test_a_mode_that_is_better_by_chance_is_not_recommended() -> None:
    uncertain, until_then = advice([run(share(40, 50)), run(share(40, 60, 1), "meaning"), run(share(40, 5), "words")])
    assert uncertain.startswith("Not certain: meaning is better than hybrid by 0.100 (95 %: -")
    assert uncertain.endswith("some 380 more queries would show it in 4 of 5 cases.")
    assert until_then.startswith("Until then, use --mode hybrid; meaning is better than words by 0.550")


def test_a_difference_of_nothing_is_not_worth_more_queries() -> None:
    (same, _) = advice([run(share(100, 50)), run(share(100, 50), "meaning")])
    assert same.endswith("which may be chance; a difference as small as that hardly matters.")


def test_stores_are_compared_in_the_mode_that_is_best() -> None:
    runs = [run(share(100, 50)), run(share(100, 80), "meaning")]
    others = [run(share(100, 95), store="two"), run(share(100, 30), "meaning", "two")]
    modes, stores = advice(runs + others)
    assert modes.startswith("Use --mode meaning")
    assert stores.startswith(
        "Use one (minilm): in meaning mode, its nDCG@10 is better than that of two (minilm) by 0.500"
    )
    assert advice([runs[0], run(share(100, 48, 1), store="two")])[0].startswith(
        "Not certain: in hybrid mode, the nDCG@10 of one (minilm) is better than that of two (minilm) by 0.020"
    )


def test_a_single_run_and_a_handful_of_queries_lead_to_no_advice() -> None:
    assert advice([run(share(100, 50))]) == []
    assert advice([run([True] * 4), run([False] * 4, "words")]) == [
        "4 queries are too few to compare anything: label 5 or more."
    ]
