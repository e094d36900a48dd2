"""The published graph of a store: when it is trusted, when it is built anew, and how a new one takes its place."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentmem_cli.errors import StoreError, StoreWriteError
from agentmem_cli.store.building import grown, has_offer, lacks_enough, publish, take_offer
from agentmem_cli.store.database import Database
from agentmem_cli.store.folder import INDEX
from agentmem_cli.store.index import Graph, remove_all_but
from agentmem_cli.store.lock import FolderLock, is_held
from agentmem_cli.store.rows import GraphRow
from agentmem_cli.support.safe_text import printable

_log: Final = logging.getLogger("agentmem")


class PublishedGraph:
    """The graph in a store's `index/` folder, loaded when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / INDEX
        self.lock = FolderLock(self._folder)
        self.forget()

    def forget(self) -> None:
        """Lets go of what is loaded; the next question loads what is published then."""
        # In one step always: an interrupt between two would leave a graph under another's number.
        self._loaded: tuple[int, Graph | None] = (0, None)  # the generation, and its graph if that can be trusted

    def current(self, database: Database) -> Graph | None:
        """The graph that the database says is published, or None where there is none or it can't be trusted."""
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
        """Whether the published file is there, in its size, and was not found to be another."""
        if self._loaded == (row.generation, None):
            return False
        try:
            return row.is_plausible and (self._folder / row.file).stat().st_size == row.size_bytes
        except (OSError, ValueError):
            return False

    def needs_building(self, writer: Database, min_tail: int) -> bool:
        """Whether the published graph lacks enough vectors to be built, as far as can be told without reading it."""
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
        """Publishes what a builder has made meanwhile, if it can be: memories don't fail for want of a graph."""
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
        self.forget()  # what has grown in part, when this is interrupted, is no graph that anybody may count on
        graph = grown(writer, trusted, 1 if is_damaged else min_tail, generation)
        if graph is None:
            self._loaded = loaded
            return False
        row = graph.publish(self._folder, generation)
        publish(writer, self._folder, row)
        self._loaded = (row.generation, graph)
        return True
