"""The nearest vectors, by an hnswlib graph that is published atomically, or by an exact scan."""

import math
import os
import re
import stat
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.errors import StoreError
from agentmem_cli.store.embedded.database import GraphRow
from agentmem_cli.store.embedded.folder import check_path
from agentmem_cli.support.failpoints import reached
from agentmem_cli.support.files import fsync_file, fsync_folder, sha256_of

if TYPE_CHECKING:
    import hnswlib

M: Final = 16
EF_CONSTRUCTION: Final = 100  # 200 takes twice as long, and recall was no higher
HEADER_BYTES: Final = 96
_HEADER: Final = np.dtype(
    [
        ("lowest_offset", "<u8"),
        ("capacity", "<u8"),
        ("elements", "<u8"),
        ("element_bytes", "<u8"),
        ("label_offset", "<u8"),
        ("vector_offset", "<u8"),
        ("top_level", "<i4"),
        ("entry", "<u4"),
        ("most_links_above", "<u8"),
        ("most_links_lowest", "<u8"),
        ("m", "<u8"),
        ("level_scale", "<f8"),
        ("ef_construction", "<u8"),
    ]
)
_LINKS_LOWEST_BYTES: Final = 4 + 4 * 2 * M  # their number, and room for twice M
_WORDS_A_LEVEL: Final = 1 + M  # the same above the lowest level, in numbers of 4 bytes
_BLOCK_ELEMENTS: Final = 1024  # are checked together, so that they are still in the cache

Words: TypeAlias = NDArray[np.uint32]


def element_bytes(dim: int) -> int:
    """The size of an element: its links on the lowest level, its vector (dim,) float32, its label."""
    return _LINKS_LOWEST_BYTES + 4 * dim + 8


def element_kind(dim: int) -> np.dtype[np.void]:
    """An element: `count` and `links` on the lowest level, `vector` (dim,) and `label`."""
    return np.dtype([("count", "<u4"), ("links", "<u4", (2 * M,)), ("vector", "<f4", (dim,)), ("label", "<u8")])


def is_header_of(header: NDArray[np.uint8], elements: int, dim: int) -> bool:
    """Whether a file's header (HEADER_BYTES,) says that it has this many elements in our layout."""
    found = header.view(_HEADER)[0]
    wanted = {
        "lowest_offset": 0,
        "elements": elements,
        "element_bytes": element_bytes(dim),
        "label_offset": _LINKS_LOWEST_BYTES + 4 * dim,
        "vector_offset": _LINKS_LOWEST_BYTES,
        "most_links_above": M,
        "most_links_lowest": 2 * M,
        "m": M,
        "ef_construction": EF_CONSTRUCTION,
    }
    return (
        all(found[name] == value for name, value in wanted.items())
        and math.isclose(found["level_scale"], 1 / math.log(M))
        and bool(found["capacity"] >= elements)
    )


def is_sound(path: Path, elements: int, dim: int, last_label: int) -> bool:
    """Whether hnswlib can read and walk a file of so many vectors (dim,) without leaving it.

    The file is opened by its path again to be loaded. A process that could replace it in between could write to the
    store anyway. Raises OSError, ValueError.
    """
    content = np.memmap(path, np.uint8, mode="r")
    lowest_end = HEADER_BYTES + elements * element_bytes(dim)
    if not 0 < elements <= len(content) or dim < 1 or len(content) < lowest_end or len(content) % 4:
        return False
    if not is_header_of(content[:HEADER_BYTES], elements, dim):
        return False
    header = content[:HEADER_BYTES].view(_HEADER)[0]
    lowest = content[HEADER_BYTES:lowest_end].view(element_kind(dim))
    above = np.array(content[lowest_end:].view("<u4"))
    found = _levels(above, elements)
    if found is None:
        return False
    levels, places = found
    entry, top = int(header["entry"]), int(header["top_level"])
    return (
        entry < elements
        and top == levels[entry] == levels.max()
        and _are_labels(lowest["label"], last_label)
        and _is_lowest_sound(lowest, elements)
        and _are_above_sound(above, levels, places)
    )


