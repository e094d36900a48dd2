"""The SQL of a store's upkeep: what is in it, removing, checking, shrinking, and changing its vectors."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import orjson

from agentmem_cli.store import windows
from agentmem_cli.store.database import Database
from agentmem_cli.store.rows import CheckedMemory, CheckedVector, StagedText, VectorRow, event_checksum
from agentmem_cli.store.text_index import TextIndex
from agentmem_cli.support.failpoints import reached

_SCOPES: Final = ("user_id", "agent_id", "run_id", "memory_type")
_SHOWN_PER_SCOPE: Final = 20


class Upkeep:
    """Upkeep of one database, over a connection that is open to it."""

    def __init__(self, database: Database) -> None:
        self._connection = database

    def counts(self) -> dict[str, int]:
        """How many rows the tables have."""
        tables = ("memories", "vectors", "windows", "history")
        return {table: self._connection.one(f"SELECT count(*) FROM {table}") for table in tables}

    def count_truncated(self) -> int:
        """How many memories have text that no vector is of: it is beyond what the model reads, and in no window."""
        return self._connection.one(
            "SELECT count(*) FROM memories m WHERE m.vector_id IN (SELECT vector_id FROM cut_vectors) AND ("
            "NOT EXISTS (SELECT 1 FROM windows w WHERE w.text_vector_id = m.vector_id) OR EXISTS"
            " (SELECT 1 FROM windows w JOIN cut_vectors USING (vector_id) WHERE w.text_vector_id = m.vector_id))"
        )

    def counts_by_scope(self) -> dict[str, dict[str, int]]:
        """How many memories each of the largest scopes has, by name of the scope; "" is 'not said'."""
        return {
            scope: dict(
                self._connection.read(
                    f"SELECT coalesce({scope}, ''), count(*) AS n FROM memories"
                    f" GROUP BY 1 ORDER BY n DESC, 1 LIMIT {_SHOWN_PER_SCOPE}"
                )
            )
            for scope in _SCOPES
        }

    def delete(self, ids: Sequence[str]) -> int:
        """Removes memories, what the history says of them and the vectors that no other has; says how many there were.

        The history keeps that there was a memory of this id, and that it was deleted.
        """
        connection = self._connection
        # A text that isn't UTF-8 any more is deleted like any other.
        stored = connection.read_in("SELECT id, vector_id, CAST(text AS BLOB) FROM memories WHERE id IN ({})", ids)
        now_us = time.time_ns() // 1000
        rows = [(identity,) for identity, *_ in stored]
        with connection.transaction():
            connection.change_many("DELETE FROM memories WHERE id = ?", rows)
            reached("delete.rows")
            self._erase_history([identity for identity, *_ in stored])
            connection.change_many(
                "INSERT INTO history(id, event, previous, at_us, checksum) VALUES (?, 'delete', NULL, ?, ?)",
                [(identity, now_us, event_checksum(identity, "delete", None, now_us)) for identity, *_ in stored],
            )
            connection.drop_unused([(vector_id, text.decode(errors="replace")) for _, vector_id, text in stored])
            reached("delete.vectors")
        return len(stored)

    def wrong_events(self) -> Iterator[str]:
        """The ids of the memories whose history is not what was stored."""
        for rows in self._connection.chunks("SELECT id, event, previous, at_us, checksum FROM history ORDER BY seq"):
            for row in rows:
                if event_checksum(*row[:4]) != row[4]:
                    yield str(row[0])

    def integrity_errors(self) -> list[str]:
        """What SQLite itself finds wrong with its file."""
        return [row[0] for row in self._connection.read("PRAGMA integrity_check") if row[0] != "ok"]

    def checked_vectors(self) -> Iterator[CheckedVector]:
        """Every vector with its checksum, and whether any memory or window has it."""
        for rows in self._connection.chunks(
            "SELECT vector_id, vector, checksum, EXISTS (SELECT 1 FROM memories m WHERE m.vector_id = v.vector_id)"
            " OR EXISTS (SELECT 1 FROM windows w WHERE w.vector_id = v.vector_id)"
            " FROM vectors v ORDER BY vector_id"
        ):
            for row in rows:
                yield CheckedVector(row[0], row[1], row[2], bool(row[3]))

    def checked_memories(self) -> Iterator[CheckedMemory]:
        """Every memory with the digests that it and its vector's text were stored with."""
        for rows in self._connection.chunks(
            "SELECT m.id, m.text, m.agent_id, m.user_id, m.run_id, m.memory_type, m.importance, m.created_at_us,"
            " m.metadata, m.content, v.text_hash,"
            " EXISTS (SELECT 1 FROM history h WHERE h.id = m.id)"
            " FROM memories m LEFT JOIN vectors v USING (vector_id) ORDER BY m.seq"
        ):
            for row in rows:
                yield CheckedMemory(tuple(row[:9]), row[9], row[10], bool(row[11]))

    def _erase_history(self, ids: Sequence[str]) -> None:
        events = self._connection.read_in("SELECT seq, id, event, at_us FROM history WHERE id IN ({})", ids)
        self._connection.change_many(
            "UPDATE history SET previous = NULL, checksum = ? WHERE seq = ?",
            [(event_checksum(identity, event, None, at_us), seq) for seq, identity, event, at_us in events],
        )

    def drop_orphan_vectors(self) -> int:
        """Removes windows and vectors that no memory has, and says how many vectors."""
        with self._connection.transaction():
            windows.drop_orphans(self._connection)
            return self._connection.change(
                "DELETE FROM vectors WHERE vector_id NOT IN"
                " (SELECT vector_id FROM memories UNION SELECT vector_id FROM windows)"
            )

    def forget_graph(self) -> None:
        """Un-publishes the graph: the next refresh builds it from the vectors."""
        with self._connection.transaction():
            self._forget_graph()

    def _forget_graph(self) -> None:
        """Within a transaction: un-publishes the graph, and outdates the one that may be in the making."""
        self._connection.change("DELETE FROM graph")
        if not self._connection.change("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'graph'"):
            self._connection.change("INSERT INTO sqlite_sequence VALUES ('graph', 1)")

    def make_text_index(self) -> None:
        """Makes the text index anew from the memories."""
        with self._connection.transaction():
            TextIndex(self._connection).make()

    def vacuum(self) -> bool:
        """Writes the database anew without what was removed, and empties its log.

        Says whether it could: where somebody reads what was there before, that stays in the files.
        """
        with self._connection.transaction():
            TextIndex(self._connection).shrink()
        self._connection.change("VACUUM")
        busy, *_ = self._connection.read("PRAGMA wal_checkpoint(TRUNCATE)")[0]
        return not busy

    def staging_for(self) -> str | None:
        """The embedder that a re-embedding under way is for, as `start_staging` was told."""
        rows = self._connection.read("SELECT value FROM meta WHERE key = 'staging_for'")
        return rows[0][0] if rows else None

    def start_staging(self, embedder: str) -> None:
        """Begins a re-embedding; what is staged for another embedder is dropped."""
        with self._connection.transaction():
            self._connection.change("DELETE FROM staged_vectors")
            self._connection.change("INSERT OR REPLACE INTO meta VALUES ('staging_for', ?)", (embedder,))

    def unstaged_texts(self, after: int, limit: int) -> list[StagedText]:
        """Texts of vectors above an id whose new vectors are still to be made, so many at most."""
        rows = self._connection.read(
            "SELECT v.vector_id, (SELECT m.text FROM memories m WHERE m.vector_id = v.vector_id LIMIT 1) AS text"
            " FROM vectors v WHERE v.vector_id > ? AND (text IS NOT NULL OR EXISTS (SELECT 1 FROM windows w"
            " JOIN memories m ON m.vector_id = w.text_vector_id WHERE w.vector_id = v.vector_id))"
            " AND NOT EXISTS (SELECT 1 FROM staged_vectors s WHERE s.vector_id = v.vector_id)"
            " ORDER BY v.vector_id LIMIT ?",
            (after, limit),
        )
        of_windows = windows.texts(self._connection, [vector_id for vector_id, text in rows if text is None])
        return [StagedText(vector_id, of_windows[vector_id] if text is None else text) for vector_id, text in rows]

    def stage(self, rows: Sequence[VectorRow]) -> None:
        """Makes new vectors durable, beside the ones in use."""
        with self._connection.transaction():
            self._connection.change_many(
                "INSERT INTO staged_vectors(vector_id, vector, checksum, cut) VALUES (?, ?, ?, ?)",
                [(row.vector_id, row.vector, row.checksum, row.cut) for row in rows],
            )
            reached("stage.rows")

    def switch_to_staged(self, embedder: Mapping[str, str | int]) -> None:
        """Puts the staged vectors in place of the ones in use, and pins the store to their embedder, in one step."""
        connection = self._connection
        with connection.transaction():
            connection.change("DELETE FROM vectors WHERE vector_id NOT IN (SELECT vector_id FROM staged_vectors)")
            connection.change(
                "UPDATE vectors SET (vector, checksum) = (SELECT s.vector, s.checksum FROM staged_vectors s"
                " WHERE s.vector_id = vectors.vector_id)"
            )
            connection.change("DELETE FROM cut_vectors")
            connection.change("INSERT INTO cut_vectors SELECT vector_id FROM staged_vectors WHERE cut")
            reached("switch.vectors")
            self.pin(embedder)
            reached("switch.pinned")

    def pin(self, embedder: Mapping[str, str | int]) -> None:
        """Within a transaction: says which embedder all vectors are of, and drops what was made for another."""
        self._connection.change("DELETE FROM staged_vectors")
        self._connection.change("DELETE FROM meta WHERE key = 'staging_for'")
        self._forget_graph()
        self._connection.change("UPDATE meta SET value = ? WHERE key = 'embedder'", (orjson.dumps(embedder).decode(),))
