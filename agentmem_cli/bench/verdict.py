"""Whether figures are good enough: the targets of the seed report, and bounds that a user sets."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from agentmem_cli.support.statistics import Interval

TARGET_OPS_PER_S: Final = 5000.0
TARGET_MS_PER_MEMORY: Final = 1.0
TARGET_SPEEDUP: Final = 5.0

Outcome: TypeAlias = Literal["met", "missed", "ok", "improved", "inconclusive", "regressed"]


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A target, what was measured, and whether it is met."""

    name: str
    target: float
    actual: float
    met: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of one metric of one model.

    Against an absolute bound `figure` is the metric's median, and the outcome `met` or `missed`. Against other
    measurements it is the ratio of the new to the base, and the outcome one of the other four; `base` and `new` are
    the medians, in the metric's own unit, of their samples, and `bound` is 0.9 or 1.1 for a regression of 10 %; where
    the two were measured in turn these are the medians of each round, and `ratios` what the figure is made of. `at`
    says which figure of several it is, such as "batch 1000". `interval` is the figure's, 95 %, None where there are
    too few samples for one.
    """

    model: str
    metric: str
    at: str
    figure: float
    bound: float
    interval: Interval | None
    outcome: Outcome
    higher_is_better: bool
    base: float | None = None
    new: float | None = None
    base_samples: list[float] = field(default_factory=list)
    new_samples: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether a gate closes for it."""
        return self.outcome in ("missed", "regressed")


def judge(ops_per_s: float, ms_per_memory: float, speedup: float | None) -> list[TargetVerdict]:
    """The targets against the figures of the best batch size, and of batch against single where that was measured."""
    verdicts = [
        TargetVerdict("ops_per_s", TARGET_OPS_PER_S, ops_per_s, ops_per_s >= TARGET_OPS_PER_S),
        TargetVerdict("ms_per_memory", TARGET_MS_PER_MEMORY, ms_per_memory, ms_per_memory < TARGET_MS_PER_MEMORY),
    ]
    if speedup is not None:
        verdicts.append(TargetVerdict("speedup", TARGET_SPEEDUP, speedup, speedup >= TARGET_SPEEDUP))
    return verdicts
