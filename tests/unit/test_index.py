"""The graph file: published whole or not at all, and believed only if it is what was published."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hnswlib
import numpy as np
import pytest

from agentmem_cli.embedding.base import Vectors
from agentmem_cli.store.embedded import graph
from agentmem_cli.store.embedded.graph import Graph, best_of, exact_nearest, remove_all_but
from agentmem_cli.support.files import sha256_of

_DIM = 8


def _vectors(count: int, seed: int = 1) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, _DIM), dtype=np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _graph(count: int = 200, seed: int = 1) -> Graph:
    graph = Graph(_DIM, count)
    graph.add(range(1, count + 1), _vectors(count, seed))
    return graph


def _labels_found(graph: Graph, query: Vectors, k: int) -> list[int]:
    found = graph.search(query, k)
    assert found is not None
    return [int(label) for label in found[0]]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _replace_by_another_graph(path: Path) -> None:
    foreign = _graph(seed=2).publish(path.parent / "foreign", 1)
    (path.parent / "foreign" / foreign.file).replace(path)


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [Path.unlink, _truncate, _lengthen, _flip_one_bit, _replace_by_another_graph, _replace_by_folder]
)
def test_a_file_that_is_not_what_was_published_is_no_graph(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    row = _graph().publish(tmp_path, 1)
    assert Graph.load(tmp_path, row, _DIM) is not None
    damage(tmp_path / row.file)
    assert Graph.load(tmp_path, row, _DIM) is None


def test_a_file_that_hnswlib_cannot_read_is_no_graph_even_if_its_digest_fits(tmp_path: Path) -> None:
    row = _graph().publish(tmp_path, 1)
    (tmp_path / row.file).write_bytes(b"not a graph")
    digest = sha256_of(tmp_path / row.file)
    assert Graph.load(tmp_path, replace(row, size_bytes=11, sha256=digest), _DIM) is None


def test_a_published_graph_finds_what_it_found_before(tmp_path: Path) -> None:
    graph, query = _graph(), _vectors(1, seed=3)[0]
    row = graph.publish(tmp_path, 7)
    loaded = Graph.load(tmp_path, row, _DIM)
    assert loaded is not None
    assert (row.generation, row.vectors, row.last_vector_id) == (7, 200, 200)
    assert (len(loaded), loaded.last_label) == (200, 200)
    assert _labels_found(loaded, query, 10) == _labels_found(graph, query, 10)


def test_a_loaded_graph_takes_more_vectors_than_it_was_made_for(tmp_path: Path) -> None:
    loaded = Graph.load(tmp_path, _graph(100).publish(tmp_path, 1), _DIM)
    assert loaded is not None
    more = _vectors(150, seed=4)
    loaded.add(range(101, 251), more)
    assert (len(loaded), loaded.last_label) == (250, 250)
    assert _labels_found(loaded, more[149], 1) == [250]


def test_scores_are_the_cosines_best_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "EF_SEARCH", 200)
    query = _vectors(1, seed=5)[0]
    found = _graph().search(query, 20)
    assert found is not None
    cosines = _vectors(200) @ query
    np.testing.assert_allclose(found[1], np.sort(cosines)[::-1][:20], atol=1e-6)
    np.testing.assert_allclose(found[1], cosines[found[0] - 1], atol=1e-6)


def test_a_query_for_more_than_the_graph_holds_gets_all_of_it() -> None:
    assert sorted(_labels_found(_graph(30), _vectors(1)[0], 1000)) == list(range(1, 31))


def test_only_allowed_labels_are_returned() -> None:
    allowed = np.zeros(201, dtype=np.bool_)
    allowed[[3, 77, 150]] = True
    found = _graph().search(_vectors(1)[0], 3, allowed)
    assert found is not None
    assert sorted(found[0].tolist()) == [3, 77, 150]


def test_fewer_allowed_labels_than_asked_for_is_no_answer() -> None:
    allowed = np.zeros(201, dtype=np.bool_)
    allowed[3] = True
    assert _graph().search(_vectors(1)[0], 2, allowed) is None


def test_a_graph_that_a_full_disk_cut_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, save = _graph(), hnswlib.Index.save_index

    def save_half(index: hnswlib.Index, path: bytes) -> None:
        """Reports success, as hnswlib does on a full disk."""
        save(index, path)
        os.truncate(path, index.index_file_size() // 2)

    monkeypatch.setattr(hnswlib.Index, "save_index", save_half)
    with pytest.raises(OSError, match="written in part only"):
        graph.publish(tmp_path, 1)
    assert not (tmp_path / "1.hnsw").exists()


def test_a_graph_that_cannot_be_forced_to_the_disk_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(graph, "fsync_file", fail)
    with pytest.raises(OSError, match="Input/output error"):
        _graph().publish(tmp_path, 1)
    assert not (tmp_path / "1.hnsw").exists()


def test_the_file_is_forced_to_the_disk_before_it_gets_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[str]]] = []

    def note(path: Path) -> None:
        seen.append((path.name, sorted(entry.name for entry in (tmp_path / "index").iterdir())))

    monkeypatch.setattr(graph, "fsync_file", note)
    monkeypatch.setattr(graph, "fsync_folder", note)
    _graph().publish(tmp_path / "index", 1)
    assert seen == [("1.tmp", ["1.tmp"]), ("index", ["1.hnsw"])]


def test_a_leftover_of_a_killed_publication_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "2.tmp").write_bytes(b"half of a graph" * 100_000)
    row = _graph().publish(tmp_path, 2)
    assert Graph.load(tmp_path, row, _DIM) is not None


def test_what_earlier_publications_left_is_removed_and_the_published_graph_kept(tmp_path: Path) -> None:
    for name in ("1.hnsw", "2.hnsw", "3.tmp"):
        (tmp_path / name).touch()
    remove_all_but(tmp_path, "2.hnsw")
    assert [path.name for path in tmp_path.iterdir()] == ["2.hnsw"]


@pytest.mark.parametrize("page", [1, 7, 100])
def test_an_exact_scan_in_chunks_finds_the_nearest_of_all(page: int) -> None:
    vectors, query = _vectors(100), _vectors(1, seed=6)[0]
    pages = [
        (list(range(start + 1, min(start + page, 100) + 1)), vectors[start : start + page].tobytes())
        for start in range(0, 100, page)
    ]
    labels, scores = exact_nearest(query, pages, 5)
    cosines = vectors @ query
    assert labels.tolist() == (np.argsort(-cosines)[:5] + 1).tolist()
    np.testing.assert_allclose(scores, np.sort(cosines)[::-1][:5], atol=1e-6)


def test_an_exact_scan_of_nothing_finds_nothing() -> None:
    labels, scores = exact_nearest(_vectors(1)[0], [], 5)
    assert (len(labels), len(scores)) == (0, 0)


def test_of_equal_scores_the_lowest_labels_are_kept() -> None:
    labels, scores = best_of(np.array([9, 4, 7, 2]), np.array([0.5, 0.5, 0.9, 0.5], dtype=np.float32), 3)
    assert labels.tolist() == [7, 2, 4]
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.5])
