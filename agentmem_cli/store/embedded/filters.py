"""A filter as SQL over `memories m`. Every value is bound, none is spliced in."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

import orjson

from agentmem_cli.records.filter import Condition, SearchFilter
from agentmem_cli.records.memory import to_microseconds
from agentmem_cli.records.values import MAX_METADATA_DEPTH, JsonScalar
from agentmem_cli.store.embedded.connection import Parameter

_T = TypeVar("_T")
_Sql = tuple[str, list[Parameter]]  # a condition and its parameters
_NUMBER: Final = "v.type IN ('integer', 'real')"


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter as of one moment: `expired_by_us` is the latest expiry that has passed by then, None if none has.

    It changes only when another memory expires, so what is read for a selection can be kept until then.
    """

    filter: SearchFilter = field(default_factory=SearchFilter)
    expired_by_us: int | None = None

    def __bool__(self) -> bool:
        """Whether it may leave out any memory."""
        return bool(replace(self.filter, expired=False)) or bool(self.on_expiry)

    @property
    def on_expiry(self) -> list[_Sql]:
        """The condition on expiry, where it may leave out any memory."""
        expired, by_us = self.filter.expired, self.expired_by_us
        if expired is None or (by_us is None and not expired):
            return []
        if by_us is None:
            return [("FALSE", [])]
        live = "(m.expires_at_us > ?) IS NOT FALSE"  # NULL, no expiry, is not false
        return [("m.expires_at_us <= ?" if expired else live, [by_us])]


def conditions(selection: Selection) -> _Sql:
    """The SQL condition and its parameters."""
    if not selection:
        return "TRUE", []
    filter, scope = selection.filter, selection.filter.scope
    asked: list[tuple[str, Parameter]] = [
        ("m.agent_id = ?", scope.agent_id),
        ("m.user_id = ?", scope.user_id),
        ("m.run_id = ?", scope.run_id),
        ("m.memory_type = ?", scope.memory_type),
        ("m.created_at_us >= ?", None if filter.since is None else to_microseconds(filter.since)),
        ("m.created_at_us < ?", None if filter.until is None else to_microseconds(filter.until)),
    ]
    parts: list[_Sql] = [(sql, [value]) for sql, value in asked if value is not None]
    return _joined(" AND ", [*parts, *selection.on_expiry, *map(_on_metadata, filter.where)])


def _on_metadata(condition: Condition) -> _Sql:
    paths = [[condition.key]]
    nested = condition.key.split(".")
    if 1 < len(nested) <= MAX_METADATA_DEPTH:
        paths.append(nested)
    sql, parameters = _joined(" OR ", [_at(path, condition) for path in paths])
    return f"{'NOT ' if condition.negated else ''}({sql})", parameters


def _at(path: Sequence[str], condition: Condition) -> _Sql:
    """The condition that the value `v` at the end of a path of keys passes a test."""
    names = [*(f"v{i}" for i in range(len(path) - 1)), "v"]
    insides = [f"CASE {name}.type WHEN 'object' THEN {name}.value END" for name in names]
    tables = " CROSS JOIN ".join(
        f"json_each({inside}) {name}" for inside, name in zip(["m.metadata", *insides], names, strict=False)
    )
    keys = " AND ".join(f"{name}.key = ?" for name in names)
    test, bound = _test(condition)
    # JSON is parsed only where it contains these strings: two to four times as quick.
    sql = f"instr(m.metadata, ?) AND EXISTS (SELECT 1 FROM {tables} WHERE {keys} AND {test})"
    return sql, [_words(path[-1], condition), *path, *bound]


def _words(key: str, condition: Condition) -> str:
    """Strings that stored JSON must contain if it has the key and the one string asked for."""
    value = condition.values[0] if condition.test == "in" and len(condition.values) == 1 else None
    text = value if isinstance(value, str) else ""
    words = orjson.dumps({key: text}).decode()[1:-1]
    if "\\" in words:  # written in one of several ways
        return ""
    return words if text else words.removesuffix('""')


def _test(condition: Condition) -> _Sql:
    """The condition that a value `v` passes: it is compared only with values of its own type."""
    if condition.test == "exists":
        return "TRUE", []
    if condition.test == "in":
        return _is_one_of(condition.values)
    (value,) = condition.values
    is_comparable = "v.type = 'text'" if isinstance(value, str) else _NUMBER
    return f"{is_comparable} AND v.atom {condition.test} ?", [_parameter(value)]


def _is_one_of(values: Sequence[JsonScalar]) -> _Sql:
    words = [_parameter(value) for value in values if value is None or isinstance(value, bool)]
    texts = [_parameter(value) for value in values if isinstance(value, str)]
    numbers = [_parameter(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    kinds: list[_Sql] = [
        (f"v.type IN ({_marks(words)})", words),
        (f"v.type = 'text' AND v.atom IN ({_marks(texts)})", texts),
        (f"{_NUMBER} AND v.atom IN ({_marks(numbers)})", numbers),
    ]
    sql, parameters = _joined(" OR ", [(sql, bound) for sql, bound in kinds if bound])
    return f"({sql})", parameters


def _parameter(value: JsonScalar) -> Parameter:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int):
        # SQLite's own integers end at 63 bits; it reads longer ones in JSON as reals.
        return value if -(2**63) <= value < 2**63 else float(value)
    return value


def _marks(parameters: Sequence[Parameter]) -> str:
    return ", ".join("?" * len(parameters))


def _joined(word: str, parts: Sequence[_Sql]) -> _Sql:
    return word.join(sql for sql, _ in parts), [parameter for _, bound in parts for parameter in bound]


_KEPT: Final = 16


class PerSelection(Generic[_T]):
    """What was read for the latest selections: an agent searches within the same few again and again."""

    def __init__(self, read: Callable[[Selection], _T]) -> None:
        self._read = read
        self._version = (-1, -1)
        self._kept: OrderedDict[tuple[Parameter, ...], _T] = OrderedDict()

    def of(self, selection: Selection, version: tuple[int, int]) -> _T:
        """What `read` returned for a selection, or returns now if the database has another version."""
        where, parameters = conditions(selection)
        key = (where, *parameters)
        if version != self._version:
            # First: after an interrupt in between, results of another version would count as this one's.
            self._kept.clear()
            self._version = version
        if key not in self._kept:
            self._kept[key] = self._read(selection)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]
