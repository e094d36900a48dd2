"""Conditions on metadata are checked when they are made: what no memory can meet is refused, in one line."""

import math

import pytest

from agentmem_cli.errors import UsageError
from agentmem_cli.records.filter import Condition, SearchFilter, Where, checked_where
from agentmem_cli.records.values import JsonScalar


def test_a_value_alone_must_be_equal_and_operators_stand_in_a_mapping() -> None:
    where: Where = {
        "topic": "food",
        "turn": {">=": 3, "<": 9},
        "kind": {"not in": ("a", "b")},
        "seat": {"exists": False},
    }
    assert checked_where(where) == (
        Condition("topic", "in", ("food",)),
        Condition("turn", ">=", (3,)),
        Condition("turn", "<", (9,)),
        Condition("kind", "in", ("a", "b"), negated=True),
        Condition("seat", "exists", (), negated=True),
    )


@pytest.mark.parametrize("values", [["a"], ("a",), {"a"}, frozenset({"a"})])
def test_several_values_may_come_in_any_collection(values: "list[JsonScalar]") -> None:
    assert (
        checked_where({"kind": {"in": values}}) == checked_where({"kind": "a"}) == checked_where({"kind": {"=": "a"}})
    )


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"k": {"~": 1}}, 'where "k": ~ is not an operator: give one of =, !=, in, not in, <, <=, >, >=, exists'),
        ({"k": {1: 1}}, "is not an operator"),
        ({"k": {}}, 'where "k" has no operator'),
        ({"k": [1]}, "compares with a string, a number, true, false or null, not with a list"),
        ({"k": {"=": {"a": 1}}}, "not with an object"),
        ({"k": {"in": [[1]]}}, "not with a list"),
        ({"k": {"in": "abc"}}, "in takes a list of values, not a string"),
        ({"k": {"in": 3}}, "in takes a list of values, not a number"),
        ({"k": {"not in": []}}, "and this one is empty"),
        ({"k": {"<": None}}, "< compares with a number or a string, not with null"),
        ({"k": {">=": True}}, ">= compares with a number or a string, not with a boolean"),
        ({"k": {"<": [1]}}, "not with a list"),
        ({"k": {"exists": 1}}, "exists takes true or false, not a number"),
        ({"k": math.nan}, "no memory can match: metadata has nan"),
        ({"k": {"<": 2**64}}, "no memory can match: metadata has an integer beyond 64 bits"),
        ({"k": {"in": ["\udc00"]}}, "no memory can match: metadata has half of a surrogate pair"),
        ({"k": object()}, "no memory can match: metadata has a object"),
        ({"\0": {"exists": True}}, "no memory can match: a metadata key has a NUL"),
        ({3: "x"}, "no memory can match: a metadata key must be a string, not a number"),
        ({str(i): 1 for i in range(101)}, "where has 101 conditions: give at most 100"),
        ({"k": {"in": list(range(10_001))}}, "where compares with more than 10000 values"),
        ("k=1", "where must be a mapping of keys to values or operators, not a string"),
    ],
)
def test_what_no_memory_can_meet_is_refused_and_the_message_says_what(where: Where, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SearchFilter.of(where=where)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_as_many_conditions_and_values_as_are_allowed_are_taken() -> None:
    assert len(checked_where({str(i): {"exists": True} for i in range(100)})) == 100
    assert len(checked_where({"k": {"in": list(range(10_000))}})[0].values) == 10_000
