"""`--where KEY=VALUE` -> a typed condition on metadata."""

from typing import TYPE_CHECKING

import orjson

from agentmem_cli.errors import UsageError

if TYPE_CHECKING:
    from agentmem_cli.checks import JsonScalar


def parse_conditions(arguments: list[str] | None) -> "dict[str, JsonScalar]":
    """The conditions by key: VALUE is JSON where it is a scalar of it, or else a string. Raises UsageError."""
    return dict(map(_condition, arguments or []))


def _condition(argument: str) -> "tuple[str, JsonScalar]":
    key, equals, value = argument.partition("=")
    if not equals or not key:
        raise UsageError(f"--where {argument}: write it as KEY=VALUE, such as topic=food")
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return key, value
    if isinstance(parsed, (list, dict)):
        raise UsageError(f"--where {argument}: VALUE is a string, a number, true, false or null")
    return key, parsed
