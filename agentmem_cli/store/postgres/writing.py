"""Batches, deletions and re-embeddings of a PostgreSQL store, each within a transaction.

Writers lock the rows that they change, memories by id and then texts, in sorted order, and insert in sorted order. Of
two that insert the same id or text, the unique index makes the second wait and fail: it tries again and finds what the
first wrote. So writers of other memories never wait, and what is planned under the locks is what happens.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from agentmem_cli.errors import InvalidMemoryError, PlanOutdatedError
from agentmem_cli.records.jsonl import dump_metadata
from agentmem_cli.records.memory import Memory, Outcome, Position, Span, speaker_key, to_microseconds
from agentmem_cli.store.base import BatchCounts, Vectors
from agentmem_cli.store.batch_plan import BatchPlan, Planner
from agentmem_cli.store.chunk_plan import ChunkRow, hashes_of, planned_chunks
from agentmem_cli.store.postgres import binary
from agentmem_cli.store.postgres.connection import Connection
from agentmem_cli.store.rows import (
    MEMORY_COLUMNS,
    HistoryRow,
    MemoryRow,
    StoredMemory,
    as_given,
    memory_of,
)
from agentmem_cli.store.words import Tokenizer

_FIRST_NEW_ID: Final = 2**62  # in plans, of vectors that have no id yet
_NUL: Final = "\0"


@dataclass(slots=True)
class PostgresPlan:
    """What a batch would change, and what of the store it was compared with. A commit corrects it: see `commit`."""

    memories: Sequence[Memory]
    splits: Mapping[str, Sequence[Span]]
    whole_records: bool
    plan: BatchPlan
    stored: Mapping[str, StoredMemory]
    known: Mapping[bytes, int]
    seqs: Mapping[str, int] = field(default_factory=dict)  # of the stored memories
    bare: Sequence[int] = ()  # known texts without words, as only a chunk had them

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """See `Plan`."""
        return self.plan.outcomes

    @property
    def new_texts(self) -> Sequence[str]:
        """See `Plan`."""
        return self.plan.new_texts

    @property
    def texts_to_embed(self) -> Sequence[str]:
        """See `Plan`."""
        return self.plan.texts_to_embed


def plan_batch(
    connection: Connection,
    memories: Sequence[Memory],
    splits: Mapping[str, Sequence[Span]],
    *,
    whole_records: bool,
    lock: bool = False,
) -> PostgresPlan:
    """What these memories would change; with `lock`, nothing else changes what is stored of them until the end of the
    transaction. Raises InvalidMemoryError for a NUL.
    """
    for memory in memories:
        _check_storable(memory)
    stored, seqs = _stored(connection, [memory.id for memory in memories], lock=lock)
    planner = Planner(stored, lambda ids: memories_as_given(connection, ids), whole_records=whole_records)
    planner.take(memories)
    asked = planner.text_hashes()
    known, bare = _known(connection, {*asked, *hashes_of(splits)}, lock=lock)
    plan = planner.plan({digest: known[digest] for digest in asked if digest in known}, _FIRST_NEW_ID)
    if splits:
        chunks = chunks_of(connection, list(known.values()))
        plan = replace(plan, chunks=planned_chunks(splits, known, chunks, plan.new_hashes, _FIRST_NEW_ID))
    return PostgresPlan(memories, splits, whole_records, plan, stored, known, seqs, bare)


def _planned_again(connection: Connection, given: PostgresPlan, *, trusted: bool) -> PostgresPlan:
    """The plan as of now, under locks: nothing else changes what is stored of its memories until the end of the
    transaction.

    With `trusted`, memories and texts that were not there are not looked for: if another writer has added one since, a
    unique index fails the transaction.
    """
    if trusted and not given.splits:
        stored, seqs = _stored(connection, given.stored, lock=True)
        if stored == given.stored:
            known, bare = _known(connection, given.known, lock=True)
            if known == given.known:
                return replace(given, seqs=seqs, bare=bare)
    return plan_batch(connection, given.memories, given.splits, whole_records=given.whole_records, lock=True)


def _check_storable(memory: Memory) -> None:
    if _NUL in memory.text:  # other fields never have one
        raise InvalidMemoryError(f"memory {memory.id} has a NUL character, which PostgreSQL can't store: remove it")


def _stored(
    connection: Connection, ids: Collection[str], *, lock: bool
) -> tuple[dict[str, StoredMemory], dict[str, int]]:
    if not ids:
        return {}, {}
    rows = connection.read(
        "SELECT id, content, text, vector_id, created_at_us, seq FROM memories WHERE id = ANY(%s) ORDER BY id"
        + (" FOR UPDATE" if lock else ""),
        (sorted(set(ids)),),
    )
    return {row[0]: StoredMemory(*row[1:5]) for row in rows}, {row[0]: row[5] for row in rows}


def stored_memories(connection: Connection, ids: Collection[str]) -> dict[str, StoredMemory]:
    """The stored memories of these ids, by id."""
    return _stored(connection, ids, lock=False)[0]


def memories_as_given(connection: Connection, ids: Sequence[str]) -> dict[str, Memory]:
    """The memories of these ids, without a time where the store filled it in."""
    rows = connection.read(f"SELECT {MEMORY_COLUMNS}, m.content FROM memories m WHERE m.id = ANY(%s)", (list(ids),))
    return {row[0]: as_given(memory_of(row[:-1]), row[-1]) for row in rows}


def _known(connection: Connection, hashes: Collection[bytes], *, lock: bool) -> tuple[dict[bytes, int], list[int]]:
    """The vectors of those texts that have one, by hash, and those of them without words."""
    if not hashes:
        return {}, []
    rows = connection.read(
        "SELECT text_hash, vector_id, words IS NULL FROM vectors WHERE text_hash = ANY(%s) ORDER BY vector_id"
        + (" FOR SHARE" if lock else ""),
        (list(hashes),),
    )
    return {row[0]: row[1] for row in rows}, [row[1] for row in rows if row[2]]


def vector_ids(connection: Connection, hashes: Collection[bytes]) -> dict[bytes, int]:
    """The vectors of those texts that have one, by hash."""
    return _known(connection, hashes, lock=False)[0]


def chunks_of(connection: Connection, text_vector_ids: Sequence[int]) -> dict[int, list[ChunkRow]]:
    """The chunks of texts, by the text's vector, each in the order of the text."""
    found: dict[int, list[ChunkRow]] = {}
    for row in connection.read(
        "SELECT text_vector_id, start, stop, vector_id FROM chunks WHERE text_vector_id = ANY(%s) ORDER BY 1, 2",
        (list(text_vector_ids),),
    ):
        found.setdefault(row[0], []).append(ChunkRow(*row))
    return found


