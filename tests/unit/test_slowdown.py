"""The seam by which a test of the gate slows an ingest down: by its share, in its stages, and off by default."""

import pytest

from agentmem_cli.support import failpoints
from agentmem_cli.support.failpoints import SLOWDOWN_VARIABLE, slowdown, slowed


class Clock:
    """Stands in for `time`: it goes on by a millisecond each time that it is looked at, and while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 10.0

    def perf_counter(self) -> float:
        self.now_s += 0.001
        return self.now_s

    def sleep(self, wanted_s: float) -> None:
        self.now_s += wanted_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(failpoints, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("share", "stage", "longer_s"),
    [("0.2", "embed", 2.0), ("0.2", "commit", 2.0), ("1", "embed", 10.0), ("0.2", "parse", 0.0), ("0", "embed", 0.0)],
)
def test_a_stage_takes_its_share_longer(
    share: str, stage: str, longer_s: float, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOWDOWN_VARIABLE, share)
    slowed(stage, 0.0)  # ten seconds ago
    assert clock.now_s == pytest.approx(10.0 + longer_s, abs=0.02)


def test_nothing_is_slowed_down_by_default(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SLOWDOWN_VARIABLE, raising=False)
    slowed("embed", 0.0)
    assert (slowdown(), clock.now_s) == (0.0, 10.0)
