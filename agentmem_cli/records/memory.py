"""The data of the project: memories, hits, events, results of calls. Standard library only."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Final, Literal, TypeAlias

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.times import as_utc
from agentmem_cli.records.values import (
    JsonValue,
    check_name,
    check_number,
    check_string,
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
Outcome: TypeAlias = Literal["added", "updated", "unchanged"]
_SAID_BY: Final = re.compile(r"([^\s:][^:\n]{0,40}): ")  # at the beginning of a turn: "Caroline: Hello"
_WORD: Final = re.compile(r"\w+")
_RUN_KEYS: Final = ("session", "session_id", "conversation_id")  # of metadata
VECTOR_KEY: Final = "agentmem_vector"  # of a memory as JSON
_WHERE_ANY: Final = {"before", "after", "chunk", "duplicates", "expires_at"}  # of a hit as JSON: left out if empty
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SORTED_JSON: Final = json.JSONEncoder(sort_keys=True)  # made once: `json.dumps` makes one per call


def known_memory_type(name: str) -> str:
    """One of MEMORY_TYPES, given in any case. Raises InvalidMemoryError."""
    known = check_string("memory_type", name).strip().lower()
    if known in MEMORY_TYPES:
        return known
    raise InvalidMemoryError(f"memory_type {shown(name)} is unknown: it is one of {', '.join(MEMORY_TYPES)}")


@dataclass(frozen=True, slots=True)
class Scope:
    """The agent, user, run and type of a memory; None if not set. Raises InvalidMemoryError."""

    agent_id: str | None = None
    user_id: str | None = None
    run_id: str | None = None
    memory_type: str | None = None

    def __post_init__(self) -> None:
        for name in ("agent_id", "user_id", "run_id"):
            check_name(name, getattr(self, name))
        if self.memory_type is not None and self.memory_type not in MEMORY_TYPES:
            object.__setattr__(self, "memory_type", known_memory_type(self.memory_type))


def speaker_key(name: str) -> str | None:
    """What a query calls a speaker by: the first word of the name, casefolded. None where the name has no word."""
    first = _WORD.search(name)
    return None if first is None else first[0].casefold()


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk of a long memory: the characters [start, stop) of its text, and its vector as float32 bytes."""

    start: int
    stop: int
    float32: bytes


