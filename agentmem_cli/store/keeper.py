"""The life of a store: what it holds, removing, checking, repairing, shrinking, re-embedding."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from agentmem_cli.errors import StoreError, StoreNotFoundError
from agentmem_cli.records.memory import Memory, SearchFilter
from agentmem_cli.store.database import Database
from agentmem_cli.store.embedded import EmbeddedStore
from agentmem_cli.store.folder import paths
from agentmem_cli.store.rows import VectorRow
from agentmem_cli.store.upkeep import Upkeep
from agentmem_cli.store.verify import Finding, verify
from agentmem_cli.support.failpoints import reached

_REEMBED_TEXTS: Final = 1000


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds. `by_scope` has the largest scopes; "" is 'not said'. `graph` says how much it covers.

    `windows` are parts of long memories that have vectors of their own; `truncated` memories are longer than the model
    reads, and have none, or too long ones: no vector is of all their text.
    """

    memories: int
    vectors: int
    windows: int
    truncated: int
    history_events: int
    by_scope: dict[str, dict[str, int]]
    bytes_by_file: dict[str, int]
    embedder: dict[str, str | int]
    graph: dict[str, int | str]

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return sum(self.bytes_by_file.values())


class Keeper:
    """Upkeep of one store; what changes it needs the store open for writing. Raises StoreError and its kinds."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store

    def stats(self) -> StoreStats:
        """What the store holds, as of one moment."""
        database = self._reader()
        with database.snapshot():
            counts = Upkeep(database).counts()
            return StoreStats(
                memories=counts["memories"],
                vectors=counts["vectors"],
                windows=counts["windows"],
                truncated=Upkeep(database).count_truncated(),
                history_events=counts["history"],
                by_scope=Upkeep(database).counts_by_scope(),
                bytes_by_file=self._bytes_by_file(),
                embedder=database.embedder(),
                graph=self._graph_state(database, counts["vectors"]),
            )

    def page(self, wanted: SearchFilter, limit: int, offset: int) -> list[Memory]:
        """A page of the matching memories, newest first."""
        return self._reader().newest(wanted, limit, offset)

    def ids(self, wanted: SearchFilter) -> list[str]:
        """The ids of all matching memories, in the order of their arrival."""
        return self._reader().ids(wanted)

    def memories(self, *, vectors: bool, on_damaged: Callable[[str], None] | None = None) -> Iterator[Memory]:
        """Every memory as of one moment: see `Database.all_memories`."""
        self._reader()
        # A connection of its own: whoever iterates may do other things with the store meanwhile.
        with closing(Database(self._store.path, writable=False)) as database, database.snapshot():
            yield from database.all_memories(vectors=vectors, on_damaged=on_damaged)

    def delete(self, ids: Sequence[str]) -> int:
        """Removes memories durably, texts and vectors with them, and says how many were there."""
        return Upkeep(self._store.writer()).delete(list(dict.fromkeys(ids)))

    def verify(self) -> list[Finding]:
        """All that is wrong with the store; empty where it is whole."""
        database = self._reader()
        with database.snapshot():
            return list(verify(database, self._store.folder))

    def repair(self) -> None:
        """Builds anew what is derived, from what is stored."""
        upkeep = Upkeep(self._store.writer())
        upkeep.drop_orphan_vectors()
        upkeep.make_text_index()
        upkeep.forget_graph()
        self._store.refresh_graph()

    def compact(self) -> None:
        """Writes the files anew, without what was removed from them. Raises StoreError where somebody reads them."""
        upkeep = Upkeep(self._store.writer())
        self._store.close_reader()  # an open reader would hold the log
        upkeep.forget_graph()
        reached("compact.unpublished")
        emptied = upkeep.vacuum()
        reached("compact.vacuumed")
        self._store.refresh_graph()
        self._store.graph.remove_unpublished(self._store.writer(), wait=True)
        if not emptied:
            raise StoreError(
                f"store {self._store.folder} was not compacted: it is being read, and deleted texts are still in its "
                "files; end what reads it, and compact it again"
            )

    def reembed(
        self,
        embedder: Mapping[str, str | int],
        embed: Callable[[Sequence[str]], tuple[NDArray[np.float32], NDArray[np.bool_]]],
        on_staged: Callable[[int], None],
    ) -> None:
        """Gives every text a vector of another embedder.

        `embed` maps n texts to (n, dim) float32 unit rows, and (n,) whether each text is longer than the model reads.
        Long memories keep the windows that they have.
        New vectors are made durable in batches beside the old, which stay in use until all are made; then one
        transaction puts them in their place. Cut off at any moment, it goes on from the last batch when called again.
        """
        upkeep = Upkeep(self._store.writer())
        wanted = orjson.dumps(embedder, option=orjson.OPT_SORT_KEYS).decode()
        if upkeep.staging_for() != wanted:
            upkeep.start_staging(wanted)
        after = 0
        while texts := upkeep.unstaged_texts(after, _REEMBED_TEXTS):
            vectors, cut = embed([staged.text for staged in texts])
            rows = [vector.tobytes() for vector in vectors]
            upkeep.stage(
                [
                    VectorRow(staged.vector_id, row, zlib.crc32(row), bool(is_cut))
                    for staged, row, is_cut in zip(texts, rows, cut, strict=True)
                ]
            )
            after = texts[-1].vector_id
            on_staged(len(texts))
        upkeep.switch_to_staged(embedder)
        self._store.vectors_of = embedder
        self._store.refresh_graph()

    def _reader(self) -> Database:
        reader = self._store.reader()
        if reader is None:
            raise StoreNotFoundError(f"no store at {self._store.folder}: make one with 'agentmem ingest'")
        return reader

    def _bytes_by_file(self) -> dict[str, int]:
        folder = self._store.folder
        sizes = {}
        for path in sorted(paths(folder)):
            with suppress(FileNotFoundError):  # a graph may be replaced meanwhile
                if path.is_file():
                    sizes[str(path.relative_to(folder))] = path.stat().st_size
        return sizes

    def _graph_state(self, database: Database, vectors: int) -> dict[str, int | str]:
        row = database.graph()
        if row is None:
            return {"state": "none: every vector is scanned", "vectors": 0, "scanned": vectors}
        covered = database.count_vectors(up_to=row.last_vector_id)
        state = "published" if self._store.graph.looks_whole(row) else "damaged or missing: every vector is scanned"
        scanned = vectors - covered if state == "published" else vectors
        return {"state": state, "file": row.file, "vectors": row.vectors, "scanned": scanned}
