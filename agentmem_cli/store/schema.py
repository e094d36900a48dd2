"""The tables of `memories.db`, and how such a file is recognised."""

from typing import Final

from agentmem_cli.store.tokenizing import INDEX

APPLICATION_ID: Final = 0x41474D45  # "AGME"
SCHEMA_VERSION: Final = 2
# Vectors of 256 to 1024 dims waste up to a quarter of SQLite's default page of 4 KB, and a twentieth of this one.
PAGE_BYTES: Final = 8192

_RUN_INDEX: Final = "CREATE INDEX memories_in_run ON memories(run, user_id, created_at_us) WHERE run IS NOT NULL;"
TEXT_INDEX: Final = f"CREATE VIRTUAL TABLE words USING {INDEX};"

SCHEMA: Final = f"""
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
    content BLOB NOT NULL,
    run TEXT -- what it stands before and after others in: see `Memory.run`
);
CREATE INDEX memories_vector ON memories(vector_id);
CREATE INDEX memories_user ON memories(user_id) WHERE user_id IS NOT NULL;
CREATE INDEX memories_agent ON memories(agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX memories_run ON memories(run_id) WHERE run_id IS NOT NULL;
{_RUN_INDEX}

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

{TEXT_INDEX}
"""

# What brings a database of version 1 to version 2, before its text index is made.
FROM_VERSION_1: Final = ("ALTER TABLE memories ADD COLUMN run TEXT", _RUN_INDEX)
