"""What a batch would change: memories taken in order, against what is stored."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from agentmem_cli.memory import Memory, to_microseconds
from agentmem_cli.store.rows import HistoryRow, MemoryRow, StoredMemory, Text, text_hash


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch would write, and `new_texts`: the distinct texts that need a vector, in order, and their hashes.

    The vector of `new_texts[i]` gets the id `first_vector_id + i`.
    """

    memories: list[MemoryRow]
    history: list[HistoryRow]
    new_texts: list[str]
    new_hashes: list[bytes]
    first_vector_id: int
    replaced_texts: list[Text]
    added: int
    updated: int
    unchanged: int


class Planner:
    """Takes the memories of one batch in order; a later one of the same id replaces an earlier."""

    def __init__(self, stored: Mapping[str, StoredMemory]) -> None:
        self._stored = stored
        self._latest = dict(stored)
        self._changed: dict[str, tuple[Memory, bytes]] = {}  # with its text's hash
        self._history: list[HistoryRow] = []
        self._unchanged = 0
        self._now_us = time.time_ns() // 1000

    def take(self, memory: Memory) -> None:
        """Notes what this memory changes, after all that were taken before."""
        content = memory.content_digest()
        before = self._latest.get(memory.id)
        if before is not None and (before.content == content or _is_export_of(memory, before)):
            self._unchanged += 1
            return
        if memory.created_at is not None:
            created_at_us = to_microseconds(memory.created_at)
        else:
            created_at_us = self._now_us if before is None else before.created_at_us
        event, previous_text = ("add", None) if before is None else ("update", before.text)
        self._history.append(HistoryRow(memory.id, event, previous_text, self._now_us))
        self._latest[memory.id] = StoredMemory(content, memory.text, 0, created_at_us)
        self._changed[memory.id] = memory, text_hash(memory.text)

    def text_hashes(self) -> dict[bytes, str]:
        """The distinct texts that the changed memories end up with, in order, by hash."""
        return {digest: memory.text for memory, digest in self._changed.values()}

    def plan(self, known_vectors: Mapping[bytes, int], first_vector_id: int) -> BatchPlan:
        """The plan, given the vectors that the store has of `text_hashes` and the id of its next."""
        vector_ids = dict(known_vectors)
        new = {digest: text for digest, text in self.text_hashes().items() if digest not in vector_ids}
        vector_ids.update(zip(new, count(first_vector_id)))
        rows = [
            MemoryRow(
                memory=memory,
                vector_id=vector_ids[digest],
                created_at_us=self._latest[identity].created_at_us,
                content=self._latest[identity].content,
            )
            for identity, (memory, digest) in self._changed.items()
        ]
        added = sum(row.event == "add" for row in self._history)
        return BatchPlan(
            memories=rows,
            history=self._history,
            new_texts=list(new.values()),
            new_hashes=list(new),
            first_vector_id=first_vector_id,
            replaced_texts=[self._stored[i].text_and_vector() for i in self._changed if i in self._stored],
            added=added,
            updated=len(self._history) - added,
            unchanged=self._unchanged,
        )


def _is_export_of(memory: Memory, before: StoredMemory) -> bool:
    """Whether this is what was stored, with the time that the store filled in: what an export has."""
    return (
        memory.created_at is not None
        and to_microseconds(memory.created_at) == before.created_at_us
        and memory.without_time().content_digest() == before.content
    )
