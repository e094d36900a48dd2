"""The options of a benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentmem_cli.bench.measure import Labelled
from agentmem_cli.errors import UsageError
from agentmem_cli.ingest.options import MAX_BATCH_SIZE, MIN_BATCH_SIZE

MAX_SCALE: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure. Raises UsageError for sizes that are not possible.

    `scale` lists the sizes that a store grows to; by default that is the size of the largest batch. `labelled` names
    the queries that measure the quality of searches. `threads` and `device` are only recorded in the result: the
    embedders have their own.
    """

    sizes: Sequence[int]
    compare: int = 100
    repeats: int = 5
    warmup: int = 1
    scale: Sequence[int] = ()
    threads: int | None = None
    device: str = "cpu"
    labelled: Labelled | None = None

    def __post_init__(self) -> None:
        if not self.sizes:
            raise UsageError("--sizes is empty: give batch sizes such as 10,50,100,500,1000")
        for size in (*self.sizes, self.compare):
            if not MIN_BATCH_SIZE <= size <= MAX_BATCH_SIZE:
                raise UsageError(f"size {size} is not between {MIN_BATCH_SIZE} and {MAX_BATCH_SIZE}")
        if len(set(self.sizes)) != len(self.sizes):
            raise UsageError("--sizes names a size twice")
        if self.repeats < 1 or self.warmup < 0:
            raise UsageError("--repeats must be at least 1 and --warmup at least 0")
        for size in self.scale:
            if not MIN_BATCH_SIZE <= size <= MAX_SCALE:
                raise UsageError(f"--scale: {size} memories is not between {MIN_BATCH_SIZE} and {MAX_SCALE:,}")
        if any(size >= larger for size, larger in zip(self.scale, self.scale[1:], strict=False)):
            raise UsageError("--scale: give ascending sizes, such as 1000,10000,100000")

    @property
    def store_sizes(self) -> list[int]:
        """The sizes that a store is grown to."""
        return list(self.scale) or [max(self.sizes)]

    @property
    def memories(self) -> int:
        """How many memories the workload must have."""
        return max(*self.sizes, *self.store_sizes)
