"""Rows that pass between the database and the store."""

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from agentmem_cli.errors import AgentMemError
from agentmem_cli.records.jsonl import dump_memory, dump_metadata, load_metadata
from agentmem_cli.records.memory import Memory, Scope, from_microseconds
from agentmem_cli.records.values import JsonValue
from agentmem_cli.store.embedded.connection import Parameter

Text: TypeAlias = tuple[int, str]  # a vector's id, and the text that it is of
MOST_VECTORS: Final = 2**31
_MOST_BYTES: Final = 2**62
_JSON: Final = json.JSONEncoder(default=repr)  # a damaged row may hold bytes where a text was


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
    """An event to write: `add` or `update`; for an update, `previous` has the former values of the changed fields as a
    JSON object."""

    id: str
    event: str
    previous: str | None
    at_us: int


def event_checksum(identity: str, event: str, previous: str | None, at_us: int) -> int:
    """The CRC-32 of an event of the history."""
    return zlib.crc32(_JSON.encode([identity, event, previous, at_us]).encode())


@dataclass(frozen=True, slots=True)
class GraphRow:
    """A published graph, and the size and digest of its file in `index/`."""

    generation: int
    size_bytes: int
    sha256: str
    vectors: int
    last_vector_id: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.generation}.hnsw"

    @property
    def is_plausible(self) -> bool:
        """Whether each value has its type and a possible size: the row may be crafted."""
        numbers = (self.generation, self.size_bytes, self.vectors, self.last_vector_id)
        return (
            all(type(number) is int and 0 < number <= _MOST_BYTES for number in numbers)
            and max(self.vectors, self.last_vector_id) <= MOST_VECTORS
            and isinstance(self.sha256, str)
        )


def text_hash(text: str) -> bytes:
    """The 16-byte hash of a text (BLAKE2b)."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class CheckedVector:
    """A vector as it is stored, with the checksum it was stored with, and whether a memory has it."""

    vector_id: int
    vector: bytes
    checksum: int
    used: bool


@dataclass(frozen=True, slots=True)
class CheckedMemory:
    """A memory's row as it is stored, the digest that it was stored with, and the text hash of its vector, if any."""

    row: tuple[object, ...]
    content: bytes
    text_hash: bytes | None
    has_history: bool


@dataclass(frozen=True, slots=True)
class StagedText:
    """A text to be embedded again, and the vector it has."""

    vector_id: int
    text: str


@dataclass(frozen=True, slots=True)
class VectorRow:
    """A vector to write, and whether its text is longer than the model reads."""

    vector_id: int
    vector: bytes
    checksum: int
    cut: bool


UNREADABLE: Final = (AgentMemError, AttributeError, TypeError, ValueError, OverflowError)  # what a damaged row raises
MEMORY_COLUMNS: Final = (
    "m.id, m.text, m.agent_id, m.user_id, m.run_id, m.memory_type, m.importance, m.created_at_us, m.metadata"
)


def memory_parameters(row: MemoryRow) -> tuple[Parameter, ...]:
    """The values of a memory to write, in the order of the columns of `memories`, from `id` on."""
    memory, scope = row.memory, row.memory.scope
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
    )


def memory_of(row: Sequence) -> Memory:  # type: ignore[type-arg]
    """The memory in a row of MEMORY_COLUMNS."""
    identity, text, agent_id, user_id, run_id, memory_type, importance, created_at_us, metadata = row
    return Memory(
        text=text,
        id=identity,
        scope=Scope(agent_id, user_id, run_id, memory_type),
        importance=importance,
        created_at=from_microseconds(created_at_us),
        metadata=load_metadata(metadata),
    )


def as_given(memory: Memory, content: bytes) -> Memory:
    """A stored memory as it was given: without a time that the store filled in."""
    untimed = memory.without_time()
    return untimed if untimed.content_digest() == content else memory


def fields_of(memory: Memory, created_at_us: int) -> dict[str, JsonValue]:
    """A memory's fields as JSON, as the history compares them: those that it has, without the id."""
    fields = dump_memory(replace(memory, created_at=from_microseconds(created_at_us), vector=None))
    del fields["id"]
    return fields


def is_as_stored(memory: Memory, content: bytes) -> bool:
    """Whether a memory has the content whose digest was stored; a time that the store filled in is not part of it."""
    return content == memory.content_digest() or content == memory.without_time().content_digest()
