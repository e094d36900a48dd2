"""Verdicts on figures: the targets of the earlier report, and bounds that a user sets."""

import math
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from agentmem_cli.support.statistics import Estimate, Interval

TARGET_OPS_PER_S: Final = 5000.0
TARGET_MS_PER_MEMORY: Final = 1.0
TARGET_SPEEDUP: Final = 5.0

Outcome: TypeAlias = Literal["met", "missed", "ok", "improved", "inconclusive", "regressed"]
NOT_CERTAIN: Final = "not certain"  # what messages and reports call `inconclusive`
LEAST_SAMPLES: Final = 5  # fewer samples have no 95 % interval: that of the median of 3 covers it in 75 % of cases


def outcome_of_bound(interval: Interval | None, bound: float, *, higher_is_better: bool) -> Outcome:
    """`met` or `missed` if the whole interval of a figure is on that side of the bound, `inconclusive` otherwise."""
    if interval is None:
        return "inconclusive"
    worst, best = (interval.low, interval.high) if higher_is_better else (-interval.high, -interval.low)
    limit = bound if higher_is_better else -bound
    if best < limit:
        return "missed"
    return "met" if worst >= limit else "inconclusive"


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A target, the measured figure with its 95 % interval (None if there are too few samples), and the outcome.

    The outcome is `met`, `missed` or `inconclusive`.
    """

    name: str
    target: float
    actual: float
    interval: Interval | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's verdict on one metric of one model.

    For an absolute bound, `figure` is the median of the metric (the mean, for the quality of searches) and `outcome` is
    `met`, `missed` or `inconclusive`. For a comparison, `figure` is the ratio of the new measurement to the base and
    `outcome` is `ok`, `improved`, `regressed` or `inconclusive`; `bound` is 0.9 or 1.1 for a maximum regression of
    10 %. `base` and `new` are then medians in the unit of the metric, and `base_samples` and `new_samples` their
    samples. If the sides were measured in turn, these samples are the medians of the rounds, and `ratios` are the
    ratios of the rounds. `at` names the batch or store size, such as "batch 1000", or the mode of a search.
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

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves no doubt."""
        return self.outcome != "inconclusive"


def judge(ops_per_s: Estimate, ms_per_memory: Estimate, speedup: Estimate | None) -> list[TargetVerdict]:
    """The verdicts on the targets for the best batch size and, if measured, the speedup from batching."""
    below_1_ms = math.nextafter(TARGET_MS_PER_MEMORY, 0)  # 1 ms itself misses the target
    verdicts = [
        _judged("ops_per_s", TARGET_OPS_PER_S, ops_per_s, TARGET_OPS_PER_S, higher_is_better=True),
        _judged("ms_per_memory", TARGET_MS_PER_MEMORY, ms_per_memory, below_1_ms, higher_is_better=False),
    ]
    if speedup is not None:
        verdicts.append(_judged("speedup", TARGET_SPEEDUP, speedup, TARGET_SPEEDUP, higher_is_better=True))
    return verdicts


def _judged(name: str, target: float, estimate: Estimate, bound: float, *, higher_is_better: bool) -> TargetVerdict:
    outcome = outcome_of_bound(estimate.interval, bound, higher_is_better=higher_is_better)
    return TargetVerdict(name, target, estimate.figure, estimate.interval, outcome)
