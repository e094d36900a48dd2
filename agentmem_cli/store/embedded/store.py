"""EmbeddedStore: a database and a graph in a folder.

Commit: a batch is planned against what is stored, its new texts are embedded by the caller, and one transaction
writes memories, vectors, history and the input's position. When `commit` has returned, the batch is durable.

Graph: derived from committed vectors, published as a whole, and disposable. A search scans exactly the vectors that
the graph doesn't have, and all of them where there is no graph that can be trusted.
"""

import logging
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.errors import StoreError, StoreMismatchError, StoreNotFoundError, StoreWriteError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import HistoryEvent, Memory, Position, Span
from agentmem_cli.records.values import kind_of
from agentmem_cli.store.base import (
    MIN_INDEXED,
    BatchCounts,
    EmbedTexts,
    Finding,
    Indexing,
    Pin,
    Plan,
    StoreStats,
    Vector,
    Vectors,
    are_the_same,
)
from agentmem_cli.store.batch_plan import BatchPlan, Planner
from agentmem_cli.store.embedded import maintenance
from agentmem_cli.store.embedded.connection import MOST_ROWS
from agentmem_cli.store.embedded.database import Database
from agentmem_cli.store.embedded.folder import DATABASE, LOCK, MODELS, check, check_unused, write_gitignore
from agentmem_cli.store.embedded.graph import ef_of
from agentmem_cli.store.embedded.graph_builder import PublishedGraph, build, lacks
from agentmem_cli.store.embedded.lock import WriterLock
from agentmem_cli.store.embedded.snapshot import EmbeddedSnapshot
from agentmem_cli.store.embedded.verify import verify
from agentmem_cli.store.rows import StoredMemory, text_hash
from agentmem_cli.store.words import Tokenizer
from agentmem_cli.support.failpoints import reached
from agentmem_cli.support.files import make_durable_folder
from agentmem_cli.support.machine import network_file_system
from agentmem_cli.support.processes import abandon, tell_after_fork
from agentmem_cli.support.safe_text import printable

_log: Final = logging.getLogger("agentmem")
_WRITING_MIN_TAIL: Final = 10_000  # vectors that the graph may lack while memories keep coming


