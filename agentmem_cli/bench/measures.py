"""What of a result is compared with another's: raw samples by metric, in units that people read."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from agentmem_cli.bench.result import BenchResult, Comparison, ModelResult
from agentmem_cli.support.statistics import median

Metric: TypeAlias = Literal["ops_per_s", "add_ms", "search_ms", "peak_resident_bytes", "bytes_per_memory"]
COUNTED: Final[tuple[Metric, ...]] = ("peak_resident_bytes", "bytes_per_memory")
HIGHER_IS_BETTER: Final[tuple[Metric, ...]] = ("ops_per_s",)


@dataclass(frozen=True, slots=True)
class MeasureKey:
    """Which figure it is: a metric of a model, and of which batch size or store."""

    model: str
    metric: Metric
    at: str

    def __str__(self) -> str:
        return " ".join(filter(None, [self.metric, self.at, f"({self.model})"]))


def measures_of(result: BenchResult) -> dict[MeasureKey, list[float]]:
    """The samples of each metric that has any, in the order in which they are shown.

    Raises ValueError for samples that are not more than 0: nothing was measured by a clock, or a file is damaged.
    """
    found = {
        MeasureKey(measured.model.name, metric, at): samples
        for measured in result.models
        for metric, at, samples in _of_model(measured)
        if samples
    }
    wrong = next((key for key, samples in found.items() if not all(0 < sample < math.inf for sample in samples)), None)
    if wrong is not None:
        raise ValueError(f"{wrong}: a sample is not more than 0")
    return found


def _of_model(measured: ModelResult) -> Iterator[tuple[Metric, str, list[float]]]:
    for run in measured.batches:
        rates = [run.batch_size / sample.total_s if sample.total_s else 0.0 for sample in run.samples]
        yield "ops_per_s", f"batch {run.batch_size}", rates
    if measured.comparison is not None:
        yield _adds(measured.comparison)
    for store in measured.stores:
        at = f"of {store.memories:,}"
        yield "search_ms", at, [1000 * spent_s for spent_s in store.searches_s]
        yield "peak_resident_bytes", at, [float(store.peak_resident_bytes)]
        yield "bytes_per_memory", at, [store.bytes / store.memories if store.memories else 0.0]


def _adds(comparison: Comparison) -> tuple[Metric, str, list[float]]:
    """A figure a repeat, since the adds of one are alike: the median, or the mean where version 1 kept no more."""
    of = f"of {comparison.memories}"
    if all(sample.latencies_s for sample in comparison.single):
        return "add_ms", of, [1000 * median(sample.latencies_s) for sample in comparison.single]
    return "add_ms", f"mean {of}", [1000 * sample.total_s / comparison.memories for sample in comparison.single]
