"""The published graph of a store: when it is trusted, when it is built anew, and how a new one takes its place."""

import logging
from pathlib import Path
from typing import Final

import numpy as np

from agentmem_cli.errors import StoreError, StoreWriteError
from agentmem_cli.failpoints import reached
from agentmem_cli.printable import printable
from agentmem_cli.store.database import Database
from agentmem_cli.store.index import Graph, remove_all_but
from agentmem_cli.store.rows import GraphRow

MIN_TAIL: Final = 1000  # so many vectors are scanned in the time that loading a graph takes
GROWTH: Final = 0.1  # a larger graph is published again when it lacks this share of the vectors
_DEAD_SHARE: Final = 0.2  # a graph with more vectors of removed texts than this is built anew
_log: Final = logging.getLogger("agentmem")


class PublishedGraph:
    """The graph in a store's `index/` folder, loaded when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "index"
        self.forget()

    def forget(self) -> None:
        """Lets go of what is loaded; the next question loads what is published then."""
        self._graph: Graph | None = None
        self._generation = 0

    def current(self, database: Database) -> Graph | None:
        """The graph that the database says is published, or None where there is none or it can't be trusted."""
        row = database.graph()
        if row is None:
            return None
        if row.generation != self._generation:
            self._graph = Graph.load(self._folder, row, int(database.embedder()["dim"]))
            self._generation = row.generation
            if self._graph is None:
                _log.warning(
                    "agentmem: warning: %s is missing or not what was published: searches scan every vector until the "
                    "next write rebuilds it",
                    printable(str(self._folder / row.file)),
                )
        return self._graph

    def looks_whole(self, row: GraphRow) -> bool:
        """Whether the published file is there, in its size, and was not found to be another."""
        if row.generation == self._generation and self._graph is None:
            return False
        try:
            return (self._folder / row.file).stat().st_size == row.size_bytes
        except (OSError, ValueError):
            return False

    def refresh(self, writer: Database, min_tail: int, *, check: bool) -> bool:
        """Publishes a graph of all vectors if the published one lacks enough of them; says whether it did.

        With `check`, the published file is read and compared with what was published, and replaced where it differs.
        Raises StoreWriteError; the memories are safe then, and searches right.
        """
        published = writer.graph()
        if check:
            self.current(writer)
        lacking = writer.next_vector_id() - 1 - (published.last_vector_id if published else 0)
        if lacking < min_tail and (published is None or self.looks_whole(published)):
            return False  # asked after every add: counting comes after what can be told without
        graph = self._to_grow(writer, min_tail)
        if graph is None:
            return False
        try:
            self._grow_and_publish(graph, writer)
        except (OSError, StoreError) as error:
            raise StoreWriteError(
                f"the graph in {self._folder} can't be written ({error}); the memories are safe, searches slower"
            ) from error
        return True

    def remove_unpublished(self, database: Database) -> None:
        """Removes files of graphs that are not the published one."""
        row = database.graph()
        if self._folder.is_dir():
            remove_all_but(self._folder, row.file if row else "")

    def _to_grow(self, writer: Database, min_tail: int) -> Graph | None:
        """The graph to add the missing vectors to, or None where too few are missing."""
        graph = self.current(writer)
        alive = 0 if graph is None else writer.count_vectors(up_to=graph.last_label)
        if graph is not None and len(graph) - alive > _DEAD_SHARE * len(graph):
            graph, alive = None, 0
        tail = writer.count_vectors() - alive
        if tail < max(min_tail, GROWTH * (0 if graph is None else len(graph))):
            return None
        return graph or Graph(int(writer.embedder()["dim"]), tail)

    def _grow_and_publish(self, graph: Graph, writer: Database) -> None:
        # Until it is published, what grows is no graph that anybody may count on, in this process either.
        self.forget()
        for labels, raw in writer.vectors(after=graph.last_label):
            graph.add(labels, np.frombuffer(raw, dtype=np.float32).reshape(len(labels), -1))
        row = graph.publish(self._folder, writer.next_generation())
        writer.publish_graph(row)
        reached("publish.recorded")
        remove_all_but(self._folder, row.file)
        reached("publish.cleaned")
        self._graph, self._generation = graph, row.generation
