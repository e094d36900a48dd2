"""The options that say which memories: scopes, filters, and the ranking of a search."""

import re
from typing import Annotated, Final, TypeAlias

import orjson
import typer

from agentmem_cli.cli.options import Group
from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import MEMORY_TYPES, Scope
from agentmem_cli.records.times import bound, parse_span
from agentmem_cli.records.values import JsonScalar, JsonValue
from agentmem_cli.search.query import NEIGHBOUR_SHARE, Mode, Ranking

_AgentOption: TypeAlias = Annotated[str | None, typer.Option("--agent-id", help="Agent of the memories.")]
_UserOption: TypeAlias = Annotated[str | None, typer.Option("--user-id", help="User of the memories.")]
_RunOption: TypeAlias = Annotated[str | None, typer.Option("--run-id", help="Run or conversation of the memories.")]
_TypeOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--memory-type", help=f"{', '.join(MEMORY_TYPES[:-1])} or {MEMORY_TYPES[-1]}."),
]


def _scope(
    agent_id: _AgentOption = None,
    user_id: _UserOption = None,
    run_id: _RunOption = None,
    memory_type: _TypeOption = None,
) -> Scope:
    try:
        return Scope(agent_id, user_id, run_id, memory_type)
    except InvalidMemoryError as error:
        raise UsageError(str(error)) from error


ScopeOptions: TypeAlias = Annotated[Scope, Group(_scope)]


def filter_of(
    agent_id: _AgentOption = None,
    user_id: _UserOption = None,
    run_id: _RunOption = None,
    memory_type: _TypeOption = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="A condition on metadata: KEY=VALUE, or with !=, <, <=, >, >=; 'KEY in [...]', 'KEY not in [...]', "
            "'KEY exists', 'KEY not exists'. VALUE is JSON (3, true, null) or a string; a.b is b in a. "
            "Repeat for more.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Created at TIME or later: 2025-03-01, 2025-03-01T09:30:00Z (UTC), or 7d (seven days ago; s, m, h, "
            "d, w).",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Created before TIME, written as for --since.")
    ] = None,
) -> SearchFilter:
    """The filter that options ask for. Raises UsageError."""
    return SearchFilter.of(agent_id, user_id, run_id, memory_type, parse_conditions(where), since, until)


FilterOptions: TypeAlias = Annotated[SearchFilter, Group(filter_of)]


def _ranking(
    mode: Annotated[
        Mode,
        typer.Option("--mode", help="Search by meaning and words (hybrid), by meaning alone, or by words alone."),
    ] = "hybrid",
    context: Annotated[
        int,
        typer.Option("--context", min=0, metavar="N", help="Show the N memories before and after each in its run."),
    ] = 0,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Fold near-duplicates into the best of them.")] = False,
    recency_half_life: Annotated[
        str | None,
        typer.Option(
            "--recency-half-life", metavar="SPAN", help="Halve the score for every SPAN of age: 12h, 30d, 8w."
        ),
    ] = None,
    importance_weight: Annotated[
        float,
        typer.Option(
            "--importance-weight", min=0, max=1, help="Multiply scores by 1 - weight + weight x importance (or 0.5)."
        ),
    ] = 0.0,
    neighbour_share: Annotated[
        float,
        typer.Option(
            "--neighbour-share",
            min=0,
            max=1,
            help="The share of its score that a memory lends to its neighbours in its run.",
        ),
    ] = NEIGHBOUR_SHARE,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score", min=0, max=1, help="Leave out hits with a lower score: see 'agentmem guide searching'."
        ),
    ] = None,
    now: Annotated[
        str | None,
        typer.Option(
            "--now",
            metavar="TIME",
            help="The time that 'yesterday' in a query counts from; by default now.",
        ),
    ] = None,
) -> Ranking:
    half_life_s = None
    if recency_half_life is not None:
        half_life_s = parse_span("--recency-half-life", recency_half_life).total_seconds()
    moment = bound("--now", now)
    return Ranking(mode, neighbour_share, half_life_s, importance_weight, dedupe, context, min_score, moment)


RankingOptions: TypeAlias = Annotated[Ranking, Group(_ranking)]

ExpiredOption: TypeAlias = Annotated[bool, typer.Option("--expired", help="Only memories that have expired.")]

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'  # a JSON string can hold any key
_COMPARED: Final = re.compile(
    rf'\s*(?P<key>{_QUOTED}|(?!")(?:(?!!=)[^=<>])+?)\s*(?P<operator>!=|<=|>=|=|<|>)\s*(?P<value>.*?)\s*', re.DOTALL
)
_WORDED: Final = re.compile(
    rf'\s*(?P<key>{_QUOTED}|[^\s"=<>][^\s=<>]*)\s+(?P<not>not\s+)?(?:exists|in\s*(?P<list>\[.*\]))\s*', re.DOTALL
)


def parse_conditions(arguments: list[str] | None) -> dict[str, dict[str, JsonScalar | list[JsonScalar]]]:
    """Operators and operands by key, as `SearchFilter.of` takes them. Raises UsageError.

    VALUE is parsed as JSON; if it is not JSON, it is a string.
    """
    conditions: dict[str, dict[str, JsonScalar | list[JsonScalar]]] = {}
    for argument in arguments or []:
        key, operator, operand = _condition(argument)
        asked = conditions.setdefault(key, {})
        if operator in asked:
            raise UsageError(f"--where {argument}: {operator} is given twice for {key}: several values go in one 'in'")
        asked[operator] = operand
    return conditions


def _condition(argument: str) -> tuple[str, str, JsonScalar | list[JsonScalar]]:
    worded, compared = _WORDED.fullmatch(argument), _COMPARED.fullmatch(argument)
    if worded is not None:
        key, negation = _key(argument, worded["key"]), "not " if worded["not"] else ""
        if worded["list"] is None:
            return key, "exists", not negation
        return key, f"{negation}in", _list(argument, worded["list"])
    if compared is not None:
        return _key(argument, compared["key"]), compared["operator"], _scalar(argument, compared["value"])
    raise UsageError(
        f"--where {argument}: write it as KEY=VALUE, such as topic=food; or with !=, <, <=, >, >=, 'in [...]', 'exists'"
    )


def _key(argument: str, key: str) -> str:
    if not key.startswith('"'):
        return key
    try:
        return str(orjson.loads(key))
    except orjson.JSONDecodeError as error:
        raise UsageError(f"--where {argument}: a key in quotes must be a JSON string, and {key} is not") from error


def _list(argument: str, value: str) -> list[JsonScalar]:
    try:
        values: list[JsonScalar] = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UsageError(f'--where {argument}: write the list as JSON, such as [1, 2] or ["a", "b"]') from error
    return values


def _scalar(argument: str, value: str) -> JsonScalar:
    try:
        parsed: JsonScalar | list[JsonValue] | dict[str, JsonValue] = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    if isinstance(parsed, (list, dict)):
        raise UsageError(f"--where {argument}: VALUE is a string, a number, true, false or null")
    return parsed