def _levels(above: Words, elements: int) -> tuple[NDArray[np.int32], NDArray[np.int64]] | None:
    """The highest level of each element (n,), and the offsets in `above` of the links of those that have any, in order.

    None where the parts are not as long as they say, or do not match the number of elements.
    """
    levels = np.zeros(elements, dtype=np.int32)
    places: list[int] = []
    # Most elements have no links above, so their word is 0: go from one non-zero word to the next.
    used = np.flatnonzero(above).tolist()
    place = element = at = 0
    while at < len(used):
        begin = used[at]
        element += begin - place
        words, rest = divmod(int(above[begin]), 4)
        count, odd = divmod(words, _WORDS_A_LEVEL)
        place = begin + 1 + words
        if element >= elements or rest or odd or place > len(above):
            return None
        levels[element] = count
        places.append(begin + 1)
        element += 1
        at = bisect_left(used, place, at, min(len(used), at + 1 + words))
    is_whole = element + len(above) - place == elements
    return (levels, np.array(places, dtype=np.int64)) if is_whole else None


def _are_labels(labels: NDArray[np.uint64], last_label: int) -> bool:
    """Whether these are distinct, from 1 to the last."""
    ordered = np.sort(labels, kind="stable")
    return bool(ordered[0] >= 1 and ordered[-1] <= last_label and (ordered[1:] > ordered[:-1]).all())


def _is_lowest_sound(lowest: NDArray[np.void], elements: int) -> bool:
    room = np.arange(2 * M)
    for start in range(0, elements, _BLOCK_ELEMENTS):
        block = lowest[start : start + _BLOCK_ELEMENTS]
        counts, links, vectors = block["count"], block["links"], block["vector"]
        if counts.max() > 2 * M:  # a count with a mark that the element is deleted, which ours never are, is more too
            return False
        if links.max() >= elements and ((links >= elements) & (room < counts[:, np.newaxis])).any():
            return False
        if not np.isfinite(np.einsum("ij,ij->", vectors, vectors)):
            return False
    return True


def _are_above_sound(above: Words, levels: NDArray[np.int32], places: NDArray[np.int64]) -> bool:
    """Whether every link above the lowest level leads to an element that is on that level."""
    of_element = levels[levels > 0]
    first = np.cumsum(of_element) - of_element  # of an element's lists among all lists
    level = 1 + np.arange(int(of_element.sum())) - np.repeat(first, of_element)
    begins = np.repeat(places, of_element) + (level - 1) * _WORDS_A_LEVEL
    counts = above[begins]
    if counts.max(initial=0) > M:
        return False
    links = above[begins[:, np.newaxis] + np.arange(1, _WORDS_A_LEVEL)]
    used = np.arange(M) < counts[:, np.newaxis]
    links = np.where(used, links, 0)
    if links.max(initial=0) >= len(levels):
        return False
    return bool((~used | (levels[links] >= level[:, np.newaxis])).all())


_BLOCK_ROWS: Final = 256  # copied together, so that they are still in the cache when they are multiplied
_SPARSE: Final = 64  # labels a vector: beyond, a table of all labels takes more memory than it is worth

FileState: TypeAlias = tuple[int, int, int]


class MappedVectors:
    """The float32 vectors (n, dim) of a graph file by label, in memory that the system can reclaim.

    The file is opened at each call, and trusted while it is in the `state` in which its digest was checked.
    """

    def __init__(self, path: Path, state: FileState, elements: int, dim: int) -> None:
        self._path, self._state, self._elements, self._dim = path, state, elements, dim
        self._vectors: NDArray[np.float32] | None = None
        self._row_of: NDArray[np.int32] = np.empty(0, dtype=np.int32)

    def cosines(self, query: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """The cosines (n,) of a query (dim,) with the vectors of these labels, in their order.

        None where the file has changed, has another layout, or lacks a label.
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
                self._vectors = None  # not to be read again: it may be shorter than the map
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
    """A value that changes when a file is replaced or written to. Raises OSError, also for what is not a regular
    file."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is not a file")
    return found.st_ino, found.st_size, found.st_mtime_ns


EF_SEARCH: Final = 128
_GROWTH: Final = 1.5
_OURS: Final = re.compile(r"\d+\.(hnsw|tmp)|offer\.json\.tmp")

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]


