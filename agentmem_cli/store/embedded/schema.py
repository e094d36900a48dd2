"""The tables of `memories.db`, and how such a file is recognised."""

import stat
from pathlib import Path
from typing import Final

from agentmem_cli.store.words import INDEX

APPLICATION_ID: Final = 0x41474D45  # "AGME"
SCHEMA_VERSION: Final = 1
# Vectors of 256 to 1024 dims waste up to a quarter of SQLite's default page of 4 KB, and a twentieth of this one.
PAGE_BYTES: Final = 8192
_APPLICATION_ID_AT: Final = slice(68, 72)  # in SQLite's header

# With the vector's id: a filter by scope alone reads only the index. That of agents serves an agent's users too.
_SCOPE_INDEXES: Final = tuple(
    f"CREATE INDEX memories_{name} ON memories({columns}, vector_id) WHERE {name}_id IS NOT NULL"
    for name, columns in (("user", "user_id"), ("agent", "agent_id, user_id"), ("run", "run_id"))
)
# Empty where no memory expires; a search asks it for the latest expiry that has passed.
_EXPIRY_INDEX: Final = "CREATE INDEX memories_expiry ON memories(expires_at_us) WHERE expires_at_us IS NOT NULL"
_RUN_INDEX: Final = "CREATE INDEX memories_in_run ON memories(run, user_id, created_at_us) WHERE run IS NOT NULL"
TEXT_INDEX: Final = f"CREATE VIRTUAL TABLE words USING {INDEX}"

_LONG_TEXTS: Final = (
    # Vectors that cover only the beginning of a text, which is longer than the model reads.
    "CREATE TABLE cut_vectors(vector_id INTEGER PRIMARY KEY)",
    "CREATE TRIGGER cut_vectors_follow AFTER DELETE ON vectors"
    " BEGIN DELETE FROM cut_vectors WHERE vector_id = OLD.vector_id; END",
    # Characters [start, stop) of the text that has the vector `text_vector_id`, which have a vector of their own too.
    """CREATE TABLE chunks(
        text_vector_id INTEGER NOT NULL REFERENCES vectors(vector_id),
        start INTEGER NOT NULL,
        stop INTEGER NOT NULL,
        vector_id INTEGER NOT NULL REFERENCES vectors(vector_id),
        PRIMARY KEY(text_vector_id, start)
    ) WITHOUT ROWID""",
    "CREATE INDEX chunks_vector ON chunks(vector_id)",
)

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
    run TEXT, -- see `Memory.run`
    speaker TEXT,
    said_by TEXT, -- see `Memory.said_by`
    speaker_key TEXT, -- see `speaker_key`
    expires_at_us INTEGER
);
CREATE INDEX memories_vector ON memories(vector_id);
CREATE INDEX memories_speaker ON memories(speaker_key, said_by, user_id) WHERE speaker_key IS NOT NULL;
{"; ".join(_SCOPE_INDEXES)};
{_RUN_INDEX};
{_EXPIRY_INDEX};

-- An update keeps the former values of the fields that it changed; the values after it are the next event's, or the
-- memory's own.
CREATE TABLE history(
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    event TEXT NOT NULL,
    previous TEXT, -- a JSON object; NULL too where the memory was deleted later
    at_us INTEGER NOT NULL,
    checksum INTEGER NOT NULL -- CRC-32 of the rest of the row
);
CREATE INDEX history_id ON history(id);

-- A re-embedding under way: what the vectors will be, and which are made.
CREATE TABLE staged_vectors(
    vector_id INTEGER PRIMARY KEY,
    vector BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    cut INTEGER NOT NULL DEFAULT 0 -- whether the text is longer than the model reads
);

CREATE TRIGGER staged_vectors_follow AFTER DELETE ON vectors
BEGIN DELETE FROM staged_vectors WHERE vector_id = OLD.vector_id; END;

{"; ".join(_LONG_TEXTS)};

CREATE TABLE sources(file TEXT PRIMARY KEY, line INTEGER NOT NULL, complete INTEGER NOT NULL) WITHOUT ROWID;

-- The published graph, whose file is named after its generation: one of another size or digest is not it.
CREATE TABLE graph(
    generation INTEGER PRIMARY KEY AUTOINCREMENT,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    vectors INTEGER NOT NULL,
    last_vector_id INTEGER NOT NULL
);

{TEXT_INDEX};
"""


def is_database(path: Path) -> bool:
    """Whether a file's header is that of a store's database. Not for a file that this process has open."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would wait for a writer
            return False
        with path.open("rb") as file:
            return file.read(_APPLICATION_ID_AT.stop)[_APPLICATION_ID_AT] == APPLICATION_ID.to_bytes(4, "big")
    except OSError:
        return False
