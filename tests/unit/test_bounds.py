"""Absolute bounds: read from a project, overridden by options, held against medians."""

from dataclasses import replace
from pathlib import Path

import pytest

from agentmem_cli.bench.gates import (
    Bounds,
    check,
    is_decided,
    missed,
    overridden,
    read_bounds,
    require_measured,
    uncertain,
)
from agentmem_cli.bench.workload import BenchOptions
from agentmem_cli.errors import UsageError
from tests.bench_results import batch_run, bench_result, comparison, model_result, store_point

RESULT = bench_result(
    replace(
        model_result("fake", [batch_run(100, [0.05] * 5), batch_run(1000, [0.19, 0.19, 0.2, 0.21, 0.21])]),
        comparison=comparison([1.2, 1.2, 1.25, 1.3, 1.3], [0.25, 0.25, 0.25, 0.26, 0.26]),
        stores=[store_point(1000, [10, 9, 9, 10]), store_point(2000, [])],
    )
)


def test_medians_of_the_best_batch_are_held_against_bounds_that_are_set() -> None:
    verdicts = {verdict.metric: verdict for verdict in check(RESULT, Bounds(4700, 1, 4.8, 0.9))}
    assert list(verdicts) == ["ops_per_s", "ms_per_memory", "speedup", "recall"]
    assert {verdict.outcome for verdict in verdicts.values()} == {"met"}
    assert [verdict.figure for verdict in verdicts.values()] == pytest.approx([5000, 0.2, 5, 0.95])
    assert [verdict.at for verdict in verdicts.values()] == ["batch 1000", "batch 1000", "of 100", "of 1,000"]
    interval = verdicts["ms_per_memory"].interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.19, 0.21))


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (Bounds(min_ops=5300), "ops_per_s of fake, batch 1000: 5,000 (95 %: 4,761.90 to 5,263.16) is less than 5,300"),
        (Bounds(max_ms=0.18), "ms_per_memory of fake, batch 1000: 0.2 (95 %: 0.19 to 0.21) is more than 0.18"),
        (Bounds(min_speedup=5.1), "speedup of fake, of 100: 5 (95 %: 4.8 to 5) is less than 5.1"),
    ],
)
def test_a_miss_names_the_metric_the_figure_and_the_bound(bounds: Bounds, said: str) -> None:
    (verdict,) = check(RESULT, bounds)
    assert (verdict.outcome, verdict.has_failed, missed(verdict)) == ("missed", True, said)


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (
            Bounds(min_ops=5001),
            "ops_per_s of fake, batch 1000: 5,000 (95 %: 4,761.90 to 5,263.16) is not certain to be at least 5,001: "
            "more than 1,000 repeats would be needed",
        ),
        (
            Bounds(max_ms=0.205),
            "ms_per_memory of fake, batch 1000: 0.2 (95 %: 0.19 to 0.21) is not certain to be at most 0.205: about 20 "
            "repeats would decide (--repeats, or --max-time)",
        ),
        (
            Bounds(min_recall=0.96),
            "recall of fake, of 1,000: 0.95 (95 %: 0.9 to 1) is not certain to be at least 0.96: recall does not "
            "depend on the number of repeats",
        ),
    ],
)
def test_a_bound_within_the_interval_is_not_certain_and_says_what_would_decide(bounds: Bounds, said: str) -> None:
    (verdict,) = check(RESULT, bounds)
    assert (verdict.outcome, verdict.has_failed, uncertain(verdict, 5)) == ("inconclusive", False, said)


def test_too_few_repeats_decide_nothing_and_say_how_many_are_needed() -> None:
    few = bench_result(model_result("fake", [batch_run(10, [0.1] * 4)]))
    (verdict,) = check(few, Bounds(min_ops=1))
    assert verdict.outcome == "inconclusive"
    assert uncertain(verdict, 4).endswith("at least 1: an interval needs at least 5 repeats")


def test_repeats_go_on_for_bounds_on_time_or_else_for_the_targets() -> None:
    assert is_decided(RESULT, Bounds(max_ms=1, min_recall=0.96))
    assert not is_decided(RESULT, Bounds(max_ms=0.205))
    assert not is_decided(RESULT, Bounds(min_recall=0.96))  # the target of 5,000 is within the interval
    quick = replace(RESULT.models[0], batches=[batch_run(1000, [0.1] * 5)], comparison=None)
    assert is_decided(bench_result(quick), Bounds())


def test_each_model_must_keep_them() -> None:
    slow = model_result("slow", [batch_run(10, [0.1] * 5)])
    verdicts = check(bench_result(model_result("quick"), slow), Bounds(min_ops=1000))
    assert [(verdict.model, verdict.outcome) for verdict in verdicts] == [("quick", "met"), ("slow", "missed")]


@pytest.mark.parametrize(
    ("bounds", "option"), [(Bounds(min_speedup=2), "--singles"), (Bounds(min_recall=1), "--scale")]
)
def test_what_was_not_measured_is_not_passed_over(bounds: Bounds, option: str) -> None:
    bare = replace(model_result(), comparison=None, stores=[store_point(100)])
    with pytest.raises(UsageError, match=f"which {option}.* measures"):
        check(bench_result(bare), bounds)


def test_a_store_without_a_graph_is_known_before_it_is_measured() -> None:
    with pytest.raises(UsageError, match="a store of 100 memories has no graph: give --scale 1000 or more"):
        require_measured(Bounds(min_recall=0.9), BenchOptions([100]))
    require_measured(Bounds(min_recall=0.9), BenchOptions([100], scale=[1000]))
    require_measured(Bounds(min_ops=1), BenchOptions([100]))


def test_a_projects_bounds_are_those_of_its_table(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    assert read_bounds(project) == Bounds()
    project.write_text('[project]\nname = "x"\n[tool.ruff]\nline-length = 100\n')
    assert read_bounds(project) == Bounds()
    project.write_text("[tool.agentmem.gate]\nmin-ops = 5000\nmax-ms = 1.5\n")
    assert read_bounds(project) == Bounds(min_ops=5000, max_ms=1.5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[tool.agentmem.gate]\nminimum-ops = 1", "unknown field `minimum-ops`"),
        (b"[tool.agentmem.gate]\nmin-ops = '5000'", "min-ops`"),
        (b"[tool.agentmem.gate]\nmin-ops = -1", "min-ops`"),
        (b"[tool.agentmem.gate]\nmin-recall = 95", "min-recall`"),
        (b"[tool.agentmem]\ngate = 1", "tool.agentmem.gate"),
        (b"[tool", "is not TOML"),
        (b"\xff = 1", "is not TOML"),
    ],
)
def test_a_table_that_means_nothing_is_a_usage_error(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(UsageError) as raised:
        read_bounds(tmp_path / "pyproject.toml")
    assert said in str(raised.value)


def test_options_go_before_the_table() -> None:
    assert overridden(Bounds(5000, 1), {"min-ops": 100.0, "max-ms": None}) == Bounds(100, 1)
    for bad in ({"min-ops": -1.0}, {"min-recall": 2.0}, {"max-ms": float("nan")}):
        with pytest.raises(UsageError, match=f"--{next(iter(bad))} "):
            overridden(Bounds(), bad)
