"""New measurements against a base's: a ratio and its interval for each metric that both have, and what it says."""

from dataclasses import dataclass, field

from agentmem_cli.bench.gate import Verdict


@dataclass(frozen=True, slots=True)
class Side:
    """One of two that are compared: what it is called (a file, or an installation), and what measured it."""

    name: str
    agentmem: str


@dataclass(frozen=True, slots=True)
class GateReport:
    """What a comparison found. `rounds` is how many pairs of runs were judged, None where two results were compared.

    `differences` are those of machine, models, workload or options, that the user wanted passed over.
    """

    base: Side
    new: Side
    max_regression: float
    rounds: int | None
    verdicts: list[Verdict]
    differences: list[str] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether anything has regressed."""
        return any(verdict.has_failed for verdict in self.verdicts)

    @property
    def is_inconclusive(self) -> bool:
        """Whether anything can't be told."""
        return any(verdict.outcome == "inconclusive" for verdict in self.verdicts)
