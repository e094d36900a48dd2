"""Conditions on metadata and on the time, as a user of AgentMem gives them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem, Memory, UsageError
from agentmem_cli.records.filter import Comparisons, SearchFilter, Where
from agentmem_cli.records.values import JsonValue
from tests.fakes import FakeEmbedder

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
_VALUES: Final[dict[str, JsonValue]] = {
    "one": 1,
    "two": 2,
    "half": 0.5,
    "text 1": "1",
    "text 2": "2",
    "ten": "10",
    "word": "b",
    "accent": "é",
    "true": True,
    "false": False,
    "null": None,
    "list": [1],
    "object": {"a": 1},
}
_NUMBERS = {"one", "two", "half"}
_TEXTS = {"text 1", "text 2", "ten", "word", "accent"}
_EVERY = {*_VALUES, "without"}


@pytest.fixture(scope="module")
def mem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMem]:
    """A memory for each value of `key`, named so, and two without the key: one with other metadata, one with none."""
    with AgentMem(tmp_path_factory.mktemp("values") / "store", embedder=FakeEmbedder()) as opened:
        opened.add_batch(Memory(f"text {name}", name, metadata={"key": value}) for name, value in _VALUES.items())
        opened.add("text without it", id="without")
        yield opened


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as opened:
        yield opened


def _found(mem: AgentMem, where: Where) -> set[str]:
    found = {hit.id for hit in mem.search("text", 100, where=where)}
    assert found == set(mem.ids_matching(SearchFilter.of(where=where)))
    assert found == {memory.id for memory in mem.list_memories(100, where=where)}
    return found


@pytest.mark.parametrize(
    ("comparisons", "found"),
    [
        ({"=": 1}, {"one"}),
        ({"!=": 1}, _EVERY - {"one"}),
        ({"!=": None}, _EVERY - {"null"}),
        ({"<": 1}, {"half"}),
        ({">": 1}, {"two"}),
        ({">": -(2**63)}, _NUMBERS),
        ({"<": 2**64 - 1}, _NUMBERS),
        ({"<": "2"}, {"text 1", "ten"}),
        ({">": "z"}, {"accent"}),
        ({">=": ""}, _TEXTS),
        ({">": 0.5, "<": 2}, {"one"}),
        ({">": 2, "<": 1}, set()),
        ({"in": [1, "2", True, None]}, {"one", "text 2", "true", "null"}),
        ({"not in": [1, 2, 0.5, "1"]}, _EVERY - _NUMBERS - {"text 1"}),
        ({"in": [1, 2], "!=": 2}, {"one"}),
        ({"exists": True}, set(_VALUES)),
        ({"exists": False}, {"without"}),
        ({"exists": True, "!=": None}, set(_VALUES) - {"null"}),
    ],
)
def test_each_operator_compares_with_values_of_its_own_type(
    mem: AgentMem, comparisons: Comparisons, found: set[str]
) -> None:
    assert _found(mem, {"key": comparisons}) == found


def test_many_values_are_compared_with(mem: AgentMem) -> None:
    assert _found(mem, {"key": {"in": [*range(1, 9000), "b"]}}) == {"one", "two", "word"}


def test_dots_lead_into_objects_and_into_nothing_else(empty: AgentMem) -> None:
    memories: dict[str, dict[str, JsonValue]] = {
        "nested": {"a": {"b": {"c": 1}}},
        "flat": {"a.b.c": 1},
        "both": {"a.b.c": 1, "a": {"b": {"c": 2}}},
        "half way": {"a": {"b.c": 1}},
        "list": {"a": [{"b": {"c": 1}}]},
        "text": {"a": '{"b":{"c":1}}'},
        "null": {"a": {"b": None}},
        "other": {"b": {"c": 1}},
    }
    empty.add_batch(Memory(f"text {name}", name, metadata=metadata) for name, metadata in memories.items())
    assert _found(empty, {"a.b.c": 1}) == {"nested", "flat", "both"}
    assert _found(empty, {"a.b.c": 2}) == {"both"}
    assert _found(empty, {"a.b.c": {"exists": False}}) == {"half way", "list", "text", "null", "other"}
    assert _found(empty, {"a.b": {"exists": True}}) == {"nested", "both", "null"}
    assert _found(empty, {"a.b": None}) == {"null"}
    assert _found(empty, {"a.0.b.c": 1}) == set()
    assert _found(empty, {"a.b.c": {"!=": 1}}) == {"half way", "list", "text", "null", "other"}


@pytest.mark.parametrize("depth", [2, 64])
def test_dots_lead_as_deep_as_metadata_goes(empty: AgentMem, depth: int) -> None:
    metadata: JsonValue = "here"
    for _ in range(depth):
        metadata = {"k": metadata}
    assert isinstance(metadata, dict)
    empty.add("deep", id="deep", metadata=metadata)
    assert _found(empty, {".".join("k" * depth): "here"}) == {"deep"}
    assert _found(empty, {".".join("k" * (depth + 1)): {"exists": True}}) == set()
    assert _found(empty, {"." * 10_000: {"exists": True}}) == set()


_AWKWARD: Final = [
    "a') OR 1=1 --",
    '"; DROP TABLE memories; --',
    "$.x",
    "$",
    "x[0]",
    '"x"',
    'x"y',
    "back\\slash",
    "tab\t",
    "\x01",
    "%",
    "?",
    "?1",
    "",
    ".",
    "..",
    "ключ",
    "記憶.鍵",
    "🧠",
    "a b",
    " a",
]


def test_an_awkward_key_is_a_key(empty: AgentMem) -> None:
    empty.add_batch(Memory(f"text {i}", str(i), metadata={key: "v"}) for i, key in enumerate(_AWKWARD))
    empty.add("text of another", id="other", metadata={"x": "v", "a": "v", "in": {"x": "v"}})
    every = {*map(str, range(len(_AWKWARD))), "other"}
    meeting: list[Comparisons] = [{"=": "v"}, {"in": ["v", 1]}, {">": "u"}, {"exists": True}]
    left: list[Comparisons] = [{"!=": "v"}, {"not in": ["v", 1]}, {"exists": False}]
    for i, key in enumerate(_AWKWARD):
        assert [_found(empty, {key: comparisons}) for comparisons in meeting] == [{str(i)}] * 4
        assert [_found(empty, {key: comparisons}) for comparisons in left] == [every - {str(i)}] * 3


def test_an_awkward_key_is_a_key_further_in(empty: AgentMem) -> None:
    keys = [key for key in _AWKWARD if "." not in key]
    empty.add_batch(Memory(f"text {i}", str(i), metadata={"in": {key: "v"}}) for i, key in enumerate(keys))
    empty.add_batch(Memory(f"outside {i}", f"outside {i}", metadata={key: "v"}) for i, key in enumerate(keys))
    for i, key in enumerate(keys):
        assert _found(empty, {f"in.{key}": "v"}) == {str(i)}


def test_an_awkward_value_is_a_value(empty: AgentMem) -> None:
    empty.add_batch(Memory(f"text {i}", str(i), metadata={"key": value}) for i, value in enumerate(_AWKWARD))
    every = set(map(str, range(len(_AWKWARD))))
    for i, value in enumerate(_AWKWARD):
        assert _found(empty, {"key": value}) == {str(i)}
        assert _found(empty, {"key": {"!=": value}}) == every - {str(i)}
        assert _found(empty, {"key": {"in": [value, "plain"]}}) == {str(i)}


def test_json_that_was_written_with_other_escapes_is_read_all_the_same(empty: AgentMem) -> None:
    empty.add("text one", id="has it", metadata={'"x"': "\t"})
    empty.close()
    with closing(sqlite3.connect(Path(empty.location) / "memories.db")) as database, database:
        database.execute("UPDATE memories SET metadata = ?", (r'{"\u0022x\u0022":"\u0009"}',))
    assert _found(empty, {'"x"': "\t"}) == {"has it"}
    assert _found(empty, {'"x"': {"exists": True}}) == {"has it"}


@pytest.fixture
def dated(empty: AgentMem) -> AgentMem:
    """Memories of the hours around noon, and one of today."""
    empty.add_batch(
        Memory(f"text {hour}", str(hour), created_at=NOON + timedelta(hours=hour)) for hour in (-2, -1, 0, 1, 2)
    )
    empty.add("text now", id="now")
    return empty


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (NOON, None, {"0", "1", "2", "now"}),
        (None, NOON, {"-2", "-1"}),
        (NOON, NOON + timedelta(hours=2), {"0", "1"}),
        (NOON, NOON + timedelta(microseconds=1), {"0"}),
        (NOON + timedelta(microseconds=1), "2025-03-02", {"1", "2"}),
        ("2025-03-01", "2025-03-02", {"-2", "-1", "0", "1", "2"}),
        ("2025-03-01T13:00+01:00", "2025-03-01T13:30:00Z", {"0", "1"}),
        ("1d", None, {"now"}),
        (None, "1d", {"-2", "-1", "0", "1", "2"}),
        ("0001-01-01", "9999-12-31", {"-2", "-1", "0", "1", "2", "now"}),
    ],
)
def test_since_is_in_and_until_is_out(
    dated: AgentMem, since: datetime | str | None, until: datetime | str | None, found: set[str]
) -> None:
    assert {hit.id for hit in dated.search("text", 100, since=since, until=until)} == found
    assert {memory.id for memory in dated.list_memories(100, since=since, until=until)} == found
    assert set(dated.ids_matching(SearchFilter.of(since=since, until=until))) == found


def test_conditions_of_all_kinds_hold_together(dated: AgentMem) -> None:
    dated.add("text of ana", id="ana", user_id="ana", created_at=NOON, metadata={"turn": 4})
    dated.add("text of bo", id="bo", user_id="bo", created_at=NOON, metadata={"turn": 4})
    dated.add("early text of ana", id="early", user_id="ana", created_at="2024-01-01", metadata={"turn": 4})
    hits = dated.search("text", user_id="ana", where={"turn": {">": 3}}, since="2025-01-01")
    assert [hit.id for hit in hits] == ["ana"]


@pytest.mark.parametrize("since", ["soon", "7", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))], ids=str)
def test_a_time_that_is_none_is_refused(dated: AgentMem, since: datetime | str) -> None:
    with pytest.raises(UsageError):
        dated.search("text", since=since)
    with pytest.raises(UsageError):
        dated.list_memories(since=since)
