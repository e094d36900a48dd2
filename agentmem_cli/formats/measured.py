"""A result with its figures, derived once for all formats: the intervals in them take their time."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentmem_cli.bench.figures import Figures, figures_of
from agentmem_cli.bench.result import BenchResult, ModelResult
from agentmem_cli.bench.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Measured:
    """A result, its models with their figures, and what a gate says of them, if there is one."""

    result: BenchResult
    models: list[tuple[ModelResult, Figures]]
    verdicts: Sequence[Verdict]


def with_figures(result: BenchResult, verdicts: Sequence[Verdict] = ()) -> Measured:
    """A result and its figures."""
    return Measured(result, [(model, figures_of(result, model)) for model in result.models], verdicts)
