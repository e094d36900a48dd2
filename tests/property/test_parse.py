"""Whatever a line holds, it becomes the memory it says or an error that says why; lines come as they were written."""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.jsonl import dump_metadata, load_metadata, parse_memory
from agentmem_cli.records.lines import Line, LineSource
from agentmem_cli.records.memory import MEMORY_TYPES, Memory, Scope, to_microseconds
from agentmem_cli.records.values import MAX_INTEGER, MIN_INTEGER, JsonValue
from agentmem_cli.support.safe_text import printable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BOM = b"\xef\xbb\xbf"
LINES = [
    b'{"text":"likes tea","id":"m1","user_id":"u","memory_type":"core","importance":0.5,"created_at":1714557600}',
    '{"text":"喜欢喝茶 🍵 \\ud83d\\ude00","created_at":"2024-05-01T10:00:00Z","metadata":{"k":[1,-2e3,null]}}'.encode(),
    b'{"text":"t","n":18446744073709551615,"m":-9223372036854775808,"deep":[[[{"a":{"b":["123456789012345678901"]}}]]]}',
    b'{"text":"a\\"b\\\\c","agent_id":"a","run_id":"r","metadata":{"":true},"x":1234567890123456789012.5}',
]

relaxed = settings(max_examples=60, deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(MIN_INTEGER, MAX_INTEGER),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
metadatas = st.dictionaries(texts, values, max_size=4)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=zones)

# Few values that are alike, so that two memories of them are often equal and often nearly so.
alike: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 0.0, -0.0, 1.0, "", "1", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=2,
)
alike_names = st.sampled_from([None, "a", "b"])
alike_memories = st.builds(
    Memory,
    text=st.sampled_from(["a", "b", "null"]),
    scope=st.builds(Scope, alike_names, alike_names, alike_names, st.sampled_from([None, "core"])),
    importance=st.sampled_from([None, 0, 1.0]),
    created_at=st.sampled_from([None, datetime(2024, 5, 1), datetime(2024, 5, 1, tzinfo=timezone.utc)]),
    metadata=st.dictionaries(st.sampled_from("ab"), alike, max_size=1),
)


