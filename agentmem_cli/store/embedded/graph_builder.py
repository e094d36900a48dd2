"""Builds a store's graph beside its writer, in this process or in one of its own.

One builder at a time works in `index/`, which it locks; a second one ends. It reads committed vectors
and needs no writer's lock. It leaves what it has built as an offer. The current writer takes the offer into the
database with its next commit, or the builder does if nobody writes. An outdated offer is dropped.
"""

import logging
import math
import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from agentmem_cli.errors import AgentMemError, StoreBusyError, StoreError, StoreWriteError
from agentmem_cli.store.base import MIN_INDEXED
from agentmem_cli.store.embedded.database import Database, GraphRow
from agentmem_cli.store.embedded.folder import DATABASE, INDEX, LOCK, check
from agentmem_cli.store.embedded.graph import Graph, remove_all_but
from agentmem_cli.store.embedded.lock import PUBLISHING, FolderLock, WriterLock, is_held
from agentmem_cli.support.failpoints import reached
from agentmem_cli.support.files import write_durably
from agentmem_cli.support.processes import module_command
from agentmem_cli.support.safe_text import printable

GROWTH: Final = 0.1  # a larger graph is published again when it lacks this share of the vectors
_DEAD_SHARE: Final = 0.2  # a graph with more vectors of removed texts than this is rebuilt
_PUBLISHED_GROWTH: Final = 1.5  # while vectors keep coming, a graph is published each time that it has grown so much
_READ_VECTORS: Final = 4096
_OFFER: Final = "offer.json"
_TRY_EVERY_S: Final = 0.05
PATIENCE_S: Final = 5.0  # how long a builder waits for the writer to take its offer
_MOMENT_S: Final = 0.2  # a process that only looks whether a builder is at work holds `index/` for less
_NICENESS: Final = 15
_started: Final[list["subprocess.Popen[bytes]"]] = []


def grown(database: Database, graph: Graph | None, min_tail: int, generation: int) -> Graph | None:
    """A graph of all vectors, grown from a trusted one or built; None where too few would be added.

    None also where a re-embedding, a repair or a compaction has ended this generation.
    """
    alive = 0 if graph is None else database.vectors.count(up_to=graph.last_label)
    if graph is not None and len(graph) - alive > _DEAD_SHARE * len(graph):
        graph, alive = None, 0
    tail = database.vectors.count() - alive
    if tail < max(min_tail, GROWTH * (0 if graph is None else len(graph))):
        return None
    graph = graph or Graph(int(database.embedder()["dim"]), tail)
    enough = _PUBLISHED_GROWTH * (len(graph) + tail)
    while len(graph) < enough:
        # Read in parts: a long read would keep SQLite from emptying its log.
        labels, raw = database.vectors.page(graph.last_label, _READ_VECTORS)
        if database.next_generation() != generation:
            return None
        if not labels:
            break
        graph.add(labels, np.frombuffer(raw, dtype=np.float32).reshape(len(labels), -1))
    return graph


def publish(writer: Database, folder: Path, row: GraphRow) -> None:
    """Makes a graph whose file is in `index/` the published one, and removes the others."""
    writer.publish_graph(row)
    reached("publish.recorded")
    remove_all_but(folder, row.file)
    reached("publish.cleaned")


def take_offer(writer: Database, folder: Path) -> bool:
    """Publishes what a builder left in `index/`, and says whether it did."""
    path = folder / _OFFER
    try:
        offer = orjson.loads(path.read_bytes())
        row = GraphRow(**offer["graph"])
        fits = (
            offer["store_id"] == writer.store_id()
            and offer["commits"] <= writer.commits()
            and row.generation == writer.next_generation()
            and row.is_plausible
            and (folder / row.file).stat().st_size == row.size_bytes
        )
    except (OSError, ValueError, TypeError, KeyError):  # it is missing or damaged
        fits = False
    if fits:
        publish(writer, folder, row)
    path.unlink(missing_ok=True)
    return fits


def has_offer(folder: Path) -> bool:
    """Whether a builder has left something in `index/`."""
    return (folder / _OFFER).is_file()


