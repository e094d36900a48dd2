"""What a batch would change: its memories in order, compared with what is stored."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import orjson

from agentmem_cli.records.memory import Memory, Outcome, from_microseconds, to_microseconds
from agentmem_cli.records.values import JsonValue
from agentmem_cli.store.chunk_plan import ChunkPlan
from agentmem_cli.store.rows import HistoryRow, MemoryRow, StoredMemory, Text, fields_of, text_hash


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch would write, and `new_texts`: the distinct texts that need a vector, in order, and their hashes.

    The vector of `new_texts[i]` gets the id `first_vector_id + i`; those of new chunks follow.
    """

    memories: list[MemoryRow]
    history: list[HistoryRow]
    new_texts: list[str]
    new_hashes: list[bytes]
    first_vector_id: int
    replaced_texts: list[Text]
    outcomes: list[Outcome]  # of the batch's memories, in their order
    chunks: ChunkPlan = field(default_factory=ChunkPlan)

    @property
    def known_texts(self) -> list[Text]:
        """The texts of its memories that have a vector already."""
        return [(row.vector_id, row.memory.text) for row in self.memories if row.vector_id < self.first_vector_id]

    @property
    def texts_to_embed(self) -> list[str]:
        """All texts that need a vector, in the order of the vectors' ids."""
        return [*self.new_texts, *self.chunks.new_texts]


class Planner:
    """Takes the memories of one batch in order; each is an update of an earlier one of its id."""

    def __init__(
        self,
        stored: Mapping[str, StoredMemory],
        read: Callable[[Sequence[str]], Mapping[str, Memory]],
        *,
        whole_records: bool = False,
    ) -> None:
        """`read` gives the stored memories of ids, without a `created_at` where the store filled it in.

        With `whole_records` a memory replaces the one before it; otherwise fields that it leaves out keep their value,
        unless that one has expired.
        """
        self._stored = stored
        self._read = read
        self._whole_records = whole_records
        self._outdated: dict[str, _Version] = {}  # as they are stored
        self._changed: dict[str, _Version] = {}  # as this batch leaves them
        self._text_hashes: dict[str, bytes] = {}  # of the changed ones, by id
        self._history: list[HistoryRow] = []
        self._outcomes: list[Outcome] = []
        self._now_us = time.time_ns() // 1000

    def take(self, memories: Sequence[Memory]) -> None:
        """Adds these memories to the plan, each after those before it."""
        contents = [memory.content_digest() for memory in memories]
        self._read_outdated(memories, contents)
        for memory, content in zip(memories, contents, strict=True):
            self._outcomes.append(self._take(memory, content))

    def _read_outdated(self, memories: Sequence[Memory], contents: Sequence[bytes]) -> None:
        outdated = [
            memory.id
            for memory, content in zip(memories, contents, strict=True)
            if memory.id in self._stored and not _is_same(memory, content, self._stored[memory.id])
        ]
        for identity, memory in self._read(outdated).items() if outdated else ():
            stored = self._stored[identity]
            self._outdated[identity] = _Version(memory, stored.content, stored.created_at_us)

    def _take(self, memory: Memory, content: bytes) -> Outcome:
        before = self._changed.get(memory.id) or self._outdated.get(memory.id)
        if before is None and memory.id in self._stored:
            return "unchanged"  # otherwise it would be outdated
        if before is None:
            self._history.append(HistoryRow(memory.id, "add", None, self._now_us))
            self._change(memory, content, self._now_us)
            return "added"
        is_gone = before.memory.has_expired(from_microseconds(self._now_us))
        after = memory if self._whole_records or is_gone else memory.over(before.memory)
        first_seen_us = self._now_us if is_gone else before.created_at_us
        created_at_us = first_seen_us if after.created_at is None else to_microseconds(after.created_at)
        previous = _previous(before, after, created_at_us)
        if not previous:
            return "unchanged"
        self._history.append(HistoryRow(memory.id, "update", orjson.dumps(previous).decode(), self._now_us))
        self._change(after, after.content_digest(), created_at_us)
        return "updated"

    def _change(self, memory: Memory, content: bytes, first_seen_us: int) -> None:
        created_at_us = first_seen_us if memory.created_at is None else to_microseconds(memory.created_at)
        self._changed[memory.id] = _Version(memory, content, created_at_us)
        self._text_hashes[memory.id] = text_hash(memory.text)

    def text_hashes(self) -> dict[bytes, str]:
        """The distinct texts that the changed memories end up with, in order, by hash."""
        return {self._text_hashes[identity]: version.memory.text for identity, version in self._changed.items()}

    def plan(self, known_vectors: Mapping[bytes, int], first_vector_id: int) -> BatchPlan:
        """The plan, given the vectors that the store has of `text_hashes` and the id of its next."""
        vector_ids = dict(known_vectors)
        new = {digest: text for digest, text in self.text_hashes().items() if digest not in vector_ids}
        vector_ids.update(zip(new, count(first_vector_id)))
        rows = [
            MemoryRow(version.memory, vector_ids[self._text_hashes[i]], version.created_at_us, version.content)
            for i, version in self._changed.items()
        ]
        return BatchPlan(
            memories=rows,
            history=self._history,
            new_texts=list(new.values()),
            new_hashes=list(new),
            first_vector_id=first_vector_id,
            replaced_texts=[self._stored[i].text_and_vector() for i in self._changed if i in self._stored],
            outcomes=self._outcomes,
        )


@dataclass(frozen=True, slots=True)
class _Version:
    """A memory, the digest of its content, and its time."""

    memory: Memory
    content: bytes
    created_at_us: int

    def fields(self) -> dict[str, JsonValue]:
        return fields_of(self.memory, self.created_at_us)


def _is_same(memory: Memory, content: bytes, stored: StoredMemory) -> bool:
    """Whether a memory equals the stored one; an export adds the time that the store filled in."""
    return stored.content == content or (
        memory.created_at is not None
        and to_microseconds(memory.created_at) == stored.created_at_us
        and memory.content_digest(timed=False) == stored.content
    )


def _previous(before: _Version, after: Memory, created_at_us: int) -> dict[str, JsonValue]:
    """The former values of the fields that differ; null for one that was not there."""
    old, new = before.fields(), fields_of(after, created_at_us)
    return {name: old.get(name) for name in {**old, **new} if _sorted_json(old, name) != _sorted_json(new, name)}


def _sorted_json(fields: Mapping[str, JsonValue], name: str) -> bytes:
    return orjson.dumps(fields.get(name), option=orjson.OPT_SORT_KEYS)