class Beneath(Protocol):
    """What a dry run plans against: a store of any kind."""

    def unknown_texts(self, texts: Iterable[str]) -> list[str]:
        """See `MemoryStore`."""

    def position(self, file: str) -> Position | None:
        """See `MemoryStore`."""

    def stored_memories(self, ids: Iterable[str]) -> dict[str, StoredMemory]:
        """The stored memories of these ids, by id."""

    def memories_as_given(self, ids: Sequence[str]) -> dict[str, Memory]:
        """The memories of these ids, without a time where the store filled it in."""

    def vector_ids(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """The vectors of those of these texts that have one, by hash."""


class EmbeddedStore:
    """A store in a folder. Reads need no lock; the first write takes the writer's, and `close` gives it back."""

    def __init__(self, folder: Path, beneath: Beneath | None = None) -> None:
        """Opens the store if it is there; it is made by `open_for_writing`. Raises StoreDamagedError.

        With a store `beneath`, plans are made against both, and commits go to this one: a dry run.
        """
        try:
            folder = folder.absolute()  # stays valid when the process changes its folder
        except OSError as error:
            raise StoreError(f"store {folder}: the current folder is gone ({error}): give a whole path") from error
        self.folder = folder
        self._beneath = beneath
        self.path: Path = folder / DATABASE
        self._lock = WriterLock(folder / LOCK)
        self.turn: threading.RLock = threading.RLock()  # held over planning and committing
        self._writer: Database | None = None
        self._reader: Database | None = None
        self._vectors_of: Pin = {}  # the embedder of the vectors that are committed
        self._tokenizer = Tokenizer()
        self.graph: PublishedGraph = PublishedGraph(folder)
        tell_after_fork(self)
        try:
            check(folder)
            self.reader()
        except (OSError, ValueError) as error:  # a name that is too long or contains a NUL
            raise StoreError(f"store {folder} can't be there: {error}: give another folder") from error

    @property
    def location(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def models_folder(self) -> Path:
        """Where a copy of a static model is kept."""
        return self.folder / MODELS

    @property
    def commits_elsewhere(self) -> bool:
        """See `MemoryStore`."""
        return False

    @property
    def round_trips(self) -> int:
        """See `MemoryStore`."""
        return 0

    @property
    def exists(self) -> bool:
        """Whether there is a store on disk."""
        return self.reader() is not None

    @property
    def writing(self) -> bool:
        """Whether this object holds the writer's lock."""
        return self._writer is not None

    def close(self) -> None:
        """Closes the database and gives the writer's lock back."""
        with self.turn:
            try:
                if self._writer is not None:
                    self.graph.take_offer(self.writer())
            finally:
                self.close_reader()
                # Cleared before it is closed: after an interrupt in between, no call uses a closed connection.
                writer, self._writer = self._writer, None
                if writer is not None:
                    writer.close()
                self.graph.forget()
                self.graph.lock.release()
                self._lock.release()

    def forget_parent(self) -> None:
        """In a forked child: reads open the store again, and a write has to take the lock."""
        abandon(self._tokenizer)
        self._reader = self._writer = None
        self.graph.forget_builder()
        self._tokenizer = Tokenizer()
        self.turn = threading.RLock()
        self.graph.forget()

    def close_reader(self) -> None:
        """Closes the connection for reading; the next read opens it again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def check_embedder(self, embedder: Pin) -> None:
        """Raises StoreMismatchError where there is a store with vectors of another embedder."""
        reader = self.reader()
        if reader is not None:
            self._check_embedder(reader, embedder)

    def embedder(self) -> dict[str, str | int] | None:
        """The embedder that the store is pinned to, or None where there is no store yet."""
        reader = self.reader()
        return None if reader is None else reader.embedder()

    def open_for_writing(self, embedder: Pin, wait_s: float = 0.0) -> None:
        """Takes the writer's lock, waiting for it for `wait_s`, and makes the store if it is missing.

        A store without vectors that is pinned to another embedder is pinned to this one when it gets its first.
        Raises UsageError where the folder has files that are not a store's, StoreBusyError, StoreMismatchError where
        the store has vectors of another embedder, StoreWriteError.
        """
        with self.turn:
            if self._writer is not None:
                return
            try:
                check_unused(self.folder)
                make_durable_folder(self.folder)
            except (OSError, ValueError) as error:
                raise StoreWriteError(f"store {self.folder} can't be made: {error}: give another folder") from error
            self._lock.acquire(wait_s)
            try:
                self._start_writing(embedder)
            except BaseException:
                self._lock.release()
                raise
            self._warn_of_network()
            self.graph.take_offer(self.writer())
            self.graph.remove_unpublished(self.writer())

    def _start_writing(self, embedder: Pin) -> None:
        if not self.path.exists():
            self._make(embedder)
        writer = Database(self.path, writable=True)
        try:
            self._check_embedder(writer, embedder)
        except BaseException:
            writer.close()
            raise
        self._vectors_of = embedder
        self._writer = writer  # last: after an interrupt before this, it is opened and checked again

    def _warn_of_network(self) -> None:
        kind = network_file_system(self.folder)
        if kind is not None:
            _log.warning(
                "agentmem: warning: store %s is on a network file system (%s), where locks and shared memory may not "
                "work: use it from one machine at a time, or put it on a local disk",
                printable(str(self.folder)),
                kind,
            )

    def _make(self, embedder: Pin) -> None:
        try:
            write_gitignore(self.folder)
        except OSError as error:
            raise StoreWriteError(f"store {self.folder} can't be written: {error.strerror}") from error
        Database.create(self.path, embedder)

    # Writing

    def plan(
        self,
        memories: Iterable[Memory],
        splits: Mapping[str, Sequence[Span]] | None = None,
        *,
        whole_records: bool = False,
    ) -> BatchPlan:
        """See `MemoryStore`. Raises StoreDamagedError where a memory that would be updated is damaged."""
        memories = list(memories)
        if self._writer is not None:
            self._writer.settle()
        planner = Planner(
            self.stored_memories([memory.id for memory in memories]),
            self.memories_as_given,
            whole_records=whole_records,
        )
        planner.take(memories)
        latest = self._latest()
        next_id = 1 if latest is None else latest.vectors.next_id()
        plan = planner.plan(self.vector_ids(planner.text_hashes()), next_id)
        if latest is None or not splits:
            return plan
        return replace(plan, chunks=latest.chunks.planned(splits, plan.new_hashes, plan.first_vector_id))

    def unknown_texts(self, texts: Iterable[str]) -> list[str]:
        """Those of these texts, each once and in order, that the store has no vector for."""
        by_hash = {text_hash(text): text for text in texts}
        reader = self._opened_reader()
        unknown = list(by_hash) if reader is None else reader.vectors.unknown(list(by_hash))
        left = [by_hash[digest] for digest in unknown]
        return left if self._beneath is None else self._beneath.unknown_texts(left)

    def commit(
        self,
        plan: Plan,
        vectors: Vectors,
        position: Position | None = None,
        cut: Iterable[int] = (),
    ) -> BatchCounts:
        """See `MemoryStore`; the plan must be the latest of this store."""
        if not isinstance(plan, BatchPlan):
            raise TypeError(f"{kind_of(plan)} is not a plan of this store")
        writer, cut_ids = self.writer(), [plan.first_vector_id + row for row in cut]
        rows = (
            (plan.first_vector_id + i, digest, vector.tobytes())
            for i, (digest, vector) in enumerate(zip([*plan.new_hashes, *plan.chunks.new_hashes], vectors, strict=True))
        )
        self.graph.take_offer(writer)
        with writer.transaction():
            reached("commit.begun")
            if len(vectors):
                self._pin(writer)
            writer.vectors.insert(rows)
            writer.vectors.mark_cut(cut_ids)
            reached("commit.vectors")
            bare = writer.without_memory(plan.known_texts)
            writer.memories.write(plan.memories)
            reached("commit.memories")
            writer.history.write(plan.history)
            reached("commit.history")
            writer.chunks.drop_unused(writer.chunks.write(plan.chunks))
            reached("commit.chunks")
            writer.words.add([*enumerate(plan.new_texts, plan.first_vector_id), *bare])
            writer.drop_unused(plan.replaced_texts)
            reached("commit.words")
            if position is not None:
                writer.write_position(position)
            reached("commit.position")
        reached("commit.done")
        truncated = writer.vectors.truncated_among([*cut_ids, *(vector_id for vector_id, _ in plan.known_texts)])
        return BatchCounts(
            added=plan.outcomes.count("added"),
            updated=plan.outcomes.count("updated"),
            unchanged=plan.outcomes.count("unchanged"),
            truncated=sum(row.vector_id in truncated for row in plan.memories),
            chunks=len(plan.chunks.rows),
        )

    def position(self, file: str) -> Position | None:
        """How far this input has been taken in, if it ever was."""
        reader = self.reader()
        here = None if reader is None else reader.position(file)
        return self._beneath.position(file) if here is None and self._beneath is not None else here

    def delete(self, ids: Sequence[str]) -> int:
        """See `MemoryStore`."""
        with self.turn:
            return maintenance.delete(self.writer(), ids)

    def reembed(self, embedder: Pin, embed: EmbedTexts, on_staged: Callable[[int], None]) -> None:
        """See `MemoryStore`."""
        with self.turn:
            writer = self.writer()
            try:
                maintenance.reembed(writer, embedder, embed, on_staged)
            finally:
                if self.embedder() == embedder:  # also where the last step was interrupted
                    self._vectors_of = embedder
            self.refresh_graph()

    def staged_embedder(self) -> dict[str, str | int] | None:
        """See `MemoryStore`."""
        reader = self.reader()
        return None if reader is None else maintenance.staged_embedder(reader)

    @contextmanager
    def dry_run(self, embedder: Pin) -> Iterator["EmbeddedStore"]:
        """See `MemoryStore`. Texts that the dry run would remove still count as known."""
        with (
            tempfile.TemporaryDirectory(prefix="agentmem-dry-run-") as scratch,
            closing(EmbeddedStore(Path(scratch), self)) as store,
        ):
            store.open_for_writing(embedder)
            yield store

    # The graph

    def refresh_index(self, how: Indexing, *, more_to_come: bool = False) -> None:
        """See `MemoryStore`."""
        min_tail = _WRITING_MIN_TAIL if more_to_come else MIN_INDEXED
        if how == "wait":
            self.refresh_graph(min_tail)
        elif how == "background":
            with self.turn:
                self.graph.refresh_soon(self.writer(), min_tail)

    def refresh_graph(self, min_tail: int = MIN_INDEXED) -> bool:
        """Publishes a graph of all vectors if the published one lacks enough of them; says whether it did."""
        with self.turn:
            return self.graph.refresh(self.writer(), min_tail)

    @property
    def indexing(self) -> bool:
        """See `MemoryStore`."""
        return self.graph.building

    def unindexed(self) -> int:
        """See `MemoryStore`."""
        reader = self.reader()
        return 0 if reader is None else lacks(reader)

    # Upkeep

    def verify(self) -> list[Finding]:
        """See `Upkeep`."""
        reader = self._existing()
        with reader.snapshot():
            return list(verify(reader, self.folder))

    def repair(self) -> None:
        """See `Upkeep`."""
        with self.turn:
            maintenance.rebuild(self.writer())
            self.refresh_graph()

    def compact(self) -> None:
        """See `Upkeep`. Raises StoreError where another process reads the store."""
        with self.turn:
            writer = self.writer()
            self.close_reader()  # an open reader would hold the log
            with writer.transaction():
                writer.forget_graph()
            reached("compact.unpublished")
            emptied = maintenance.vacuum(writer)
            reached("compact.vacuumed")
            self.refresh_graph()
            self.graph.remove_unpublished(self.writer(), wait=True)
        if not emptied:
            raise StoreError(
                f"store {self.folder} was not compacted: it is being read, and deleted texts are still in its files; "
                "end what reads it, and compact it again"
            )

    def build_index(self) -> int:
        """See `Upkeep`; with or without the writer's lock."""
        try:
            if self._writer is not None:
                self.refresh_graph()
            elif self.exists:
                build(self.folder, self.graph.lock)
        except OSError as error:
            raise StoreWriteError(f"the graph of store {self.folder} can't be written: {error}") from error
        return self.unindexed()

    def index_ef(self, n: int) -> int:
        """See `Upkeep`."""
        return ef_of(n)

    def nearest_in_index(self, query: Vector, n: int, ef: int) -> NDArray[np.float32] | None:
        """See `Upkeep`."""
        graph = self.graph.current(self._existing())
        found = None if graph is None else graph.search(query, n, ef=ef)
        return None if found is None else found[1]

    # Reading

    def count(self, filter: SearchFilter | None = None) -> int:
        """See `MemoryStore`."""
        reader = self.reader()
        return 0 if reader is None else reader.memories.count(reader.memories.selection(filter or SearchFilter()))

    def any(self, filter: SearchFilter) -> bool:
        """See `MemoryStore`."""
        reader = self.reader()
        return reader is not None and reader.memories.any(reader.memories.selection(filter))

    def get(self, identity: str) -> Memory | None:
        """The memory of this id, or None."""
        reader = self.reader()
        return None if reader is None else reader.memories.get(identity)

    def history(self, identity: str) -> list[HistoryEvent]:
        """What happened to the memory of this id, oldest first; empty where there never was one."""
        reader = self.reader()
        return [] if reader is None else reader.history.of(identity)

    def page(self, filter: SearchFilter, limit: int, offset: int) -> list[Memory]:
        """See `MemoryStore`."""
        memories = self._existing().memories
        return memories.newest(memories.selection(filter), min(limit, MOST_ROWS), min(offset, MOST_ROWS))

    def ids(self, filter: SearchFilter) -> list[str]:
        """See `MemoryStore`."""
        memories = self._existing().memories
        return memories.ids(memories.selection(filter))

    def memories(
        self, filter: SearchFilter, *, vectors: bool = False, on_damaged: Callable[[str], None] | None = None
    ) -> Iterator[Memory]:
        """See `MemoryStore`."""
        self._existing()
        return self._all_memories(filter, vectors, on_damaged)

    def _all_memories(
        self, filter: SearchFilter, vectors: bool, on_damaged: Callable[[str], None] | None
    ) -> Iterator[Memory]:
        # A connection of its own: the caller may use the store while it iterates.
        with closing(Database(self.path, writable=False)) as database, database.snapshot():
            selection = database.memories.selection(filter)
            yield from database.all_memories(selection, vectors=vectors, on_damaged=on_damaged)

    def stats(self) -> StoreStats:
        """See `MemoryStore`."""
        return maintenance.stats(self._existing(), self.folder, self.graph)

    @contextmanager
    def snapshot(self, filter: SearchFilter, embedder: Pin | None) -> Iterator[EmbeddedSnapshot | None]:
        """See `MemoryStore`. A memory that was split is as near as the nearest of its chunks."""
        reader = self.reader()
        if reader is None:
            yield None
            return
        with reader.snapshot():
            if embedder is not None:
                self._check_embedder(reader, embedder)  # it may have been re-embedded while the query was embedded
            selection = reader.memories.selection(filter)
            yield EmbeddedSnapshot(reader, self.graph.current(reader), self._tokenizer, selection)

    def _pin(self, writer: Database) -> None:
        """Within a transaction: pins a store without vectors to the embedder of those that it gets."""
        self._check_embedder(writer, self._vectors_of)
        if not are_the_same(writer.embedder(), self._vectors_of):
            writer.pin(self._vectors_of)

    def _check_embedder(self, database: Database, embedder: Pin) -> None:
        pinned = database.embedder()
        if not are_the_same(pinned, embedder) and database.vectors.last_id():
            raise StoreMismatchError(
                f"store {self.folder} holds vectors of {pinned['name']}, not of {embedder['name']}: open it with its "
                "own model (leave out --model), or use another store"
            )

    def stored_memories(self, ids: Iterable[str]) -> dict[str, StoredMemory]:
        """See `Beneath`."""
        latest, ids = self._latest(), list(ids)
        found = {} if self._beneath is None else self._beneath.stored_memories(ids)
        return found if latest is None else {**found, **latest.memories.find(ids)}

    def memories_as_given(self, ids: Sequence[str]) -> dict[str, Memory]:
        """See `Beneath`."""
        latest = self._latest()
        found = {} if self._beneath is None else self._beneath.memories_as_given(ids)
        return found if latest is None else {**found, **latest.memories.as_given(ids)}

    def vector_ids(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """See `Beneath`."""
        latest, hashes = self._latest(), list(hashes)
        found = {} if self._beneath is None else self._beneath.vector_ids(hashes)
        return found if latest is None else {**found, **latest.vectors.find(hashes)}

    def _latest(self) -> Database | None:
        """What plans are compared with: the writer's own view, so that readers in other threads are not disturbed."""
        return self._writer or self._opened_reader()

    def _existing(self) -> Database:
        reader = self.reader()
        if reader is None:
            raise StoreNotFoundError.at(self.folder)
        return reader

    def reader(self) -> Database | None:
        """The database for reading, or None where there is no store yet. Must not be called within a snapshot."""
        reader = self._opened_reader()
        if reader is not None:
            reader.settle()
        return reader

    def _opened_reader(self) -> Database | None:
        if self._reader is None and self.path.exists():
            self._reader = Database(self.path, writable=False)
        return self._reader

    def writer(self) -> Database:
        """The database for writing, for a caller that holds the `turn`. Must not be called within a transaction.

        Raises StoreNotFoundError unless `open_for_writing` came before.
        """
        if self._writer is None:
            raise StoreNotFoundError(f"store {self.folder} is not open for writing")
        self._writer.settle()
        return self._writer