EncodedVector: TypeAlias = tuple[bytes, bool]  # and whether its text was cut


@dataclass(frozen=True, slots=True)
class Batch:
    """A planned batch with the vectors of its texts by hash, and its input's position."""

    planned: PostgresPlan
    vectors: Mapping[bytes, "EncodedVector"]
    position: Position | None

    @classmethod
    def of(cls, planned: PostgresPlan, vectors: Vectors, position: Position | None, cut: Iterable[int]) -> "Batch":
        """The batch, given the vectors (n, dim) of its plan's texts. Raises ValueError for another number of them."""
        hashes, cut_rows = [*planned.plan.new_hashes, *planned.plan.chunks.new_hashes], set(cut)
        rows = list(zip(hashes, binary.vectors(vectors), strict=True))
        return cls(planned, {digest: (row, place in cut_rows) for place, (digest, row) in enumerate(rows)}, position)


def write_batch(
    connection: Connection, tokenizer: Tokenizer, batch: Batch, *, trusted: bool
) -> tuple[PostgresPlan, BatchCounts]:
    """Within a transaction: writes a batch as it is right now, and returns its plan and what it did.

    With `trusted`, what its plan found missing is taken to be so: ConflictError says that it is not. Raises
    PlanOutdatedError where another writer has removed a text that it needs.
    """
    planned = _planned_again(connection, batch.planned, trusted=trusted)
    plan = planned.plan
    hashes = [*plan.new_hashes, *plan.chunks.new_hashes]
    if any(digest not in batch.vectors for digest in hashes):
        raise PlanOutdatedError("another writer has changed the same memories: plan the batch again")
    new_ids = _next(connection, "vector_ids", len(hashes))

    def real(vector_id: int) -> int:
        return vector_id if vector_id < _FIRST_NEW_ID else new_ids[vector_id - _FIRST_NEW_ID]

    _write_vectors(connection, tokenizer, plan, new_ids, batch.vectors)
    _give_words(connection, tokenizer, plan, planned.bare)
    texts = [real(row.vector_id) for row in plan.memories]
    _write_memories(connection, plan.memories, texts, planned.seqs)
    write_history(connection, plan.history)
    unused = [vector_id for vector_id, _ in plan.replaced_texts]
    if plan.chunks.replaced:
        unused += _write_chunks(
            connection,
            [real(vector_id) for vector_id in plan.chunks.replaced],
            [
                replace(row, text_vector_id=real(row.text_vector_id), vector_id=real(row.vector_id))
                for row in plan.chunks.rows
            ],
        )
    drop_unused(connection, unused)
    if batch.position is not None:
        write_position(connection, batch.position)
    truncated = _truncated_among(connection, texts)
    counts = BatchCounts(
        added=plan.outcomes.count("added"),
        updated=plan.outcomes.count("updated"),
        unchanged=plan.outcomes.count("unchanged"),
        truncated=sum(vector_id in truncated for vector_id in texts),
        chunks=len(plan.chunks.rows),
    )
    return planned, counts


