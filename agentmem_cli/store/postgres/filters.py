"""A filter as SQL over `memories m` in PostgreSQL. Every value is bound, none is spliced in."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import orjson

from agentmem_cli.records.filter import Condition, SearchFilter
from agentmem_cli.records.memory import to_microseconds
from agentmem_cli.records.values import MAX_METADATA_DEPTH, JsonScalar

Parameter: TypeAlias = (
    "str | int | float | bytes | bool | Sequence[str] | Sequence[int] | Sequence[float] | Sequence[bytes] | None"
)
Sql: TypeAlias = tuple[str, list[Parameter]]  # a condition and its parameters
_MOST_DIGITS: Final = 2**63


def conditions(filter: SearchFilter, now_us: int) -> Sql:
    """The SQL condition and its parameters, as of a moment."""
    scope = filter.scope
    asked: list[tuple[str, Parameter]] = [
        ("m.agent_id = %s", scope.agent_id),
        ("m.user_id = %s", scope.user_id),
        ("m.run_id = %s", scope.run_id),
        ("m.memory_type = %s", scope.memory_type),
        ("m.created_at_us >= %s", None if filter.since is None else to_microseconds(filter.since)),
        ("m.created_at_us < %s", None if filter.until is None else to_microseconds(filter.until)),
    ]
    parts: list[Sql] = [(sql, [value]) for sql, value in asked if value is not None]
    if filter.expired is not None:
        live = "(m.expires_at_us > %s) IS NOT FALSE"  # NULL, no expiry, is not false
        parts.append(("m.expires_at_us <= %s" if filter.expired else live, [now_us]))
    sql, parameters = _joined(" AND ", [*parts, *map(_on_metadata, filter.where)])
    return sql or "TRUE", parameters


def is_narrow(filter: SearchFilter) -> bool:
    """Whether it leaves out memories for another reason than that they have expired."""
    return bool(filter) or filter.expired is not False


def _on_metadata(condition: Condition) -> Sql:
    paths = [[condition.key]]
    nested = condition.key.split(".")
    if 1 < len(nested) <= MAX_METADATA_DEPTH:
        paths.append(nested)
    sql, parameters = _joined(" OR ", [_at(path, condition) for path in paths])
    return f"{'NOT ' if condition.negated else ''}({sql})", parameters


def _at(path: Sequence[str], condition: Condition) -> Sql:
    """The condition that the value at the end of a path of keys passes a test; `->` does not walk into arrays."""
    steps = "".join(" -> %s::text" for _ in path)
    test, bound = _test(condition)
    sql = f"coalesce((SELECT {test} FROM (SELECT m.fields{steps} AS v) value WHERE v IS NOT NULL), FALSE)"
    return sql, [*bound, *path]


def _test(condition: Condition) -> Sql:
    """The condition that a value `v` passes: it is compared only with values of its own type."""
    if condition.test == "exists":
        return "TRUE", []
    if condition.test == "in":
        return _is_one_of(condition.values)
    (value,) = condition.values
    if isinstance(value, str):
        return (
            f"jsonb_typeof(v) = 'string' AND (v #>> '{{}}') COLLATE \"C\" {condition.test} %s::text COLLATE \"C\"",
            [value],
        )
    return f"CASE WHEN jsonb_typeof(v) = 'number' THEN {_NUMBER} {condition.test} %s::numeric END", [_number(value)]


_NUMBER: Final = "(v #>> '{}')::numeric"


def _is_one_of(values: Sequence[JsonScalar]) -> Sql:
    words = [orjson.dumps(value).decode() for value in values if value is None or isinstance(value, bool)]
    texts = [value for value in values if isinstance(value, str)]
    numbers = [_number(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    kinds: list[Sql] = []
    if words:
        kinds.append(("v = ANY(%s::jsonb[])", [words]))
    if texts:
        kinds.append(("jsonb_typeof(v) = 'string' AND (v #>> '{}') = ANY(%s::text[])", [texts]))
    if numbers:
        kinds.append(
            (f"CASE WHEN jsonb_typeof(v) = 'number' THEN {_NUMBER} = ANY(%s::numeric[]) ELSE FALSE END", [numbers])
        )
    sql, parameters = _joined(" OR ", kinds)
    return f"({sql})", parameters


def _number(value: JsonScalar) -> str:
    """A number as PostgreSQL compares it: integers beyond 63 bits count as the nearest float, as in SQLite."""
    if isinstance(value, int) and not -_MOST_DIGITS <= value < _MOST_DIGITS:
        value = float(value)
    return repr(value)


def _joined(word: str, parts: Sequence[Sql]) -> Sql:
    return word.join(sql for sql, _ in parts), [parameter for _, bound in parts for parameter in bound]
