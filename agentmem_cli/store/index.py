"""The nearest vectors: by an hnswlib graph that is published atomically, and by exact scan. Only here is hnswlib."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import hnswlib
import numpy as np
from numpy.typing import NDArray

from agentmem_cli.store.folder import check_path
from agentmem_cli.store.graph_file import EF_CONSTRUCTION, M, is_sound
from agentmem_cli.store.mapped import MappedVectors, file_state
from agentmem_cli.store.rows import GraphRow
from agentmem_cli.support.failpoints import reached
from agentmem_cli.support.files import fsync_file, fsync_folder, sha256_of

EF_SEARCH: Final = 128
_GROWTH: Final = 1.5
_OURS: Final = re.compile(r"\d+\.(hnsw|tmp)|offer\.json\.tmp")

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]


class Graph:
    """An HNSW graph of unit vectors by label, compared by cosine (Malkov and Yashunin, arXiv:1603.09320).

    Not safe to search while it grows: the caller keeps the two apart.
    """

    def __init__(self, dim: int, capacity: int) -> None:
        self._dim = dim
        self._index = hnswlib.Index("ip", dim)
        self._index.init_index(max(capacity, 1), ef_construction=EF_CONSTRUCTION, M=M)
        self.last_label = 0
        self._mapped: MappedVectors | None = None

    @classmethod
    def load(cls, folder: Path, row: GraphRow, dim: int) -> "Graph | None":
        """The published graph, or None where its file is missing, is not, byte for byte, what was published, or can't
        be what hnswlib has written."""
        path = folder / row.file
        try:
            state = file_state(path)
            if not row.is_plausible or path.stat().st_size != row.size_bytes or sha256_of(path) != row.sha256:
                return None
            if not is_sound(path, row.vectors, dim, row.last_vector_id):
                return None
        except (OSError, ValueError):
            return None
        graph = cls.__new__(cls)
        graph._dim = dim
        graph._index = hnswlib.Index("ip", dim)
        try:
            # Not room for as many as the file asks for.
            graph._index.load_index(os.fsencode(path), max_elements=row.vectors)
        except RuntimeError:
            return None
        graph.last_label = row.last_vector_id
        graph._mapped = MappedVectors(path, state, row.vectors, dim)
        return graph

    def __len__(self) -> int:
        return int(self._index.get_current_count())

    def add(self, labels: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Adds vectors (n, dim) under labels above all that are there, ascending."""
        needed = len(self) + len(labels)
        if needed > self._index.get_max_elements():
            self._index.resize_index(max(needed, int(_GROWTH * len(self))))
        self._index.add_items(vectors, labels)
        self.last_label = max(self.last_label, labels[-1])

    def search(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[Labels, Scores] | None:
        """The k labels nearest to a query (dim,), and their cosines, best first; None where fewer can be reached.

        `allowed[label]` says which labels may be returned.
        """
        k = min(k, len(self))
        self._index.set_ef(max(EF_SEARCH, 2 * k))
        keep = None if allowed is None else allowed.__getitem__
        try:
            labels, distances = self._index.knn_query(query, k=k, num_threads=1, filter=keep)
        except RuntimeError:
            return None
        return labels[0].astype(np.int64), 1 - distances[0]

    def cosines(self, query: NDArray[np.float32], labels: Labels) -> Scores | None:
        """The cosines of a query (dim,) with the vectors of these labels, in their order; None where not all of them
        can be read from the published file."""
        return None if self._mapped is None else self._mapped.cosines(query, labels)

    def labels(self) -> list[int]:
        """All labels, ascending."""
        return sorted(int(label) for label in self._index.get_ids_list())

    def vectors(self, labels: Sequence[int]) -> NDArray[np.float32]:
        """The vectors (n, dim) of labels that are there, as the graph holds them."""
        return np.asarray(self._index.get_items(labels, return_type="numpy"), dtype=np.float32)

    def publish(self, folder: Path, generation: int) -> GraphRow:
        """Writes the graph so that it is there whole and durable, or not at all, and returns what proves it.

        Raises OSError: hnswlib itself reports success on a full disk, so the size is checked against what it means
        to write.
        """
        folder.mkdir(mode=0o700, exist_ok=True)
        temporary = folder / f"{generation}.tmp"
        check_path(temporary)
        try:
            self._index.save_index(os.fsencode(temporary))
        except RuntimeError as error:
            raise OSError(f"hnswlib can't write {temporary}: {error}") from error
        temporary.chmod(0o600)
        size_bytes = temporary.stat().st_size
        if size_bytes != self._index.index_file_size():
            raise OSError(f"{temporary} was written in part only: is the disk full?")
        reached("publish.written")
        fsync_file(temporary)
        reached("publish.synced")
        state = file_state(temporary)
        row = GraphRow(
            generation=generation,
            size_bytes=size_bytes,
            sha256=sha256_of(temporary),
            vectors=len(self),
            last_vector_id=self.last_label,
        )
        temporary.replace(folder / row.file)
        fsync_folder(folder)
        reached("publish.named")
        self._mapped = MappedVectors(folder / row.file, state, row.vectors, self._dim)
        return row


def remove_all_but(folder: Path, file: str) -> None:
    """Removes what earlier publications left in the folder, and nothing that has another name than theirs."""
    for path in folder.iterdir():
        if path.name != file and _OURS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with suppress(OSError):  # it is in nobody's way, and the next publication tries again
                path.unlink()


def exact_nearest(
    query: NDArray[np.float32], chunks: Iterable[tuple[list[int], bytes]], k: int
) -> tuple[Labels, Scores]:
    """The k labels nearest to a query (dim,) of all in the chunks, and their cosines, best first, by scanning them."""
    best_labels = np.empty(0, dtype=np.int64)
    best_scores = np.empty(0, dtype=np.float32)
    for labels, raw in chunks:
        vectors = np.frombuffer(raw, dtype=np.float32).reshape(len(labels), -1)
        best_labels = np.concatenate([best_labels, np.asarray(labels, dtype=np.int64)])
        best_scores = np.concatenate([best_scores, vectors @ query])
        best_labels, best_scores = best_of(best_labels, best_scores, k)
    return best_labels, best_scores


def best_of(labels: Labels, scores: Scores, k: int) -> tuple[Labels, Scores]:
    """The k best of these, best first; of equals the lowest label first."""
    if k < len(scores):
        kept = np.flatnonzero(scores >= np.partition(scores, -k)[-k])  # of many, few are worth sorting
        labels, scores = labels[kept], scores[kept]
    order = np.lexsort((labels, -scores))[:k]
    return labels[order], scores[order]
