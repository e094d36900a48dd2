"""The targets of the seed report, and whether a run meets them."""

from dataclasses import dataclass
from typing import Final

TARGET_OPS_PER_S: Final = 5000.0
TARGET_MS_PER_MEMORY: Final = 1.0
TARGET_SPEEDUP: Final = 5.0


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A target, what was measured, and whether it is met."""

    name: str
    target: float
    actual: float
    met: bool


def judge(ops_per_s: float, ms_per_memory: float, speedup: float | None) -> list[TargetVerdict]:
    """The targets against the figures of the best batch size, and of batch against single where that was measured."""
    verdicts = [
        TargetVerdict("ops_per_s", TARGET_OPS_PER_S, ops_per_s, ops_per_s >= TARGET_OPS_PER_S),
        TargetVerdict("ms_per_memory", TARGET_MS_PER_MEMORY, ms_per_memory, ms_per_memory < TARGET_MS_PER_MEMORY),
    ]
    if speedup is not None:
        verdicts.append(TargetVerdict("speedup", TARGET_SPEEDUP, speedup, speedup >= TARGET_SPEEDUP))
    return verdicts
