"""What the rest of the project passes around: a memory, a hit, an event, a report. Standard library only."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Final

from agentmem_cli.embedding.languages import UNREAD_WARNING_RATIO, ModelAdvice, Script
from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.records.filter import Condition, Where, checked_where
from agentmem_cli.records.times import as_utc, bound
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
UNKNOWN_WARNING_RATIO: Final = UNREAD_WARNING_RATIO
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
class StoredWindow:
    """A part of a long memory, the characters [start, stop) of its text, and its vector: float32 bytes."""

    start: int
    stop: int
    float32: bytes


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A vector that came with a memory: float32 bytes, and the revision of the embedder that made it.

    `cut` says that the text is longer than that embedder reads; `windows` are the parts that it was split into.
    """

    revision: str
    float32: bytes
    cut: bool = False
    windows: tuple[StoredWindow, ...] = ()


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

    `before` and `after` are the memories around it in its run, in their order, where they were asked for; `passage`
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
    passage: str | None = None
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
class SearchFilter:
    """Which memories a search may return: equal in every scope that is said, meeting every condition of `where`, and
    created at `since` or later and before `until` (aware UTC times)."""

    scope: Scope = field(default_factory=Scope)
    where: tuple[Condition, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def of(
        cls,
        agent_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        memory_type: str | None = None,
        where: Where | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> "SearchFilter":
        """The filter that a caller asks for; see `checked_where` and `bound`. Raises UsageError where no memory can
        match."""
        try:
            scope, conditions = Scope(agent_id, user_id, run_id, memory_type), checked_where(where or {})
        except InvalidMemoryError as error:
            raise UsageError(f"no memory can match: {error}") from error
        first, end = bound("since", since), bound("until", until)
        if first is not None and end is not None and first >= end:
            raise UsageError(f"no memory can match: since {since} is not before until {until}")
        return cls(scope, conditions, first, end)

    def __bool__(self) -> bool:
        return self != SearchFilter()


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


@dataclass(slots=True)
class IngestReport:
    """What an ingest did. `embedded` counts texts that the model saw; `reused` memories whose vector was there.

    `unindexed` vectors were not in the published graph when it ended, so that searches scan them; `indexing` says
    whether it is being built. `truncated` memories, of those that were added or updated, are longer than the model
    reads, and only their beginnings are found by meaning; `windows` are the parts that others were split into. Stages
    overlap, so that their times together may exceed `elapsed_s`. `letters` are the embedded texts' characters by script
    (see `agentmem_cli.embedding.languages`).
    """

    read: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    embedded: int = 0
    reused: int = 0
    truncated: int = 0
    tokens: int = 0
    special_tokens: int = 0
    unknown_tokens: int = 0
    unindexed: int = 0
    indexing: bool = False
    elapsed_s: float = 0.0
    stages_s: dict[str, float] = field(default_factory=dict)
    windows: int = 0
    letters: Counter[Script] = field(default_factory=Counter)

    @property
    def stored(self) -> int:
        """How many memories the store is known to hold because of this ingest."""
        return self.added + self.updated + self.unchanged

    @property
    def unknown_token_ratio(self) -> float:
        """The share of the embedded texts' own tokens that the model has no vector for."""
        own_tokens = self.tokens - self.special_tokens
        return self.unknown_tokens / own_tokens if own_tokens else 0.0

    def advice(self, model: str) -> ModelAdvice | None:
        """That the model which embedded can't read the texts, and which can; None where it does."""
        return ModelAdvice.on(model, self.tokens - self.special_tokens, self.unknown_tokens, self.letters)

    @property
    def memories_per_s(self) -> float:
        """Memories stored a second of the whole run, model loading and indexing included."""
        return self.stored / self.elapsed_s if self.elapsed_s else 0.0


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
