"""Which lines are memories, which are not and why, and what memories and reports look like as JSON."""

from datetime import datetime, timedelta, timezone

import orjson
import pytest

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.jsonl import (
    dump_metadata,
    load_metadata,
    memory_from_fields,
    parse_memory,
    parse_object,
)
from agentmem_cli.records.keys import Keys
from agentmem_cli.records.memory import Hit, Scope
from agentmem_cli.records.times import parse_time

TEN = datetime(2024, 5, 1, 10, tzinfo=timezone.utc)


def deep(depth: int, core: bytes = b"") -> bytes:
    """A line whose `x` is a list in a list, so many deep."""
    return b'{"text":"t","x":' + b"[" * depth + core + b"]" * depth + b"}"


def test_a_line_with_every_field_becomes_that_memory() -> None:
    line = (
        b'{"id":"m1","text":"likes tea","agent_id":"a","user_id":"u","run_id":"r","memory_type":"semantic",'
        b'"importance":0.5,"created_at":"2024-05-01T10:00:00Z","metadata":{"k":[1,2.5,true,null]}}'
    )
    memory = parse_memory(line)
    assert (memory.id, memory.text, memory.importance, memory.created_at) == ("m1", "likes tea", 0.5, TEN)
    assert memory.scope == Scope("a", "u", "r", "semantic")
    assert memory.metadata == {"k": [1, 2.5, True, None]}


def test_a_line_with_a_text_alone_is_enough() -> None:
    memory = parse_memory(' {"text": "喜欢喝茶 🍵"} '.encode())
    assert memory.text == "喜欢喝茶 🍵"
    assert (memory.scope, memory.importance, memory.created_at, memory.metadata) == (Scope(), None, None, {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b'{"text":"t"', "not JSON"),
        (b'{"text":"t"} {"text":"u"}', "not JSON"),
        (b"{'text':'t'}", "not JSON"),
        (b'{"text":"t",}', "not JSON"),
        (b'{"text":"tab\there"}', "not JSON"),
        (b'[{"text":"t"}]', "not an object, but a list"),
        (b"null", "not an object"),
        (b"{}", 'no "text"'),
        (b'{"text":null}', 'no "text"'),
        (b'{"text":""}', "text is empty"),
        (b'{"text":" \\n\\t "}', "text is empty"),
        (b'{"text":5}', "text must be a string, not a number"),
        (b'{"text":"t","x":NaN}', "NaN and Infinity are not JSON numbers"),
        (b'{"text":"t","x":[-Infinity]}', "NaN and Infinity are not JSON numbers"),
        (b'{"text":"t","x":1e999}', "not JSON"),
        pytest.param(b'{"text":"t","x":%s}' % (b"1" * 5000), "not JSON", id="5000 digits"),
        (b'{"text":"\xff"}', "invalid UTF-8 at byte 10"),
        (b'{"text":"\xed\xa0\x80"}', "invalid UTF-8 at byte 10"),
        (b'\xff\xfe{\x00"\x00', "invalid UTF-8 at byte 1"),
        (b'{"text":"\\ud800"}', "not JSON: .*surrogate"),
    ],
)
def test_a_line_that_is_no_memory_is_refused_with_the_reason(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidMemoryError, match=reason) as caught:
        parse_memory(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ('"id":""', "id is empty"),
        ('"id":[5]', "id must be a string, not a list"),
        ('"agent_id":1', "agent_id must be a string, not a number"),
        ('"user_id":""', "user_id is empty"),
        ('"memory_type":"dream"', 'memory_type "dream" is unknown'),
        ('"importance":"0.5"', "importance must be a number, not a string"),
        ('"importance":true', "importance must be a number, not a boolean"),
        ('"metadata":[]', "metadata must be an object, not a list"),
        ('"created_at":"yesterday"', 'created_at "yesterday" is not an ISO 8601 time'),
        ('"created_at":""', 'created_at "" is not an ISO 8601 time'),
        ('"created_at":"2024-02-30T00:00:00Z"', "is not an ISO 8601 time"),
        ('"created_at":true', "created_at must be a time, or a number of seconds, not a boolean"),
        ('"created_at":1e17', "created_at 1e.17 is out of range"),
        ('"created_at":18446744073709551615', "created_at 18446744073709551615 is out of range"),
        ('"created_at":"0001-01-01T00:00:00+01:00"', "created_at"),
    ],
)
def test_a_field_of_a_wrong_kind_is_refused_by_name(field: str, reason: str) -> None:
    with pytest.raises(InvalidMemoryError, match=reason):
        parse_memory(f'{{"text":"t",{field}}}'.encode())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"2024-05-01T10:00:00Z"', TEN),
        ('"2024-05-01T12:00:00+02:00"', TEN),
        ('"2024-05-01T04:30:00-05:30"', TEN),
        ('"2024-05-01 10:00"', TEN),
        ('"2024-05-01"', TEN.replace(hour=0)),
        ('"2024-05-01T10:00:00.000001Z"', TEN + timedelta(microseconds=1)),
        ("1714557600", TEN),
        ("1714557600.25", TEN + timedelta(milliseconds=250)),
        ("0", datetime(1970, 1, 1, tzinfo=timezone.utc)),
        ("-1.5", datetime(1969, 12, 31, 23, 59, 58, 500_000, tzinfo=timezone.utc)),
        ("null", None),
    ],
)
def test_a_time_is_understood_in_every_accepted_form(value: str, expected: datetime | None) -> None:
    memory = parse_memory(f'{{"text":"t","created_at":{value}}}'.encode())
    assert memory.created_at == expected
    assert memory.created_at is None or memory.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "given", [TEN, datetime(2024, 5, 1, 10), datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))]
)
def test_a_python_caller_may_give_a_datetime(given: datetime) -> None:
    assert memory_from_fields({"text": "t", "created_at": given}).created_at == TEN


