"""The life of a store: what it holds, and how memories are removed, files rewritten and vectors replaced."""

import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.store.base import EmbedTexts, Pin, StoreStats
from agentmem_cli.store.embedded.database import Database
from agentmem_cli.store.embedded.folder import paths
from agentmem_cli.store.embedded.graph_builder import PublishedGraph
from agentmem_cli.store.rows import HistoryRow
from agentmem_cli.support.failpoints import reached

_SCOPES: Final = ("user_id", "agent_id", "run_id", "memory_type")
_SHOWN_PER_SCOPE: Final = 20
_REEMBED_TEXTS: Final = 1000


def stats(database: Database, folder: Path, graph: PublishedGraph) -> StoreStats:
    """What a store holds, as of one moment."""
    with database.snapshot():
        counts = _counts(database)
        return StoreStats(
            memories=counts["memories"],
            expired=database.memories.count(database.memories.selection(SearchFilter(expired=True))),
            vectors=counts["vectors"],
            chunks=counts["chunks"],
            truncated=_count_truncated(database),
            history_events=counts["history"],
            by_scope=_counts_by_scope(database),
            bytes_by_file=_bytes_by_file(folder),
            embedder=database.embedder(),
            graph=_graph_state(database, graph, counts["vectors"]),
        )


def _bytes_by_file(folder: Path) -> dict[str, int]:
    sizes = {}
    for path in sorted(paths(folder)):
        with suppress(FileNotFoundError):  # a graph may be replaced meanwhile
            if path.is_file():
                sizes[str(path.relative_to(folder))] = path.stat().st_size
    return sizes


def _graph_state(database: Database, graph: PublishedGraph, vectors: int) -> dict[str, int | str]:
    row = database.graph()
    if row is None:
        return {"state": "none: every vector is scanned", "vectors": 0, "scanned": vectors}
    covered = database.vectors.count(up_to=row.last_vector_id)
    state = "published" if graph.looks_whole(row) else "damaged or missing: every vector is scanned"
    scanned = vectors - covered if state == "published" else vectors
    return {"state": state, "file": row.file, "vectors": row.vectors, "scanned": scanned}


def _counts(database: Database) -> dict[str, int]:
    """How many rows the tables have."""
    tables = ("memories", "vectors", "chunks", "history")
    return {table: database.one(f"SELECT count(*) FROM {table}") for table in tables}


def _count_truncated(database: Database) -> int:
    """How many memories have text that no vector covers: it is beyond what the model reads, and in no chunk."""
    return database.one(
        "SELECT count(*) FROM memories m WHERE m.vector_id IN (SELECT vector_id FROM cut_vectors) AND ("
        "NOT EXISTS (SELECT 1 FROM chunks w WHERE w.text_vector_id = m.vector_id) OR EXISTS"
        " (SELECT 1 FROM chunks w JOIN cut_vectors USING (vector_id) WHERE w.text_vector_id = m.vector_id))"
    )


def _counts_by_scope(database: Database) -> dict[str, dict[str, int]]:
    """How many memories each of the largest scopes has, by scope; "" stands for memories without one."""
    return {
        scope: dict(
            database.read(
                f"SELECT coalesce({scope}, ''), count(*) AS n FROM memories"
                f" GROUP BY 1 ORDER BY n DESC, 1 LIMIT {_SHOWN_PER_SCOPE}"
            )
        )
        for scope in _SCOPES
    }


def delete(database: Database, ids: Sequence[str]) -> int:
    """Removes memories, their content in the history, and vectors that no other has; returns how many there were.

    The history keeps that a memory with this id existed and was deleted, and that it had expired.
    """
    ids = list(dict.fromkeys(ids))
    # A damaged text that is not UTF-8 is deleted like any other.
    stored = database.read_in("SELECT id, vector_id, CAST(text AS BLOB) FROM memories WHERE id IN ({})", ids)
    now_us = time.time_ns() // 1000
    expired = database.read_in(
        "SELECT id, CAST(expires_at_us AS INTEGER) FROM memories WHERE id IN ({}) AND expires_at_us <= ?",
        ids,
        (now_us,),
    )
    rows = [(identity,) for identity, *_ in stored]
    with database.transaction():
        database.change_many("DELETE FROM memories WHERE id = ?", rows)
        reached("delete.rows")
        database.history.erase([identity for identity, *_ in stored])
        database.history.write(HistoryRow(identity, "expire", None, at_us) for identity, at_us in expired)
        database.history.write(HistoryRow(identity, "delete", None, now_us) for identity, *_ in stored)
        database.drop_unused([(vector_id, text.decode(errors="replace")) for _, vector_id, text in stored])
        reached("delete.vectors")
    return len(stored)