def _next(connection: Connection, sequence: str, count: int) -> list[int]:
    if not count:
        return []
    rows = connection.read(f"SELECT nextval('{sequence}') FROM generate_series(1, %s)", (count,))
    return sorted(row[0] for row in rows)


def _write_vectors(
    connection: Connection,
    tokenizer: Tokenizer,
    plan: BatchPlan,
    new_ids: Sequence[int],
    vectors: Mapping[bytes, EncodedVector],
) -> None:
    if not new_ids:
        return
    words = [binary.tsvector(stems) for stems in tokenizer.stems(plan.new_texts)]
    hashes = [*plan.new_hashes, *plan.chunks.new_hashes]
    rows = []
    for place, (vector_id, digest) in enumerate(zip(new_ids, hashes, strict=True)):
        vector, cut = vectors[digest]
        of_text = words[place] if place < len(words) else binary.NULL
        rows.append((digest, (binary.whole(vector_id), binary.raw(digest), vector, binary.truth(cut), of_text)))
    rows.sort()
    connection.copy("vectors", "vector_id, text_hash, vector, cut, words", binary.copied(row for _, row in rows))


def _give_words(connection: Connection, tokenizer: Tokenizer, plan: BatchPlan, bare: Sequence[int]) -> None:
    """Adds the words of texts that only a chunk had."""
    texts = {row.vector_id: row.memory.text for row in plan.memories if row.vector_id in set(bare)} if bare else {}
    for vector_id, stems in zip(texts, tokenizer.stems(list(texts.values())) if texts else [], strict=True):
        connection.change(
            "UPDATE vectors SET words = array_to_tsvector(%s::text[]) WHERE vector_id = %s",
            (sorted({binary.word_in_index(stem) for stem in stems}), vector_id),
        )


def _write_memories(
    connection: Connection, rows: Sequence[MemoryRow], text_ids: Sequence[int], seqs: Mapping[str, int]
) -> None:
    """Adds memories, which have these texts, in place of those of the same ids, which keep their place in the order of
    arrival."""
    if not rows:
        return
    new = [row.memory.id for row in rows if row.memory.id not in seqs]
    replaced = [row.memory.id for row in rows if row.memory.id in seqs]
    seqs = {**seqs, **dict(zip(new, _next(connection, "seqs", len(new)), strict=True))}
    if replaced:
        connection.change("DELETE FROM memories WHERE id = ANY(%s)", (replaced,))
    ordered = sorted(zip(rows, text_ids, strict=True), key=lambda pair: pair[0].memory.id)
    columns = (
        "seq, id, vector_id, text, agent_id, user_id, run_id, memory_type, importance, created_at_us, metadata,"
        " content, run, speaker, said_by, speaker_key, expires_at_us, fields"
    )
    connection.copy(
        "memories", columns, binary.copied(_encoded(row, text_id, seqs[row.memory.id]) for row, text_id in ordered)
    )


def _encoded(row: MemoryRow, text_id: int, seq: int) -> list[bytes]:
    memory, scope, said_by = row.memory, row.memory.scope, row.memory.said_by
    metadata = dump_metadata(memory.metadata)
    return [
        binary.whole(seq),
        binary.text(memory.id),
        binary.whole(text_id),
        binary.text(memory.text),
        binary.text(scope.agent_id),
        binary.text(scope.user_id),
        binary.text(scope.run_id),
        binary.text(scope.memory_type),
        binary.real(memory.importance),
        binary.whole(row.created_at_us),
        binary.text(metadata),
        binary.raw(row.content),
        binary.text(memory.run),
        binary.text(memory.speaker),
        binary.text(said_by),
        binary.NULL if said_by is None else binary.text(speaker_key(said_by)),
        binary.NULL if memory.expires_at is None else binary.whole(to_microseconds(memory.expires_at)),
        binary.json_object(metadata),
    ]


