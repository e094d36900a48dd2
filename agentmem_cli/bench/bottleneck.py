"""What limits an ingest: where its time goes by batch size, what a batch costs beside its memories, and the ceilings.

Pure. A part of the time is modelled as a fixed cost for each batch and a cost for each memory, fitted to the medians of
all batch sizes; so it says what batching can save, and predicts sizes that were not measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

Part: TypeAlias = Literal["embedding", "commit", "reading", "rest"]
PARTS: Final[dict[Part, tuple[str, ...]]] = {
    "embedding": ("tokenize", "embed"),
    "commit": ("commit",),
    "reading": ("parse", "plan"),
}
_REST: Final[Part] = "rest"


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the time of a batch that is longest."""

    batch_size: int
    part: Part
    part_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The time of a batch of n memories: fixed_ms + n * each_ms."""

    fixed_ms: float
    each_ms: float

    def of(self, memories: float) -> float:
        """The time of a batch of this many memories, ms."""
        return self.fixed_ms + memories * self.each_ms


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What limits the ingests of a model.

    `best` and `smallest` are the longest parts of the best and of the smallest batch size. `costs` are those of each
    part. `storage_ops_per_s` is the rate of the best batch size without embedding, and `storage_ratio` that share of
    its time. `ceiling_ratio` is that of `Figures`. `fsync_ms` is the median of one fsync of the disk, `single_ms` the
    time of one memory added by itself, `batched_ms` that of such a memory in the comparison's batch without its share
    of the fixed cost, and `busy_cores` how many of `cores` the best batch size keeps busy; they are None where they
    were not measured.
    """

    best: Share
    smallest: Share
    costs: dict[Part, Cost]
    storage_ops_per_s: float
    storage_ratio: float
    ceiling_ratio: float | None
    fsync_ms: float | None
    single_ms: float | None
    batched_ms: float | None
    busy_cores: float | None
    cores: int | None

    @property
    def cost(self) -> Cost:
        """The cost of all parts."""
        return Cost(
            sum(cost.fixed_ms for cost in self.costs.values()), sum(cost.each_ms for cost in self.costs.values())
        )

    @property
    def most_speedup(self) -> float | None:
        """How much faster than one by one a batch without any fixed cost would be; None where that is not known."""
        if self.single_ms is None or self.batched_ms is None or self.batched_ms <= 0:
            return None
        return self.single_ms / self.batched_ms


def bottleneck_of(
    stages_ms: Mapping[int, Mapping[str, float]],
    totals_ms: Mapping[int, float],
    *,
    ceiling_ratio: float | None = None,
    fsync_ms: float | None = None,
    single_ms: float | None = None,
    batched: tuple[int, float] | None = None,
    busy_cores: float | None = None,
    cores: int | None = None,
) -> Bottleneck | None:
    """What limits a model, from the medians of its stages and of its totals by batch size; None without stages.

    `batched` is the size of the comparison's batch and its time in ms: its texts are those of `single_ms`.
    """
    parts = {size: _parts(stages, totals_ms[size]) for size, stages in stages_ms.items() if stages}
    if not parts:
        return None
    best = max(parts, key=lambda size: size / totals_ms[size])
    storage_ms = sum(spent_ms for part, spent_ms in parts[best].items() if part != "embedding")
    sizes = sorted(parts)
    costs = {part: fitted(sizes, [parts[size][part] for size in sizes]) for part in (*PARTS, _REST)}
    fixed_ms = sum(cost.fixed_ms for cost in costs.values())
    return Bottleneck(
        best=_longest(best, parts[best]),
        smallest=_longest(sizes[0], parts[sizes[0]]),
        costs=costs,
        storage_ops_per_s=1000 * best / storage_ms if storage_ms > 0 else 0.0,
        storage_ratio=storage_ms / sum(parts[best].values()),
        ceiling_ratio=ceiling_ratio,
        fsync_ms=fsync_ms,
        single_ms=single_ms,
        batched_ms=None if batched is None else max(0.0, batched[1] - fixed_ms) / batched[0],
        busy_cores=busy_cores,
        cores=cores,
    )


def _parts(stages_ms: Mapping[str, float], total_ms: float) -> dict[Part, float]:
    known: dict[Part, float] = {
        part: sum(stages_ms.get(stage, 0.0) for stage in stages) for part, stages in PARTS.items()
    }
    return {**known, _REST: max(0.0, total_ms - sum(known.values()))}


def _longest(size: int, parts: Mapping[Part, float]) -> Share:
    part = max(parts, key=lambda name: parts[name])
    return Share(size, part, parts[part], parts[part] / sum(parts.values()))


def fitted(sizes: Sequence[int], times_ms: Sequence[float]) -> Cost:
    """The cost whose relative errors have the least sum of squares, neither part of it below 0.

    With a single size there is no fixed cost to be told from the rest.
    """
    n, t = np.asarray(sizes, dtype=np.float64), np.maximum(np.asarray(times_ms, dtype=np.float64), 1e-9)
    if len(n) > 1:
        rows = np.stack([1 / t, n / t], axis=1)
        (fixed, each), *_ = np.linalg.lstsq(rows, np.ones(len(n)), rcond=None)
        if fixed >= 0 and each >= 0:
            return Cost(float(fixed), float(each))
        if each < 0:
            return Cost(float((1 / t).sum() / (1 / t**2).sum()), 0.0)
    return Cost(0.0, float((n / t).sum() / ((n / t) ** 2).sum()))
