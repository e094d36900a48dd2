"""What a search asks for: a query, a filter and a ranking; and files of labelled queries."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args

from agentmem_cli.errors import InvalidMemoryError, RejectedLineError, UsageError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.formats import QueryFormatName, query_lines
from agentmem_cli.records.jsonl import parse_object, pop_scope
from agentmem_cli.records.lines import MAX_LINE_BYTES, Line, LineSource, open_source
from agentmem_cli.records.values import JsonValue, check_name, check_share, check_string, check_whole, kind_of

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


_EVERYTHING: Final = SearchFilter()


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query and the distinct ids of the memories that answer it; empty where they are unknown.

    `labels` are what else its line says, such as its category.
    """

    query: Query
    relevant: tuple[str, ...] = ()
    labels: Mapping[str, JsonValue] = field(default_factory=dict)


def read_queries(
    path: str, filter: SearchFilter = _EVERYTHING, format: QueryFormatName | None = None
) -> Iterator[LabelledQuery]:
    """The queries of a file, plain or gzip, or of standard input for `-`, read lazily.

    With `format` it holds published data instead of JSONL. A scope that a line leaves out comes from `filter`; its
    other conditions apply to every line.
    Raises InputError, and RejectedLineError at the first bad line.
    """
    with open_source(path) as source:
        for line in source.lines() if format is None else query_lines(source, format):
            yield _read(line, source, filter)


def _read(line: Line, source: LineSource, filter: SearchFilter) -> LabelledQuery:
    try:
        if line.too_long:
            raise InvalidMemoryError(f"line is longer than {MAX_LINE_BYTES} bytes")
        return parse_query(line.content, filter)
    except InvalidMemoryError as error:
        raise RejectedLineError(f"{source.name}:{line.number}: {error}: correct the line or leave it out") from error


def parse_query(line: bytes, filter: SearchFilter = _EVERYTHING) -> LabelledQuery:
    """The query on one line of JSONL. Raises InvalidMemoryError, whose message is the reason alone."""
    fields: dict[str, JsonValue] = {key: value for key, value in parse_object(line).items() if value is not None}
    if "query" not in fields:
        raise InvalidMemoryError('no "query"')
    text = check_string("query", fields.pop("query"))
    if not text.strip():
        raise InvalidMemoryError("query is empty")
    relevant, scope = _relevant(fields.pop("relevant", [])), pop_scope(fields, filter.scope)
    return LabelledQuery(Query(text, replace(filter, scope=scope)), relevant, fields)


def _relevant(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidMemoryError(f"relevant must be a list of ids, not {kind_of(value)}")
    for identity in value:
        check_name("an id in relevant", check_string("an id in relevant", identity))
    return tuple(dict.fromkeys(value))
