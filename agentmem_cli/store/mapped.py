"""The vectors in a published graph's file, read where they lie: a thousand rows in a tenth of a millisecond.

hnswlib has them in memory too, but gives them out one by one, at 20 us each; SQLite takes 7.
"""

import stat
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.store.graph_file import HEADER_BYTES, element_kind, is_header_of

_BLOCK_ROWS: Final = 256  # copied together, so that they are still in the cache when they are multiplied
_SPARSE: Final = 64  # labels a vector: beyond, a table of all labels takes more memory than it is worth

FileState: TypeAlias = tuple[int, int, int]


class MappedVectors:
    """The float32 vectors (n, dim) of a graph file by label; they take no memory that the system can't have back.

    The file is opened when it is asked, and believed as long as it is in the `state` in which its digest was checked.
    """

    def __init__(self, path: Path, state: FileState, elements: int, dim: int) -> None:
        self._path, self._state, self._elements, self._dim = path, state, elements, dim
        self._vectors: NDArray[np.float32] | None = None
        self._row_of: NDArray[np.int32] = np.empty(0, dtype=np.int32)

    def cosines(self, query: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """The cosines (n,) of a query (dim,) with the vectors of these labels, in their order.

        None where the file isn't what it was, is laid out otherwise, or lacks a label.
        """
        vectors = self._opened()
        if vectors is None or labels.max(initial=0) >= len(self._row_of):
            return None
        rows = self._row_of[labels]
        if rows.min(initial=0) < 0:
            return None
        scores = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            np.matmul(vectors[rows[block]], query, out=scores[block])
        return scores

    def _opened(self) -> NDArray[np.float32] | None:
        try:
            if file_state(self._path) != self._state:
                self._vectors = None  # not to be touched again: it may be shorter than what is mapped
            elif self._vectors is None:
                self._map()
        except (OSError, ValueError):
            self._vectors = None
        return self._vectors

    def _map(self) -> None:
        if not is_header_of(np.fromfile(self._path, np.uint8, HEADER_BYTES), self._elements, self._dim):
            return
        kind = element_kind(self._dim)
        elements = np.memmap(self._path, kind, mode="r", offset=HEADER_BYTES, shape=(self._elements,))
        labels = elements["label"].astype(np.int64)
        if labels.max(initial=0) > _SPARSE * (self._elements + _BLOCK_ROWS):
            return
        self._row_of = np.full(labels.max(initial=0) + 1, -1, dtype=np.int32)
        self._row_of[labels] = np.arange(len(labels), dtype=np.int32)
        self._vectors = np.asarray(elements["vector"])


def file_state(path: Path) -> FileState:
    """What is another when somebody has replaced a file or written to it. Raises OSError, also for no plain file."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is not a file")
    return found.st_ino, found.st_size, found.st_mtime_ns
