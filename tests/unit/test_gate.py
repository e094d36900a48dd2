"""The targets of the seed report at their very edges."""

import pytest

from agentmem_cli.bench.gate import judge
from agentmem_cli.bench.result import BatchMeasurement, Comparison, ModeMeasurement


def batch(ops_per_s: float, ms_per_memory: float, size: int = 10) -> BatchMeasurement:
    return BatchMeasurement(size, size, [1.0], 1000.0, ms_per_memory, ops_per_s, ops_per_s / 5000, {})


def comparison(speedup: float) -> Comparison:
    mode = ModeMeasurement(1.0, 1.0, [1.0])
    return Comparison(10, mode, mode, speedup, 1 - 1 / speedup)


@pytest.mark.parametrize(
    ("ops_per_s", "ms_per_memory", "speedup", "met"),
    [
        (5000.0, 0.2, 5.0, [True, True, True]),
        (4999.99, 0.2, 5.0, [False, True, True]),
        (5000.0, 1.0, 5.0, [True, False, True]),
        (5000.0, 0.999, 5.0, [True, True, True]),
        (5000.0, 0.2, 4.99, [True, True, False]),
        (751.0, 1.33, 3.72, [False, False, False]),
    ],
)
def test_a_target_is_met_from_its_edge_on(
    ops_per_s: float, ms_per_memory: float, speedup: float, met: list[bool]
) -> None:
    verdicts = judge([batch(ops_per_s, ms_per_memory)], comparison(speedup))
    assert [verdict.name for verdict in verdicts] == ["ops_per_s", "ms_per_memory", "speedup"]
    assert [verdict.target for verdict in verdicts] == [5000.0, 1.0, 5.0]
    assert [verdict.actual for verdict in verdicts] == [ops_per_s, ms_per_memory, speedup]
    assert [verdict.met for verdict in verdicts] == met


@pytest.mark.parametrize("best_at", [0, 1, 2])
def test_the_best_batch_size_is_judged(best_at: int) -> None:
    batches = [batch(600.0, 1.6, 10), batch(700.0, 1.4, 50), batch(800.0, 1.2, 100)]
    batches[best_at] = batch(6000.0, 0.17, 500)
    ops_per_s, ms_per_memory, _ = judge(batches, comparison(5.0))
    assert (ops_per_s.actual, ms_per_memory.actual) == (6000.0, 0.17)
    assert ops_per_s.met
    assert ms_per_memory.met
