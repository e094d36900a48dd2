"""The table `vectors`: one vector per distinct text; and `cut_vectors`, those that cover only a text's beginning."""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from agentmem_cli.errors import StoreDamagedError
from agentmem_cli.store.embedded.connection import VARIABLES, VERIFY_HINT, Connection


class Vectors:
    """The vectors of one database. Raises StoreError and its kinds."""

    def __init__(self, connection: Connection, dim: Callable[[], int]) -> None:
        self._connection = connection
        self._dim = dim
        self._counted: tuple[tuple[int, int], int] | None = None

    def find(self, text_hashes: Iterable[bytes]) -> dict[bytes, int]:
        """The ids of the vectors of these texts, where there are any."""
        rows = self._connection.read_in(
            "SELECT text_hash, vector_id FROM vectors WHERE text_hash IN ({})", list(text_hashes)
        )
        return {row[0]: row[1] for row in rows}

    def unknown(self, text_hashes: Sequence[bytes]) -> list[bytes]:
        """Those of these hashes that have no vector, in order."""
        unknown = []
        for start in range(0, len(text_hashes), VARIABLES):
            part = text_hashes[start : start + VARIABLES]
            unknown += self._connection.read(
                f"WITH given(text_hash) AS (VALUES {','.join(['(?)'] * len(part))}) SELECT text_hash FROM given"
                " WHERE NOT EXISTS (SELECT 1 FROM vectors v WHERE v.text_hash = given.text_hash)",
                part,
            )
        return [row[0] for row in unknown]

    def next_id(self) -> int:
        """The id of the next vector: higher than any that was ever used."""
        return 1 + self._connection.one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'vectors'")

    def last_id(self) -> int:
        """The highest id of a vector; 0 in an empty store."""
        return self._connection.one("SELECT coalesce(max(vector_id), 0) FROM vectors")

    def insert(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Adds (vector_id, text_hash, vector) rows, each with a checksum."""
        self._connection.insert_many(
            "INSERT INTO vectors(vector_id, text_hash, vector, checksum)",
            [(vector_id, digest, vector, zlib.crc32(vector)) for vector_id, digest, vector in rows],
        )

    def mark_cut(self, vector_ids: Iterable[int]) -> None:
        """Records the vectors of texts that the model read only the beginning of."""
        self._connection.insert_many("INSERT INTO cut_vectors(vector_id)", [(vector_id,) for vector_id in vector_ids])

    def truncated_among(self, vector_ids: Sequence[int]) -> set[int]:
        """Those of these vectors that are of texts which were cut, and have no chunks."""
        rows = self._connection.read_in(
            "SELECT vector_id FROM cut_vectors WHERE vector_id IN ({})"
            " AND vector_id NOT IN (SELECT text_vector_id FROM chunks)",
            vector_ids,
        )
        return {row[0] for row in rows}

    def page(self, after: int, limit: int) -> tuple[list[int], bytes]:
        """The ids, ascending, of up to `limit` vectors above an id, and their joined float32 rows."""
        return self._joined(
            self._connection.read(
                "SELECT vector_id, vector FROM vectors WHERE vector_id > ? ORDER BY vector_id LIMIT ?", (after, limit)
            )
        )

    def all(self, after: int = 0) -> Iterator[tuple[list[int], bytes]]:
        """The ids, ascending, of all vectors above an id, and their joined float32 rows, in pages."""
        for rows in self._connection.pages(
            "SELECT vector_id, vector FROM vectors WHERE vector_id > ? ORDER BY vector_id", [after]
        ):
            yield self._joined(rows)

    def of(self, vector_ids: Sequence[int]) -> Iterator[bytes]:
        """The joined float32 rows of these vectors, in the order of the ids, in pages.

        Raises StoreDamagedError where one is missing.
        """
        for start in range(0, len(vector_ids), VARIABLES):
            part = vector_ids[start : start + VARIABLES]
            rows: dict[int, bytes] = dict(
                self._connection.read_in("SELECT vector_id, vector FROM vectors WHERE vector_id IN ({})", part)
            )
            yield self._joined([(vector_id, rows.get(vector_id, b"")) for vector_id in part])[1]

    def _joined(self, rows: Sequence[tuple[int, bytes]]) -> tuple[list[int], bytes]:
        size_bytes = 4 * self._dim()
        for vector_id, vector in rows:
            if not isinstance(vector, bytes) or len(vector) != size_bytes:
                raise StoreDamagedError(f"vector {vector_id} in {self._connection.path} is damaged: {VERIFY_HINT}")
        return [row[0] for row in rows], b"".join(row[1] for row in rows)

    def spaced(self, count: int) -> list[int]:
        """The ids of up to `count` vectors, evenly spaced by id."""
        last = self.last_id()
        steps = [1 + (last - 1) * i // max(count - 1, 1) for i in range(count if last else 0)]
        rows = self._connection.read(
            "SELECT (SELECT v.vector_id FROM vectors v WHERE v.vector_id >= step.value ORDER BY v.vector_id LIMIT 1)"
            " FROM json_each(?) step",
            (json.dumps(steps),),
        )
        return sorted({row[0] for row in rows if row[0] is not None})

    def count(self, *, up_to: int | None = None) -> int:
        """How many vectors there are, or of ids up to one."""
        if up_to is None:
            version = self._connection.version()  # counting 100,000 takes a millisecond, and each search asks
            if self._counted is None or self._counted[0] != version:
                self._counted = version, self._connection.one("SELECT count(*) FROM vectors")
            return self._counted[1]
        return self._connection.one("SELECT count(*) FROM vectors WHERE vector_id <= ?", (up_to,))
