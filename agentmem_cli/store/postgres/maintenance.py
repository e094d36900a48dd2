"""The life of a PostgreSQL store: what it holds, how vectors are replaced, and the index of vectors."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.store.base import Pin, StoreStats, Vectors
from agentmem_cli.store.postgres import binary
from agentmem_cli.store.postgres.connection import Connection
from agentmem_cli.store.postgres.filters import conditions
from agentmem_cli.store.postgres.schema import HNSW_INDEX

_SCOPES: Final = ("user_id", "agent_id", "run_id", "memory_type")
_SHOWN_PER_SCOPE: Final = 20
_REEMBED_TEXTS: Final = 1000
_MIN_INDEXED: Final = 50_000  # an exact scan of as many takes the server some 25 ms
_MUCH_MORE: Final = 1.5  # pages than the planner knows of
_FEW_PAGES: Final = 200
_WIDEST_INDEXED: Final = 2000  # dims, as pgvector limits its HNSW index


def stats(connection: Connection, embedder: Pin, now_us: int) -> StoreStats:
    """What a store holds, within a transaction."""
    where, parameters = conditions(SearchFilter(expired=True), now_us)
    memories, vectors, chunks, history, truncated, expired, indexed = connection.read(
        "SELECT (SELECT count(*) FROM memories), (SELECT count(*) FROM vectors), (SELECT count(*) FROM chunks),"
        " (SELECT count(*) FROM history), (SELECT count(*) FROM memories m JOIN vectors v USING (vector_id) WHERE v.cut"
        " AND (NOT EXISTS (SELECT 1 FROM chunks w WHERE w.text_vector_id = m.vector_id) OR EXISTS"
        " (SELECT 1 FROM chunks w JOIN vectors c ON c.vector_id = w.vector_id"
        " WHERE w.text_vector_id = m.vector_id AND c.cut))),"
        f" (SELECT count(*) FROM memories m WHERE {where}), to_regclass(%s) IS NOT NULL",
        (*parameters, HNSW_INDEX),
    )[0]
    by_scope: dict[str, dict[str, int]] = {
        scope: dict(
            connection.read(
                f"SELECT coalesce({scope}, ''), count(*) AS n FROM memories"
                f" GROUP BY 1 ORDER BY n DESC, coalesce({scope}, '') COLLATE \"C\" LIMIT {_SHOWN_PER_SCOPE}"
            )
        )
        for scope in _SCOPES
    }
    sizes = connection.read(
        "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' ORDER BY 1"
    )
    state = "HNSW, kept by the server" if indexed else "none: every vector is scanned"
    return StoreStats(
        memories=memories,
        expired=expired,
        vectors=vectors,
        chunks=chunks,
        truncated=truncated,
        history_events=history,
        by_scope=by_scope,
        bytes_by_file=dict(sizes),
        embedder=dict(embedder),
        server=_server(connection),
        graph={"state": state, "vectors": vectors if indexed else 0, "scanned": 0 if indexed else vectors},
    )


def _server(connection: Connection) -> dict[str, str]:
    """The versions, and what decides whether a commit survives a power cut."""
    names = ("fsync", "full_page_writes", "synchronous_commit")
    settings = ", ".join(f"current_setting('{name}')" for name in names)
    version, vector, *values = connection.read(
        f"SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'vector'),"
        f" {settings}"
    )[0]
    return {"PostgreSQL": version.split(" ")[0], "pgvector": vector, **dict(zip(names, values, strict=True))}


def is_committed(connection: Connection, transaction_id: str) -> bool:
    """Whether a transaction was committed before the connection broke."""
    return bool(connection.read("SELECT pg_xact_status(%s::text::xid8) = 'committed'", (transaction_id,))[0][0])


def pin(connection: Connection, embedder: Pin) -> None:
    """Within a transaction: records the embedder of all vectors, and drops what was made for another."""
    connection.change("UPDATE meta SET value = %s WHERE key = 'embedder'", (orjson.dumps(embedder).decode(),))
    connection.change("DELETE FROM staged_vectors")
    connection.change("DELETE FROM meta WHERE key = 'staging_for'")
    connection.change(f"DROP INDEX IF EXISTS {HNSW_INDEX}")


# Re-embedding


def start_staging(connection: Connection, embedder: Pin) -> None:
    """Within a transaction: begins a re-embedding, and drops what is staged for another embedder."""
    connection.change("DELETE FROM staged_vectors")
    connection.change(
        "INSERT INTO meta VALUES ('staging_for', %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (orjson.dumps(embedder).decode(),),
    )


_UNSTAGED: Final = (
    "FROM vectors v LEFT JOIN staged_vectors s USING (vector_id) CROSS JOIN LATERAL (SELECT coalesce("
    "(SELECT m.text FROM memories m WHERE m.vector_id = v.vector_id LIMIT 1),"
    "(SELECT substr(m.text, w.start + 1, w.stop - w.start) FROM chunks w JOIN memories m"
    " ON m.vector_id = w.text_vector_id WHERE w.vector_id = v.vector_id LIMIT 1)) AS text) found"
    " WHERE s.vector_id IS NULL AND found.text IS NOT NULL"
)


def unstaged(connection: Connection) -> dict[int, str]:
    """Texts that have no new vector yet, by vector."""
    return dict(
        connection.read(f"SELECT v.vector_id, found.text {_UNSTAGED} ORDER BY v.vector_id LIMIT {_REEMBED_TEXTS}")
    )


def stage(connection: Connection, ids: Sequence[int], vectors: Vectors, cut: NDArray[np.bool_]) -> None:
    """Within a transaction: makes new vectors durable beside those in use."""
    still = connection.read("SELECT vector_id FROM vectors WHERE vector_id = ANY(%s) FOR KEY SHARE", (list(ids),))
    there = {row[0] for row in still}
    rows = [
        (binary.whole(vector_id), vector, binary.truth(bool(is_cut)))
        for vector_id, vector, is_cut in zip(ids, binary.vectors(vectors), cut, strict=True)
        if vector_id in there
    ]
    connection.copy("staged_vectors", "vector_id, vector, cut", binary.copied(rows))


def switch(connection: Connection, embedder: Pin) -> bool:
    """Within a transaction: puts the staged vectors in place and pins the store; False where texts have come since."""
    connection.read("SELECT value FROM meta WHERE key = 'embedder' FOR UPDATE")  # waits for those that commit
    if connection.read(f"SELECT EXISTS (SELECT 1 {_UNSTAGED})")[0][0]:
        return False
    connection.change(f"DROP INDEX IF EXISTS {HNSW_INDEX}")  # its vectors have the old width
    connection.change(
        "UPDATE vectors v SET vector = s.vector, cut = s.cut FROM staged_vectors s WHERE s.vector_id = v.vector_id"
    )
    pin(connection, embedder)
    return True


# Exports


def exported_chunks(connection: Connection) -> dict[int, list[tuple[int, int, bytes]]]:
    """The chunks of all texts, by the text's vector, each with its vector as the server sends it."""
    found: dict[int, list[tuple[int, int, bytes]]] = {}
    for row in connection.read(
        "SELECT w.text_vector_id, w.start, w.stop, vector_send(v.vector) FROM chunks w JOIN vectors v USING (vector_id)"
        " ORDER BY 1, 2"
    ):
        found.setdefault(row[0], []).append(row[1:])
    return found


