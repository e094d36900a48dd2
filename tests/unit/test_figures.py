"""Figures follow from samples, and what samples can't tell is left out."""

from dataclasses import replace

import pytest

from agentmem_cli.bench.figures import Figures, figures_of, latencies
from agentmem_cli.bench.result import Likeness, Machine, ModelResult
from agentmem_cli.support.statistics import Interval
from tests.bench_results import batch_run, bench_result, comparison, model_result, store_point


def figures(measured: ModelResult | None = None, machine: Machine | None = None) -> Figures:
    model = measured or model_result()
    return figures_of(bench_result(model, machine=machine), model)


def test_the_figures_of_a_batch_follow_from_its_samples() -> None:
    small, large = figures().batches
    assert (small.batch_size, small.total_ms, small.ms_per_memory) == (10, 13.4, 1.34)
    assert small.ops_per_s == pytest.approx(746.27, abs=0.01)
    assert small.target_ratio == pytest.approx(0.1493, abs=0.0001)
    assert small.tokens_per_s == pytest.approx(7462.7, abs=0.1)
    assert small.stages_ms == {"parse": 1.0, "embed": 6.7}
    assert large.total_ms_interval == Interval(190.0, 210.0)
    assert large.ops_per_s_interval == Interval(1000 / 0.21, 1000 / 0.19)


def test_the_best_batch_is_the_quickest_and_is_what_the_targets_judge() -> None:
    found = figures()
    assert found.best_batch == 1000
    assert found.best is not None
    actual = {verdict.name: verdict.actual for verdict in found.targets}
    assert actual == {"ops_per_s": found.best.ops_per_s, "ms_per_memory": 0.2, "speedup": 5.0}


def test_four_samples_have_no_interval_and_decide_nothing() -> None:
    measured = model_result(runs=[batch_run(10, [0.1, 0.2, 0.1, 0.2])])
    found = figures(measured)
    (batch,) = found.batches
    assert (batch.total_ms_interval, batch.ops_per_s_interval) == (None, None)
    assert batch.total_ms == pytest.approx(150)
    assert {target.name: target.outcome for target in found.targets}["ops_per_s"] == "inconclusive"


def test_the_speed_up_and_its_interval_are_of_pairs() -> None:
    measured = replace(model_result(), comparison=comparison([1.0, 2.0, 4.0, 2.0, 1.0], [0.25, 0.5, 1.0, 0.5, 0.25]))
    found = figures(measured).comparison
    assert found is not None
    assert (found.speedup, found.time_saved_ratio) == (4.0, 0.75)
    assert found.speedup_interval == Interval(4.0, 4.0)  # the machine slowed down for both of a pair alike
    assert (found.single.ops_per_s, found.batch.ops_per_s) == (50.0, 200.0)


def test_a_speed_up_is_within_its_interval_however_the_machine_varies() -> None:
    singles, batches = [1.0, 2.0, 3.0, 9.0, 9.5], [0.5, 0.9, 0.4, 0.45, 4.75]
    found = figures(replace(model_result(), comparison=comparison(singles, batches))).comparison
    assert found is not None
    assert found.speedup_interval is not None
    assert found.speedup == pytest.approx(2 / 0.9)  # the ratio of the medians is 6
    assert found.speedup_interval.low <= found.speedup <= found.speedup_interval.high
    assert found.time_saved_ratio == pytest.approx(1 - 1 / found.speedup)


def test_latencies_say_how_many_they_are_and_only_what_these_can_tell() -> None:
    found = latencies([value / 1000 for value in range(1, 51)])
    assert (found.n, found.p50_ms, found.p95_ms, found.p99_ms) == (50, 25.0, 48.0, None)
    add = figures().add
    assert add is not None
    assert add.n == 500
    assert add.p99_ms == pytest.approx(13.0)


def test_a_store_has_a_rate_bytes_and_the_recall_of_its_graph() -> None:
    (store,) = figures().stores
    assert (store.ops_per_s, store.bytes_per_memory, store.index_ms) == (2000.0, 1500.0, 250.0)
    assert store.graph_recall_at_10 == pytest.approx(0.975)
    assert (store.search.p50_ms, store.search.p95_ms) == (10.0, 19.0)
    (without,) = figures(replace(model_result(), stores=[store_point(100)])).stores
    assert (without.graph_recall_at_10, without.index_ms) == (None, None)


def test_tokens_are_those_of_the_largest_batch_and_unknown_ones_a_share_of_the_texts_own() -> None:
    found = figures(model_result(runs=[batch_run(10, [0.1]), batch_run(100, [0.1], unknown=200)]))
    assert (found.tokens_per_memory, found.unknown_token_ratio) == (10.0, 0.25)


def test_a_cold_start_is_all_its_parts() -> None:
    assert figures().cold_start_ms == pytest.approx(1000)


def test_the_ceiling_is_what_matrix_products_reach() -> None:
    # 5,000 memories/s of 10 tokens of 1 MFLOP are 50 GFLOP/s of 100
    assert figures().ceiling_ratio == pytest.approx(0.5)


@pytest.mark.parametrize(("precision", "flop_per_token"), [("int8", 1_000_000), ("fp32", None), ("as served", None)])
def test_a_model_of_other_arithmetic_is_not_held_against_the_ceiling(
    precision: str, flop_per_token: int | None
) -> None:
    measured = model_result()
    model = replace(measured.model, precision=precision, flop_per_token=flop_per_token)
    assert figures(replace(measured, model=model)).ceiling_ratio is None


def test_fewer_threads_than_cores_are_not_held_against_the_ceiling_of_all() -> None:
    result = bench_result()
    one = replace(result, config=replace(result.config, threads=1))
    assert figures_of(one, one.models[0]).ceiling_ratio is None
    assert figures(machine=Machine()).ceiling_ratio is None


def test_likeness_is_the_median_cosine_and_the_neighbours_that_are_shared() -> None:
    like = figures(replace(model_result(), likeness=Likeness("fp32", [0.9, 0.99, 1.0], [10, 9, 8] * 4))).likeness
    assert like is not None
    assert (like.median_cosine, like.least_cosine, like.shared_neighbours_at_10) == (0.99, 0.9, 0.9)
    other_dims = figures(replace(model_result(), likeness=Likeness("fp32", [], [1, 1, 1]))).likeness
    assert other_dims is not None
    assert (other_dims.median_cosine, other_dims.shared_neighbours_at_10) == (None, 0.5)


def test_what_was_not_measured_is_left_out() -> None:
    found = figures(ModelResult(model_result().model))
    assert (found.batches, found.stores, found.targets) == ([], [], [])
    assert (found.best, found.comparison, found.add, found.cold_start_ms, found.ceiling_ratio) == (None,) * 5