def test_a_time_string_can_be_parsed_alone() -> None:
    assert parse_time("2024-05-01T10:00:00Z") == TEN


@pytest.mark.parametrize("integer", [2**64 - 1, -(2**63), 2**53 + 1])
def test_an_integer_of_64_bits_is_kept_exactly(integer: int) -> None:
    value = parse_memory(b'{"text":"t","metadata":{"n":%d}}' % integer).metadata["n"]
    assert isinstance(value, int)
    assert value == integer


@pytest.mark.parametrize(
    "digits",
    [str(2**64), str(-(2**63) - 1), pytest.param("1" * 300, id="300 digits")],
)
@pytest.mark.parametrize("place", ['"metadata":{"a":[{"b":%s}]}', '"importance":%s', '"created_at":%s'])
def test_an_integer_beyond_64_bits_is_refused_rather_than_rounded(place: str, digits: str) -> None:
    with pytest.raises(InvalidMemoryError, match="beyond 64 bits: write it as a string") as caught:
        parse_memory(f'{{"text":"t",{place % digits}}}'.encode())
    assert digits[:20] in str(caught.value)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('"123456789012345678901234567890"', "123456789012345678901234567890"),
        ('"\\"n\\": 123456789012345678901234567890"', '"n": 123456789012345678901234567890'),
        ("0.1234567890123456789012345", 0.12345678901234568),
        ("1234567890123456789012e5", 1.2345678901234568e26),
    ],
)
def test_many_digits_are_fine_where_they_are_no_integer(field: str, expected: object) -> None:
    assert parse_memory(b'{"text":"t","x":%s}' % field.encode()).metadata == {"x": expected}


@pytest.mark.parametrize("core", [b"", b"12345678901234567890"])
@pytest.mark.parametrize("depth", [64, 100_000])
def test_a_line_that_is_nested_too_deep_is_refused(depth: int, core: bytes) -> None:
    with pytest.raises(InvalidMemoryError, match="nested"):
        parse_memory(deep(depth, core))


def test_a_line_may_be_nested_up_to_the_limit() -> None:
    assert parse_memory(deep(63)).metadata["x"]


def test_null_means_absent_in_every_field() -> None:
    names = ("id", "agent_id", "user_id", "run_id", "memory_type", "importance", "created_at", "metadata", "other")
    nulls = "".join(f',"{name}":null' for name in names)
    assert parse_memory(f'{{"text":"t"{nulls}}}'.encode()) == parse_memory(b'{"text":"t"}')


