"""The options that filter, as a filter; `--where CONDITION` -> a typed condition on metadata."""

import re
from typing import TYPE_CHECKING, Final

import orjson

from agentmem_cli.errors import UsageError

if TYPE_CHECKING:
    from agentmem_cli.records.memory import SearchFilter
    from agentmem_cli.records.values import JsonScalar, JsonValue

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'  # a key as a JSON string: any key can be written so
_COMPARED: Final = re.compile(
    rf'\s*(?P<key>{_QUOTED}|(?!")(?:(?!!=)[^=<>])+?)\s*(?P<operator>!=|<=|>=|=|<|>)\s*(?P<value>.*?)\s*', re.DOTALL
)
_WORDED: Final = re.compile(
    rf'\s*(?P<key>{_QUOTED}|[^\s"=<>][^\s=<>]*)\s+(?P<not>not\s+)?(?:exists|in\s*(?P<list>\[.*\]))\s*', re.DOTALL
)


def filter_of(
    agent_id: str | None,
    user_id: str | None,
    run_id: str | None,
    memory_type: str | None,
    where: list[str] | None,
    since: str | None,
    until: str | None,
) -> "SearchFilter":
    """The filter that options ask for. Raises UsageError."""
    from agentmem_cli.records.memory import SearchFilter

    return SearchFilter.of(agent_id, user_id, run_id, memory_type, parse_conditions(where), since, until)


def parse_conditions(arguments: list[str] | None) -> "dict[str, dict[str, JsonScalar | list[JsonScalar]]]":
    """The operators and operands by key: VALUE is JSON where it is a scalar of it, or else a string.

    Raises UsageError.
    """
    conditions: dict[str, dict[str, JsonScalar | list[JsonScalar]]] = {}
    for argument in arguments or []:
        key, operator, operand = _condition(argument)
        asked = conditions.setdefault(key, {})
        if operator in asked:
            raise UsageError(f"--where {argument}: {operator} is said twice of {key}: several values go in one 'in'")
        asked[operator] = operand
    return conditions


def _condition(argument: str) -> "tuple[str, str, JsonScalar | list[JsonScalar]]":
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
        raise UsageError(f"--where {argument}: a key in quotes is a JSON string, and {key} is none") from error


def _list(argument: str, value: str) -> "list[JsonScalar]":
    try:
        values: list[JsonScalar] = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UsageError(f'--where {argument}: write the list as JSON, such as [1, 2] or ["a", "b"]') from error
    return values


def _scalar(argument: str, value: str) -> "JsonScalar":
    try:
        parsed: JsonScalar | list[JsonValue] | dict[str, JsonValue] = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    if isinstance(parsed, (list, dict)):
        raise UsageError(f"--where {argument}: VALUE is a string, a number, true, false or null")
    return parsed
