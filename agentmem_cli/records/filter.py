"""Filters: scopes, times, and conditions on metadata. Standard library only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias, cast

from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.records.memory import Scope
from agentmem_cli.records.times import bound
from agentmem_cli.records.values import JsonScalar, JsonValue, is_object, kind_of, plain_metadata, shown

Test: TypeAlias = Literal["in", "<", "<=", ">", ">=", "exists"]
Comparisons: TypeAlias = Mapping[str, JsonScalar | Collection[JsonScalar]]
Where: TypeAlias = Mapping[str, JsonScalar | Comparisons]
# Operator -> the test, and whether the test is negated.
_OPERATORS: Final[dict[str, tuple[Test, bool]]] = {
    "=": ("in", False),
    "!=": ("in", True),
    "in": ("in", False),
    "not in": ("in", True),
    "<": ("<", False),
    "<=": ("<=", False),
    ">": (">", False),
    ">=": (">=", False),
    "exists": ("exists", False),
}
_CHOICE: Final = f"one of {', '.join(_OPERATORS)}"
_MAX_CONDITIONS: Final = 100  # SQLite limits the depth of expressions
_MAX_VALUES: Final = 10_000  # and the number of bound values


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one key of metadata, whose value is compared with `values` by type and value.

    A key with dots is a key of that name or a path into nested objects: the test holds if it holds for either. With
    `negated`, the condition holds if the test does not, so also for memories without the key.
    """

    key: str
    test: Test
    values: tuple[JsonScalar, ...]
    negated: bool = False


def checked_where(where: Where) -> tuple[Condition, ...]:
    """The conditions of a `where` mapping, which must all hold.

    A key maps to the value that it must equal, or to operators and operands,
    as in `{"topic": "food", "turn": {">=": 3, "<": 9}, "kind": {"in": ["a", "b"]}, "seat": {"exists": True}}`.

    Raises UsageError, and InvalidMemoryError for keys and values that metadata can't contain.
    """
    if not is_object(where):
        raise UsageError(f"where must be a mapping of keys to values or operators, not {kind_of(where)}")
    conditions: list[Condition] = []
    for key, asked in where.items():
        comparisons = asked if is_object(asked) else {"=": asked}
        if not comparisons:
            raise UsageError(f"where {shown(key)} has no operator: give {_CHOICE}")
        conditions += [_condition(key, operator, operand) for operator, operand in comparisons.items()]
    if len(conditions) > _MAX_CONDITIONS:
        raise UsageError(f"where has {len(conditions)} conditions: give at most {_MAX_CONDITIONS}")
    if sum(len(condition.values) for condition in conditions) > _MAX_VALUES:
        raise UsageError(f"where compares with more than {_MAX_VALUES} values: use several searches")
    return tuple(conditions)


def _condition(key: str, operator: str, operand: object) -> Condition:
    place = f"where {shown(str(key))}: {operator}"
    if operator not in _OPERATORS:
        raise UsageError(f"{place} is not an operator: give {_CHOICE}")
    test, negated = _OPERATORS[operator]
    if test == "exists":
        if not isinstance(operand, bool):
            raise UsageError(f"{place} takes true or false, not {kind_of(operand)}")
        operand, negated = [], not operand
    elif operator not in ("in", "not in"):
        operand = [operand]
    elif not isinstance(operand, (list, tuple, set, frozenset)):
        raise UsageError(f"{place} takes a list of values, not {kind_of(operand)}")
    elif not operand:
        raise UsageError(f"{place} takes a list of values, and this one is empty")
    ((plain_key, values),) = plain_metadata(cast(Mapping[str, JsonValue], {key: list(operand)})).items()
    checked = [_scalar(place, test, value) for value in (values if isinstance(values, list) else [])]
    return Condition(plain_key, test, tuple(checked), negated)


def _scalar(place: str, test: Test, value: JsonValue) -> JsonScalar:
    """The value, if the test can compare it. Raises UsageError."""
    if isinstance(value, (list, dict)):
        raise UsageError(f"{place} compares with a string, a number, true, false or null, not with {kind_of(value)}")
    if test != "in" and (value is None or isinstance(value, bool)):
        raise UsageError(f"{place} compares with a number or a string, not with {kind_of(value)}")
    return value


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """A filter on memories: equal in each scope that is set, with all conditions of `where`, and created at `since` or
    later and before `until` (aware UTC times).

    By default expired memories do not match; with `expired` only they match, and with None both kinds do.
    """

    scope: Scope = field(default_factory=Scope)
    where: tuple[Condition, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    expired: bool | None = False

    @classmethod
    def of(
        cls,
        agent_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        memory_type: str | None = None,
        where: Where | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        expired: bool | None = False,
    ) -> "SearchFilter":
        """The filter for these arguments; see `checked_where` and `bound`. Raises UsageError if no memory can match."""
        try:
            scope, conditions = Scope(agent_id, user_id, run_id, memory_type), checked_where(where or {})
        except InvalidMemoryError as error:
            raise UsageError(f"no memory can match: {error}") from error
        first, end = bound("since", since), bound("until", until)
        if first is not None and end is not None and first >= end:
            raise UsageError(f"no memory can match: since {since} is not before until {until}")
        return cls(scope, conditions, first, end, expired)

    def with_expired(self) -> "SearchFilter":
        """The filter of the same memories and of expired ones alike, unless only these match."""
        return replace(self, expired=self.expired or None)

    def __bool__(self) -> bool:
        return self != SearchFilter()
