"""Compares a store with what was written: every row, every vector, and what is derived from them."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from agentmem_cli.errors import StoreError
from agentmem_cli.store.base import Finding
from agentmem_cli.store.embedded.database import Database
from agentmem_cli.store.embedded.folder import INDEX
from agentmem_cli.store.embedded.graph import Graph
from agentmem_cli.store.embedded.memories import UNREADABLE
from agentmem_cli.store.rows import is_as_stored, memory_of, text_hash

_UNIT_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class _CheckedVector:
    """A vector as it is stored, with the checksum it was stored with, and whether a memory has it."""

    vector_id: int
    vector: bytes
    checksum: int
    used: bool


@dataclass(frozen=True, slots=True)
class _CheckedMemory:
    """A memory's row as it is stored, the digest that it was stored with, and the text hash of its vector, if any."""

    row: tuple[object, ...]
    content: bytes
    text_hash: bytes | None
    has_history: bool


def verify(database: Database, folder: Path) -> Iterator[Finding]:
    """Every fault of a store: first in memories and vectors, then in what is derived. Nothing for an intact store."""
    try:
        yield from _wrong_file(database)
        yield from _wrong_vectors(database, int(database.embedder()["dim"]))
        wrong_memories = list(_wrong_memories(database))
        yield from wrong_memories
        for text_vector_id, what, orphan in database.chunks.wrong() if database.chunks.exist() else ():
            yield Finding(f"chunks of the text of vector {text_vector_id}", what, repairable=orphan)
        for identity in database.history.damaged():
            yield Finding(f"history of memory {identity}", "an event is not what was stored", repairable=False)
        if not wrong_memories:  # otherwise the right words are unknown
            yield from _wrong_words(database)
        yield from _wrong_graph(database, folder)
    except StoreError as error:
        yield Finding("memories.db", str(error), repairable=False)


def _wrong_file(database: Database) -> Iterator[Finding]:
    try:
        errors = [row[0] for row in database.read("PRAGMA integrity_check") if row[0] != "ok"]
    except StoreError as error:
        errors = [str(error.__cause__)]
        if not _is_of_text_index(errors[0]):
            raise
    for what in errors:
        of_index = _is_of_text_index(what)
        yield Finding("text index" if of_index else "memories.db", f"SQLite: {what}", repairable=of_index)


def _is_of_text_index(error: str) -> bool:
    # From 3.44 on, SQLite checks it too, under its own names, and stops where it can't open it.
    return "fts5" in error.lower() or "words" in error


def _wrong_vectors(database: Database, dim: int) -> Iterator[Finding]:
    for row in _checked_vectors(database):
        where = f"vector {row.vector_id}"
        if not row.used:
            yield Finding(where, "no memory has it", repairable=True)
        if not isinstance(row.vector, bytes):
            yield Finding(where, "it is no vector", repairable=False)
        elif zlib.crc32(row.vector) != row.checksum:
            yield Finding(where, "its checksum differs: it is not what was stored", repairable=False)
        elif len(row.vector) != 4 * dim:
            yield Finding(where, f"it has {len(row.vector) // 4} dims, not {dim}", repairable=False)
        elif not abs(float(np.linalg.norm(np.frombuffer(row.vector, dtype=np.float32))) - 1) < _UNIT_TOLERANCE:
            yield Finding(where, "it is not of unit length", repairable=False)


def _wrong_memories(database: Database) -> Iterator[Finding]:
    for row in _checked_memories(database):
        where = f"memory {row.row[0]}"
        try:
            memory = memory_of(row.row)
        except UNREADABLE as error:
            yield Finding(where, f"it can't be read: {error}", repairable=False)
            continue
        if row.text_hash is None:
            yield Finding(where, "it has no vector", repairable=False)
        elif row.text_hash != text_hash(memory.text):
            yield Finding(where, "its vector is of another text", repairable=False)
        if not is_as_stored(memory, row.content):
            yield Finding(where, "its content is not what was stored", repairable=False)
        if not row.has_history:
            yield Finding(where, "its history is gone", repairable=False)


def _wrong_words(database: Database) -> Iterator[Finding]:
    if not database.words.is_whole():
        yield Finding("text index", "it does not hold the words of the stored texts", repairable=True)


def _wrong_graph(database: Database, folder: Path) -> Iterator[Finding]:
    published = database.graph()
    if published is None:
        return
    where = f"index/{published.file}"
    graph = Graph.load(folder / INDEX, published, int(database.embedder()["dim"]))
    if graph is None:
        yield Finding(where, "it is missing, or not what was published", repairable=True)
        return
    held = set(graph.labels())
    for labels, raw in database.vectors.all():
        wanted = [label for label in labels if label <= published.last_vector_id]
        stored = np.frombuffer(raw, dtype=np.float32).reshape(len(labels), -1)[: len(wanted)]
        missing = [label for label in wanted if label not in held]
        if missing:
            yield Finding(where, f"it lacks {len(missing)} vectors, {missing[0]} the first", repairable=True)
        elif wanted and not np.array_equal(graph.vectors(wanted), stored):
            yield Finding(where, "it holds other vectors than the database", repairable=True)
            return


def _checked_vectors(database: Database) -> Iterator[_CheckedVector]:
    """Every vector with its checksum, and whether any memory or chunk has it."""
    for rows in database.pages(
        "SELECT vector_id, vector, checksum, EXISTS (SELECT 1 FROM memories m WHERE m.vector_id = v.vector_id)"
        " OR EXISTS (SELECT 1 FROM chunks w WHERE w.vector_id = v.vector_id)"
        " FROM vectors v ORDER BY vector_id"
    ):
        for row in rows:
            yield _CheckedVector(row[0], row[1], row[2], bool(row[3]))


def _checked_memories(database: Database) -> Iterator[_CheckedMemory]:
    """Every memory with the digests that it and its vector's text were stored with."""
    for rows in database.pages(
        "SELECT m.id, m.text, m.agent_id, m.user_id, m.run_id, m.memory_type, m.importance, m.created_at_us,"
        " m.metadata, m.speaker, m.expires_at_us, m.content, v.text_hash,"
        " EXISTS (SELECT 1 FROM history h WHERE h.id = m.id)"
        " FROM memories m LEFT JOIN vectors v USING (vector_id) ORDER BY m.seq"
    ):
        for row in rows:
            yield _CheckedMemory(tuple(row[:11]), row[11], row[12], bool(row[13]))
