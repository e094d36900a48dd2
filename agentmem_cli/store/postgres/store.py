"""PostgresStore: a store in a schema of a PostgreSQL database with pgvector, for many writers at once.

A batch is one transaction. Writers need no lock of the store: see `agentmem_cli.store.postgres.writing`. What is
planned before a commit is compared again under the locks of its rows, so that a commit says what really happened.
"""

import itertools
import random
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import orjson

from agentmem_cli.errors import (
    StoreBusyError,
    StoreDamagedError,
    StoreMismatchError,
    StoreNotFoundError,
)
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import HistoryEvent, Memory, Position, Span, StoredChunk, StoredVector
from agentmem_cli.records.values import kind_of
from agentmem_cli.store.base import (
    BatchCounts,
    Block,
    BlockCounts,
    EmbedTexts,
    Indexing,
    Pin,
    Plan,
    StoreStats,
    Vectors,
    are_the_same,
)
from agentmem_cli.store.embedded.store import EmbeddedStore
from agentmem_cli.store.postgres import jobs, maintenance, writing
from agentmem_cli.store.postgres.address import Address
from agentmem_cli.store.postgres.connection import ConflictError, Connection, LostConnectionError, Row
from agentmem_cli.store.postgres.filters import Parameter, conditions
from agentmem_cli.store.postgres.server import check_rights, check_server, check_version, make_schema
from agentmem_cli.store.postgres.snapshot import Kept, PostgresSnapshot, StoreState
from agentmem_cli.store.postgres.writing import Batch, PostgresPlan, plan_batch, write_batch
from agentmem_cli.store.rows import MEMORY_COLUMNS, StoredMemory, events_of, is_as_stored, memory_of, text_hash
from agentmem_cli.store.words import Tokenizer
from agentmem_cli.support.processes import abandon, tell_after_fork

_T = TypeVar("_T")
_TRIES: Final = 100  # of a transaction that other writers get in the way of
_LONGEST_PAUSE_S: Final = 0.05
_MOST_KEPT: Final = 16  # filters


