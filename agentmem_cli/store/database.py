"""All SQL: opening and making `memories.db`, and every question and change that is put to it."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

import orjson

from agentmem_cli.errors import StoreDamagedError, StoreNotFoundError
from agentmem_cli.files import fsync_folder
from agentmem_cli.jsonl import dump_metadata, load_metadata
from agentmem_cli.memory import HistoryEvent, JsonScalar, Memory, Position, Scope, SearchFilter, from_microseconds
from agentmem_cli.store.rows import GraphRow, HistoryRow, MemoryRow, StoredMemory
from agentmem_cli.store.schema import APPLICATION_ID, PAGE_BYTES, SCHEMA, SCHEMA_VERSION
from agentmem_cli.store.sqlite_errors import check_header, translated

_Parameter: TypeAlias = "str | int | float | bytes | None"
_VARIABLES: Final = 1000  # bound in one statement
_CHUNK_ROWS: Final = 2048
_BUSY_TIMEOUT_S: Final = 10.0
_MEMORY_COLUMNS: Final = (
    "m.id, m.text, m.agent_id, m.user_id, m.run_id, m.memory_type, m.importance, m.created_at_us, m.metadata"
)


class Database:
    """One connection to a store's `memories.db`. Raises StoreError and its kind, never sqlite3.Error."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Opens a database that is there. Raises StoreNotFoundError, StoreDamagedError."""
        self._path = path
        if not path.exists():
            raise StoreNotFoundError(f"no store at {path.parent}: make one with 'agentmem ingest', or check --store")
        check_header(path)
        with translated(path):
            self._connection = _connect(path, "rw" if writable else "ro")
            self._check_version()
            if writable:
                self._connection.execute("PRAGMA synchronous = FULL")

    @staticmethod
    def create(path: Path, embedder: Mapping[str, str | int]) -> None:
        """Makes an empty database, pinned to an embedder; it appears under its name whole, or not at all."""
        temporary = path.with_suffix(".new")
        with translated(path):
            temporary.unlink(missing_ok=True)
            connection = _connect(temporary, "rwc")
            try:
                temporary.chmod(0o600)
                connection.executescript(
                    f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                    f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};{SCHEMA}"
                )
                connection.execute("INSERT INTO meta VALUES ('embedder', ?)", (orjson.dumps(embedder).decode(),))
                connection.execute("COMMIT")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()
            temporary.replace(path)
            fsync_folder(path.parent)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside becomes durable together when it ends, or nothing of it if it raises."""
        with translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Every read inside sees the same commits, whatever is committed meanwhile."""
        with translated(self._path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def embedder(self) -> dict[str, str | int]:
        """The embedder that the store is pinned to."""
        rows = self._read("SELECT value FROM meta WHERE key = 'embedder'")
        if not rows:
            raise StoreDamagedError(f"{self._path} does not say which embedder made it: restore it from a copy")
        try:
            value: dict[str, str | int] = orjson.loads(rows[0][0])
        except orjson.JSONDecodeError as error:
            raise StoreDamagedError(f"{self._path}: the name of its embedder is damaged: restore a copy") from error
        return value

    def count(self, wanted: SearchFilter | None = None) -> int:
        """How many memories there are, or match."""
        where, parameters = _conditions(wanted)
        return int(self._read(f"SELECT count(*) FROM memories m WHERE {where}", parameters)[0][0])

    def any(self, wanted: SearchFilter) -> bool:
        """Whether any memory matches."""
        where, parameters = _conditions(wanted)
        return bool(self._one(f"SELECT EXISTS (SELECT 1 FROM memories m WHERE {where})", parameters))

    def find(self, ids: Iterable[str]) -> dict[str, StoredMemory]:
        """What is stored under these ids."""
        rows = self._read_in(
            "SELECT id, content, text, vector_id, created_at_us FROM memories WHERE id IN ({})", list(ids)
        )
        return {row[0]: StoredMemory(*row[1:]) for row in rows}

    def find_vectors(self, text_hashes: Iterable[bytes]) -> dict[bytes, int]:
        """The ids of the vectors of these texts, where there are any."""
        rows = self._read_in("SELECT text_hash, vector_id FROM vectors WHERE text_hash IN ({})", list(text_hashes))
        return {row[0]: row[1] for row in rows}

    def next_vector_id(self) -> int:
        """The id of the next vector: above all that were ever given."""
        return 1 + self._one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'vectors'")

    def insert_vectors(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Adds (vector_id, text_hash, vector) rows."""
        self._connection.executemany("INSERT INTO vectors(vector_id, text_hash, vector) VALUES (?, ?, ?)", rows)

    def write_memories(self, rows: Iterable[MemoryRow]) -> None:
        """Adds memories, or replaces those of the same id."""
        self._connection.executemany(
            "INSERT INTO memories(id, vector_id, text, agent_id, user_id, run_id, memory_type, importance,"
            " created_at_us, metadata, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT(id) DO UPDATE SET vector_id = excluded.vector_id, text = excluded.text,"
            " agent_id = excluded.agent_id, user_id = excluded.user_id, run_id = excluded.run_id,"
            " memory_type = excluded.memory_type, importance = excluded.importance,"
            " created_at_us = excluded.created_at_us, metadata = excluded.metadata, content = excluded.content",
            map(_memory_parameters, rows),
        )

    def write_history(self, rows: Iterable[HistoryRow]) -> None:
        """Notes events."""
        self._connection.executemany(
            "INSERT INTO history(id, event, previous_text, at_us) VALUES (?, ?, ?, ?)",
            [(row.id, row.event, row.previous_text, row.at_us) for row in rows],
        )

    def drop_unused_vectors(self, vector_ids: Iterable[int]) -> None:
        """Removes those of these vectors that no memory has any more."""
        self._connection.executemany(
            "DELETE FROM vectors WHERE vector_id = ?1 AND NOT EXISTS (SELECT 1 FROM memories WHERE vector_id = ?1)",
            [(vector_id,) for vector_id in vector_ids],
        )

    def write_position(self, position: Position) -> None:
        """Notes how far an input has been taken in."""
        self._connection.execute(
            "INSERT OR REPLACE INTO sources VALUES (?, ?, ?)", (position.file, position.line, position.complete)
        )

    def position(self, file: str) -> Position | None:
        """How far this input has been taken in, if it ever was."""
        rows = self._read("SELECT file, line, complete FROM sources WHERE file = ?", (file,))
        return Position(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None

    def vectors(self, wanted: SearchFilter | None = None, after: int = 0) -> Iterator[tuple[list[int], bytes]]:
        """Vector ids, ascending, and the joined float32 rows, in chunks: of all, or of those of matching memories."""
        sql = "SELECT vector_id, vector FROM vectors WHERE vector_id > ?"
        parameters: list[_Parameter] = [after]
        if wanted:
            where, bound = _conditions(wanted)
            sql += f" AND vector_id IN (SELECT m.vector_id FROM memories m WHERE {where})"
            parameters += bound
        with translated(self._path):
            cursor = self._connection.execute(sql + " ORDER BY vector_id", parameters)
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                yield [row[0] for row in rows], b"".join(row[1] for row in rows)

    def vector_ids_matching(self, wanted: SearchFilter) -> list[int]:
        """The vector ids of all memories that match."""
        where, parameters = _conditions(wanted)
        return [row[0] for row in self._read(f"SELECT DISTINCT m.vector_id FROM memories m WHERE {where}", parameters)]

    def count_vectors(self, *, up_to: int | None = None) -> int:
        """How many vectors there are, or of ids up to one."""
        if up_to is None:
            return self._one("SELECT count(*) FROM vectors")
        return self._one("SELECT count(*) FROM vectors WHERE vector_id <= ?", (up_to,))

    def memories_of(self, vector_ids: Sequence[int], wanted: SearchFilter) -> list[tuple[int, Memory]]:
        """(vector_id, memory) of every memory that has one of these vectors and matches, in order of arrival."""
        where, parameters = _conditions(wanted)
        rows = self._read_in(
            f"SELECT m.vector_id, {_MEMORY_COLUMNS}, m.seq FROM memories m WHERE m.vector_id IN ({{}}) AND {where}",
            vector_ids,
            parameters,
        )
        rows.sort(key=lambda row: int(row[-1]))
        return [(row[0], _memory(row[1:-1])) for row in rows]

    def get(self, identity: str) -> Memory | None:
        """The memory of this id."""
        rows = self._read(f"SELECT {_MEMORY_COLUMNS} FROM memories m WHERE m.id = ?", (identity,))
        return _memory(rows[0]) if rows else None

    def history(self, identity: str) -> list[HistoryEvent]:
        """What happened to the memory of this id, oldest first."""
        with self.snapshot():
            rows = self._read("SELECT event, previous_text, at_us FROM history WHERE id = ? ORDER BY seq", (identity,))
            current = self.get(identity)
        if not rows:
            return []
        texts = [row[1] for row in rows[1:]] + [None if current is None else current.text]
        return [
            HistoryEvent(identity, event, previous_text, text, from_microseconds(at_us))
            for (event, previous_text, at_us), text in zip(rows, texts, strict=True)
        ]

    def graph(self) -> GraphRow | None:
        """The published graph, if there is one."""
        rows = self._read(
            "SELECT generation, file, size_bytes, sha256, vectors, last_vector_id FROM graph"
            " ORDER BY generation DESC LIMIT 1"
        )
        return GraphRow(*rows[0]) if rows else None

    def next_generation(self) -> int:
        """The number of the next graph: above all that were ever published."""
        return 1 + self._one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'graph'")

    def publish_graph(self, row: GraphRow) -> None:
        """Makes this the published graph."""
        with self.transaction():
            self._connection.execute("DELETE FROM graph")
            self._connection.execute(
                "INSERT INTO graph VALUES (?, ?, ?, ?, ?, ?)",
                (row.generation, row.file, row.size_bytes, row.sha256, row.vectors, row.last_vector_id),
            )

    def _check_version(self) -> None:
        application_id = self._one("PRAGMA application_id")
        version = self._one("PRAGMA user_version")
        if application_id != APPLICATION_ID:
            raise StoreDamagedError(f"{self._path} is not an agentmem store: give another folder with --store")
        if version > SCHEMA_VERSION:
            raise StoreDamagedError(f"{self._path} was made by a newer agentmem (schema {version}): upgrade agentmem")

    def _one(self, sql: str, parameters: Sequence[_Parameter] = ()) -> int:
        return int(self._read(sql, parameters)[0][0])

    def _read(self, sql: str, parameters: Sequence[_Parameter] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with translated(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    def _read_in(
        self, sql: str, values: Sequence[str | int | bytes], parameters: Sequence[_Parameter] = ()
    ) -> list[tuple]:  # type: ignore[type-arg]
        rows = []
        for start in range(0, len(values), _VARIABLES):
            part = values[start : start + _VARIABLES]
            rows += self._read(sql.format(",".join("?" * len(part))), [*part, *parameters])
        return rows


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,  # transactions are begun and ended by hand
        check_same_thread=False,
    )


def _conditions(wanted: SearchFilter | None) -> tuple[str, list[_Parameter]]:
    """The filter as SQL over `memories m`; every value is bound, none is spliced."""
    if not wanted:
        return "TRUE", []
    conditions: list[str] = []
    parameters: list[_Parameter] = []
    for name in ("agent_id", "user_id", "run_id", "memory_type"):
        value = getattr(wanted.scope, name)
        if value is not None:
            conditions.append(f"m.{name} = ?")
            parameters.append(value)
    for key, value in wanted.where.items():
        condition, bound = _typed_equal(value)
        conditions.append(f"EXISTS (SELECT 1 FROM json_each(m.metadata) WHERE key = ? AND {condition})")
        parameters += [key, *bound]
    return " AND ".join(conditions), parameters


def _typed_equal(value: JsonScalar) -> tuple[str, list[_Parameter]]:
    if value is None or isinstance(value, bool):
        return "type = ?", ["null" if value is None else str(value).lower()]
    if isinstance(value, str):
        return "type = 'text' AND atom = ?", [value]
    # SQLite's own integers end at 63 bits; it reads longer ones in JSON as reals.
    return "type IN ('integer', 'real') AND atom = ?", [value if -(2**63) <= value < 2**63 else float(value)]


def _memory_parameters(row: MemoryRow) -> tuple[_Parameter, ...]:
    memory, scope = row.memory, row.memory.scope
    return (
        memory.id,
        row.vector_id,
        memory.text,
        scope.agent_id,
        scope.user_id,
        scope.run_id,
        scope.memory_type,
        memory.importance,
        row.created_at_us,
        dump_metadata(memory.metadata),
        row.content,
    )


def _memory(row: Sequence) -> Memory:  # type: ignore[type-arg]
    identity, text, agent_id, user_id, run_id, memory_type, importance, created_at_us, metadata = row
    return Memory(
        text=text,
        id=identity,
        scope=Scope(agent_id, user_id, run_id, memory_type),
        importance=importance,
        created_at=from_microseconds(created_at_us),
        metadata=load_metadata(metadata),
    )