def ef_of(k: int) -> int:
    """The number of candidates that a search for the k nearest keeps."""
    return max(EF_SEARCH, 2 * k)


def _empty_index(dim: int) -> "hnswlib.Index":
    """An index of hnswlib, which is imported only where there is a graph. Raises StoreError."""
    try:
        import hnswlib
    except ImportError as error:
        raise StoreError(
            f"hnswlib, which keeps the graph, can't be loaded ({error}): pip install --force-reinstall --no-cache-dir "
            "hnswlib (it needs a C++ compiler)"
        ) from error
    return hnswlib.Index("ip", dim)


class Graph:
    """An HNSW graph of unit vectors by label, compared by cosine (Malkov and Yashunin, arXiv:1603.09320).

    Not safe to search while it grows: the caller keeps the two apart.
    """

    def __init__(self, dim: int, capacity: int) -> None:
        self._dim = dim
        self._index = _empty_index(dim)
        self._index.init_index(max(capacity, 1), ef_construction=EF_CONSTRUCTION, M=M)
        self.last_label: int = 0
        self._mapped: MappedVectors | None = None

    @classmethod
    def load(cls, folder: Path, row: GraphRow, dim: int) -> "Graph | None":
        """The published graph, or None where its file is missing, differs from what was published, or was not written
        by hnswlib."""
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
        graph._index = _empty_index(dim)
        try:
            # Not with the capacity that the file asks for.
            graph._index.load_index(os.fsencode(path), max_elements=row.vectors)
        except RuntimeError:
            return None
        graph.last_label = row.last_vector_id
        graph._mapped = MappedVectors(path, state, row.vectors, dim)
        return graph

    def __len__(self) -> int:
        return int(self._index.get_current_count())

    def add(self, labels: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Adds vectors (n, dim) under labels that ascend and are higher than all before."""
        needed = len(self) + len(labels)
        if needed > self._index.get_max_elements():
            self._index.resize_index(max(needed, int(_GROWTH * len(self))))
        self._index.add_items(vectors, labels)
        self.last_label = max(self.last_label, labels[-1])

    def search(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None, ef: int | None = None
    ) -> tuple[Labels, Scores] | None:
        """The k labels nearest to a query (dim,), and their cosines, best first; None where fewer can be reached.

        `allowed[label]` says which labels may be returned. `ef` is `ef_of(k)` unless it is given.
        """
        k = min(k, len(self))
        self._index.set_ef(ef_of(k) if ef is None else ef)
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
        """Writes the graph durably, whole or not at all, and returns its size and digest.

        Raises OSError. hnswlib reports success on a full disk, so the size of the file is checked.
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
    """Removes what earlier publications left in the folder, and no file with another kind of name."""
    for path in folder.iterdir():
        if path.name != file and _OURS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with suppress(OSError):  # harmless, and the next publication tries again
                path.unlink()


def exact_nearest(
    query: NDArray[np.float32], pages: Iterable[tuple[list[int], bytes]], k: int
) -> tuple[Labels, Scores]:
    """The k labels in the pages that are nearest to a query (dim,), and their cosines, best first, by a scan."""
    best_labels = np.empty(0, dtype=np.int64)
    best_scores = np.empty(0, dtype=np.float32)
    for labels, raw in pages:
        vectors = np.frombuffer(raw, dtype=np.float32).reshape(len(labels), -1)
        best_labels = np.concatenate([best_labels, np.asarray(labels, dtype=np.int64)])
        best_scores = np.concatenate([best_scores, vectors @ query])
        best_labels, best_scores = best_of(best_labels, best_scores, k)
    return best_labels, best_scores


def best_of(labels: Labels, scores: Scores, k: int) -> tuple[Labels, Scores]:
    """The k best of these, best first; of equals the lowest label first."""
    if k < len(scores):
        kept = np.flatnonzero(scores >= np.partition(scores, -k)[-k])  # sorting all would take longer
        labels, scores = labels[kept], scores[kept]
    order = np.lexsort((labels, -scores))[:k]
    return labels[order], scores[order]
