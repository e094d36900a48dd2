"""Two installations of agentmem measured in turn on one machine: a fresh process each, a pair of them a round.

What a machine does meanwhile falls on both of a pair alike: they take turns at every step, a fraction of a second each.
Before every step the other has run, so neither finds the caches as it left them. Whoever begins changes from round to
round, so that what the first of two always gains or loses falls on both as often.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from agentmem_cli.bench.comparing import GateReport, compare_rounds
from agentmem_cli.bench.installation import Installation, Measuring, measuring
from agentmem_cli.bench.result import BenchResult
from agentmem_cli.errors import UsageError

LEAST_ROUNDS: Final = 6  # fewer pairs have no 95 % interval


@dataclass(slots=True)
class AbRun:
    """Rounds of two installations, measured by `agentmem bench` with the same options.

    `arguments` are those options; files among them are named by absolute paths, for each process runs in a folder of
    its own.
    """

    base: Installation
    head: Installation
    arguments: Sequence[str]
    rounds: int
    max_regression: float
    on_step: Callable[[str], None] = lambda step: None
    _pairs: list[tuple[BenchResult, BenchResult]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rounds < LEAST_ROUNDS:
            raise UsageError(f"--rounds must be at least {LEAST_ROUNDS}: fewer pairs have no 95 % interval")

    def run(self) -> GateReport:
        """Measures all rounds. Raises MeasurementError; `report` has the rounds that were finished before."""
        for done in range(self.rounds):
            self.on_step(f"round {done + 1} of {self.rounds}")
            if done % 2 == 0:
                base, head = self._round(self.base, self.head)
            else:
                head, base = self._round(self.head, self.base)
            self._pairs.append((base, head))
        return self.report()

    @property
    def has_rounds(self) -> bool:
        """Whether a round has been finished."""
        return bool(self._pairs)

    def report(self) -> GateReport:
        """What the rounds so far say, of which there is one at least."""
        base, head = ([pair[side] for pair in self._pairs] for side in (0, 1))
        return compare_rounds(base, head, (self.base.name, self.head.name), self.max_regression)

    def _round(self, first: Installation, second: Installation) -> tuple[BenchResult, BenchResult]:
        with ExitStack() as running:
            sides = []
            for installation in (first, second):
                sides.append(running.enter_context(measuring(installation, self.arguments)))
                sides[-1].go_on()  # to its first step; only then does the other start
            _take_turns(sides)
        return sides[0].result, sides[1].result


def _take_turns(sides: Sequence[Measuring]) -> None:
    """A step each, one after the other, until all have ended."""
    while sides:
        sides = [side for side in sides if side.go_on()]
