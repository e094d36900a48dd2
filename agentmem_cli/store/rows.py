"""Rows that pass between the database and the store."""

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Final, TypeAlias

from agentmem_cli.records.memory import Memory

Text: TypeAlias = tuple[int, str]  # a vector's id, and the text that it is of
MOST_VECTORS: Final = 2**31
_MOST_BYTES: Final = 2**62
_JSON: Final = json.JSONEncoder(default=repr)  # a damaged row may hold bytes where a text was


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """What tells whether a memory is the one that is stored."""

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
    """An event to write: `add` or `update`, and for an update the former values of what it changed, as a JSON
    object."""

    id: str
    event: str
    previous: str | None
    at_us: int


def event_checksum(identity: str, event: str, previous: str | None, at_us: int) -> int:
    """The CRC-32 of an event of the history."""
    return zlib.crc32(_JSON.encode([identity, event, previous, at_us]).encode())


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a search needs to know of a memory to rank it."""

    seq: int
    vector_id: int
    created_at_us: int
    importance: float | None


@dataclass(frozen=True, slots=True)
class GraphRow:
    """A published graph, and what proves that a file in `index/` is it."""

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
        """Whether each value is of its type and not beyond what any graph has: they may come from somebody else."""
        numbers = (self.generation, self.size_bytes, self.vectors, self.last_vector_id)
        return (
            all(type(number) is int and 0 < number <= _MOST_BYTES for number in numbers)
            and max(self.vectors, self.last_vector_id) <= MOST_VECTORS
            and isinstance(self.sha256, str)
        )


def text_hash(text: str) -> bytes:
    """16 bytes that stand for a text (BLAKE2b)."""
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
    """A memory's row as it is stored, the digest it was stored with, and its vector's text's hash, if there is one."""

    row: tuple[object, ...]
    content: bytes
    text_hash: bytes | None
    has_history: bool


@dataclass(frozen=True, slots=True)
class StagedText:
    """A text that is to be embedded anew, and the vector it has."""

    vector_id: int
    text: str


@dataclass(frozen=True, slots=True)
class VectorRow:
    """A vector to write, and whether its text is longer than the model reads."""

    vector_id: int
    vector: bytes
    checksum: int
    cut: bool
