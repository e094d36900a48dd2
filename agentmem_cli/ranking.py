"""What a search asks for beside its filter, and how the score of a hit came about. Standard library only."""

import math
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from agentmem_cli.errors import UsageError
from agentmem_cli.records.memory import SearchFilter
from agentmem_cli.records.values import check_share, check_whole

Mode: TypeAlias = Literal["hybrid", "vector", "text"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
NEIGHBOUR_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and which memories may answer it. Raises UsageError for a text that can't be searched for."""

    text: str
    wanted: SearchFilter = field(default_factory=SearchFilter)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the matching memories are ranked, and what comes back with them. Raises UsageError.

    `neighbour_share` of a memory's score is lent to the memories before and after it in its run (hybrid only).
    `context` is how many memories before and after each hit, in its run, come back with it.
    """

    mode: Mode = "hybrid"
    neighbour_share: float = NEIGHBOUR_SHARE
    recency_half_life_s: float | None = None
    importance_weight: float = 0.0
    dedupe: bool = False
    context: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"mode {self.mode} is unknown: it is one of {', '.join(MODES)}")
        for name, value in (
            ("neighbour_share", self.neighbour_share),
            ("importance_weight", self.importance_weight),
        ):
            check_share(name, value)
        half_life_s = self.recency_half_life_s
        if half_life_s is not None and not (half_life_s > 0 and math.isfinite(half_life_s)):
            raise UsageError(f"the half-life is {half_life_s} s: it must be more than 0")
        check_whole("context", self.context, at_least=0)
