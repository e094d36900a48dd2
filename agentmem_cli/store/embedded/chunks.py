"""The chunks of long texts: parts with vectors of their own, through which a search finds the whole text.

Chunks belong to a text, as its vector does: all memories with this text share them, and they are removed with the
last of these.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from agentmem_cli.errors import StoreDamagedError
from agentmem_cli.records.memory import Span, StoredChunk, StoredVector
from agentmem_cli.store.base import TextScore
from agentmem_cli.store.chunk_plan import ChunkPlan, ChunkRow, hashes_of, planned_chunks
from agentmem_cli.store.embedded.connection import Connection, Row
from agentmem_cli.store.rows import text_hash


class Chunks:
    """The chunks of one database. Raises StoreError and its kinds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def planned(
        self, splits: Mapping[str, Sequence[Span]], new_hashes: Sequence[bytes], first_vector_id: int
    ) -> ChunkPlan:
        """The plan that gives each text of `splits` exactly these chunks, where it has or gets a vector.

        `new_hashes` are those of the texts that get a vector with this batch, the first of them the id given.
        """
        vector_ids: dict[bytes, int] = dict(
            self._connection.read_in(
                "SELECT text_hash, vector_id FROM vectors WHERE text_hash IN ({})", list(hashes_of(splits))
            )
        )
        stored = self.of_texts(list(vector_ids.values()))
        return planned_chunks(splits, vector_ids, stored, new_hashes, first_vector_id)

    def write(self, plan: ChunkPlan) -> list[int]:
        """Within a transaction: writes a plan, and returns the vectors that replaced chunks had."""
        replaced = self._vector_ids(plan.replaced)
        self._connection.change_many("DELETE FROM chunks WHERE text_vector_id = ?", [(i,) for i in plan.replaced])
        self._connection.insert_many(
            "INSERT INTO chunks(text_vector_id, start, stop, vector_id)",
            [(row.text_vector_id, row.start, row.stop, row.vector_id) for row in plan.rows],
        )
        return replaced

    def drop_unused(self, vector_ids: Iterable[int]) -> None:
        """Within a transaction: removes those of these vectors that no memory and no chunk uses any more.

        The chunks of a text that no memory has are removed with their vectors.
        """
        given = list(vector_ids)
        gone = [
            row[0]
            for row in self._connection.read_in(
                "SELECT DISTINCT w.text_vector_id FROM chunks w WHERE w.text_vector_id IN ({})"
                " AND NOT EXISTS (SELECT 1 FROM memories m WHERE m.vector_id = w.text_vector_id)",
                given,
            )
        ]
        given += self._vector_ids(gone)
        self._connection.change_many("DELETE FROM chunks WHERE text_vector_id = ?", [(i,) for i in gone])
        self._connection.change_many(
            "DELETE FROM vectors WHERE vector_id = ?1 AND NOT EXISTS (SELECT 1 FROM memories WHERE vector_id = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM chunks WHERE vector_id = ?1)",
            [(vector_id,) for vector_id in given],
        )

    def drop_orphans(self) -> None:
        """Within a transaction: removes all chunks and vectors that no memory has."""
        self._connection.change("DELETE FROM chunks WHERE text_vector_id NOT IN (SELECT vector_id FROM memories)")
        self._connection.change(
            "DELETE FROM vectors WHERE vector_id NOT IN"
            " (SELECT vector_id FROM memories UNION SELECT vector_id FROM chunks)"
        )

    def exist(self) -> bool:
        """Whether the store has any chunks: searches of the others skip them."""
        return bool(self._connection.one("SELECT EXISTS (SELECT 1 FROM chunks)"))

    def texts_of(self, scores: Mapping[int, float]) -> dict[int, TextScore]:
        """The scores of vectors -> those of texts, by the text's vector: a text has the score of its nearest vector.

        The vector of a chunk alone stays in; no memory has it. Raises StoreDamagedError.
        """
        found = {vector_id: TextScore(score, None) for vector_id, score in scores.items()}
        if not self.exist():
            return found
        for row in self._rows("vector_id", list(scores)):
            score = scores[row.vector_id]
            if row.text_vector_id not in found or score > found[row.text_vector_id].score:
                found[row.text_vector_id] = TextScore(score, (row.start, row.stop))
        return found

    def of_texts(self, text_vector_ids: Sequence[int]) -> dict[int, list[ChunkRow]]:
        """The chunks of texts, by the text's vector, each in the order of the text."""
        found: dict[int, list[ChunkRow]] = {}
        for row in self._rows("text_vector_id", text_vector_ids):
            found.setdefault(row.text_vector_id, []).append(row)
        return {text: sorted(rows, key=lambda row: row.start) for text, rows in found.items()}

    def texts(self, vector_ids: Sequence[int]) -> dict[int, str]:
        """The texts of the chunks that have these vectors, by vector. Each long text is read once."""
        rows = self._rows("vector_id", vector_ids)
        texts = list({row.text_vector_id for row in rows})
        whole: dict[int, str] = dict(
            self._connection.read_in("SELECT vector_id, text FROM memories WHERE vector_id IN ({})", texts)
        )
        return {
            row.vector_id: whole[row.text_vector_id][row.start : row.stop]
            for row in rows
            if row.text_vector_id in whole
        }

    def wrong(self) -> Iterator[tuple[int, str, bool]]:
        """The texts, by vector, whose chunks are damaged; what is wrong; and whether the chunks can only be dropped."""
        for (text_vector_id,) in self._connection.read("SELECT DISTINCT text_vector_id FROM chunks ORDER BY 1"):
            memory = self._connection.read("SELECT text FROM memories WHERE vector_id = ? LIMIT 1", (text_vector_id,))
            if not memory:
                yield text_vector_id, "no memory has their text", True
                continue
            rows = self._connection.read(
                "SELECT w.start, w.stop, v.text_hash FROM chunks w LEFT JOIN vectors v USING (vector_id)"
                " WHERE w.text_vector_id = ?",
                (text_vector_id,),
            )
            if not all(_is_of(memory[0][0], *row) for row in rows):
                yield text_vector_id, "one has the vector of another text, or none", False

    def _vector_ids(self, text_vector_ids: Sequence[int]) -> list[int]:
        return [row.vector_id for row in self._rows("text_vector_id", text_vector_ids)]

    def _rows(self, column: str, values: Sequence[int]) -> list[ChunkRow]:
        rows = self._connection.read_in(
            f"SELECT text_vector_id, start, stop, vector_id FROM chunks WHERE {column} IN ({{}})", values
        )
        if not all(isinstance(value, int) for row in rows for value in row):
            raise StoreDamagedError("a chunk is not what was stored: 'agentmem verify' lists what is damaged")
        return [ChunkRow(*row) for row in rows]

    def exported(self, revision: str) -> "Exported":
        """The vectors of an export, made by this revision of the embedder."""
        return Exported(self._connection, revision)