@dataclass(frozen=True, slots=True)
class StoredVector:
    """The vector of a memory as float32 bytes, and the revision of the embedder that made it.

    `cut` is true if the text is longer than that embedder reads. `chunks` are the parts of a text that was split.
    """

    revision: str
    float32: bytes
    cut: bool = False
    chunks: tuple[StoredChunk, ...] = ()

    def to_dict(self) -> dict[str, JsonValue]:
        """The JSON object that `export --vectors` writes."""
        fields: dict[str, JsonValue] = {"revision": self.revision, "float32": _base64(self.float32)}
        if self.cut:
            fields["cut"] = True
        if self.chunks:
            fields["chunks"] = [
                {"start": chunk.start, "stop": chunk.stop, "float32": _base64(chunk.float32)} for chunk in self.chunks
            ]
        return fields


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory; `importance` is 0 to 1. Raises InvalidMemoryError, whose message is only the reason.

    An empty `id` is derived from the content, so that equal memories have equal ids. `created_at` is an aware UTC time;
    None means the time at which the store receives the memory. From `expires_at` on, nothing finds the memory. A
    `vector` from an export makes embedding unnecessary; it is not part of the content. `clears` names the fields that
    an update with this memory clears: see `over`.
    """

    text: str
    id: str = ""
    scope: Scope = field(default_factory=Scope)
    importance: float | None = None
    created_at: datetime | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    vector: StoredVector | None = field(default=None, compare=False, repr=False)
    clears: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    speaker: str | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        check_text(self.text)
        importance = check_number("importance", self.importance)
        if importance is not None and not 0 <= importance <= 1:
            raise InvalidMemoryError(f"importance {importance} is not between 0 and 1")
        object.__setattr__(self, "importance", None if importance is None else float(importance) + 0.0)  # no -0.0
        if self.created_at is not None:
            object.__setattr__(self, "created_at", as_utc(self.created_at))
        if self.expires_at is not None:
            object.__setattr__(self, "expires_at", as_utc(self.expires_at, "expires_at"))
        object.__setattr__(self, "metadata", plain_metadata(self.metadata))
        if not self.id:
            object.__setattr__(self, "id", self.content_digest(expiring=False).hex())
        check_name("id", self.id)
        check_name("speaker", self.speaker)

    @property
    def said_by(self) -> str | None:
        """Who said it: its `speaker`, or the name that its text begins with, as in "Caroline: Hello"."""
        named = None if self.speaker else _SAID_BY.match(self.text)
        return self.speaker or (None if named is None else named[1])

    @property
    def run(self) -> str | None:
        """The conversation of the memory: its `run_id`, or a session or conversation id of its metadata."""
        return run_of(self.scope.run_id, self.metadata)

    def to_dict(self) -> dict[str, JsonValue]:
        """The JSON object that `export` writes and `ingest` reads, without fields that are not set."""
        fields: dict[str, JsonValue] = {
            "id": self.id,
            "text": self.text,
            "agent_id": self.scope.agent_id,
            "user_id": self.scope.user_id,
            "run_id": self.scope.run_id,
            "memory_type": self.scope.memory_type,
            "importance": self.importance,
            "created_at": _iso(self.created_at),
            "expires_at": _iso(self.expires_at),
            "metadata": dict(self.metadata) or None,
            "speaker": self.speaker,
            VECTOR_KEY: None if self.vector is None else self.vector.to_dict(),
        }
        return {key: value for key, value in fields.items() if value is not None}

    def has_expired(self, now: datetime) -> bool:
        """Whether nothing finds it any more at this aware time."""
        return self.expires_at is not None and self.expires_at <= now

    def over(self, before: "Memory") -> "Memory":
        """The result of updating `before` with this memory.

        A field that is not set here keeps its value, unless `clears` names it. Metadata counts as one field.
        """
        ours, theirs = self.scope, before.scope

        def merged(name: str, given: str | None, kept: str | None) -> str | None:
            return kept if given is None and name not in self.clears else given

        keeps_importance = self.importance is None and "importance" not in self.clears
        keeps_metadata = not self.metadata and "metadata" not in self.clears
        keeps_expiry = self.expires_at is None and "expires_at" not in self.clears
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
            speaker=merged("speaker", self.speaker, before.speaker),
            expires_at=before.expires_at if keeps_expiry else self.expires_at,
        )

    def content_digest(self, *, timed: bool = True, expiring: bool = True) -> bytes:
        """A 16-byte digest (BLAKE2b) of the content and scope, without the id; without `created_at` unless `timed`, and
        without `expires_at` unless `expiring`."""
        scope, created_at = self.scope, self.created_at if timed else None
        expires_at = self.expires_at if expiring else None
        content = (
            self.text,
            scope.agent_id,
            scope.user_id,
            scope.run_id,
            scope.memory_type,
            self.importance,
            None if created_at is None else to_microseconds(created_at),
            self.metadata or None,
            *([self.speaker] if self.speaker else []),
            *([] if expires_at is None else [to_microseconds(expires_at)]),
        )
        return hashlib.blake2b(_SORTED_JSON.encode(content).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """The parts of a hit's score. `cosine` and `word_share`, the weighted share of the query's words that the memory
    contains, are None if the mode does not use them.

    In mode hybrid, hits are ordered by (max(0, `meaning` + `words`) + `neighbours`) times the factors `speaker`,
    `time`, `recency` and `importance`. `meaning` is the cosine in standard deviations above the mean of the memories
    that match, and `words` what `word_share` adds to it. See `agentmem_cli.search.relevance`.
    """

    cosine: float | None = None
    word_share: float | None = None
    meaning: float = 0.0
    words: float = 0.0
    neighbours: float = 0.0
    speaker: float = 1.0
    time: float = 1.0
    recency: float = 1.0
    importance: float = 1.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that a search found. A higher `score` is better; in mode `meaning` it is the cosine, in mode `words` the
    share of the query's words.

    `before` and `after` are the adjacent memories of its run, in order, if the search asked for context. `chunk` is the
    matching part of a long memory. `duplicates` are the ids of hits that were folded into this one.
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
    speaker: str | None = None
    parts: ScoreParts = field(default_factory=ScoreParts)
    before: tuple[Memory, ...] = ()
    after: tuple[Memory, ...] = ()
    chunk: str | None = None
    duplicates: tuple[str, ...] = ()
    expires_at: datetime | None = None

    def to_dict(self, *, explain: bool = False) -> dict[str, JsonValue]:
        """The JSON object that `search --json` prints, with the parts of its score if `explain`."""
        fields: dict[str, JsonValue] = asdict(replace(self, before=(), after=()))
        fields["created_at"], fields["expires_at"] = _iso(self.created_at), _iso(self.expires_at)
        if not explain:
            del fields["parts"]
        for name, memories in (("before", self.before), ("after", self.after)):
            fields[name] = [memory.to_dict() for memory in memories]
        return {name: value for name, value in fields.items() if name not in _WHERE_ANY or value}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """The JSON value of a field before and after an update; None if the field was not set."""

    before: JsonValue
    after: JsonValue


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An event in the history of a memory: `add`, `update`, `expire` or `delete`, with the text before and after.

    `changes` are the changes of other fields, by name.
    """

    id: str
    event: str
    previous_text: str | None
    text: str | None
    at: datetime
    changes: Mapping[str, FieldChange] = field(default_factory=dict)

    def to_dict(self) -> dict[str, JsonValue]:
        """The JSON object that `history --json` prints."""
        return {**asdict(self), "at": _iso(self.at)}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected line of an input, and the reason; `raw` is only its beginning if the line was too long.

    `unit` is what `line` counts: lines, the elements of a JSON document, rows, or the memories of conversations.
    """

    file: str
    line: int
    reason: str
    raw: bytes
    unit: str = "line"

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        return f"{self.file}:{self.line}" if self.unit == "line" else f"{self.file}, {self.unit} {self.line}"


@dataclass(frozen=True, slots=True)
class Position:
    """The progress of an input: all lines up to `line` are ingested; `complete` if that was the last."""

    file: str
    line: int
    complete: bool = False


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one call; `ids` are in the order of its memories."""

    ids: list[str]
    added: int
    updated: int
    unchanged: int

    def to_dict(self) -> dict[str, JsonValue]:
        """The result as a JSON object."""
        return asdict(self)


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def run_of(run_id: str | None, metadata: Mapping[str, JsonValue]) -> str | None:
    """The run of a memory: see `Memory.run`."""
    named = (metadata.get(key) for key in _RUN_KEYS)
    return run_id or next((name for name in named if isinstance(name, str) and name), None)


def to_microseconds(time: datetime) -> int:
    """Microseconds since 1970, UTC; exact, unlike a float of seconds."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(time_us: int) -> datetime:
    """The aware UTC time from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time_us)