def test_unknown_keys_are_kept_in_the_metadata_and_its_own_keys_win() -> None:
    memory = parse_memory(b'{"text":"t","source":"chat","turn":3,"metadata":{"turn":4,"null":null}}')
    assert memory.metadata == {"source": "chat", "turn": 4, "null": None}


def test_another_text_field_may_be_named() -> None:
    memory = parse_memory(b'{"content":"likes tea","text":"a label"}', Keys("content"))
    assert memory.text == "likes tea"
    assert memory.metadata == {"text": "a label"}
    with pytest.raises(InvalidMemoryError, match='no "content"'):
        parse_memory(b'{"text":"t"}', Keys("content"))
    with pytest.raises(InvalidMemoryError, match="content must be a string"):
        parse_memory(b'{"content":1}', Keys("content"))


def test_defaults_fill_the_scopes_that_a_line_does_not_say_and_no_others() -> None:
    defaults = Scope("a0", "u0", "r0", "core")
    keys = Keys(defaults=defaults)
    assert parse_memory(b'{"text":"t"}', keys).scope == defaults
    assert parse_memory(b'{"text":"t","user_id":"u1","run_id":null}', keys).scope == Scope("a0", "u1", "r0", "core")
    own = b'{"text":"t","agent_id":"a1","user_id":"u1","run_id":"r1","memory_type":"working"}'
    assert parse_memory(own, keys).scope == Scope("a1", "u1", "r1", "working")


def test_defaults_are_part_of_the_derived_id() -> None:
    filled, bare = parse_memory(b'{"text":"t"}', Keys(defaults=Scope(user_id="u"))), parse_memory(b'{"text":"t"}')
    assert filled.id == parse_memory(b'{"user_id":"u","text":"t"}').id != bare.id


@pytest.mark.parametrize("metadata", [b'{"a":1,"b":{"c":2,"d":3}}', b'{"b":{"d":3,"c":2},"a":1}'])
def test_the_order_of_keys_does_not_change_the_derived_id(metadata: bytes) -> None:
    assert parse_memory(b'{"metadata":%s,"text":"t"}' % metadata).id == "49398c45e25e7f6a102b5e30fe36a843"


def test_metadata_is_stored_as_json_and_empty_metadata_as_nothing() -> None:
    assert dump_metadata({}) is None
    assert load_metadata(None) == {}
    assert dump_metadata({"k": ["茶", 1]}) == '{"k":["茶",1]}'


@pytest.mark.parametrize("stored", ["", "[]", "null", '{"a":', '{"a":36893488147419103232}'])
def test_stored_metadata_that_is_damaged_is_not_taken_for_metadata(stored: str) -> None:
    with pytest.raises(InvalidMemoryError):
        load_metadata(stored)


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert parse_object(b'{"text":"first","text":"last"}') == {"text": "last"}


def test_a_hit_is_dumped_with_all_its_fields() -> None:
    hit = Hit("m1", 0.5, "likes tea", None, "u", None, "core", 0.5, TEN, {"k": [1]})
    assert orjson.loads(orjson.dumps(hit.to_dict())) == {
        "id": "m1",
        "score": 0.5,
        "text": "likes tea",
        "agent_id": None,
        "user_id": "u",
        "run_id": None,
        "memory_type": "core",
        "importance": 0.5,
        "created_at": "2024-05-01T10:00:00+00:00",
        "metadata": {"k": [1]},
        "speaker": None,
    }


def test_a_report_is_dumped_with_its_ratios() -> None:
    report = IngestReport(4, 2, 1, 0, 1, 2, 1, 1, 22, 2, 5, 3, True, 2.0, {"embed": 1.5})
    assert report.to_dict() == {
        "read": 4,
        "added": 2,
        "updated": 1,
        "unchanged": 0,
        "rejected": 1,
        "embedded": 2,
        "reused": 1,
        "truncated": 1,
        "chunks": 0,
        "tokens": 22,
        "unknown_token_ratio": 0.25,
        "unindexed": 3,
        "indexing": True,
        "elapsed_s": 2.0,
        "memories_per_s": 1.5,
        "stages_s": {"embed": 1.5},
    }
