"""A graph's file as hnswlib's `saveIndex` writes it: how it is laid out, and whether hnswlib may read it.

    header | for each element: its links on the lowest level, its vector, its label
           | for each element: how many bytes its links on the levels above take, and these links, level by level

hnswlib believes what a file says: a number that doesn't fit leads it out of its memory. A digest doesn't help where
somebody else has made both the file and the database. So every number is checked before hnswlib reads any.
"""

import math
from bisect import bisect_left
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

M: Final = 16
EF_CONSTRUCTION: Final = 100  # 200 takes twice as long, and finds no more: see the README
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
    """How long an element is: its links on the lowest level, its vector (dim,) float32, its label."""
    return _LINKS_LOWEST_BYTES + 4 * dim + 8


def element_kind(dim: int) -> np.dtype[np.void]:
    """An element: `count` and `links` on the lowest level, `vector` (dim,) and `label`."""
    return np.dtype([("count", "<u4"), ("links", "<u4", (2 * M,)), ("vector", "<f4", (dim,)), ("label", "<u8")])


def is_header_of(header: NDArray[np.uint8], elements: int, dim: int) -> bool:
    """Whether a file that begins so (HEADER_BYTES,) has so many elements, laid out as ours are."""
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

    The file is opened by its path once more to be loaded. Who could change it in between could write to the store
    anyway. Raises OSError, ValueError.
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
    """The highest level (n,) of each element, and where in `above` the links of each that has any begin, in order.

    None where the parts are not as long as they say, or not as many as there are elements.
    """
    levels = np.zeros(elements, dtype=np.int32)
    places: list[int] = []
    # Most elements have no links above, and so a word that is 0: from one word that is not to the next.
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
    """Whether all of these are from 1 to the last, each once."""
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
