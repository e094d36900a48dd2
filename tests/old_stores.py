"""Stores as the first agentmem made them: schema version 1, without a text index and without runs."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from agentmem_cli.store.schema import APPLICATION_ID, PAGE_BYTES

# Word for word what version 1 executed; it never changes again.
_SCHEMA_1: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- One vector a distinct text. Its id is its label in the graph, and is never given again.
CREATE TABLE vectors(
    vector_id INTEGER PRIMARY KEY AUTOINCREMENT,
    text_hash BLOB NOT NULL UNIQUE,
    vector BLOB NOT NULL,
    checksum INTEGER NOT NULL -- CRC-32 of the vector: SQLite has none of its own
);

CREATE TABLE memories(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    vector_id INTEGER NOT NULL REFERENCES vectors(vector_id),
    text TEXT NOT NULL,
    agent_id TEXT,
    user_id TEXT,
    run_id TEXT,
    memory_type TEXT,
    importance REAL,
    created_at_us INTEGER NOT NULL,
    metadata TEXT,
    content BLOB NOT NULL
);
CREATE INDEX memories_vector ON memories(vector_id);
CREATE INDEX memories_user ON memories(user_id) WHERE user_id IS NOT NULL;
CREATE INDEX memories_agent ON memories(agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX memories_run ON memories(run_id) WHERE run_id IS NOT NULL;

-- An event keeps the text before it; the text after it is the next event's, or the memory's own.
CREATE TABLE history(
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    event TEXT NOT NULL,
    previous_text TEXT,
    at_us INTEGER NOT NULL,
    checksum INTEGER NOT NULL -- CRC-32 of the rest of the row
);
CREATE INDEX history_id ON history(id);

-- A re-embedding under way: what the vectors will be, and which are made.
CREATE TABLE staged_vectors(vector_id INTEGER PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL);

CREATE TRIGGER staged_vectors_follow AFTER DELETE ON vectors
BEGIN DELETE FROM staged_vectors WHERE vector_id = OLD.vector_id; END;

CREATE TABLE sources(file TEXT PRIMARY KEY, line INTEGER NOT NULL, complete INTEGER NOT NULL) WITHOUT ROWID;

-- The published graph: a file that has another size or digest is not it.
CREATE TABLE graph(
    generation INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    vectors INTEGER NOT NULL,
    last_vector_id INTEGER NOT NULL
);
"""
_COLUMNS: Final = {
    "meta": "key, value",
    "vectors": "vector_id, text_hash, vector, checksum",
    "memories": "seq, id, vector_id, text, agent_id, user_id, run_id, memory_type, importance, created_at_us, metadata,"
    " content",
    "history": "seq, id, event, previous_text, at_us, checksum",
    "sources": "file, line, complete",
    "graph": "generation, file, size_bytes, sha256, vectors, last_vector_id",
    "sqlite_sequence": "name, seq",
}


def make_old(store: Path) -> None:
    """Makes a closed store what it would be if version 1 had written its rows."""
    path = store / "memories.db"
    new = path.rename(path.with_suffix(".of-version-2"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL;"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1; {_SCHEMA_1}"
        )
        connection.execute("ATTACH ? AS new", (str(new),))
        for table, columns in _COLUMNS.items():
            connection.execute(f"INSERT INTO main.{table}({columns}) SELECT {columns} FROM new.{table}")
    new.unlink()


def version_of(store: Path) -> int:
    """The version that a store says it has."""
    with closing(sqlite3.connect(store / "memories.db")) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