def _leave_offer(database: Database, folder: Path, row: GraphRow) -> None:
    offer = {"store_id": database.store_id(), "commits": database.commits(), "graph": asdict(row)}
    temporary = folder / f"{_OFFER}.tmp"
    write_durably(temporary, orjson.dumps(offer))
    temporary.replace(folder / _OFFER)


def start_builder(store: Path) -> "subprocess.Popen[bytes]":
    """Starts a process that builds the graph of a store, and outlives this one. Raises OSError."""
    _started[:] = [process for process in _started if process.poll() is None]
    process = subprocess.Popen(
        module_command("agentmem_cli.store.embedded.graph_builder", str(store.absolute())),
        cwd="/",  # it holds no folder that somebody may want to unmount
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _started.append(process)  # Python warns of a started process that is not kept
    return process


def lacks(database: Database) -> int:
    """How many vectors a search scans beside the published graph, at most."""
    row = database.graph()
    return database.vectors.next_id() - 1 - (row.last_vector_id if row else 0)


def lacks_enough(database: Database, min_tail: int = MIN_INDEXED) -> bool:
    """Whether they are enough for a new graph to be built."""
    row = database.graph()
    return lacks(database) >= max(min_tail, GROWTH * (row.vectors if row else 0))


def build(store: Path, lock: FolderLock | None = None, *, wait: bool = True) -> None:
    """Brings a store's published graph up to date without keeping a writer from it. Raises StoreError, OSError.

    While another process writes, the graph is left for it to publish. Where another builder is at work, waits for it
    and then does the rest; without `wait`, raises BlockingIOError. `lock` is the lock on `index/` of a caller that has
    one.
    """
    check(store)
    folder = store / INDEX
    lock = lock or FolderLock(folder)
    with closing(Database(store / DATABASE, writable=False)) as database:
        while True:
            try:
                lock.acquire(wait_s=math.inf if wait else _MOMENT_S)
                seen = database.vectors.next_id()
                built = has_offer(folder) or _build_offer(database, folder)
                if built and not _offer_taken(store, folder):
                    return
            finally:
                lock.release()
            # A writer that found `index/` locked after a commit left the work to this builder.
            if not built and (database.vectors.next_id() == seen or not lacks_enough(database)):
                return


def _build_offer(database: Database, folder: Path) -> bool:
    generation = database.next_generation()  # read first: what is read after it may be newer
    row = database.graph()
    trusted = None if row is None else Graph.load(folder, row, int(database.embedder()["dim"]))
    is_damaged = row is not None and trusted is None
    graph = grown(database, trusted, 1 if is_damaged else MIN_INDEXED, generation)
    if graph is None:
        return False
    _leave_offer(database, folder, graph.publish(folder, generation))
    return True


def _offer_taken(store: Path, folder: Path) -> bool:
    """Waits until the current writer has taken the offer, or takes it if nobody writes."""
    deadline = time.monotonic() + PATIENCE_S
    while has_offer(folder):
        lock = WriterLock(store / LOCK, PUBLISHING)
        try:
            lock.acquire()
            with closing(Database(store / DATABASE, writable=True)) as writer:
                take_offer(writer, folder)
        except StoreBusyError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_TRY_EVERY_S)
        finally:
            lock.release()
    return True


def _main() -> None:
    os.nice(_NICENESS)
    with suppress(AgentMemError, OSError):  # the store may be gone; the next builder does the work
        build(Path(sys.argv[1]), wait=False)


_log: Final = logging.getLogger("agentmem")