def matching(where: str, *, chunked: bool) -> str:
    """A query for the vectors of the memories `m` that meet a condition: those of their texts and of chunks."""
    own = f"SELECT m.vector_id FROM memories m WHERE {where}"
    if not chunked:
        return own
    return (
        f"WITH texts AS MATERIALIZED ({own}) SELECT vector_id FROM texts UNION"
        " SELECT w.vector_id FROM chunks w WHERE w.text_vector_id IN (SELECT vector_id FROM texts)"
    )


class Exported:
    """The vectors of an export, each with its chunks and whether its text was cut."""

    def __init__(self, connection: Connection, revision: str) -> None:
        self._connection = connection
        self._revision = revision
        self._cut = {row[0] for row in connection.read("SELECT vector_id FROM cut_vectors")}
        self._split = {row[0] for row in connection.read("SELECT DISTINCT text_vector_id FROM chunks")}

    def of(self, vector_id: int, vector: object, checksum: object) -> StoredVector | None:
        """The vector with these bytes, or None where it or a chunk of its text is not what was stored."""
        if not _is_as_stored(vector, checksum):
            return None
        parts = [] if vector_id not in self._split else self._parts(vector_id)
        if not all(_is_span(*row[:2]) and _is_as_stored(*row[2:]) for row in parts):
            return None
        chunks = tuple(StoredChunk(*row[:3]) for row in parts)
        return StoredVector(self._revision, cast(bytes, vector), vector_id in self._cut, chunks)

    def _parts(self, vector_id: int) -> list[Row]:
        return self._connection.read(
            "SELECT w.start, w.stop, v.vector, v.checksum FROM chunks w LEFT JOIN vectors v USING (vector_id)"
            " WHERE w.text_vector_id = ? ORDER BY w.start",
            (vector_id,),
        )


def _is_as_stored(vector: object, checksum: object) -> bool:
    return isinstance(vector, bytes) and zlib.crc32(vector) == checksum


def _is_span(start: object, stop: object) -> bool:
    return isinstance(start, int) and isinstance(stop, int) and 0 <= start < stop


def _is_of(text: object, start: object, stop: object, digest: object) -> bool:
    if not (isinstance(text, str) and isinstance(start, int) and isinstance(stop, int)):
        return False
    return 0 <= start < stop <= len(text) and text_hash(text[start:stop]) == digest
