"""The language of `--where CONDITION`."""

import re
from typing import Final

import orjson

from agentmem_cli.errors import UsageError
from agentmem_cli.records.values import JsonScalar, JsonValue

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
