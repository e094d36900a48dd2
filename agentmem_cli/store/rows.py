"""What a plan reads and writes of memories and their history, in the rows that every store has."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from agentmem_cli.records.jsonl import dump_metadata, load_metadata
from agentmem_cli.records.memory import (
    FieldChange,
    HistoryEvent,
    Memory,
    Scope,
    from_microseconds,
    speaker_key,
    to_microseconds,
)
from agentmem_cli.records.times import parse_time
from agentmem_cli.records.values import JsonValue

MEMORY_COLUMNS: Final = (
    "m.id, m.text, m.agent_id, m.user_id, m.run_id, m.memory_type, m.importance, m.created_at_us, m.metadata,"
    " m.speaker, m.expires_at_us"
)
Text: TypeAlias = tuple[int, str]  # the id of a text's vector, and the text


def text_hash(text: str) -> bytes:
    """The 16-byte hash of a text (BLAKE2b)."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """What a plan needs to know of a stored memory."""

    content: bytes
    text: str
    vector_id: int
    created_at_us: int

    def text_and_vector(self) -> Text:
        """The id of its vector, and its text."""
        return self.vector_id, self.text


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """A memory to write; `content` is its digest without the id."""

    memory: Memory
    vector_id: int
    created_at_us: int
    content: bytes


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """An event to write: `add`, `update`, `expire` or `delete`; for an update, `previous` has the former values of the
    changed fields as a JSON object."""

    id: str
    event: str
    previous: str | None
    at_us: int


def memory_parameters(row: MemoryRow) -> tuple[str | int | float | bytes | None, ...]:
    """The values of a memory to write, in the order of the columns of `memories`, from `id` on."""
    memory, scope, said_by = row.memory, row.memory.scope, row.memory.said_by
    return (
        memory.id,
        row.vector_id,
        memory.text,
        scope.agent_id,
        scope.user_id,
        scope.run_id,
        scope.memory_type,
        memory.importance,
        row.created_at_us,
        dump_metadata(memory.metadata),
        row.content,
        memory.run,
        memory.speaker,
        said_by,
        None if said_by is None else speaker_key(said_by),
        None if memory.expires_at is None else to_microseconds(memory.expires_at),
    )


def memory_of(row: Sequence[Any]) -> Memory:
    """The memory in a row of MEMORY_COLUMNS."""
    identity, text, agent_id, user_id, run_id, memory_type, importance, created_at_us, metadata, *others = row
    speaker, expires_at_us = others
    return Memory(
        text=text,
        id=identity,
        scope=Scope(agent_id, user_id, run_id, memory_type),
        importance=importance,
        created_at=from_microseconds(created_at_us),
        metadata=load_metadata(metadata),
        speaker=speaker,
        expires_at=None if expires_at_us is None else from_microseconds(expires_at_us),
    )


def as_given(memory: Memory, content: bytes) -> Memory:
    """A stored memory as it was given: without a time that the store filled in."""
    return replace(memory, created_at=None) if memory.content_digest(timed=False) == content else memory


def fields_of(memory: Memory, created_at_us: int) -> dict[str, JsonValue]:
    """A memory's fields as JSON, as the history compares them: those that it has, without the id."""
    fields = replace(memory, created_at=from_microseconds(created_at_us), vector=None).to_dict()
    del fields["id"]
    return fields


def is_as_stored(memory: Memory, content: bytes) -> bool:
    """Whether a memory has the content whose digest was stored; a time that the store filled in is not part of it."""
    return content == memory.content_digest() or content == memory.content_digest(timed=False)


def events_of(identity: str, rows: Sequence[tuple[str, str | None, int]], current: Memory | None) -> list[HistoryEvent]:
    """The history of a memory from its events (event, previous, at_us), oldest first, and what is stored of it now."""
    events, after = [], {} if current is None else current.to_dict()
    until_us = time.time_ns() // 1000  # how long the fields in `after` have been, or were, those of the memory
    for event, previous, at_us in reversed(rows):
        expiry_us = _expiry_us(after)
        if expiry_us is not None and expiry_us <= until_us:
            events.append(HistoryEvent(identity, "expire", _text(after), None, from_microseconds(expiry_us)))
        former = {} if previous is None else load_metadata(previous)
        before = {**after, **former} if event == "update" else {}
        changes = {name: FieldChange(value, after.get(name)) for name, value in former.items() if name != "text"}
        events.append(HistoryEvent(identity, event, _text(before), _text(after), from_microseconds(at_us), changes))
        after, until_us = before, at_us
    return events[::-1]


def _expiry_us(fields: Mapping[str, JsonValue]) -> int | None:
    expires_at = fields.get("expires_at")
    return to_microseconds(parse_time(expires_at, "expires_at")) if isinstance(expires_at, str) else None


def _text(fields: Mapping[str, JsonValue]) -> str | None:
    text = fields.get("text")
    return text if isinstance(text, str) else None
