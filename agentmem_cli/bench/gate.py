"""The targets of the seed report, and whether a run meets them."""

from collections.abc import Sequence
from typing import Final

from agentmem_cli.bench.result import BatchMeasurement, Comparison, TargetVerdict

TARGET_OPS_PER_S: Final = 5000.0
TARGET_MS_PER_MEMORY: Final = 1.0
TARGET_SPEEDUP: Final = 5.0


def judge(batches: Sequence[BatchMeasurement], comparison: Comparison) -> list[TargetVerdict]:
    """The three targets against the best batch size and the comparison."""
    best = max(batches, key=lambda batch: batch.ops_per_s)
    return [
        TargetVerdict("ops_per_s", TARGET_OPS_PER_S, best.ops_per_s, best.ops_per_s >= TARGET_OPS_PER_S),
        TargetVerdict(
            "ms_per_memory", TARGET_MS_PER_MEMORY, best.ms_per_memory, best.ms_per_memory < TARGET_MS_PER_MEMORY
        ),
        TargetVerdict("speedup", TARGET_SPEEDUP, comparison.speedup, comparison.speedup >= TARGET_SPEEDUP),
    ]