def float32(sent: bytes) -> bytes:
    """A vector that the server sent, as float32 bytes."""
    content: bytes = binary.vectors_of([sent])[0].tobytes()
    return content


# The index


def refresh_planner(connection: Connection) -> None:
    """Tells the server's planner how many rows there are, where the table is much larger than it knows, and which pages
    indexes can answer for. Each writer that closes asks: the sizes cost no scan."""
    pages, known = connection.read(
        "SELECT pg_relation_size(oid) / current_setting('block_size')::int, relpages FROM pg_class"
        " WHERE oid = 'vectors'::regclass"
    )[0]
    if pages > _MUCH_MORE * max(known, _FEW_PAGES):
        connection.change("VACUUM (ANALYZE) vectors, memories")


def refresh_index(connection: Connection) -> None:
    """Makes the HNSW index where it is missing and searches of all memories would take long without it."""
    most, is_valid = connection.read(  # ids are never used again: so there are no more vectors than that
        "SELECT last_value, (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)) FROM vector_ids",
        (HNSW_INDEX,),
    )[0]
    if not is_valid and most >= _MIN_INDEXED and connection.one("SELECT count(*) FROM vectors") >= _MIN_INDEXED:
        build_index(connection)


def build_index(connection: Connection) -> None:
    """Makes the HNSW index where it is missing. Others may write meanwhile."""
    vectors, width, is_valid = connection.read(
        "SELECT (SELECT count(*) FROM vectors), coalesce((SELECT vector_dims(vector) FROM vectors LIMIT 1), 0),"
        " (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s))",
        (HNSW_INDEX,),
    )[0]
    if is_valid or not vectors or width > _WIDEST_INDEXED:
        return
    if is_valid is False:  # one that was interrupted
        connection.change(f"DROP INDEX IF EXISTS {HNSW_INDEX}")
    connection.change(
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {HNSW_INDEX} ON vectors USING hnsw"
        f" ((vector::vector({width})) vector_ip_ops)"
    )