class PublishedGraph:
    """The graph in a store's `index/` folder, loaded when it is asked for."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._folder = store / INDEX
        self.lock: FolderLock = FolderLock(self._folder)
        self.forget_builder()
        self.forget()

    def forget(self) -> None:
        """Drops the loaded graph; the next call loads the published one."""
        # Always one assignment: an interrupt between two would leave a graph with another's number.
        self._loaded: tuple[int, Graph | None] = (0, None)  # the generation, and its graph if that can be trusted

    def forget_builder(self) -> None:
        """In a forked child: the process that builds is its parent's."""
        self._builder: subprocess.Popen[bytes] | None = None
        self._asked_for = 0  # the next vector's id when a builder was last asked for

    @property
    def building(self) -> bool:
        """Whether a process that this object started is building."""
        return self._builder is not None and self._builder.poll() is None

    def refresh_soon(self, writer: Database, min_tail: int) -> None:
        """Starts a process that does what `refresh` does, if there is enough to do, and does not wait for it."""
        next_id = writer.vectors.next_id()
        if self.building or next_id - self._asked_for < min_tail or not self.needs_building(writer, min_tail):
            return
        with suppress(OSError):  # then searches scan more
            self._builder = start_builder(self._store)
        self._asked_for = next_id

    def current(self, database: Database) -> Graph | None:
        """The graph that the database says is published, or None if it is missing or can't be trusted."""
        row = database.graph()
        if row is None:
            return None
        generation, graph = self._loaded
        if row.generation != generation:
            graph = Graph.load(self._folder, row, int(database.embedder()["dim"]))
            self._loaded = (row.generation, graph)
            if graph is None:
                _log.warning(
                    "agentmem: warning: %s is missing or not what was published: searches scan every vector until the "
                    "next builder replaces it: 'agentmem index' does it now",
                    printable(str(self._folder / row.file)),
                )
        return graph

    def looks_whole(self, row: GraphRow) -> bool:
        """Whether the published file exists, has its size, and has not been found to differ."""
        if self._loaded == (row.generation, None):
            return False
        try:
            return row.is_plausible and (self._folder / row.file).stat().st_size == row.size_bytes
        except (OSError, ValueError):
            return False

    def needs_building(self, writer: Database, min_tail: int) -> bool:
        """Whether the published graph lacks enough vectors to be built again, as far as its row in the database
        tells."""
        row = writer.graph()
        if row is not None and not self.looks_whole(row):
            return True
        return lacks_enough(writer, min_tail)

    def refresh(self, writer: Database, min_tail: int) -> bool:
        """Publishes a graph of all vectors if the published one lacks enough of them; says whether it did.

        The published file is read and compared with what was published, and replaced where it differs. Raises
        StoreWriteError; the memories are safe then, and searches right.
        """
        trusted = self.current(writer)
        if trusted is None and not self.needs_building(writer, min_tail):
            return False  # a small store has no folder for graphs
        try:
            self.lock.acquire(while_waiting=lambda: self.take_offer(writer))
            self.take_offer(writer)
            return self._build_and_publish(writer, min_tail)
        except (OSError, StoreError) as error:
            raise StoreWriteError(
                f"the graph in {self._folder} can't be written ({error}); the memories are safe, searches slower"
            ) from error
        finally:
            self.lock.release()

    def take_offer(self, writer: Database) -> None:
        """Publishes what a builder has made meanwhile, if possible: a write never fails for a graph."""
        if has_offer(self._folder):
            with suppress(OSError, StoreError):
                take_offer(writer, self._folder)

    def remove_unpublished(self, database: Database, *, wait: bool = False) -> None:
        """Removes files of graphs that are not the published one, unless a builder is at work there."""
        if not self._folder.is_dir() or (is_held(self._folder) and not wait):
            return
        try:
            self.lock.acquire(while_waiting=lambda: self.take_offer(database))
            self.take_offer(database)
            row = database.graph()
            remove_all_but(self._folder, row.file if row else "")
        except OSError as error:
            raise StoreWriteError(f"old graphs in {self._folder} can't be removed: {error}: free the folder") from error
        finally:
            self.lock.release()

    def _build_and_publish(self, writer: Database, min_tail: int) -> bool:
        generation, trusted = writer.next_generation(), self.current(writer)
        is_damaged = trusted is None and writer.graph() is not None
        loaded = self._loaded
        self.forget()  # a graph that an interrupt leaves half grown must not be used
        graph = grown(writer, trusted, 1 if is_damaged else min_tail, generation)
        if graph is None:
            self._loaded = loaded
            return False
        row = graph.publish(self._folder, generation)
        publish(writer, self._folder, row)
        self._loaded = (row.generation, graph)
        return True


if __name__ == "__main__":
    _main()