class PostgresStore:
    """A store in a schema of a database. Several objects and processes write at the same time."""

    def __init__(self, url: str) -> None:
        """Connects; the store is made by `open_for_writing`. Raises UsageError, StoreError."""
        self._address = Address.of(url)
        self.turn: threading.RLock = threading.RLock()
        self._reading = threading.RLock()  # of one connection: a snapshot is a transaction
        self._exists = False
        self._is_writing = False
        self._vectors_of: Pin = {}
        self._start()
        tell_after_fork(self)
        try:
            check_server(self._reader, self._address)
            if self.exists:
                check_version(self._reader, self._address)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self._reader = Connection(self._address, writable=False)
        self._writer: Connection | None = None
        self._kept: dict[SearchFilter, Kept] = {}
        self._kept_at: tuple[str, int | None] | None = None
        self._query_words, self._text_words = Tokenizer(), Tokenizer()  # for reading and writing threads

    @property
    def location(self) -> str:
        """The URL without a password."""
        return self._address.shown

    @property
    def models_folder(self) -> None:
        """See `MemoryStore`."""
        return

    @property
    def round_trips(self) -> int:
        """See `MemoryStore`."""
        return self._reader.round_trips + (0 if self._writer is None else self._writer.round_trips)

    @property
    def commits_elsewhere(self) -> bool:
        """See `MemoryStore`."""
        return True

    @property
    def exists(self) -> bool:
        """Whether the schema has the tables of a store."""
        if not self._exists:
            found = self._read("SELECT to_regclass(%s) IS NOT NULL", (f"{self._address.schema}.meta",))
            self._exists = bool(found[0][0])
        return self._exists

    @property
    def writing(self) -> bool:
        """See `MemoryStore`."""
        return self._is_writing

    def open_for_writing(self, embedder: Pin, wait_s: float = 0.0) -> None:
        """See `MemoryStore`; no other writer is waited for."""
        with self.turn:
            if self._is_writing:
                return
            writer = Connection(self._address, writable=True)
            try:
                make_schema(writer, self._address, embedder)
                check_rights(writer, self._address)
                self._check_embedder(writer, embedder)
            except BaseException:
                writer.close()
                raise
            self._writer, self._vectors_of, self._is_writing = writer, embedder, True

    def close(self) -> None:
        """See `MemoryStore`; reading connects again."""
        with self.turn:
            self._is_writing = False
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            self._reader.close()

    def forget_parent(self) -> None:
        """In a forked child: connects again."""
        abandon(self._reader, self._writer, self._query_words, self._text_words)
        self.turn, self._reading = threading.RLock(), threading.RLock()
        self._is_writing = False
        self._start()

    def embedder(self) -> dict[str, str | int] | None:
        """See `MemoryStore`."""
        return self._pinned(self._reader) if self.exists else None

    def check_embedder(self, embedder: Pin) -> None:
        """See `MemoryStore`."""
        if self.exists:
            self._check_embedder(self._reader, embedder)

    def _pinned(self, connection: Connection) -> dict[str, str | int]:
        rows = self._of(connection, "SELECT value FROM meta WHERE key = 'embedder'")
        return self._embedder_in(rows[0][0] if rows else None)

    def _embedder_in(self, value: str | None) -> dict[str, str | int]:
        try:
            pinned: dict[str, str | int] = orjson.loads(value or "")
            str(pinned["name"]), int(pinned["dim"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise StoreDamagedError(
                f"store {self.location} does not say which embedder made it: restore it from a backup"
            ) from error
        return pinned

    def _check_embedder(self, connection: Connection, embedder: Pin) -> None:
        pinned = self._pinned(connection)
        has_vectors = "SELECT EXISTS (SELECT 1 FROM vectors)"
        if not are_the_same(pinned, embedder) and self._of(connection, has_vectors)[0][0]:
            raise self._mismatch(pinned, embedder)

    def _mismatch(self, pinned: Pin, embedder: Pin) -> StoreMismatchError:
        return StoreMismatchError(
            f"store {self.location} holds vectors of {pinned['name']}, not of {embedder['name']}: open it with its "
            "own model (leave out --model), or use another store"
        )

    # Writing

    def plan(
        self,
        memories: Iterable[Memory],
        splits: Mapping[str, Sequence[Span]] | None = None,
        *,
        whole_records: bool = False,
    ) -> PostgresPlan:
        """See `MemoryStore`. Raises InvalidMemoryError for a text with a NUL."""
        memories, splits = list(memories), splits or {}
        if self._writer is None:
            return self._reads(lambda link: plan_batch(link, memories, splits, whole_records=whole_records))
        writer = self._writer
        return self._again_if_lost(writer, lambda: plan_batch(writer, memories, splits, whole_records=whole_records))

    def unknown_texts(self, texts: Iterable[str]) -> list[str]:
        """See `MemoryStore`."""
        by_hash = {text_hash(text): text for text in texts}
        known = self.vector_ids(by_hash)
        return [text for digest, text in by_hash.items() if digest not in known]

    def commit(
        self, plan: Plan, vectors: Vectors, position: Position | None = None, cut: Iterable[int] = ()
    ) -> BatchCounts:
        """See `MemoryStore`; the outcomes of the plan are then those that the commit had.

        After a lost connection it connects again and finds out whether the batch is stored; if not, it is tried once
        more. Raises PlanOutdatedError where other writers have removed texts that the batch needs: plan it again.
        """
        if not isinstance(plan, PostgresPlan):
            raise TypeError(f"{kind_of(plan)} is not a plan of this store")
        writer = self._opened_writer()
        batch = Batch.of(plan, vectors, position, cut)
        tries = itertools.count()

        def write() -> tuple[PostgresPlan, BatchCounts]:
            if len(vectors):
                self._pin(writer)
            return write_batch(writer, self._text_words, batch, trusted=next(tries) == 0)

        written, counts = self._written(writer, write)
        plan.plan = written.plan
        return counts

    def _pin(self, writer: Connection) -> None:
        """Within a transaction: pins a store without vectors to the embedder of those that it gets, and keeps others
        from pinning it until the end."""
        pinned = self._embedder_in(writer.read("SELECT value FROM meta WHERE key = 'embedder' FOR SHARE")[0][0])
        if are_the_same(pinned, self._vectors_of):
            return
        if writer.read("SELECT EXISTS (SELECT 1 FROM vectors)")[0][0]:
            raise self._mismatch(pinned, self._vectors_of)
        maintenance.pin(writer, self._vectors_of)

    def _written(self, writer: Connection, write: Callable[[], _T]) -> _T:
        """What `write` returns, in a transaction that is tried again where other writers were in its way."""
        lost = False
        for _ in range(_TRIES):
            transaction_id = ""
            try:
                with writer.transaction("SELECT pg_current_xact_id()::text") as rows:
                    transaction_id = str(rows[0][0])
                    result = write()
            except ConflictError:
                time.sleep(random.uniform(0, _LONGEST_PAUSE_S))
            except LostConnectionError:
                writer.reconnect()
                if transaction_id and maintenance.is_committed(writer, transaction_id):
                    return result
                if lost:
                    raise
                lost = True
            else:
                return result
        raise StoreBusyError(f"store {self.location}: other writers change the same memories all the time: try again")

    # Jobs of several machines

    @property
    def url_with_password(self) -> str:
        """See `SharedStore`; the password is the one that connected, wherever it came from."""
        return self._address.with_password(self._reader.password)

    def start_job(self, inputs: Sequence[str]) -> str:
        """See `SharedStore`."""
        job = uuid.uuid4().hex
        with self.turn:
            writer = self._opened_writer()
            self._written(writer, lambda: jobs.start(writer, job, inputs))
        return job

    def commit_block(
        self, block: Block, plan: Plan, vectors: Vectors, cut: Iterable[int], given: Collection[str]
    ) -> BlockCounts:
        """See `SharedStore`."""
        if not isinstance(plan, PostgresPlan):
            raise TypeError(f"{kind_of(plan)} is not a plan of this store")
        writer = self._opened_writer()
        batch = Batch.of(plan, vectors, None, cut)
        tries = itertools.count()

        def write() -> BlockCounts:
            done = jobs.mark_of(writer, block)
            if done is None:
                if len(vectors):
                    self._pin(writer)
                written, counts = write_batch(writer, self._text_words, batch, trusted=next(tries) == 0)
                done = BlockCounts(counts, sum(text not in given for text in written.new_texts))
                jobs.mark(writer, block, done)
            return done

        return self._written(writer, write)

    def end_job(self, job: str) -> BlockCounts:
        """See `SharedStore`."""
        with self.turn:
            writer = self._opened_writer()
            return self._written(writer, lambda: jobs.end(writer, job))

    def move(self, positions: Sequence[Position]) -> None:
        """See `SharedStore`."""
        with self.turn:
            writer = self._opened_writer()
            self._written(writer, lambda: jobs.move(writer, positions))

    def position(self, file: str) -> Position | None:
        """See `MemoryStore`."""
        rows = self._read("SELECT file, line, complete FROM sources WHERE file = %s", (file,)) if self.exists else []
        return Position(*rows[0]) if rows else None

    def delete(self, ids: Sequence[str]) -> int:
        """See `MemoryStore`."""
        with self.turn:
            writer = self._opened_writer()
            return self._written(writer, lambda: writing.delete(writer, ids))

    def reembed(self, embedder: Pin, embed: EmbedTexts, on_staged: Callable[[int], None]) -> None:
        """See `MemoryStore`; texts that others add meanwhile are embedded before the switch."""
        with self.turn:
            writer = self._opened_writer()
            try:
                if self.staged_embedder() != embedder:
                    self._written(writer, lambda: maintenance.start_staging(writer, embedder))
                while True:
                    while texts := maintenance.unstaged(writer):
                        rows, cut = embed(list(texts.values()))
                        ids = list(texts)
                        self._written(writer, lambda: maintenance.stage(writer, ids, rows, cut))  # noqa: B023
                        on_staged(len(texts))
                    if self._written(writer, lambda: maintenance.switch(writer, embedder)):
                        break
            finally:
                if self.embedder() == embedder:  # also where the last step was interrupted
                    self._vectors_of = embedder

    def staged_embedder(self) -> dict[str, str | int] | None:
        """See `MemoryStore`."""
        rows = self._read("SELECT value FROM meta WHERE key = 'staging_for'") if self.exists else []
        return self._embedder_in(rows[0][0]) if rows else None

    @contextmanager
    def dry_run(self, embedder: Pin) -> Iterator[EmbeddedStore]:
        """See `MemoryStore`."""
        with (
            tempfile.TemporaryDirectory(prefix="agentmem-dry-run-") as scratch,
            closing(EmbeddedStore(Path(scratch), self)) as store,
        ):
            store.open_for_writing(embedder)
            yield store

    # What a dry run plans against

    def stored_memories(self, ids: Iterable[str]) -> dict[str, StoredMemory]:
        """The stored memories of these ids, by id."""
        wanted = list(ids)
        return self._reads(lambda link: writing.stored_memories(link, wanted)) if self.exists else {}

    def memories_as_given(self, ids: Sequence[str]) -> dict[str, Memory]:
        """The memories of these ids, without a time where the store filled it in."""
        return self._reads(lambda link: writing.memories_as_given(link, ids)) if self.exists else {}

    def vector_ids(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """The vectors of those of these texts that have one, by hash."""
        wanted = list(hashes)
        return self._reads(lambda link: writing.vector_ids(link, wanted)) if self.exists and wanted else {}

    # The index of vectors

    def refresh_index(self, how: Indexing, *, more_to_come: bool = False) -> None:
        """See `MemoryStore`; the server keeps an index that was made up to date itself."""
        if not more_to_come:
            with self.turn:
                maintenance.refresh_planner(self._opened_writer())
                if how != "off":
                    maintenance.refresh_index(self._opened_writer())

    def build_index(self) -> int:
        """See `MemoryStore`."""
        with self.turn:
            self.open_for_writing(self._pinned(self._reader))
            maintenance.build_index(self._opened_writer())
            return self.unindexed()

    @property
    def indexing(self) -> bool:
        """See `MemoryStore`."""
        return False

    def unindexed(self) -> int:
        """See `MemoryStore`; the server has all vectors in its index, or has none."""
        return 0

    # Reading

    def count(self, filter: SearchFilter | None = None) -> int:
        """See `MemoryStore`."""
        if not self.exists:
            return 0
        where, parameters = conditions(filter or SearchFilter(), _now_us())
        return int(self._read(f"SELECT count(*) FROM memories m WHERE {where}", parameters)[0][0])

    def any(self, filter: SearchFilter) -> bool:
        """See `MemoryStore`."""
        if not self.exists:
            return False
        where, parameters = conditions(filter, _now_us())
        return bool(self._read(f"SELECT EXISTS (SELECT 1 FROM memories m WHERE {where})", parameters)[0][0])

    def get(self, identity: str) -> Memory | None:
        """See `MemoryStore`."""
        rows = self._read(_MEMORY + "m.id = %s", (identity,)) if self.exists else []
        return self._checked(rows[0]) if rows else None

    def history(self, identity: str) -> list[HistoryEvent]:
        """See `MemoryStore`."""
        if not self.exists:
            return []
        events = "SELECT event, previous, at_us FROM history WHERE id = %s ORDER BY seq"
        with self._reading, self._reader.transaction():
            rows = self._reader.read(events, (identity,))
            current = self._reader.read(_MEMORY + "m.id = %s", (identity,))
        return events_of(
            identity, [(row[0], row[1], row[2]) for row in rows], memory_of(current[0][:-1]) if current else None
        )

    def page(self, filter: SearchFilter, limit: int, offset: int) -> list[Memory]:
        """See `MemoryStore`."""
        where, parameters = self._conditions(filter)
        rows = self._read(
            f"{_MEMORY}{where} ORDER BY m.created_at_us DESC, m.seq DESC LIMIT %s OFFSET %s",
            (*parameters, min(limit, _MOST_ROWS), min(offset, _MOST_ROWS)),
        )
        return [self._checked(row) for row in rows]

    def ids(self, filter: SearchFilter) -> list[str]:
        """See `MemoryStore`."""
        where, parameters = self._conditions(filter)
        return [row[0] for row in self._read(f"SELECT m.id FROM memories m WHERE {where} ORDER BY m.seq", parameters)]

    def _conditions(self, filter: SearchFilter) -> tuple[str, list[Parameter]]:
        if not self.exists:
            raise StoreNotFoundError.at(self.location)
        return conditions(filter, _now_us())

    def memories(
        self, filter: SearchFilter, *, vectors: bool = False, on_damaged: Callable[[str], None] | None = None
    ) -> Iterator[Memory]:
        """See `MemoryStore`."""
        where, parameters = self._conditions(filter)
        return self._all_memories(where, parameters, vectors, on_damaged)

    def _all_memories(
        self,
        where: str,
        parameters: list[Parameter],
        vectors: bool,
        on_damaged: Callable[[str], None] | None,
    ) -> Iterator[Memory]:
        # Connections of its own: the caller may use the store while it iterates.
        with closing(Connection(self._address, writable=False)) as link, link.transaction():
            revision = str(self._pinned(link)["revision"])
            parts = maintenance.exported_chunks(link) if vectors else {}
            of_vector = ", m.vector_id, v.cut, vector_send(v.vector)" if vectors else ""
            join = " JOIN vectors v USING (vector_id)" if vectors else ""
            query = f"SELECT {MEMORY_COLUMNS}, m.content{of_vector} FROM memories m{join} WHERE {where} ORDER BY m.seq"
            for rows in link.pages(query, parameters):
                for row in rows:
                    try:
                        memory = self._checked(row[:_WIDTH])
                    except StoreDamagedError:
                        if on_damaged is None:
                            raise
                        on_damaged(row[0])
                        continue
                    yield _with_vector(memory, revision, row[_WIDTH:], parts) if vectors else memory

    def stats(self) -> StoreStats:
        """See `MemoryStore`."""
        if not self.exists:
            raise StoreNotFoundError.at(self.location)
        with self._reading, self._reader.transaction():
            return maintenance.stats(self._reader, self._pinned(self._reader), _now_us())

    @contextmanager
    def snapshot(self, filter: SearchFilter, embedder: Pin | None) -> Iterator[PostgresSnapshot | None]:
        """See `MemoryStore`."""
        if not self.exists:
            yield None
            return
        now_us = _now_us()
        with self._reading, self._reader.transaction(*StoreState.query(now_us)) as rows:
            state = StoreState(*rows[0])
            pinned = self._embedder_in(state.embedder)
            if embedder is not None and not are_the_same(pinned, embedder):
                self._check_embedder(self._reader, embedder)
            yield PostgresSnapshot(self._reader, self._query_words, filter, now_us, state, self._kept_of(filter, state))

    # Inside

    def _kept_of(self, filter: SearchFilter, state: StoreState) -> Kept:
        """What earlier searches with the same filter found out of the same memories."""
        moment = state.transactions, state.next_expiry_us
        if moment != self._kept_at:
            self._kept, self._kept_at = {}, moment
        kept = self._kept.pop(filter, None) or Kept()
        self._kept[filter] = kept  # the latest one at the end
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return kept

    def _opened_writer(self) -> Connection:
        if self._writer is None:
            raise StoreNotFoundError(f"store {self.location} is not open for writing")
        return self._writer

    def _checked(self, row: Row) -> Memory:
        memory = memory_of(row[:-1])
        if not is_as_stored(memory, row[-1]):
            raise StoreDamagedError(
                f"memory {memory.id} in {self.location} is not what was stored: restore the database from a backup"
            )
        return memory

    def _read(self, query: str, parameters: Sequence[Parameter] = ()) -> list[Row]:
        return self._reads(lambda link: link.read(query, parameters))

    def _reads(self, read: Callable[[Connection], _T]) -> _T:
        with self._reading:
            return self._again_if_lost(self._reader, lambda: read(self._reader))

    def _of(self, connection: Connection, query: str) -> list[Row]:
        return self._read(query) if connection is self._reader else connection.read(query)

    def _again_if_lost(self, connection: Connection, read: Callable[[], _T]) -> _T:
        """What `read` returns; outside a transaction, it connects again where the connection broke."""
        try:
            return read()
        except LostConnectionError:
            if not connection.is_lost:
                raise
            connection.reconnect()
            return read()


_MOST_ROWS: Final = 2**63 - 1
_MEMORY: Final = f"SELECT {MEMORY_COLUMNS}, m.content FROM memories m WHERE "
_WIDTH: Final = MEMORY_COLUMNS.count(",") + 2


def _now_us() -> int:
    return time.time_ns() // 1000


def _with_vector(
    memory: Memory, revision: str, row: Row, parts: Mapping[int, Sequence[tuple[int, int, bytes]]]
) -> Memory:
    vector_id, cut, sent = row
    chunks = tuple(
        StoredChunk(start, stop, maintenance.float32(part)) for start, stop, part in parts.get(vector_id, ())
    )
    return replace(memory, vector=StoredVector(revision, maintenance.float32(sent), cut, chunks))