def rebuild(database: Database) -> None:
    """Rebuilds what is derived from memories and vectors, and un-publishes the graph."""
    with database.transaction():
        database.chunks.drop_orphans()
        database.words.make()
        database.forget_graph()


def vacuum(database: Database) -> bool:
    """Rewrites the database without what was removed, and empties its log.

    Says whether it could: where another process reads what was there before, that stays in the files.
    """
    with database.transaction():
        database.words.shrink()
    database.change("VACUUM")
    busy, *_ = database.read("PRAGMA wal_checkpoint(TRUNCATE)")[0]
    return not busy


@dataclass(frozen=True, slots=True)
class _StagedText:
    """A text to be embedded again, and the vector it has."""

    vector_id: int
    text: str


@dataclass(frozen=True, slots=True)
class _StagedVector:
    """A vector to write, and whether its text is longer than the model reads."""

    vector_id: int
    vector: bytes
    checksum: int
    cut: bool


def reembed(database: Database, embedder: Pin, embed: EmbedTexts, on_staged: Callable[[int], None]) -> None:
    """Gives every text a vector of another embedder: see `MemoryStore.reembed`.

    New vectors become durable in batches beside the old ones; then one transaction puts them in their place.
    """
    if staged_embedder(database) != embedder:
        _start_staging(database, orjson.dumps(embedder, option=orjson.OPT_SORT_KEYS).decode())
    after = 0
    while texts := _unstaged_texts(database, after, _REEMBED_TEXTS):
        vectors, cut = embed([staged.text for staged in texts])
        rows = [vector.tobytes() for vector in vectors]
        staged = [
            _StagedVector(text.vector_id, row, zlib.crc32(row), bool(is_cut))
            for text, row, is_cut in zip(texts, rows, cut, strict=True)
        ]
        _stage(database, staged)
        after = texts[-1].vector_id
        on_staged(len(texts))
    _switch_to_staged(database, embedder)


def staged_embedder(database: Database) -> dict[str, str | int] | None:
    """The embedder that an unfinished re-embedding is for."""
    rows = database.read("SELECT value FROM meta WHERE key = 'staging_for'")
    try:
        value: dict[str, str | int] | None = orjson.loads(rows[0][0]) if rows else None
    except orjson.JSONDecodeError:  # damaged: re-embedding starts over
        return None
    return value


def _start_staging(database: Database, embedder: str) -> None:
    """Begins a re-embedding, and drops what is staged for another embedder."""
    with database.transaction():
        database.change("DELETE FROM staged_vectors")
        database.change("INSERT OR REPLACE INTO meta VALUES ('staging_for', ?)", (embedder,))


def _unstaged_texts(database: Database, after: int, limit: int) -> list[_StagedText]:
    """Up to `limit` texts of vectors above an id that have no new vector yet."""
    rows = database.read(
        "SELECT v.vector_id, (SELECT m.text FROM memories m WHERE m.vector_id = v.vector_id LIMIT 1) AS text"
        " FROM vectors v WHERE v.vector_id > ? AND (text IS NOT NULL OR EXISTS (SELECT 1 FROM chunks w"
        " JOIN memories m ON m.vector_id = w.text_vector_id WHERE w.vector_id = v.vector_id))"
        " AND NOT EXISTS (SELECT 1 FROM staged_vectors s WHERE s.vector_id = v.vector_id)"
        " ORDER BY v.vector_id LIMIT ?",
        (after, limit),
    )
    of_chunks = database.chunks.texts([vector_id for vector_id, text in rows if text is None])
    return [_StagedText(vector_id, of_chunks[vector_id] if text is None else text) for vector_id, text in rows]


def _stage(database: Database, rows: Sequence[_StagedVector]) -> None:
    """Makes new vectors durable beside those in use."""
    with database.transaction():
        database.change_many(
            "INSERT INTO staged_vectors(vector_id, vector, checksum, cut) VALUES (?, ?, ?, ?)",
            [(row.vector_id, row.vector, row.checksum, row.cut) for row in rows],
        )
        reached("stage.rows")


def _switch_to_staged(database: Database, embedder: Pin) -> None:
    """Replaces the vectors in use by the staged ones and pins the store to their embedder, in one transaction."""
    with database.transaction():
        database.change("DELETE FROM vectors WHERE vector_id NOT IN (SELECT vector_id FROM staged_vectors)")
        database.change(
            "UPDATE vectors SET (vector, checksum) = (SELECT s.vector, s.checksum FROM staged_vectors s"
            " WHERE s.vector_id = vectors.vector_id)"
        )
        database.change("DELETE FROM cut_vectors")
        database.change("INSERT INTO cut_vectors SELECT vector_id FROM staged_vectors WHERE cut")
        reached("switch.vectors")
        database.pin(embedder)
        reached("switch.pinned")
