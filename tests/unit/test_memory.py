"""What a memory may be, what its id derives from, and what the small types say of themselves."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import MEMORY_TYPES, Memory, Scope, from_microseconds, to_microseconds
from agentmem_cli.records.times import as_utc
from agentmem_cli.records.values import MAX_INTEGER, MAX_METADATA_DEPTH, MIN_INTEGER, JsonValue, kind_of, shown

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
FULL: dict[str, Any] = {
    "text": "likes tea",
    "scope": Scope("agent", "user", "run", "semantic"),
    "importance": 0.5,
    "created_at": NOON,
    "metadata": {"a": 1, "b": [1, 2]},
}
OTHERS: list[tuple[str, object]] = [
    ("text", "likes tea "),
    ("scope", Scope("other", "user", "run", "semantic")),
    ("scope", Scope("agent", "user", "run", "episodic")),
    ("scope", Scope("agent", "user", "run")),
    ("scope", Scope("user", "agent", "run", "semantic")),
    ("importance", 0.25),
    ("importance", None),
    ("created_at", NOON + timedelta(microseconds=1)),
    ("created_at", None),
    ("metadata", {}),
    ("metadata", {"a": 1, "b": [2, 1]}),
    ("metadata", {"a": True, "b": [1, 2]}),
    ("metadata", {"a": "1", "b": [1, 2]}),
    ("metadata", {"a": 1, "b": [1, 2], "c": None}),
]


def nested(depth: int) -> dict[str, JsonValue]:
    """Metadata that is so many objects deep."""
    value: dict[str, JsonValue] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_the_same_content_has_the_same_id_every_time() -> None:
    assert Memory(**FULL).id == Memory(**FULL).id
    assert Memory("likes tea").id == "e6212c1a57129ee4e9f0fc421f7b55e8"


@pytest.mark.parametrize(("name", "value"), OTHERS)
def test_a_change_of_any_field_changes_the_derived_id(name: str, value: object) -> None:
    assert Memory(**{**FULL, name: value}).id != Memory(**FULL).id


def test_a_given_id_is_kept_and_is_no_part_of_the_content() -> None:
    one, two = Memory(**FULL, id="one"), Memory(**FULL, id="two")
    assert (one.id, two.id) == ("one", "two")
    assert one.content_digest() == two.content_digest() == Memory(**FULL).content_digest()


def test_the_order_of_metadata_keys_does_not_change_the_id() -> None:
    forward: Mapping[str, JsonValue] = {"a": {"x": 1, "y": 2}, "b": 3}
    backward: Mapping[str, JsonValue] = {"b": 3, "a": {"y": 2, "x": 1}}
    assert Memory("t", metadata=forward).id == Memory("t", metadata=backward).id


def test_an_importance_given_as_an_integer_is_the_same_memory() -> None:
    whole = Memory("t", importance=1)
    assert isinstance(whole.importance, float)
    assert whole.id == Memory("t", importance=1.0).id


@pytest.mark.parametrize(
    "same_instant",
    [
        datetime(2024, 5, 1, 12),
        datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        datetime(2024, 5, 1, 6, 30, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    ],
)
def test_a_time_becomes_utc_and_one_without_a_zone_is_taken_as_utc(same_instant: datetime) -> None:
    memory = Memory("t", created_at=same_instant)
    assert memory.created_at == NOON
    assert memory.created_at is not None
    assert memory.created_at.tzinfo is timezone.utc
    assert memory.id == Memory("t", created_at=NOON).id


@pytest.mark.parametrize(
    "time",
    [
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ],
)
def test_a_time_that_utc_can_not_hold_is_refused(time: datetime) -> None:
    with pytest.raises(InvalidMemoryError, match="out of range"):
        as_utc(time)


@pytest.mark.parametrize(
    "time", [NOON, datetime.min, datetime.max, NOON + timedelta(microseconds=1), datetime(1969, 12, 31, 23, 59, 59, 1)]
)
def test_microseconds_hold_a_time_exactly(time: datetime) -> None:
    assert from_microseconds(to_microseconds(as_utc(time))) == as_utc(time)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": ""}, "text is empty"),
        ({"text": None}, "text must be a string"),
        ({"text": 5}, "text must be a string, not a number"),
        ({"text": "half \ud800"}, "text has half of a surrogate pair"),
        ({"id": 5}, "id must be a string, not a number"),
        ({"id": "\udfff"}, "id has half of a surrogate pair"),
        ({"importance": "high"}, "importance must be a number, not a string"),
        ({"importance": True}, "importance must be a number, not a boolean"),
        ({"importance": float("nan")}, "importance must be a finite number"),
        ({"created_at": 1714557600}, "created_at must be a time, not a number"),
        ({"created_at": "2024-05-01"}, "created_at must be a time, not a string"),
        ({"metadata": None}, "metadata must be an object"),
        ({"metadata": [1]}, "metadata must be an object, not a list"),
    ],
)
def test_a_field_of_a_wrong_kind_is_refused_by_name(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidMemoryError, match=reason):
        Memory(**{"text": "t", **fields})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "nan, which JSON can't hold"),
        (float("inf"), "inf, which JSON can't hold"),
        (MAX_INTEGER + 1, "beyond 64 bits"),
        (MIN_INTEGER - 1, "beyond 64 bits"),
        (10**400, "beyond 64 bits"),
        ((1, 2), "a tuple, which JSON can't hold"),
        (b"x", "a bytes, which JSON can't hold"),
        (NOON, "a datetime, which JSON can't hold"),
        ("\udc80", "metadata has half of a surrogate pair"),
        ({"\udc80": 1}, "a metadata key has half of a surrogate pair"),
        ({1: "x"}, "a metadata key must be a string, not a number"),
    ],
)
def test_metadata_that_would_not_survive_a_round_trip_is_refused(
    value: Any,  # noqa: ANN401 - what is no metadata
    reason: str,
) -> None:
    wrapped: tuple[dict[str, Any], ...] = ({"a": value}, {"a": [1, {"b": [value]}]})
    for metadata in wrapped:
        with pytest.raises(InvalidMemoryError, match=reason):
            Memory("t", metadata=metadata)


def test_metadata_may_hold_everything_that_json_has() -> None:
    metadata: dict[str, JsonValue] = {
        "": "",
        "none": None,
        "booleans": [True, False],
        "integers": [MIN_INTEGER, 0, MAX_INTEGER],
        "floats": [0.1, -0.0, 1e308],
        "empty": [{}, []],
    }
    assert Memory("t", metadata=metadata).metadata == metadata


def test_metadata_may_be_nested_up_to_the_limit_and_no_deeper() -> None:
    assert Memory("t", metadata=nested(MAX_METADATA_DEPTH)).id
    with pytest.raises(InvalidMemoryError, match="nested deeper than 64"):
        Memory("t", metadata=nested(MAX_METADATA_DEPTH + 1))


def test_metadata_that_contains_itself_is_refused() -> None:
    metadata: dict[str, JsonValue] = {}
    metadata["self"] = [metadata]
    with pytest.raises(InvalidMemoryError, match="nested deeper"):
        Memory("t", metadata=metadata)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("agent_id", "", "is empty"), ("user_id", 7, "must be a string"), ("run_id", "\ud800", "surrogate")],
)
def test_a_scope_name_that_is_no_name_is_refused(name: str, value: object, reason: str) -> None:
    scope: dict[str, Any] = {name: value}
    with pytest.raises(InvalidMemoryError, match=f"{name} .*{reason}"):
        Scope(**scope)


def test_every_memory_type_is_accepted() -> None:
    for memory_type in MEMORY_TYPES:
        assert Scope(memory_type=memory_type).memory_type == memory_type


@pytest.mark.parametrize("memory_type", ["", "semantics", "x" * 1000])
def test_an_unknown_memory_type_is_refused_with_those_there_are(memory_type: str) -> None:
    with pytest.raises(InvalidMemoryError, match=r"is unknown: it is one of episodic, .*contextual") as caught:
        Scope(memory_type=memory_type)
    assert len(str(caught.value)) < 200


def test_a_memory_can_not_be_changed_after_it_was_checked() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Memory("t").text = ""  # type: ignore[misc]


def test_an_invalid_memory_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="text is empty"):
        Memory("")


@pytest.mark.parametrize(
    ("wanted", "filters"),
    [
        (SearchFilter(), False),
        (SearchFilter(Scope(user_id="u")), True),
        (SearchFilter(Scope(memory_type="core")), True),
        (SearchFilter.of(where={"k": None}), True),
    ],
)
def test_a_filter_is_true_where_it_filters(wanted: SearchFilter, filters: bool) -> None:
    assert bool(wanted) is filters


def test_an_empty_report_divides_by_nothing() -> None:
    report = IngestReport()
    assert (report.stored, report.unknown_token_ratio, report.memories_per_s) == (0, 0.0, 0.0)


def test_a_report_counts_what_is_stored_and_leaves_special_tokens_out_of_the_ratio() -> None:
    report = IngestReport(
        added=5, updated=3, unchanged=2, rejected=7, tokens=120, special_tokens=20, unknown_tokens=25, elapsed_s=4.0
    )
    assert report.stored == 10
    assert report.unknown_token_ratio == 0.25
    assert report.memories_per_s == 2.5


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "a boolean"),
        (1, "a number"),
        (1.5, "a number"),
        ("", "a string"),
        ([], "a list"),
        ({}, "an object"),
        ((), "a tuple"),
    ],
)
def test_kinds_are_called_what_json_calls_them(value: object, kind: str) -> None:
    assert kind_of(value) == kind


@pytest.mark.parametrize(
    ("value", "expected"),
    [("tea", '"tea"'), ('"\n', '"\\"\\n"'), ("x" * 40, f'"{"x" * 40}"'), ("茶" * 41, f'"{"茶" * 40}…"')],
)
def test_a_value_in_a_message_is_quoted_and_cut(value: str, expected: str) -> None:
    assert shown(value) == expected
