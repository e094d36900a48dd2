"""The vectors of `memories.db`, and which embedder made them: what ingest and search ask of them, in SQL."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import orjson

from agentmem_cli.errors import StoreDamagedError
from agentmem_cli.store.connection import VARIABLES, Connection

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
    """A store's vectors, one a distinct text, and the embedder that it is pinned to. Raises StoreError and its kind."""

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
        """Those of these hashes, in order, that no vector has."""
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
        """The id of the next vector: above all that were ever given."""
        return 1 + self.one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'vectors'")

    def last_vector_id(self) -> int:
        """The highest id of a vector, 0 where there is none."""
        return self.one("SELECT coalesce(max(vector_id), 0) FROM vectors")

    def insert_vectors(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Adds (vector_id, text_hash, vector) rows, each with a checksum."""
        self.insert_many(
            "INSERT INTO vectors(vector_id, text_hash, vector, checksum)",
            [(vector_id, digest, vector, zlib.crc32(vector)) for vector_id, digest, vector in rows],
        )

    def mark_cut(self, vector_ids: Iterable[int]) -> None:
        """Notes which vectors are of texts that the model read the beginnings of."""
        self.insert_many("INSERT INTO cut_vectors(vector_id)", [(vector_id,) for vector_id in vector_ids])

    def truncated_among(self, vector_ids: Sequence[int]) -> set[int]:
        """Those of these vectors that are of texts which were cut, and have no windows."""
        rows = self.read_in(
            "SELECT vector_id FROM cut_vectors WHERE vector_id IN ({})"
            " AND vector_id NOT IN (SELECT text_vector_id FROM windows)",
            vector_ids,
        )
        return {row[0] for row in rows}

    def some_vectors(self, after: int, limit: int) -> tuple[list[int], bytes]:
        """The ids, ascending, of so many vectors at most above an id, and their joined float32 rows."""
        return self._joined(
            self.read(
                "SELECT vector_id, vector FROM vectors WHERE vector_id > ? ORDER BY vector_id LIMIT ?", (after, limit)
            )
        )

    def vectors(self, after: int = 0) -> Iterator[tuple[list[int], bytes]]:
        """The ids, ascending, of all vectors above an id, and their joined float32 rows, in chunks."""
        for rows in self.chunks(
            "SELECT vector_id, vector FROM vectors WHERE vector_id > ? ORDER BY vector_id", [after]
        ):
            yield self._joined(rows)

    def vectors_of(self, vector_ids: Sequence[int]) -> Iterator[bytes]:
        """The joined float32 rows of these vectors, in the order of the ids, in chunks.

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
