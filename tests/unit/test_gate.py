"""The targets of the seed report at their very edges."""

import pytest

from agentmem_cli.bench.verdict import judge


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
    verdicts = judge(ops_per_s, ms_per_memory, speedup)
    assert [verdict.name for verdict in verdicts] == ["ops_per_s", "ms_per_memory", "speedup"]
    assert [verdict.target for verdict in verdicts] == [5000.0, 1.0, 5.0]
    assert [verdict.actual for verdict in verdicts] == [ops_per_s, ms_per_memory, speedup]
    assert [verdict.met for verdict in verdicts] == met


def test_what_was_not_compared_is_not_judged() -> None:
    assert [verdict.name for verdict in judge(5000.0, 0.2, None)] == ["ops_per_s", "ms_per_memory"]
