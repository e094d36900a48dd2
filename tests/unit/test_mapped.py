"""A graph file's vectors, read where they lie: believed only as long as nobody touches the file."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli.embedding.base import Vectors
from agentmem_cli.store.embedded.graph import Graph, MappedVectors, file_state

_DIM = 24
_COUNT = 700


def _vectors(count: int, seed: int = 1) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, _DIM), dtype=np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


_VECTORS, _QUERY = _vectors(_COUNT), _vectors(1, seed=2)[0]
_LABELS = np.arange(5, 5 + 3 * _COUNT, 3)  # with gaps, as they are where texts were removed


def _published(folder: Path) -> Graph:
    graph = Graph(_DIM, _COUNT)
    graph.add(_LABELS.tolist(), _VECTORS)
    graph.publish(folder, 1)
    return graph


@pytest.mark.parametrize("loaded", [False, True], ids=["built", "loaded"])
def test_a_published_graph_gives_the_cosines_of_any_of_its_vectors(tmp_path: Path, loaded: bool) -> None:
    graph: Graph | None = Graph(_DIM, _COUNT)
    assert graph is not None
    graph.add(_LABELS.tolist(), _VECTORS)
    assert graph.cosines(_QUERY, _LABELS) is None  # no file yet
    row = graph.publish(tmp_path, 1)
    if loaded:
        graph = Graph.load(tmp_path, row, _DIM)
    assert graph is not None
    for asked in (np.arange(_COUNT), np.array([699, 0, 3, 3, 256, 255]), np.array([], dtype=np.int64)):
        scores = graph.cosines(_QUERY, _LABELS[asked])
        assert scores is not None
        np.testing.assert_allclose(scores, _VECTORS[asked] @ _QUERY, atol=1e-6)


@pytest.mark.parametrize("missing", [0, 4, 6, 5 + 3 * _COUNT, 10**12])
def test_a_label_that_the_file_lacks_is_no_other_vector(tmp_path: Path, missing: int) -> None:
    graph = _published(tmp_path)
    assert graph.cosines(_QUERY, np.array([5, missing])) is None
    assert graph.cosines(_QUERY, np.array([5])) is not None


def test_vectors_that_came_after_the_publication_are_not_taken_from_the_file(tmp_path: Path) -> None:
    graph = _published(tmp_path)
    graph.add([10_000], _vectors(1, seed=3))
    assert graph.cosines(_QUERY, np.array([5, 10_000])) is None
    graph.publish(tmp_path, 2)
    assert graph.cosines(_QUERY, np.array([5, 10_000])) is not None


def _truncate(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(200)


def _flip_a_bit(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(3000)
        stream.write(b"\xff")


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("touch", [Path.unlink, _truncate, _flip_a_bit, _replace])
@pytest.mark.parametrize("mapped_before", [False, True])
def test_a_file_that_was_touched_is_not_believed_any_more(
    tmp_path: Path, touch: Callable[[Path], None], mapped_before: bool
) -> None:
    graph = _published(tmp_path)
    if mapped_before:
        assert graph.cosines(_QUERY, _LABELS) is not None
    time.sleep(0.02)  # file systems tell times apart by ticks
    touch(tmp_path / "1.hnsw")
    assert graph.cosines(_QUERY, _LABELS) is None


@pytest.mark.parametrize(("elements", "dim"), [(_COUNT - 1, _DIM), (_COUNT, _DIM + 1), (_COUNT, _DIM - 1)])
def test_a_file_that_is_laid_out_otherwise_is_not_read(tmp_path: Path, elements: int, dim: int) -> None:
    _published(tmp_path)
    path = tmp_path / "1.hnsw"
    assert MappedVectors(path, file_state(path), _COUNT, _DIM).cosines(_QUERY, _LABELS) is not None
    assert MappedVectors(path, file_state(path), elements, dim).cosines(_QUERY, _LABELS) is None


@pytest.mark.parametrize("field", [0, 2, 3, 4, 5, 7, 8, 9, 10, 11])
def test_a_header_that_says_otherwise_is_believed(tmp_path: Path, field: int) -> None:
    _published(tmp_path)
    path = tmp_path / "1.hnsw"
    content = bytearray(path.read_bytes())
    content[8 * field + 6] ^= 4
    path.write_bytes(content)
    assert MappedVectors(path, file_state(path), _COUNT, _DIM).cosines(_QUERY, _LABELS) is None


def test_a_file_that_is_too_short_for_a_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"12")
    assert MappedVectors(path, file_state(path), _COUNT, _DIM).cosines(_QUERY, _LABELS) is None
