"""The targets of the seed report at their very edges."""

import pytest

from agentmem_cli.bench.verdict import judge
from agentmem_cli.support.statistics import Estimate, Interval


def exactly(figure: float) -> Estimate:
    return Estimate(figure, Interval(figure, figure))


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
    verdicts = judge(exactly(ops_per_s), exactly(ms_per_memory), exactly(speedup))
    assert [verdict.name for verdict in verdicts] == ["ops_per_s", "ms_per_memory", "speedup"]
    assert [verdict.target for verdict in verdicts] == [5000.0, 1.0, 5.0]
    assert [verdict.actual for verdict in verdicts] == [ops_per_s, ms_per_memory, speedup]
    assert [verdict.outcome == "met" for verdict in verdicts] == met
    assert {verdict.outcome for verdict in verdicts} <= {"met", "missed"}


def test_a_target_within_the_interval_and_one_without_an_interval_are_not_certain() -> None:
    ops_per_s = Estimate(5200.0, Interval(4900.0, 5400.0))
    ms_per_memory = Estimate(0.99, Interval(0.9, 1.0))
    verdicts = judge(ops_per_s, ms_per_memory, Estimate(9.0, None))
    assert [verdict.outcome for verdict in verdicts] == ["inconclusive"] * 3
    assert [verdict.interval for verdict in verdicts] == [ops_per_s.interval, ms_per_memory.interval, None]


def test_what_was_not_compared_is_not_judged() -> None:
    assert [verdict.name for verdict in judge(exactly(5000.0), exactly(0.2), None)] == ["ops_per_s", "ms_per_memory"]
