"""What a search asks for: a query, a filter and a ranking."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args

from agentmem_cli.errors import UsageError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.values import JsonValue, check_share, check_whole

Mode: TypeAlias = Literal["hybrid", "meaning", "words"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
NEIGHBOUR_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Query:
    """A query text and the filter that its hits must match."""

    text: str
    filter: SearchFilter = field(default_factory=SearchFilter)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the matching memories are ranked, and what comes back with them. Raises UsageError.

    A memory adds `neighbour_share` of its score to the memories before and after it in its run (hybrid only). `context`
    is the number of memories before and after each hit in its run that are returned with it. Hits with a score below
    `min_score` are left out. `now` is what "yesterday" in a query and `recency_half_life_s` count from; by default the
    present.
    """

    mode: Mode = "hybrid"
    neighbour_share: float = NEIGHBOUR_SHARE
    recency_half_life_s: float | None = None
    importance_weight: float = 0.0
    dedupe: bool = False
    context: int = 0
    min_score: float | None = None
    now: datetime | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"mode {self.mode} is unknown: it is one of {', '.join(MODES)}")
        for name, value in (
            ("neighbour_share", self.neighbour_share),
            ("importance_weight", self.importance_weight),
        ):
            check_share(name, value)
        if self.min_score is not None:
            check_share("min_score", self.min_score)
        half_life_s = self.recency_half_life_s
        if half_life_s is not None and not (half_life_s > 0 and math.isfinite(half_life_s)):
            raise UsageError(f"the half-life is {half_life_s} s: it must be more than 0")
        check_whole("context", self.context, at_least=0)


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query and the distinct ids of the memories that answer it; empty where they are unknown.

    `labels` are what else its line says, such as its category.
    """

    query: Query
    relevant: tuple[str, ...] = ()
    labels: Mapping[str, JsonValue] = field(default_factory=dict)
