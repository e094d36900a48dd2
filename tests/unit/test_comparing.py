"""What a comparison says: by hand at the edges of every outcome, and by what must hold for any interval."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentmem_cli.bench.gates import GateReport, compare, compare_rounds, differences, outcome_of, told
from agentmem_cli.bench.result import BenchResult, Config, ModelResult, WorkloadFacts
from agentmem_cli.bench.verdict import Outcome, Verdict
from agentmem_cli.support.statistics import Interval
from tests.bench_results import batch_run, bench_result, comparison, model_result, store_point

NAMES = ("base.json", "new.json")
RATIOS = st.floats(0.01, 3)
STEADY = (0.98, 0.99, 1.0, 1.01, 1.02)


def measured(factor: float = 1.0, name: str = "fake") -> ModelResult:
    """A model whose times are longer by a factor."""
    times = [factor * share for share in STEADY]
    return replace(
        model_result(name, [batch_run(100, [0.1 * time_s for time_s in times])]),
        comparison=comparison(times, times, 10),
        stores=[store_point(1000)],
    )


def by_metric(report: GateReport) -> dict[str, Verdict]:
    return {verdict.metric: verdict for verdict in report.verdicts}


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "outcome"),
    [
        (0.80, 0.89, True, "regressed"),
        (0.80, 0.90, True, "inconclusive"),
        (0.89, 1.50, True, "inconclusive"),
        (0.90, 1.50, True, "ok"),
        (0.95, 1.05, True, "ok"),
        (1.10, 1.50, True, "ok"),
        (1.11, 1.50, True, "improved"),
        (1.11, 1.20, False, "regressed"),
        (1.10, 1.20, False, "inconclusive"),
        (0.50, 1.11, False, "inconclusive"),
        (0.50, 1.10, False, "ok"),
        (0.50, 0.90, False, "ok"),
        (0.50, 0.89, False, "improved"),
    ],
)
def test_an_outcome_is_what_the_whole_interval_says(
    low: float, high: float, higher_is_better: bool, outcome: Outcome
) -> None:
    assert outcome_of(Interval(low, high), 0.1, higher_is_better=higher_is_better) == outcome


def test_too_few_samples_tell_nothing() -> None:
    assert outcome_of(None, 0.1, higher_is_better=True) == "inconclusive"


@given(RATIOS, RATIOS, st.floats(0, 0.9), st.booleans())
def test_a_regression_is_past_the_bound_with_all_of_its_interval(
    one: float, other: float, bound: float, higher_is_better: bool
) -> None:
    low, high = sorted((one, other))
    found = outcome_of(Interval(low, high), bound, higher_is_better=higher_is_better)
    ends = (low, high) if higher_is_better else (2 - high, 2 - low)  # as if higher were better
    assume(all(abs(end - edge) > 1e-9 for end in ends for edge in (1 - bound, 1 + bound)))
    assert (found == "regressed") == (ends[1] < 1 - bound)
    assert (found == "improved") == (ends[0] > 1 + bound)
    assert (found == "inconclusive") == (ends[0] < 1 - bound < ends[1])


@given(RATIOS, RATIOS, st.floats(0, 0.9), st.booleans())
def test_a_wider_interval_never_turns_doubt_into_a_regression(
    one: float, other: float, wider: float, higher_is_better: bool
) -> None:
    low, high = sorted((one, other))
    narrow = outcome_of(Interval(low, high), 0.1, higher_is_better=higher_is_better)
    wide = outcome_of(Interval(low / (1 + wider), high * (1 + wider)), 0.1, higher_is_better=higher_is_better)
    assert wide in (narrow, "inconclusive", "ok")
    assert not (wide == "regressed" and narrow != "regressed")


def test_a_result_is_as_good_as_itself() -> None:
    report = compare(bench_result(measured()), bench_result(measured()), NAMES, 0.1)
    assert [verdict.metric for verdict in report.verdicts] == [
        "ops_per_s",
        "add_ms",
        "search_ms",
        "peak_resident_bytes",
        "bytes_per_memory",
    ]
    assert {verdict.figure for verdict in report.verdicts} == {1.0}
    assert by_metric(report)["ops_per_s"].outcome == "ok"
    assert (report.has_failed, report.rounds) == (False, None)
    assert (report.differences, report.missing, report.added, report.phases) == ([], [], [], [])


def test_what_takes_longer_is_less_throughput_and_more_latency() -> None:
    report = compare(bench_result(measured()), bench_result(measured(1.25)), NAMES, 0.1)
    found = by_metric(report)
    ops, add = found["ops_per_s"], found["add_ms"]
    assert [ops.figure, add.figure] == pytest.approx([0.8, 1.25])
    assert [(verdict.bound, verdict.outcome) for verdict in (ops, add)] == [(0.9, "regressed"), (1.1, "regressed")]
    assert [ops.base, ops.new, add.base, add.new] == pytest.approx([1000, 800, 100, 125])
    assert found["bytes_per_memory"].outcome == "ok"
    assert report.has_failed
    assert told(ops).startswith("ops_per_s batch 100 of fake regressed: 0.800 of the base (95 %: 0.7")
    back = compare(bench_result(measured(1.25)), bench_result(measured()), NAMES, 0.1)
    assert by_metric(back)["ops_per_s"].outcome == "improved"


def test_four_repeats_tell_nothing_of_time_but_bytes_are_counted() -> None:
    few = replace(measured(), batches=[batch_run(100, [0.1] * 4)])
    large = replace(
        measured(), batches=[batch_run(100, [0.2] * 4)], stores=[replace(store_point(1000), bytes=2_000_000)]
    )
    found = by_metric(compare(bench_result(few), bench_result(large), NAMES, 0.1))
    assert (found["ops_per_s"].outcome, found["ops_per_s"].interval) == ("inconclusive", None)
    assert found["bytes_per_memory"].outcome == "regressed"


def test_what_one_side_alone_has_is_told() -> None:
    more = replace(measured(), stores=[])
    report = compare(bench_result(measured()), bench_result(more), NAMES, 0.1)
    assert report.missing == [
        "search_ms of 1,000 (fake)",
        "peak_resident_bytes of 1,000 (fake)",
        "bytes_per_memory of 1,000 (fake)",
    ]
    assert compare(bench_result(more), bench_result(measured()), NAMES, 0.1).added == report.missing


def test_adds_are_medians_of_latencies_unless_only_their_sum_was_kept() -> None:
    slow_once = comparison([1.0] * 5, [1.0] * 5, 10)
    for sample in slow_once.single:
        sample.latencies_s[0] = 50.0
    other = bench_result(replace(measured(), comparison=slow_once))
    assert by_metric(compare(bench_result(measured()), other, NAMES, 0.1))["add_ms"].new == pytest.approx(100)
    for sample in slow_once.single:
        sample.latencies_s.clear()
    report = compare(bench_result(measured()), other, NAMES, 0.1)
    assert "add_ms" not in by_metric(report)
    assert (report.missing, report.added) == (["add_ms of 10 (fake)"], ["add_ms mean of 10 (fake)"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda r: replace(r, environment=replace(r.environment, cpu="B CPU")), "cpu: A CPU against B CPU"),
        (lambda r: replace(r, environment=replace(r.environment, cores=4)), "cores: 2 against 4"),
        (lambda r: replace(r, environment=replace(r.environment, memory_bytes=2**30)), "memory, GiB: 8 against 1"),
        (lambda r: replace(r, environment=replace(r.environment, platform="Darwin-1")), "system: Linux against Darwin"),
        (lambda r: replace(r, config=replace(r.config, threads=1)), "threads: 2 against 1"),
        (lambda r: replace(r, config=replace(r.config, store="postgresql://h/d")), "stores: a folder against a server"),
        (lambda r: replace(r, config=replace(r.config, device="cuda")), "device: cpu against cuda"),
        (lambda r: replace(r, models=[measured(name="other")]), "models: fake (0123456789ab) against other"),
        (
            lambda r: replace(r, workload=WorkloadFacts("mixed", 1000, "cd34")),
            "texts: 1,000, sha256 ab12 against",
        ),
        (lambda r: replace(r, complete=False), "complete: true against false"),
    ],
)
def test_what_makes_results_no_measure_of_each_other_is_named(
    changed: Callable[[BenchResult], BenchResult], said: str
) -> None:
    (difference,) = differences(bench_result(measured()), changed(bench_result(measured())))
    assert str(difference).startswith(said)


def test_what_may_differ_or_is_not_known_is_passed_over() -> None:
    base = bench_result(measured())
    moved = replace(
        base,
        environment=replace(base.environment, memory_bytes=None, python="3.13.0", versions={"numpy": "9"}),
        config=Config([100], 10, 7, 2, threads=None),
        workload=WorkloadFacts("elsewhere/mixed.jsonl", 1000, "ab12"),
    )
    assert differences(base, moved) == []


def test_a_workload_whose_texts_are_not_known_is_known_by_its_name() -> None:
    base, other = bench_result(measured()), bench_result(measured(), workload=WorkloadFacts("phase4", 1000))
    assert [str(found) for found in differences(base, other)] == ["workload: mixed against phase4"]


def test_one_model_can_be_held_against_another() -> None:
    report = compare(bench_result(measured(name="a")), bench_result(measured(1.5, name="b")), NAMES, 0.1)
    assert {verdict.model for verdict in report.verdicts} == {"a"}
    assert by_metric(report)["ops_per_s"].outcome == "regressed"


def rounds_of(*factors: float) -> list[BenchResult]:
    return [bench_result(measured(factor)) for factor in factors]


def test_rounds_are_judged_pair_by_pair() -> None:
    noise = (1.0, 3.0, 0.5, 2.0, 1.5, 0.8, 1.1)
    slower = compare_rounds(rounds_of(*noise), rounds_of(*(1.3 * factor for factor in noise)), NAMES, 0.1)
    ops = by_metric(slower)["ops_per_s"]
    assert (ops.outcome, slower.rounds) == ("regressed", 7)
    assert ops.figure == pytest.approx(1 / 1.3)
    assert len(ops.base_samples) == len(ops.new_samples) == 7
    apart = compare_rounds(rounds_of(*noise), rounds_of(*(1.3 * factor for factor in reversed(noise))), NAMES, 0.1)
    assert by_metric(apart)["ops_per_s"].outcome == "inconclusive"


def test_what_the_machine_does_for_some_turns_falls_on_both_and_leaves_no_doubt() -> None:
    def turns(*factors: float) -> BenchResult:
        return bench_result(replace(measured(), batches=[batch_run(100, [0.1 * factor for factor in factors])]))

    base, new = turns(1, 1, 1.4, 1.4, 1.4), turns(1.05, 1.05, 1.47, 1.05, 1.47)
    found = by_metric(compare_rounds([base] * 7, [new] * 7, NAMES, 0.1))["ops_per_s"]
    assert found.interval is not None
    assert (found.figure, found.interval.low, found.interval.high) == pytest.approx((1 / 1.05,) * 3)
    assert found.ratios == pytest.approx([1 / 1.05] * 7)
    assert (found.base, found.new) == pytest.approx((1000 / 1.4, 1000 / 1.05))  # of which the ratio says otherwise


def test_five_rounds_tell_nothing() -> None:
    report = compare_rounds(rounds_of(*STEADY), rounds_of(*(2 * factor for factor in STEADY)), NAMES, 0.1)
    assert {verdict.outcome for verdict in report.verdicts} == {"inconclusive"}


def test_a_metric_that_a_round_lacks_is_not_judged() -> None:
    base = rounds_of(*[1.0] * 7)
    base[3] = bench_result(replace(measured(), stores=[]))
    report = compare_rounds(base, rounds_of(*[1.0] * 7), NAMES, 0.1)
    assert set(by_metric(report)) == {"ops_per_s", "add_ms"}
    assert len(report.added) == 3


def test_samples_that_no_clock_measured_are_refused() -> None:
    damaged = bench_result(replace(measured(), batches=[batch_run(100, [0.0] * 5)]))
    with pytest.raises(ValueError, match="ops_per_s batch 100"):
        compare(bench_result(measured()), damaged, NAMES, 0.1)
