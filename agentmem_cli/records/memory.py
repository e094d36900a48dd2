"""What the rest of the project passes around: a memory, a hit, an event, a report. Standard library only."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Final, TypeAlias

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.times import as_utc
from agentmem_cli.records.values import (
    JsonValue,
    check_name,
    check_number,
    check_text,
    plain_metadata,
    shown,
)

MEMORY_TYPES: Final = (
    "episodic",
    "semantic",
    "procedural",
    "working",
    "core",
    "resource",
    "knowledge",
    "contextual",
)
Span: TypeAlias = tuple[int, int]  # the characters [start, stop) of a text
_RUN_KEYS: Final = ("session", "session_id", "conversation_id")  # of metadata
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SORTED_JSON: Final = json.JSONEncoder(sort_keys=True)  # made once: `json.dumps` makes one a call


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory it is: any of agent, user and run, and of what type; None is 'not said'."""

    agent_id: str | None = None
    user_id: str | None = None
    run_id: str | None = None
    memory_type: str | None = None

    def __post_init__(self) -> None:
        for name in ("agent_id", "user_id", "run_id"):
            check_name(name, getattr(self, name))
        if self.memory_type is not None and self.memory_type not in MEMORY_TYPES:
            raise InvalidMemoryError(
                f"memory_type {shown(self.memory_type)} is unknown: it is one of {', '.join(MEMORY_TYPES)}"
            )


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A part of a long memory, the characters [start, stop) of its text, and its vector: float32 bytes."""

    start: int
    stop: int
    float32: bytes


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A vector that came with a memory: float32 bytes, and the revision of the embedder that made it.

    `cut` says that the text is longer than that embedder reads; `chunks` are the parts that it was split into.
    """

    revision: str
    float32: bytes
    cut: bool = False
    chunks: tuple[StoredChunk, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory, checked when it is made.

    An `id` left empty derives from everything else, so that the same memory has the same id every time.
    `created_at` is an aware UTC time, or None where the store shall say when it came in. A `vector` that an export
    brought along spares the embedding; it is not part of the content. `clears` names fields that an update with this
    memory empties: see `over`.
    Raises InvalidMemoryError, whose message is the reason alone.
    """

    text: str
    id: str = ""
    scope: Scope = field(default_factory=Scope)
    importance: float | None = None
    created_at: datetime | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    vector: StoredVector | None = field(default=None, compare=False, repr=False)
    clears: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        check_text(self.text)
        importance = check_number("importance", self.importance)
        object.__setattr__(self, "importance", None if importance is None else float(importance) + 0.0)  # no -0.0
        if self.created_at is not None:
            object.__setattr__(self, "created_at", as_utc(self.created_at))
        object.__setattr__(self, "metadata", plain_metadata(self.metadata))
        if not self.id:
            object.__setattr__(self, "id", self.content_digest().hex())
        check_name("id", self.id)

    @property
    def run(self) -> str | None:
        """What it stands before and after others in: its `run_id`, or what its metadata calls the conversation."""
        return run_of(self.scope.run_id, self.metadata)

    def over(self, before: "Memory") -> "Memory":
        """What an update with this memory makes of `before`: a field that is empty here keeps its value, unless
        `clears` names it; metadata is one field."""
        ours, theirs = self.scope, before.scope

        def merged(name: str, given: str | None, kept: str | None) -> str | None:
            return kept if given is None and name not in self.clears else given

        keeps_importance = self.importance is None and "importance" not in self.clears
        keeps_metadata = not self.metadata and "metadata" not in self.clears
        return replace(
            self,
            scope=Scope(
                agent_id=merged("agent_id", ours.agent_id, theirs.agent_id),
                user_id=merged("user_id", ours.user_id, theirs.user_id),
                run_id=merged("run_id", ours.run_id, theirs.run_id),
                memory_type=merged("memory_type", ours.memory_type, theirs.memory_type),
            ),
            importance=before.importance if keeps_importance else self.importance,
            created_at=self.created_at or before.created_at,
            metadata=before.metadata if keeps_metadata else self.metadata,
        )

    def without_time(self) -> "Memory":
        """The same memory with no `created_at`, as one is whose time the store filled in."""
        return replace(self, created_at=None)

    def content_digest(self) -> bytes:
        """16 bytes that are equal for memories of equal content and scope, whatever their id (BLAKE2b)."""
        scope = self.scope
        content = (
            self.text,
            scope.agent_id,
            scope.user_id,
            scope.run_id,
            scope.memory_type,
            self.importance,
            None if self.created_at is None else to_microseconds(self.created_at),
            self.metadata or None,
        )
        return hashlib.blake2b(_SORTED_JSON.encode(content).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """What a hit's score is made of: the cosine, the words, or half of each, and what the `neighbours` lend; times the
    factors for `recency` and `importance`.

    `cosine` and `text` (the share of the query's words, by weight, that it has) are None where the mode doesn't look
    at them. See `agentmem_cli.search.retrieve`.
    """

    cosine: float | None = None
    text: float | None = None
    neighbours: float = 0.0
    recency: float = 1.0
    importance: float = 1.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that a search found; a higher `score` is a better answer (in mode `vector`, the cosine).

    `before` and `after` are the memories around it in its run, in their order, where they were asked for; `chunk`
    is the part of a long memory that was found; `duplicates` the ids of the hits that were folded into this one.
    """

    id: str
    score: float
    text: str
    agent_id: str | None
    user_id: str | None
    run_id: str | None
    memory_type: str | None
    importance: float | None
    created_at: datetime
    metadata: Mapping[str, JsonValue]
    parts: ScoreParts = field(default_factory=ScoreParts)
    before: tuple[Memory, ...] = ()
    after: tuple[Memory, ...] = ()
    chunk: str | None = None
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field's value before and after an update, as JSON; None where the memory had no such field."""

    before: JsonValue
    after: JsonValue


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """What happened to a memory: `add`, `update` or `delete`, with the text before and after it.

    `changes` are the other fields that an update changed, by name.
    """

    id: str
    event: str
    previous_text: str | None
    text: str | None
    at: datetime
    changes: Mapping[str, FieldChange] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input line that was not taken, and why; `raw` is its beginning where the line was too long to keep."""

    file: str
    line: int
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """How far an input has been taken in: all lines up to `line`, and whether that was its end."""

    file: str
    line: int
    complete: bool = False


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of the memories of one call, `ids` in the order they were given."""

    ids: list[str]
    added: int
    updated: int
    unchanged: int


def run_of(run_id: str | None, metadata: Mapping[str, JsonValue]) -> str | None:
    """The run of a memory: see `Memory.run`."""
    named = (metadata.get(key) for key in _RUN_KEYS)
    return run_id or next((name for name in named if isinstance(name, str) and name), None)


def to_microseconds(time: datetime) -> int:
    """Microseconds since 1970, UTC, exactly (a float of seconds would lose some)."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(time_us: int) -> datetime:
    """The aware UTC time of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time_us)
