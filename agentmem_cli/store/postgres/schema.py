"""The tables of a PostgreSQL store: those of `agentmem_cli.store.embedded.schema`, with words as a column.

An id is unique in the store. A vector belongs to a distinct text: so a text counts once among the words and neighbours,
as in an embedded store.
"""

from typing import Final

SCHEMA_VERSION: Final = 1
HNSW_INDEX: Final = "vectors_hnsw"

TABLES: Final = (
    "CREATE TABLE meta(key text PRIMARY KEY, value text NOT NULL)",
    "CREATE SEQUENCE vector_ids AS bigint",
    "CREATE SEQUENCE seqs AS bigint",
    # `words` is NULL for a text that only a chunk has. The vector has no fixed width: another model may have another.
    """CREATE TABLE vectors(
        vector_id bigint PRIMARY KEY,
        text_hash bytea NOT NULL UNIQUE,
        vector vector NOT NULL,
        cut boolean NOT NULL,
        words tsvector
    )""",
    "CREATE INDEX vectors_of_texts ON vectors(vector_id) WHERE words IS NOT NULL",
    "CREATE INDEX vectors_words ON vectors USING gin(words)",
    # `metadata` is the text that came, as jsonb changes numbers such as 1e22; `fields` is for conditions alone. Writers
    # lock the vectors of known texts themselves: a foreign key would lock each again, for a tenth of a commit's time.
    """CREATE TABLE memories(
        seq bigint NOT NULL UNIQUE,
        id text PRIMARY KEY,
        vector_id bigint NOT NULL,
        text text NOT NULL,
        agent_id text,
        user_id text,
        run_id text,
        memory_type text,
        importance double precision,
        created_at_us bigint NOT NULL,
        metadata text,
        content bytea NOT NULL,
        run text,
        speaker text,
        said_by text,
        speaker_key text,
        expires_at_us bigint,
        fields jsonb
    )""",
    "CREATE INDEX memories_vector ON memories(vector_id)",
    "CREATE INDEX memories_user ON memories(user_id, vector_id) INCLUDE (expires_at_us) WHERE user_id IS NOT NULL",
    "CREATE INDEX memories_agent ON memories(agent_id, vector_id) INCLUDE (expires_at_us) WHERE agent_id IS NOT NULL",
    "CREATE INDEX memories_run_id ON memories(run_id, vector_id) INCLUDE (expires_at_us) WHERE run_id IS NOT NULL",
    "CREATE INDEX memories_in_run ON memories(run, coalesce(user_id, ''), created_at_us, seq) WHERE run IS NOT NULL",
    "CREATE INDEX memories_expiry ON memories(expires_at_us) WHERE expires_at_us IS NOT NULL",
    "CREATE INDEX memories_speaker ON memories(speaker_key, said_by) WHERE speaker_key IS NOT NULL",
    "CREATE INDEX memories_newest ON memories(created_at_us, seq)",
    """CREATE TABLE history(
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id text NOT NULL,
        event text NOT NULL,
        previous text,
        at_us bigint NOT NULL
    )""",
    "CREATE INDEX history_id ON history(id)",
    """CREATE TABLE chunks(
        text_vector_id bigint NOT NULL REFERENCES vectors(vector_id),
        start integer NOT NULL,
        stop integer NOT NULL,
        vector_id bigint NOT NULL REFERENCES vectors(vector_id),
        PRIMARY KEY(text_vector_id, start)
    )""",
    "CREATE INDEX chunks_vector ON chunks(vector_id)",
    """CREATE TABLE staged_vectors(
        vector_id bigint PRIMARY KEY REFERENCES vectors(vector_id) ON DELETE CASCADE,
        vector vector NOT NULL,
        cut boolean NOT NULL
    )""",
    # Ingests that several machines share: their inputs, and their blocks that are done.
    "CREATE TABLE jobs(job text PRIMARY KEY, inputs text[] NOT NULL)",
    """CREATE TABLE blocks(
        job text NOT NULL REFERENCES jobs(job) ON DELETE CASCADE,
        block bigint NOT NULL,
        added bigint NOT NULL,
        updated bigint NOT NULL,
        unchanged bigint NOT NULL,
        truncated bigint NOT NULL,
        chunks bigint NOT NULL,
        embedded bigint NOT NULL,
        PRIMARY KEY(job, block)
    )""",
    "CREATE TABLE sources(file text PRIMARY KEY, line bigint NOT NULL, complete boolean NOT NULL)",
)
