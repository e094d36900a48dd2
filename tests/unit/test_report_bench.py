"""The tables of a benchmark hold its figures, and nothing in them that came from outside is obeyed."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from agentmem_cli.bench.result import BenchResult, BenchWarning, Likeness, ModelResult, Retrieval, WorkloadFacts
from agentmem_cli.report.bench_report import with_figures
from agentmem_cli.report.terminal import bench_report
from tests.bench_results import bench_result, model_result, store_point
from tests.unit.test_report import HARMLESS, HOSTILE, OBEYED, words


def shown(result: BenchResult, width: int = 160, markup: bool = False) -> str:
    file = StringIO()
    console = Console(file=file, width=width, markup=markup, emoji=markup, highlight=False)
    for renderable in bench_report(with_figures(result)):
        console.print(renderable)
    return file.getvalue()


def rows(result: BenchResult) -> list[str]:
    return [words(line) for line in shown(result).splitlines()]


def test_the_report_of_a_benchmark_says_what_it_was_measured_on() -> None:
    said = shown(bench_result())
    for part in (
        "with: agentmem 0.1.0 · fake (0123456789ab)",
        "machine: A CPU, 2 cores, 8 GiB · Linux · Python 3.11.7",
        "workload: mixed, 1,000 memories · cpu, 2 threads at most",
        "method: median of 5 and its 95 % interval, fresh store each, after 1 warm-up",
        "this machine's own ceiling: 100 GFLOP/s (float32 products), 1,000 fsync/s",
    ):
        assert part in said
    assert "Warning" not in said
    assert "interrupted" not in said


def test_the_report_of_a_benchmark_holds_its_figures() -> None:
    found = rows(bench_result())
    for row in (
        "10 13.40 12.0 to 20.0 1.340 746.27 15%",
        "1000 200.00 190.0 to 210.0 0.200 5,000.00 100%",
        "10 1.00 - - 6.70 - 5.70",  # stages: parse, plan, tokenize, embed, commit, rest
        "one by one 1,250.00 1,200.0 to 1,300.0 80.00 1.00x",
        "in one batch 250.00 250.0 to 260.0 400.00 5.00x",
        "time saved: 80.0%",
        "speed-up, 95 %: 4.80 to 5.00",
        "one add, until it is durable 500 12.50 13.00 13.00",
        "one search of 1,000 memories 20 10.00 19.00 -",
        "tokens/s, best batch 50,000",
        "of what this machine's arithmetic allows 50%",
        "cold start, s 1.00: process 0.10, model 0.70, first 10 memories 0.20",
        "peak resident memory, MB 200",
        "store, bytes a memory 1,500",
        "building the graph of 1,000, ms 250.0",
        "recall@10 of the graph 0.9750 (against an exact scan)",
        "throughput, best batch >= 5,000 ops/s 5,000.00 ops/s not certain",
        "latency, best batch < 1 ms/memory 0.200 ms/memory met",
        "batch against single >= 5x 5.00x not certain",
    ):
        assert row in found


def test_a_store_that_grew_is_a_table() -> None:
    stores = [store_point(500), store_point(2000, [10, 9])]
    found = rows(bench_result(replace(model_result(), stores=stores)))
    assert "500 2,000 - 10.00 19.00 - 1,500 200" in found
    assert "2,000 2,000 0.25 10.00 19.00 0.950 1,500 200" in found


def test_an_interrupted_run_says_so_and_shows_what_it_has() -> None:
    nothing = ModelResult(model_result().model)
    for result in (bench_result(), bench_result(nothing), bench_result(nothing, nothing)):
        assert "interrupted: this is what was measured by then" in shown(replace(result, complete=False))


@pytest.mark.parametrize("markup", [False, True])
def test_a_hostile_workload_name_model_or_warning_comes_out_inert(markup: bool) -> None:
    hostile = model_result(HOSTILE)
    result = bench_result(hostile, workload=WorkloadFacts(HOSTILE, 1))
    result.warnings.append(BenchWarning("earlier", HOSTILE))
    said = shown(result, 300, markup)
    assert f"workload: {HARMLESS}" in said
    assert f"Warning: {HARMLESS}" in said
    assert not set(OBEYED) & set(said)
    several = shown(bench_result(hostile, replace(hostile, likeness=Likeness(HOSTILE, [], [1, 1]))), 300, markup)
    assert not set(OBEYED) & set(several)


def test_a_narrow_terminal_still_gets_every_figure_of_a_batch() -> None:
    said = shown(bench_result(), width=80)
    for figure in ("13.40", "746.27", "5,000.00", "190.0 to 210.0"):
        assert figure in said


def test_models_stand_side_by_side_with_the_first_as_the_measure() -> None:
    first, second = model_result(), model_result("another")
    halved = [
        replace(found, samples=[replace(sample, total_s=sample.total_s / 2) for sample in found.samples])
        for found in second.batches
    ]
    like = Likeness("fake", [0.99, 0.995], [10, 9] * 10)
    said = rows(bench_result(first, replace(second, batches=halved, likeness=like)))
    assert "fake 5,000 4,762 to 5,263 1.00x 5.0x" in said
    assert "another 10,000 9,524 to 10,526 2.00x 5.0x" in said
    assert "fake 1.00 200 1,500 10.00 - -" in said
    assert "another 1.00 200 1,500 10.00 0.9925 0.95" in said


def test_answers_to_labelled_queries_are_shown_by_mode() -> None:
    figures = {name: [1.0, 0.0, 1.0, 0.0] for name in ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10")}
    measured = replace(model_result(), retrieval=[Retrieval("meaning", figures, 0, 0)])
    for result in (bench_result(measured), bench_result(measured, model_result("another"))):
        assert "meaning 0.500 0.500 0.500 0.500 0.500 0.000 to 1.000" in rows(result)
        assert "4 queries, asked of all memories of the workload's file" in shown(result)