def typed(value: object) -> object:
    """The value with its types: equal only where JSON would be, but for the order of keys."""
    if isinstance(value, dict):
        return frozenset((key, typed(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(typed, value))
    return type(value), repr(value)


def content(memory: Memory) -> object:
    """All of a memory that its digest stands for."""
    return memory.text, memory.scope, typed(memory.importance), memory.created_at, typed(memory.metadata)


def check_line(line: bytes) -> None:
    """A line gives a memory of what a plain JSON parser reads in it, or a reason of one line; nothing else."""
    try:
        memory = parse_memory(line)
    except InvalidMemoryError as error:
        assert str(error)
        assert len(printable(str(error)).splitlines()) == 1
        return
    fields = json.loads(line)
    assert memory.text == fields["text"]
    known = {"text", "id", "agent_id", "user_id", "run_id", "memory_type", "importance", "created_at", "metadata"}
    unknown = {key: value for key, value in fields.items() if key not in known and value is not None}
    assert typed(memory.metadata) == typed({**unknown, **(fields.get("metadata") or {})})
    assert typed(load_metadata(dump_metadata(memory.metadata))) == typed(memory.metadata)


@relaxed
@given(
    text=texts.filter(str.strip),
    identity=st.none() | names,
    scope=st.lists(st.none() | names, min_size=3, max_size=3),
    memory_type=st.none() | st.sampled_from(MEMORY_TYPES),
    importance=st.none() | st.integers(0, 1) | st.floats(0, 1),
    created_at=st.none() | times,
    metadata=st.none() | metadatas,
    unknown=st.dictionaries(names.map("x_".__add__), values, max_size=3),
    ascii_only=st.booleans(),
    shuffle=st.randoms(use_true_random=False),
)
def test_a_valid_object_becomes_the_memory_it_describes(
    text: str,
    identity: str | None,
    scope: list[str | None],
    memory_type: str | None,
    importance: float | None,
    created_at: datetime | None,
    metadata: dict[str, Any] | None,
    unknown: dict[str, Any],
    ascii_only: bool,
    shuffle: random.Random,
) -> None:
    agent_id, user_id, run_id = scope
    fields = {
        "text": text,
        "id": identity,
        "agent_id": agent_id,
        "user_id": user_id,
        "run_id": run_id,
        "memory_type": memory_type,
        "importance": importance,
        "created_at": None if created_at is None else created_at.isoformat(),
        "metadata": metadata,
        **unknown,
    }
    shuffled = dict(shuffle.sample(list(fields.items()), len(fields)))
    memory = parse_memory(json.dumps(shuffled, ensure_ascii=ascii_only).encode())
    assert memory.text == text
    assert memory.id == (memory.content_digest().hex() if identity is None else identity)
    assert memory.scope == Scope(agent_id, user_id, run_id, memory_type)
    assert memory.importance == importance
    assert memory.created_at == created_at
    said = {key: value for key, value in unknown.items() if value is not None}
    assert typed(memory.metadata) == typed({**said, **(metadata or {})})


@relaxed
@given(st.datetimes(min_value=datetime(1834, 1, 2), max_value=datetime(2106, 1, 1), timezones=zones))  # 2 ** 32 s
def test_a_time_survives_as_seconds_to_the_microsecond_that_a_float_can_tell(time: datetime) -> None:
    seconds = to_microseconds(time) / 1_000_000
    memory = parse_memory(json.dumps({"text": "t", "created_at": seconds}).encode())
    assert memory.created_at == time


@settings(max_examples=200, deadline=None)
@given(alike_memories, alike_memories)
def test_digests_are_equal_where_contents_are_and_nowhere_else(one: Memory, other: Memory) -> None:
    assert (one.content_digest() == other.content_digest()) is (content(one) == content(other))
    assert (one.id == other.id) is (content(one) == content(other))


@relaxed
@given(metadatas, st.randoms(use_true_random=False))
def test_the_order_of_keys_never_changes_a_digest(metadata: dict[str, Any], shuffle: random.Random) -> None:
    def shuffled(value: JsonValue) -> JsonValue:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in shuffle.sample(list(value), len(value))}
        return list(map(shuffled, value)) if isinstance(value, list) else value

    other = {key: shuffled(metadata[key]) for key in shuffle.sample(list(metadata), len(metadata))}
    assert Memory("t", metadata=other).content_digest() == Memory("t", metadata=metadata).content_digest()


@relaxed
@given(metadatas)
def test_metadata_comes_back_from_storage_with_its_types(metadata: dict[str, Any]) -> None:
    assert typed(load_metadata(dump_metadata(metadata))) == typed(metadata)


@relaxed
@given(st.binary(max_size=60) | values.map(json.dumps).map(str.encode) | metadatas.map(json.dumps).map(str.encode))
def test_any_line_gives_a_memory_or_a_reason(line: bytes) -> None:
    check_line(line)


def mutated(line: bytes, chance: random.Random) -> bytes:
    """The line after one to four accidents."""
    for _ in range(chance.randint(1, 4)):
        start, end = sorted((chance.randint(0, len(line)), chance.randint(0, len(line))))
        piece = line[start:end]
        other = chance.choice(LINES)
        noise = chance.choice([b'"', b"{", b"}", b"[", b",", b":", b"\\", b"e", b"-", b"9" * 20, chance.randbytes(2)])
        line = chance.choice(
            [
                line[:start],
                line[:start] + line[end:],
                line[:end] + piece + line[end:],
                line[:start] + noise + line[start:],
                line[:start] + other[chance.randint(0, len(other)) :],
                line.replace(piece[:1] or b"t", chance.choice([b"null", b"5", b"\x00", b" "]), 1),
            ]
        )
    return line


@pytest.mark.parametrize("seed", range(4))
def test_a_line_that_was_damaged_gives_a_memory_or_a_reason(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(2_500):
        check_line(mutated(chance.choice(LINES), chance))


class Pieces(RawIOBase):
    """A stream that gives its bytes in pieces of these sizes, and then in one."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__()
        self._data = data
        self._sizes: Iterator[int] = iter(sizes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        piece = self._data[: min(next(self._sizes, len(view)), len(view))]
        self._data = self._data[len(piece) :]
        view[: len(piece)] = piece
        return len(piece)


def split(data: bytes, max_line_bytes: int) -> list[Line]:
    """The lines of the data, the plain way."""
    lines = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        line = raw[:-1] if raw.endswith(b"\r") else raw
        if number == 1 and line.startswith(BOM):
            line = line[len(BOM) :]
        if len(line) > max_line_bytes:
            lines.append(Line(number, line[:max_line_bytes], too_long=True))
        elif line.strip():
            lines.append(Line(number, line))
    return lines


fragments = st.sampled_from([b"\n", b"\r\n", b"\r", b" ", b"\x0b", b"a", b"bcd", BOM, b"x" * 9])
inputs = st.lists(fragments, max_size=40).map(b"".join) | st.binary(max_size=40)


@settings(max_examples=200, deadline=None)
@given(
    data=inputs,
    sizes=st.lists(st.integers(1, 9), max_size=30),
    max_line_bytes=st.integers(1, 12),
    pack=st.sampled_from([bytes, gzip.compress]),
)
def test_lines_are_those_of_a_plain_split_however_the_bytes_arrive(
    data: bytes, sizes: list[int], max_line_bytes: int, pack: Callable[[bytes], bytes]
) -> None:
    assume(not data.startswith((b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")))
    source = LineSource("input", BufferedReader(Pieces(pack(data), [2, *sizes])), None, 1_000)
    assert list(source.lines(max_line_bytes)) == split(data, max_line_bytes)
