"""`memories.db`: its tables, and what belongs to several of them or to none."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from agentmem_cli.errors import StoreDamagedError
from agentmem_cli.records.memory import Memory, Position
from agentmem_cli.store.base import SAMPLED, Sample
from agentmem_cli.store.embedded.chunks import Chunks
from agentmem_cli.store.embedded.connection import Connection, Row
from agentmem_cli.store.embedded.filters import PerSelection, Selection, conditions
from agentmem_cli.store.embedded.memories import History, Memories, as_text
from agentmem_cli.store.embedded.text_index import TextIndex
from agentmem_cli.store.embedded.vectors import Vectors
from agentmem_cli.store.rows import MEMORY_COLUMNS, Text, text_hash
from agentmem_cli.store.words import spaced

MOST_VECTORS: Final = 2**31
_MOST_BYTES: Final = 2**62
_EMBEDDER_FIELDS: Final = {
    "name": str,
    "revision": str,
    "dim": int,
    "token_limit": int,
    "pooling": str,
    "precision": str,
}


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


class Database(Connection):
    """A connection to a store's database, with an object for each of its tables. Raises StoreError and its kinds."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Opens a database that is there. Raises StoreNotFoundError, StoreDamagedError."""
        super().__init__(path, writable=writable)
        self.vectors: Vectors = Vectors(self, lambda: int(self.embedder()["dim"]))
        self.memories: Memories = Memories(self)
        self.history: History = History(self, self.memories)
        self.chunks: Chunks = Chunks(self)
        self.words: TextIndex = TextIndex(self)
        self.samples: PerSelection[Sample] = PerSelection(self._sample)

    def _sample(self, selection: Selection) -> Sample:
        """See `Snapshot.sample`."""
        ids = self.vectors.spaced(SAMPLED)
        if selection:
            matching = self.memories.vector_ids(selection)
            ids = matching[np.linspace(0, len(matching) - 1, min(SAMPLED, len(matching))).astype(np.int64)].tolist()
        rows = b"".join(self.vectors.of(ids))
        words = [len(spaced(text).split()) for text in self.memories.texts(ids).values()]
        vectors = np.frombuffer(rows, dtype=np.float32).reshape(len(ids), -1) if ids else np.empty((0, 0), np.float32)
        return Sample(vectors, sum(words) / len(words) if words else 0.0)

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

    def store_id(self) -> str:
        """The identifier of this store."""
        return str(self._meta("store_id"))

    def commits(self) -> int:
        """How many transactions have been committed."""
        return int(self._meta("commits"))

    def _meta(self, key: str) -> str:
        rows = self.read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else "0"

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
        self.words.remove(self.without_memory(texts))
        self.chunks.drop_unused([vector_id for vector_id, _ in texts])

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

    def all_memories(
        self, selection: Selection, *, vectors: bool, on_damaged: Callable[[str], None] | None = None
    ) -> Iterator[Memory]:
        """Every memory that matches in order of arrival, with its vector where asked for.

        Raises StoreDamagedError at one that is not what was stored; with `on_damaged`, leaves it out and passes its id
        on.
        """
        self.keep_undecodable_text()
        about = self.chunks.exported(str(self.embedder()["revision"])) if vectors else None
        for row in self._all_rows(selection, vectors, on_damaged):
            try:
                memory = self.memories.checked(row[1:-3])
                if about is not None:
                    memory = replace(memory, vector=about.of(*row[-3:]))
                    if memory.vector is None:
                        raise self.memories.damaged(row[1], "the vector of ")
            except StoreDamagedError:
                if on_damaged is None:
                    raise
                on_damaged(as_text(row[1]))
            else:
                yield memory

    def _all_rows(self, selection: Selection, vectors: bool, on_damaged: Callable[[str], None] | None) -> Iterator[Row]:
        vector = "v.vector, v.checksum" if vectors else "NULL, NULL"
        join = "LEFT JOIN vectors v USING (vector_id)" if vectors else ""
        select = f"SELECT m.seq, {MEMORY_COLUMNS}, m.content, m.vector_id, {vector} FROM memories m {join}"
        where, parameters = conditions(selection)
        last = 0
        try:
            for rows in self.pages(f"{select} WHERE {where} ORDER BY m.seq", parameters):
                for row in rows:
                    last = row[0]
                    yield row
        except StoreDamagedError:
            if on_damaged is None:
                raise
            yield from self._rows_beside_damage(select, selection, last, on_damaged)

    def _rows_beside_damage(
        self, select: str, selection: Selection, after: int, on_damaged: Callable[[str], None]
    ) -> Iterator[Row]:
        """The rows of memories after one that match, where a page is damaged: the index of ids names those on it."""
        where, parameters = conditions(selection)
        for seq, identity in self.read(
            "SELECT seq, id FROM memories INDEXED BY sqlite_autoindex_memories_1 WHERE seq > ? ORDER BY seq", (after,)
        ):
            try:
                rows = self.read(f"{select} WHERE m.seq = ?", (seq,))
            except StoreDamagedError:
                rows = []
            if not rows:
                on_damaged(as_text(identity))
            elif self.one(f"SELECT count(*) FROM memories m WHERE m.seq = ? AND {where}", [seq, *parameters]):
                yield from rows

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
