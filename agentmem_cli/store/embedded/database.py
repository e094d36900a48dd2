"""`memories.db` as ingest and search use it: all of their SQL."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from agentmem_cli.errors import StoreDamagedError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.jsonl import dump_memory, load_metadata
from agentmem_cli.records.memory import FieldChange, HistoryEvent, Memory, Position, from_microseconds
from agentmem_cli.records.values import JsonValue
from agentmem_cli.store.base import Candidate, Neighbours
from agentmem_cli.store.embedded import chunks
from agentmem_cli.store.embedded.connection import MOST_ROWS, VARIABLES, Connection
from agentmem_cli.store.embedded.filters import KnownMatches, conditions
from agentmem_cli.store.embedded.rows import (
    MEMORY_COLUMNS,
    UNREADABLE,
    GraphRow,
    HistoryRow,
    MemoryRow,
    StoredMemory,
    Text,
    as_given,
    event_checksum,
    is_as_stored,
    memory_of,
    memory_parameters,
    text_hash,
)
from agentmem_cli.store.embedded.text_index import TextIndex
from agentmem_cli.support.safe_text import printable

VERIFY_HINT: Final = "'agentmem verify' lists what is damaged"
_EMBEDDER_FIELDS: Final = {
    "name": str,
    "revision": str,
    "dim": int,
    "token_limit": int,
    "pooling": str,
    "precision": str,
}


class VectorTable(Connection):
    """A store's vectors, one per distinct text, and its embedder. Raises StoreError and its kinds."""

    def embedder(self) -> dict[str, str | int]:
        """The embedder that the store is pinned to."""
        rows = self.read("SELECT value FROM meta WHERE key = 'embedder'")
        if not rows:
            raise StoreDamagedError(f"{self._path} does not say which embedder made it: restore it from a copy")
        try:
            value: dict[str, str | int] = orjson.loads(rows[0][0])
            whole = all(isinstance(value[name], kind) for name, kind in _EMBEDDER_FIELDS.items())
        except (orjson.JSONDecodeError, TypeError, KeyError, IndexError):
            whole = False
        if not whole:
            raise StoreDamagedError(f"{self._path}: which embedder made it is damaged: restore it from a copy")
        return value

    def find_vectors(self, text_hashes: Iterable[bytes]) -> dict[bytes, int]:
        """The ids of the vectors of these texts, where there are any."""
        rows = self.read_in("SELECT text_hash, vector_id FROM vectors WHERE text_hash IN ({})", list(text_hashes))
        return {row[0]: row[1] for row in rows}

    def unknown_hashes(self, text_hashes: Sequence[bytes]) -> list[bytes]:
        """Those of these hashes that have no vector, in order."""
        unknown = []
        for start in range(0, len(text_hashes), VARIABLES):
            part = text_hashes[start : start + VARIABLES]
            unknown += self.read(
                f"WITH given(text_hash) AS (VALUES {','.join(['(?)'] * len(part))}) SELECT text_hash FROM given"
                " WHERE NOT EXISTS (SELECT 1 FROM vectors v WHERE v.text_hash = given.text_hash)",
                part,
            )
        return [row[0] for row in unknown]

    def next_vector_id(self) -> int:
        """The id of the next vector: higher than any that was ever used."""
        return 1 + self.one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'vectors'")

    def last_vector_id(self) -> int:
        """The highest id of a vector; 0 in an empty store."""
        return self.one("SELECT coalesce(max(vector_id), 0) FROM vectors")

    def insert_vectors(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Adds (vector_id, text_hash, vector) rows, each with a checksum."""
        self.insert_many(
            "INSERT INTO vectors(vector_id, text_hash, vector, checksum)",
            [(vector_id, digest, vector, zlib.crc32(vector)) for vector_id, digest, vector in rows],
        )

    def mark_cut(self, vector_ids: Iterable[int]) -> None:
        """Records the vectors of texts that the model read only the beginning of."""
        self.insert_many("INSERT INTO cut_vectors(vector_id)", [(vector_id,) for vector_id in vector_ids])

    def truncated_among(self, vector_ids: Sequence[int]) -> set[int]:
        """Those of these vectors that are of texts which were cut, and have no chunks."""
        rows = self.read_in(
            "SELECT vector_id FROM cut_vectors WHERE vector_id IN ({})"
            " AND vector_id NOT IN (SELECT text_vector_id FROM chunks)",
            vector_ids,
        )
        return {row[0] for row in rows}

    def some_vectors(self, after: int, limit: int) -> tuple[list[int], bytes]:
        """The ids, ascending, of up to `limit` vectors above an id, and their joined float32 rows."""
        return self._joined(
            self.read(
                "SELECT vector_id, vector FROM vectors WHERE vector_id > ? ORDER BY vector_id LIMIT ?", (after, limit)
            )
        )

    def vectors(self, after: int = 0) -> Iterator[tuple[list[int], bytes]]:
        """The ids, ascending, of all vectors above an id, and their joined float32 rows, in pages."""
        for rows in self.pages("SELECT vector_id, vector FROM vectors WHERE vector_id > ? ORDER BY vector_id", [after]):
            yield self._joined(rows)

    def vectors_of(self, vector_ids: Sequence[int]) -> Iterator[bytes]:
        """The joined float32 rows of these vectors, in the order of the ids, in pages.

        Raises StoreDamagedError where one is missing.
        """
        for start in range(0, len(vector_ids), VARIABLES):
            part = vector_ids[start : start + VARIABLES]
            rows = dict(self.read_in("SELECT vector_id, vector FROM vectors WHERE vector_id IN ({})", part))
            yield self._joined([(vector_id, rows.get(vector_id, b"")) for vector_id in part])[1]

    def _joined(self, rows: Sequence[tuple[int, bytes]]) -> tuple[list[int], bytes]:
        size_bytes = 4 * int(self.embedder()["dim"])
        for vector_id, vector in rows:
            if not isinstance(vector, bytes) or len(vector) != size_bytes:
                raise StoreDamagedError(f"vector {vector_id} in {self._path} is damaged: {VERIFY_HINT}")
        return [row[0] for row in rows], b"".join(row[1] for row in rows)

    def count_vectors(self, *, up_to: int | None = None) -> int:
        """How many vectors there are, or of ids up to one."""
        if up_to is None:
            return self.one("SELECT count(*) FROM vectors")
        return self.one("SELECT count(*) FROM vectors WHERE vector_id <= ?", (up_to,))


# Those of the same moment first, in order of arrival: two steps, so that the index of runs serves each.
_BESIDE: Final = """
(SELECT group_concat(seq) FROM (
    SELECT * FROM (SELECT o.seq FROM memories o WHERE o.run = m.run AND o.user_id IS m.user_id
        AND o.created_at_us = m.created_at_us AND o.seq {0} m.seq ORDER BY o.seq {1} LIMIT {2})
    UNION ALL SELECT * FROM (SELECT o.seq FROM memories o WHERE o.run = m.run AND o.user_id IS m.user_id
        AND o.created_at_us {0} m.created_at_us ORDER BY o.created_at_us {1}, o.seq {1} LIMIT {2})
    LIMIT {2}))
"""


class Database(VectorTable):
    """A store's memories, history, positions and graph, beside its vectors. Raises StoreError and its kinds."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Opens a database that is there. Raises StoreNotFoundError, StoreDamagedError."""
        super().__init__(path, writable=writable)
        self._matches = KnownMatches()

    def store_id(self) -> str:
        """The identifier of this store."""
        return str(self._meta("store_id"))

    def commits(self) -> int:
        """How many transactions have been committed."""
        return int(self._meta("commits"))

    def _meta(self, key: str) -> str:
        rows = self.read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else "0"

    def count(self, filter: SearchFilter | None = None) -> int:
        """How many memories there are, or match."""
        where, parameters = conditions(filter)
        return int(self.read(f"SELECT count(*) FROM memories m WHERE {where}", parameters)[0][0])

    def any(self, filter: SearchFilter) -> bool:
        """Whether any memory matches."""
        if filter:
            return len(self.vector_ids_matching(filter)) > 0  # the caller needs these next
        return bool(self.one("SELECT EXISTS (SELECT 1 FROM memories)"))

    def find(self, ids: Iterable[str]) -> dict[str, StoredMemory]:
        """The stored memories of these ids, by id."""
        rows = self.read_in(
            "SELECT id, content, text, vector_id, created_at_us FROM memories WHERE id IN ({})", list(ids)
        )
        return {row[0]: StoredMemory(*row[1:]) for row in rows}

    def memories_as_given(self, ids: Sequence[str]) -> dict[str, Memory]:
        """The memories of these ids, without a time where the store filled it in. Raises StoreDamagedError."""
        rows = self.read_in(f"SELECT {MEMORY_COLUMNS}, m.content FROM memories m WHERE m.id IN ({{}})", ids)
        return {row[0]: as_given(self._checked_memory(row), row[-1]) for row in rows}

    def write_memories(self, rows: Iterable[MemoryRow]) -> None:
        """Adds memories, or replaces those of the same id."""
        self.insert_many(
            "INSERT INTO memories(id, vector_id, text, agent_id, user_id, run_id, memory_type, importance,"
            " created_at_us, metadata, content, run)",
            [memory_parameters(row) for row in rows],
            "ON CONFLICT(id) DO UPDATE SET vector_id = excluded.vector_id, text = excluded.text,"
            " agent_id = excluded.agent_id, user_id = excluded.user_id, run_id = excluded.run_id,"
            " memory_type = excluded.memory_type, importance = excluded.importance,"
            " created_at_us = excluded.created_at_us, metadata = excluded.metadata, content = excluded.content,"
            " run = excluded.run",
        )

    def write_history(self, rows: Iterable[HistoryRow]) -> None:
        """Adds events to the history."""
        self.insert_many(
            "INSERT INTO history(id, event, previous, at_us, checksum)",
            [(*event, event_checksum(*event)) for event in map(_event, rows)],
        )

    def without_memory(self, texts: Iterable[Text]) -> list[Text]:
        """Those of these texts that have a vector but no memory; a chunk may use the vector."""
        text_of = dict(texts)
        rows = self.read_in(
            "SELECT vector_id, text_hash FROM vectors v WHERE vector_id IN ({})"
            " AND NOT EXISTS (SELECT 1 FROM memories m WHERE m.vector_id = v.vector_id)",
            list(text_of),
        )
        whole = [vector_id for vector_id, digest in rows if digest == text_hash(text_of[vector_id])]
        return [(vector_id, text_of[vector_id]) for vector_id in whole]

    def drop_unused(self, texts: Sequence[Text]) -> None:
        """Removes the words, chunks and vectors of those of these texts that no memory has any more; chunks keep
        theirs."""
        # The index must get the exact text that it took in: another one, as in a damaged row, would corrupt it.
        TextIndex(self).remove(self.without_memory(texts))
        chunks.drop_unused(self, [vector_id for vector_id, _ in texts])

    def write_position(self, position: Position) -> None:
        """Records how far an input has been taken in."""
        self.change(
            "INSERT INTO sources VALUES (?1, ?2, ?3) ON CONFLICT(file) DO UPDATE SET line = ?2, complete = ?3"
            " WHERE ?3 OR ?2 > line",  # ingesting it again does not move it back
            (position.file, position.line, position.complete),
        )

    def position(self, file: str) -> Position | None:
        """How far this input has been taken in, if it ever was."""
        rows = self.read("SELECT file, line, complete FROM sources WHERE file = ?", (file,))
        return Position(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None

    def vector_ids_matching(self, filter: SearchFilter) -> NDArray[np.int64]:
        """The vector ids of all memories that match, ascending, each once; not to be written to."""
        return self._matches.ids(self, filter)

    def candidates(self, vector_ids: Sequence[int], filter: SearchFilter) -> list[Candidate]:
        """Every memory that has one of these vectors and matches, in order of arrival. Raises StoreDamagedError."""
        # Without the hint, SQLite scans all memories of a user.
        found = self._candidates("m.vector_id", vector_ids, filter, "INDEXED BY memories_vector")
        asked_for = set(vector_ids)
        if any(candidate.text_id not in asked_for for candidate in found):  # an index disagrees with its table
            raise self._damaged()
        return found

    def candidates_at(self, seqs: Sequence[int], filter: SearchFilter) -> list[Candidate]:
        """Those of these memories that match, in order of arrival."""
        return self._candidates("m.seq", seqs, filter, "NOT INDEXED")

    def _candidates(self, column: str, values: Sequence[int], filter: SearchFilter, by: str) -> list[Candidate]:
        where, parameters = conditions(filter)
        rows = self.read_in(
            f"SELECT m.seq, m.vector_id, m.created_at_us, m.importance FROM memories m {by}"
            f" WHERE {column} IN ({{}}) AND {where}",
            values,
            parameters,
        )
        found = sorted((Candidate(*row) for row in rows), key=lambda candidate: candidate.seq)
        for candidate in found:
            if not _is_whole(candidate):
                self.memories_at([candidate.seq])  # its error names the memory
                raise self._damaged()
        return found

    def _damaged(self) -> StoreDamagedError:
        return StoreDamagedError(f"{self._path} is damaged: {VERIFY_HINT}")

    def around(self, seqs: Sequence[int], n: int) -> dict[int, Neighbours]:
        """For each of these memories, the `seq` of the n before and after it in its run and of its user, in order."""
        n = min(n, MOST_ROWS)
        before, after = _BESIDE.format("<", "DESC", n), _BESIDE.format(">", "ASC", n)
        rows = self.read_in(f"SELECT m.seq, {before}, {after} FROM memories m WHERE m.seq IN ({{}})", seqs)
        sides = {row[0]: (_numbers(row[1])[::-1], _numbers(row[2])) for row in rows}
        return {seq: sides.get(seq, ([], [])) for seq in seqs}

    def memories_at(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """These memories, by `seq`, each given once. Raises StoreDamagedError where one is not what was stored."""
        rows = self.read_in(f"SELECT m.seq, {MEMORY_COLUMNS}, m.content FROM memories m WHERE m.seq IN ({{}})", seqs)
        found = {row[0]: self._checked_memory(row[1:]) for row in rows}
        if len(found) < len(seqs):
            raise self._damaged()
        return found

    def newest(self, filter: SearchFilter, limit: int, offset: int) -> list[Memory]:
        """A page of the matching memories, newest first. Raises StoreDamagedError where one is not what was stored."""
        where, parameters = conditions(filter)
        rows = self.read(
            f"SELECT {MEMORY_COLUMNS}, m.content FROM memories m WHERE {where}"
            " ORDER BY m.created_at_us DESC, m.seq DESC LIMIT ? OFFSET ?",
            [*parameters, limit, offset],
        )
        return [self._checked_memory(row) for row in rows]

    def ids(self, filter: SearchFilter) -> list[str]:
        """The ids of all matching memories, in the order of their arrival."""
        where, parameters = conditions(filter)
        return [row[0] for row in self.read(f"SELECT m.id FROM memories m WHERE {where} ORDER BY m.seq", parameters)]

    def all_memories(self, *, vectors: bool, on_damaged: Callable[[str], None] | None = None) -> Iterator[Memory]:
        """Every memory in order of arrival, with its vector where asked for.

        Raises StoreDamagedError at one that is not what was stored; with `on_damaged`, leaves it out and passes its id
        on.
        """
        self.keep_undecodable_text()
        about = chunks.Exported(self, str(self.embedder()["revision"])) if vectors else None
        for row in self._all_rows(vectors, on_damaged):
            try:
                memory = self._checked_memory(row[1:-3])
                if about is not None:
                    memory = replace(memory, vector=about.of(*row[-3:]))
                    if memory.vector is None:
                        raise self._damaged_memory(row[1], "the vector of ")
            except StoreDamagedError:
                if on_damaged is None:
                    raise
                on_damaged(_as_text(row[1]))
            else:
                yield memory

    def _all_rows(self, vectors: bool, on_damaged: Callable[[str], None] | None) -> Iterator[tuple]:  # type: ignore[type-arg]
        vector = "v.vector, v.checksum" if vectors else "NULL, NULL"
        join = "LEFT JOIN vectors v USING (vector_id)" if vectors else ""
        select = f"SELECT m.seq, {MEMORY_COLUMNS}, m.content, m.vector_id, {vector} FROM memories m {join}"
        last = 0
        try:
            for rows in self.pages(f"{select} ORDER BY m.seq"):
                for row in rows:
                    last = row[0]
                    yield row
        except StoreDamagedError:
            if on_damaged is None:
                raise
            yield from self._rows_beside_damage(select, last, on_damaged)

    def _rows_beside_damage(self, select: str, after: int, on_damaged: Callable[[str], None]) -> Iterator[tuple]:  # type: ignore[type-arg]
        """The rows of memories after one, where a page is damaged: the index of ids names those on it."""
        for seq, identity in self.read(
            "SELECT seq, id FROM memories INDEXED BY sqlite_autoindex_memories_1 WHERE seq > ? ORDER BY seq", (after,)
        ):
            try:
                rows = self.read(f"{select} WHERE m.seq = ?", (seq,))
            except StoreDamagedError:
                rows = []
            if not rows:
                on_damaged(_as_text(identity))
            yield from rows

    def get(self, identity: str) -> Memory | None:
        """The memory of this id."""
        rows = self.read(f"SELECT {MEMORY_COLUMNS}, m.content FROM memories m WHERE m.id = ?", (identity,))
        return self._checked_memory(rows[0]) if rows else None

    def _checked_memory(self, row: Sequence) -> Memory:  # type: ignore[type-arg]
        try:
            memory = memory_of(row[:-1])
            whole = is_as_stored(memory, row[-1])
        except UNREADABLE:
            whole = False
        if not whole:
            raise self._damaged_memory(row[0])
        return memory

    def _damaged_memory(self, identity: object, part: str = "") -> StoreDamagedError:
        name = printable(_as_text(identity))
        return StoreDamagedError(f"{part}memory {name} in {self._path} is not what was stored: {VERIFY_HINT}")

    def history(self, identity: str) -> list[HistoryEvent]:
        """What happened to the memory of this id, oldest first."""
        with self.snapshot():
            rows = self.read(
                "SELECT event, previous, at_us, checksum FROM history WHERE id = ? ORDER BY seq", (identity,)
            )
            current = self.get(identity)
        if any(event_checksum(identity, *row[:3]) != row[3] for row in rows):
            shown = printable(identity)
            raise StoreDamagedError(f"the history of memory {shown} in {self._path} is damaged: {VERIFY_HINT}")
        events, after = [], {} if current is None else dump_memory(current)
        for event, previous, at_us, _ in reversed(rows):
            former = {} if previous is None else load_metadata(previous)
            before = {**after, **former} if event == "update" else {}
            changes = {name: FieldChange(value, after.get(name)) for name, value in former.items() if name != "text"}
            events.append(HistoryEvent(identity, event, _text(before), _text(after), from_microseconds(at_us), changes))
            after = before
        return events[::-1]

    def graph(self) -> GraphRow | None:
        """The published graph, if there is one."""
        rows = self.read(
            "SELECT generation, CAST(size_bytes AS INTEGER), sha256, CAST(vectors AS INTEGER),"
            " CAST(last_vector_id AS INTEGER) FROM graph"
            " ORDER BY generation DESC LIMIT 1"
        )
        return GraphRow(*rows[0]) if rows else None

    def next_generation(self) -> int:
        """The number of the next graph: higher than any that was ever published."""
        return 1 + self.one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'graph'")

    def pin(self, embedder: Mapping[str, str | int]) -> None:
        """Within a transaction: records the embedder of all vectors, and drops what was made for another."""
        self.change("DELETE FROM staged_vectors")
        self.change("DELETE FROM meta WHERE key = 'staging_for'")
        self.forget_graph()
        self.change("UPDATE meta SET value = ? WHERE key = 'embedder'", (orjson.dumps(embedder).decode(),))

    def forget_graph(self) -> None:
        """Within a transaction: un-publishes the graph, and invalidates one that is being built."""
        self.change("DELETE FROM graph")
        if not self.change("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'graph'"):
            self.change("INSERT INTO sqlite_sequence VALUES ('graph', 1)")

    def publish_graph(self, row: GraphRow) -> None:
        """Makes this the published graph."""
        with self.transaction():
            self.change("DELETE FROM graph")
            self.change(
                "INSERT INTO graph VALUES (?, ?, ?, ?, ?)",
                (row.generation, row.size_bytes, row.sha256, row.vectors, row.last_vector_id),
            )


def _numbers(joined: str | None) -> list[int]:
    return [int(number) for number in joined.split(",")] if joined else []


def _text(fields: Mapping[str, JsonValue]) -> str | None:
    text = fields.get("text")
    return text if isinstance(text, str) else None


def _as_text(identity: object) -> str:
    """The id of a memory as text, even where it is damaged."""
    return str(identity).encode(errors="backslashreplace").decode()


def _is_whole(candidate: Candidate) -> bool:
    numbers = candidate.text_id, candidate.created_at_us
    return all(isinstance(number, int) for number in numbers) and isinstance(candidate.importance, float | None)


def _event(row: HistoryRow) -> tuple[str, str, str | None, int]:
    return row.id, row.event, row.previous, row.at_us
