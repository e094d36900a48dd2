"""Verdicts on figures: the targets of the earlier report, and bounds that a user sets."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from agentmem_cli.support.statistics import Interval

TARGET_OPS_PER_S: Final = 5000.0
TARGET_MS_PER_MEMORY: Final = 1.0
TARGET_SPEEDUP: Final = 5.0

Outcome: TypeAlias = Literal["met", "missed", "ok", "improved", "inconclusive", "regressed"]


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A target, the measured figure, and whether it is met."""

    name: str
    target: float
    actual: float
    met: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's verdict on one metric of one model.

    For an absolute bound, `figure` is the median of the metric and `outcome` is `met` or `missed`; a bound on the
    quality of searches may also be `inconclusive`. For a comparison, `figure` is the ratio of the new measurement to
    the base and `outcome` is one of the other four; `bound` is 0.9 or 1.1 for a maximum regression of 10 %. `base` and
    `new` are then medians in the unit of the metric, and `base_samples` and `new_samples` their samples. If the sides
    were measured in turn, these samples are the medians of the rounds, and `ratios` are the ratios of the rounds. `at`
    names the batch or store size, such as "batch 1000", or the mode of a search.
    `interval` is the 95 % interval of `figure`; None if there are too few samples.
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
        """Whether the gate fails."""
        return self.outcome in ("missed", "regressed")


def judge(ops_per_s: float, ms_per_memory: float, speedup: float | None) -> list[TargetVerdict]:
    """The verdicts on the targets for the best batch size and, if measured, the speedup from batching."""
    verdicts = [
        TargetVerdict("ops_per_s", TARGET_OPS_PER_S, ops_per_s, ops_per_s >= TARGET_OPS_PER_S),
        TargetVerdict("ms_per_memory", TARGET_MS_PER_MEMORY, ms_per_memory, ms_per_memory < TARGET_MS_PER_MEMORY),
    ]
    if speedup is not None:
        verdicts.append(TargetVerdict("speedup", TARGET_SPEEDUP, speedup, speedup >= TARGET_SPEEDUP))
    return verdicts