def write_history(connection: Connection, events: Iterable[HistoryRow]) -> None:
    """Within a transaction: adds events to the history."""
    rows = [
        (binary.text(row.id), binary.text(row.event), binary.text(row.previous), binary.whole(row.at_us))
        for row in events
    ]
    if rows:
        connection.copy("history", "id, event, previous, at_us", binary.copied(rows))


def _write_chunks(connection: Connection, replaced: Sequence[int], rows: Sequence[ChunkRow]) -> list[int]:
    """Writes the chunks of texts, and returns the vectors that the replaced ones had."""
    before = connection.read("DELETE FROM chunks WHERE text_vector_id = ANY(%s) RETURNING vector_id", (list(replaced),))
    encoded = [
        (binary.whole(row.text_vector_id), binary.small(row.start), binary.small(row.stop), binary.whole(row.vector_id))
        for row in rows
    ]
    connection.copy("chunks", "text_vector_id, start, stop, vector_id", binary.copied(encoded))
    return [row[0] for row in before]


def drop_unused(connection: Connection, ids: Iterable[int]) -> None:
    """Within a transaction: removes the words, chunks and vectors of those texts that no memory and no chunk has."""
    unused = sorted(set(ids))
    if not unused:
        return
    # Locked first, so that the next statements see what was committed meanwhile.
    connection.read("SELECT vector_id FROM vectors WHERE vector_id = ANY(%s) ORDER BY vector_id FOR UPDATE", (unused,))
    of_chunks = connection.read(
        "DELETE FROM chunks w WHERE w.text_vector_id = ANY(%s) AND NOT EXISTS"
        " (SELECT 1 FROM memories m WHERE m.vector_id = w.text_vector_id) RETURNING w.vector_id",
        (unused,),
    )
    if of_chunks:
        unused = sorted({*unused, *(row[0] for row in of_chunks)})
        connection.read(
            "SELECT vector_id FROM vectors WHERE vector_id = ANY(%s) ORDER BY vector_id FOR UPDATE", (unused,)
        )
    without = "NOT EXISTS (SELECT 1 FROM memories m WHERE m.vector_id = v.vector_id)"
    connection.change(
        f"DELETE FROM vectors v WHERE v.vector_id = ANY(%s) AND {without}"
        " AND NOT EXISTS (SELECT 1 FROM chunks w WHERE w.vector_id = v.vector_id)",
        (unused,),
    )
    connection.change(
        f"UPDATE vectors v SET words = NULL WHERE v.vector_id = ANY(%s) AND v.words IS NOT NULL AND {without}",
        (unused,),
    )


def write_position(connection: Connection, position: Position) -> None:
    """Within a transaction: stores how far an input has been taken in; it never goes back."""
    connection.change(
        "INSERT INTO sources VALUES (%s, %s, %s) ON CONFLICT (file) DO UPDATE SET line = excluded.line,"
        " complete = excluded.complete WHERE excluded.complete OR excluded.line > sources.line",
        (position.file, position.line, position.complete),
    )


def _truncated_among(connection: Connection, ids: Sequence[int]) -> set[int]:
    if not ids:
        return set()
    rows = connection.read(
        "SELECT v.vector_id FROM vectors v WHERE v.vector_id = ANY(%s) AND v.cut"
        " AND NOT EXISTS (SELECT 1 FROM chunks w WHERE w.text_vector_id = v.vector_id)",
        (sorted(set(ids)),),
    )
    return {row[0] for row in rows}


def delete(connection: Connection, ids: Sequence[str]) -> int:
    """Within a transaction: removes memories and their content in the history; see `MemoryStore.delete`."""
    rows = connection.read(
        "SELECT id, vector_id, expires_at_us FROM memories WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
        (sorted(set(ids)),),
    )
    by_id = {row[0]: row for row in rows}
    found = [by_id[identity] for identity in dict.fromkeys(ids) if identity in by_id]
    now_us = time.time_ns() // 1000
    gone = [row[0] for row in found]
    connection.change("DELETE FROM memories WHERE id = ANY(%s)", (gone,))
    connection.change("UPDATE history SET previous = NULL WHERE id = ANY(%s) AND previous IS NOT NULL", (gone,))
    expired = [HistoryRow(row[0], "expire", None, row[2]) for row in found if row[2] is not None and row[2] <= now_us]
    write_history(connection, [*expired, *(HistoryRow(identity, "delete", None, now_us) for identity in gone)])
    drop_unused(connection, [row[1] for row in found])
    return len(found)
