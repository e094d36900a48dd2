"""A user is told of each reason to doubt a result, once and with its figures, and of nothing else."""

from dataclasses import replace

import pytest

from agentmem_cli.bench.result import BenchResult, BenchWarning, Machine, Retrieval, WorkloadFacts
from agentmem_cli.bench.warnings import warnings_of
from agentmem_cli.errors import UsageError
from tests.bench_results import batch_run, bench_result, model_result

STEADY = [1.0, 1.01, 1.0, 0.99, 1.0]
MACHINE = Machine([1e11] * 5, [[0.001] * 3] * 5, 0.1, 0.0)


def the_only(result: BenchResult) -> BenchWarning:
    (found,) = warnings_of(result)
    return found


def measured(*totals_s: float, machine: Machine = MACHINE) -> BenchResult:
    return bench_result(model_result(runs=[batch_run(10, totals_s)]), machine=machine, repeats=len(totals_s))


def test_a_steady_run_has_no_warnings() -> None:
    assert warnings_of(measured(*STEADY)) == []


def test_a_busy_machine_is_told_of() -> None:
    found = the_only(measured(*STEADY, machine=replace(MACHINE, load_average=1.2)))
    assert (found.kind, found.data) == ("load", {"load_average": 1.2, "cores": 2})
    assert "load average 1.2 on 2 cores" in found.message


def test_stores_in_memory_are_told_of() -> None:
    assert the_only(measured(*STEADY, machine=replace(MACHINE, fsync_s=[[1e-6] * 9]))).kind == "no-disk"


def test_too_few_repeats_are_told_of() -> None:
    found = the_only(measured(1.0, 2.0, 1.0, 2.0))
    assert (found.kind, found.data) == ("few-samples", {"repeats": 4})
    assert found.message.endswith("use at least 5")


def test_lines_of_a_file_that_were_left_out_are_told_of() -> None:
    result = replace(measured(*STEADY), workload=WorkloadFacts("own.jsonl", 10, "", 3))
    found = the_only(result)
    assert (found.kind, found.data) == ("duplicates", {"duplicates": 3})
    assert "3 lines of own.jsonl" in found.message


def test_unknown_words_and_cut_texts_are_told_of_with_the_model() -> None:
    runs = [batch_run(10, STEADY, unknown=64, truncated=5)]
    unknown, cut = warnings_of(bench_result(model_result(runs=runs), machine=MACHINE, repeats=5))
    assert (unknown.kind, unknown.model, unknown.data) == ("unknown-tokens", "fake", {"unknown_token_ratio": 0.8})
    assert unknown.message.startswith("80% of the workload's tokens are unknown to fake")
    assert (cut.kind, cut.model, cut.data) == ("truncated", "fake", {"truncated": 5})


@pytest.mark.parametrize(("slowest_s", "kinds"), [(1.25, []), (1.26, ["noisy"])])
def test_a_median_that_is_uncertain_makes_a_noisy_run(slowest_s: float, kinds: list[str]) -> None:
    assert [found.kind for found in warnings_of(measured(1.0, slowest_s, 1.0, slowest_s, 1.0))] == kinds


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (MACHINE, "the measurements of the machine were steady"),
        (replace(MACHINE, steal_ratio=0.1), "its host gave 10% of the processor time to others"),
        (replace(MACHINE, sgemm_flop_per_s=[1e11, 0.5e11, 1e11]), "its arithmetic alone varied by 50%"),
        (replace(MACHINE, fsync_s=[[0.001], [0.004], [0.001]]), "its fsyncs varied by 300%"),
    ],
)
def test_a_noisy_run_says_what_of_the_machine_was_unsteady(machine: Machine, reason: str) -> None:
    found = the_only(measured(1.0, 2.0, 1.5, 2.0, 1.0, machine=machine))
    assert (found.kind, found.data) == ("noisy", {"batch_sizes": [10.0]})
    assert reason in found.message


@pytest.mark.parametrize(("rates", "cause"), [([1e11] * 5, False), ([1e11, 0.95e11, 0.9e11, 0.85e11, 0.8e11], True)])
def test_a_run_that_goes_one_way_has_drifted_with_the_machine_or_without_it(rates: list[float], cause: bool) -> None:
    machine = replace(MACHINE, sgemm_flop_per_s=rates)
    found = the_only(measured(1.0, 1.04, 1.08, 1.12, 1.16, machine=machine))
    assert (found.kind, found.model) == ("drift", "fake")
    assert "the run of fake became slower by 15%" in found.message
    assert ("and so did the arithmetic of the machine" in found.message) is cause


def test_queries_without_labels_and_labels_without_memories_are_told_of_once() -> None:
    asked = [Retrieval(mode, {"mrr": [1.0]}, 3, 2) for mode in ("hybrid", "meaning")]
    steady = measured(*STEADY).models[0]
    models = [replace(steady, retrieval=asked), replace(steady, retrieval=asked)]
    found = the_only(replace(measured(*STEADY), models=models))
    assert (found.kind, found.data) == ("labels", {"unlabelled": 3, "missing": 2})


def test_a_run_that_is_slowed_down_for_a_test_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_TEST_SLOWDOWN", "0.2")
    found = the_only(measured(*STEADY))
    assert (found.kind, found.data) == ("slowed", {"share": 0.2})


@pytest.mark.parametrize("share", ["much", "-1", "nan", ""])
def test_a_slowdown_that_is_no_share_is_refused(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_TEST_SLOWDOWN", share)
    with pytest.raises(UsageError, match="AGENTMEM_TEST_SLOWDOWN"):
        warnings_of(measured(*STEADY))
