"""`--where CONDITION` as it is typed, and what it asks."""

import pytest

from agentmem_cli.cli.filter_options import filter_of, parse_conditions
from agentmem_cli.errors import UsageError
from agentmem_cli.records.values import JsonScalar


@pytest.mark.parametrize(
    ("argument", "key", "operator", "operand"),
    [
        ("topic=food", "topic", "=", "food"),
        ("turn=3", "turn", "=", 3),
        ('turn="3"', "turn", "=", "3"),
        ("done=true", "done", "=", True),
        ("topic=", "topic", "=", ""),
        ("topic= two  words ", "topic", "=", "two  words"),
        ('topic=" two "', "topic", "=", " two "),
        ("kind!=x", "kind", "!=", "x"),
        ("turn>=3", "turn", ">=", 3),
        ("turn <= 3.5", "turn", "<=", 3.5),
        ("turn<-2", "turn", "<", -2),
        ("date>2025-03-01", "date", ">", "2025-03-01"),
        ("formula=a=b", "formula", "=", "a=b"),
        ("note=in [1] exists", "note", "=", "in [1] exists"),
        ("favourite colour=red", "favourite colour", "=", "red"),
        ("a.b=1", "a.b", "=", 1),
        ("ключ=знач", "ключ", "=", "знач"),
        ("a!b=x", "a!b", "=", "x"),
        ('"a=b"=1', "a=b", "=", 1),
        ('"say \\"x\\""!=1', 'say "x"', "!=", 1),
        ('"" = 1', "", "=", 1),
        ('"a b" exists', "a b", "exists", True),
        ('kind in ["a", "b"]', "kind", "in", ["a", "b"]),
        ("kind  in[1,null]", "kind", "in", [1, None]),
        ('kind not in ["a=b"]', "kind", "not in", ["a=b"]),
        ("seat exists", "seat", "exists", True),
        (" seat  not  exists ", "seat", "exists", False),
        ("in exists", "in", "exists", True),
    ],
)
def test_a_condition_is_a_key_an_operator_and_a_value(
    argument: str, key: str, operator: str, operand: "JsonScalar | list[JsonScalar]"
) -> None:
    assert parse_conditions([argument]) == {key: {operator: operand}}
    assert type(parse_conditions([argument])[key][operator]) is type(operand)


def test_conditions_on_one_key_hold_together() -> None:
    assert parse_conditions(["turn>=3", "turn<9", "topic=food"]) == {"turn": {">=": 3, "<": 9}, "topic": {"=": "food"}}
    assert parse_conditions(None) == parse_conditions([]) == {}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("topic", "write it as KEY=VALUE, such as topic=food"),
        ("", "write it as KEY=VALUE"),
        ("=food", "write it as KEY=VALUE"),
        ("!=food", "write it as KEY=VALUE"),
        ("<3", "write it as KEY=VALUE"),
        ("seat", "write it as KEY=VALUE"),
        ("not seat exists", "write it as KEY=VALUE"),
        ("kind in a, b", "write it as KEY=VALUE"),
        ("kind in (1, 2)", "write it as KEY=VALUE"),
        ('"open=1', "write it as KEY=VALUE"),
        ('"\\x"=1', "a key in quotes must be a JSON string"),
        ("kind in [a, b]", 'write the list as JSON, such as [1, 2] or ["a", "b"]'),
        ("topic=[1]", "VALUE is a string, a number, true, false or null"),
        ('topic={"a": 1}', "VALUE is a string, a number, true, false or null"),
    ],
)
def test_what_is_no_condition_is_refused_with_how_to_write_it(argument: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_conditions([argument])
    assert str(caught.value).startswith(f"--where {argument}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("arguments", [["k=1", "k=2"], ["k!=1", "k!=2"], ["k exists", "k not exists"]])
def test_an_operator_that_is_said_twice_of_a_key_is_not_silently_taken_once(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="is given twice for k"):
        parse_conditions(arguments)


@pytest.mark.parametrize("where", ["k in []", "k<null", "k>=true", "k in [[1]]"])
def test_what_can_be_read_but_not_met_is_refused_too(where: str) -> None:
    with pytest.raises(UsageError, match=r'^where "k": '):
        filter_of(None, None, None, None, [where], None, None)
