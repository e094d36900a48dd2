"""The figures of two phases of a project side by side, as the earlier report compares them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentmem_cli.bench.figures import Figures, figures_of
from agentmem_cli.bench.result import BenchResult, ModelResult

PhaseMetric: TypeAlias = Literal["batch", "single", "speedup"]


@dataclass(frozen=True, slots=True)
class PhaseFigure:
    """A figure of two phases; None for a phase that did not measure it.

    `batch` and `single` are memories per second, in batches of `memories` and one by one; `speedup` is their ratio.
    """

    model: str
    metric: PhaseMetric
    memories: int
    base: float | None
    new: float | None


def phase_figures(base: BenchResult, new: BenchResult) -> list[PhaseFigure]:
    """The figures of the models of both results: those of the same name or, if there are none, in order."""
    return [figure for pair in _paired(base.models, new.models) for figure in _of_models(base, new, *pair)]


def _paired(base: Sequence[ModelResult], new: Sequence[ModelResult]) -> list[tuple[ModelResult, ModelResult]]:
    by_name = {measured.model.name: measured for measured in new}
    named = [(measured, by_name[measured.model.name]) for measured in base if measured.model.name in by_name]
    return named or list(zip(base, new, strict=False))


def _of_models(base: BenchResult, new: BenchResult, of_base: ModelResult, of_new: ModelResult) -> Iterator[PhaseFigure]:
    mine, other = _rates(figures_of(base, of_base)), _rates(figures_of(new, of_new))
    order: tuple[PhaseMetric, ...] = ("batch", "single", "speedup")
    for metric, memories in sorted({*mine, *other}, key=lambda key: (order.index(key[0]), key[1])):
        key = metric, memories
        yield PhaseFigure(of_base.model.name, metric, memories, mine.get(key), other.get(key))


def _rates(figures: Figures) -> dict[tuple[PhaseMetric, int], float]:
    rates: dict[tuple[PhaseMetric, int], float] = {
        ("batch", batch.batch_size): batch.ops_per_s for batch in figures.batches
    }
    compared = figures.comparison
    if compared is not None:
        rates["single", compared.memories] = compared.single.ops_per_s
        rates["speedup", compared.memories] = compared.speedup
    return rates
