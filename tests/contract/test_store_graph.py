"""The graph only makes searches faster: with it, without it or with a damaged one they find the same."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli.errors import StoreError, StoreWriteError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Memory
from agentmem_cli.store.embedded import graph
from agentmem_cli.store.embedded.database import Database, GraphRow
from agentmem_cli.store.embedded.graph import Graph
from agentmem_cli.store.embedded.store import EmbeddedStore
from tests.fakes import FAKE_DIM, FakeEmbedder
from tests.searches import nearest

_EMBEDDER = FakeEmbedder()
_PIN = _EMBEDDER.spec.fingerprint()
_QUERIES = ("item 17", "colour2 shape3", "item 299 colour5", "nothing like it")


@pytest.fixture(autouse=True)
def _visit_all_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of it visited, a graph must find what a scan finds."""
    monkeypatch.setattr(graph, "EF_SEARCH", 10_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[EmbeddedStore]:
    with closing(EmbeddedStore(folder)) as opened:
        opened.open_for_writing(_PIN)
        _put(opened, *_memories(300))
        yield opened


def _memories(count: int, first: int = 0) -> list[Memory]:
    return [Memory(f"item {i} colour{i % 7} shape{i % 11}", id=str(i)) for i in range(first, first + count)]


def _put(store: EmbeddedStore, *memories: Memory) -> None:
    plan = store.plan(memories)
    vectors = _EMBEDDER.embed(plan.new_texts).vectors if plan.new_texts else np.empty((0, FAKE_DIM), dtype=np.float32)
    store.commit(plan, vectors)


def _nearest(store: EmbeddedStore, query: str, k: int = 10) -> dict[str, float]:
    found = nearest(store, _EMBEDDER.embed_query(query), k, SearchFilter(), _PIN)
    return {hit.text: hit.score for hit in found}


def _nearest_of(texts: list[str], query: str, k: int = 10) -> dict[str, float]:
    scores = _EMBEDDER.embed(texts).vectors @ _EMBEDDER.embed_query(query)
    return {texts[i]: float(scores[i]) for i in np.argsort(-scores)[:k]}


def _assert_finds(store: EmbeddedStore, texts: list[str]) -> None:
    for query in _QUERIES:
        found, expected = _nearest(store, query), _nearest_of(texts, query)
        assert list(found) == list(expected)
        assert found == pytest.approx(expected, abs=1e-5)


def _graph_file(folder: Path) -> Path:
    (path,) = (folder / "index").iterdir()
    return path


def _texts(count: int) -> list[str]:
    return [memory.text for memory in _memories(count)]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _flip_a_third(path: Path) -> None:
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
    content[len(content) // 3 : 2 * len(content) // 3] ^= 0x40
    path.write_bytes(content.tobytes())


def _replace_by_a_graph_of_other_vectors(path: Path) -> None:
    graph = Graph(FAKE_DIM, 300)
    rows = np.random.default_rng(1).standard_normal((300, FAKE_DIM), dtype=np.float32)
    graph.add(range(1, 301), rows / np.linalg.norm(rows, axis=1, keepdims=True))
    row = graph.publish(path.parent.parent / "foreign", 1)
    assert row.size_bytes == path.stat().st_size
    (path.parent.parent / "foreign" / row.file).replace(path)


def _remove_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def test_a_published_graph_answers_searches_and_finds_what_a_scan_finds(
    store: EmbeddedStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _assert_finds(store, _texts(300))
    assert store.refresh_graph(min_tail=1)
    asked: list[int] = []
    search = Graph.search

    def counted(self: Graph, *arguments: object) -> object:
        asked.append(1)
        return search(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Graph, "search", counted)
    with closing(EmbeddedStore(folder)) as reader:
        for opened in (store, reader):
            _assert_finds(opened, _texts(300))
    assert len(asked) == 2 * len(_QUERIES)


@pytest.mark.parametrize(
    "damage", [Path.unlink, _truncate, _flip_a_third, _replace_by_a_graph_of_other_vectors, _remove_the_folder]
)
def test_a_damaged_graph_changes_no_answer_and_is_built_again(
    store: EmbeddedStore, folder: Path, damage: Callable[[Path], None]
) -> None:
    store.refresh_graph(min_tail=1)
    store.close()
    damage(_graph_file(folder))
    with closing(EmbeddedStore(folder)) as reopened:
        _assert_finds(reopened, _texts(300))
        reopened.open_for_writing(_PIN)
        assert reopened.refresh_graph(min_tail=1)
        _assert_finds(reopened, _texts(300))
    assert Graph.load(folder / "index", _published(folder), FAKE_DIM) is not None


def _published(folder: Path) -> GraphRow:
    with closing(Database(folder / "memories.db", writable=False)) as database:
        row = database.graph()
    assert row is not None
    assert row.file == _graph_file(folder).name
    return row


def test_memories_that_are_newer_than_the_graph_are_found(store: EmbeddedStore, folder: Path) -> None:
    store.refresh_graph(min_tail=1)
    _put(store, *_memories(20, first=300))
    with closing(EmbeddedStore(folder)) as reader:
        for opened in (store, reader):
            _assert_finds(opened, _texts(320))
            assert _nearest(opened, "item 311 colour3 shape3", 1) == {"item 311 colour3 shape3": pytest.approx(1)}


def test_texts_that_are_gone_but_still_in_the_graph_take_no_place(store: EmbeddedStore) -> None:
    store.refresh_graph(min_tail=1)
    gone = {text for query in _QUERIES for text in _nearest(store, query, 12)}
    _put(store, *(Memory("far away", id=memory.id) for memory in _memories(300) if memory.text in gone))
    _assert_finds(store, [text for text in _texts(300) if text not in gone] + ["far away"])
    everything = nearest(store, _EMBEDDER.embed_query("item 17"), 1000, SearchFilter(), _PIN)
    assert len({hit.id for hit in everything}) == 300


def test_a_graph_is_published_only_when_enough_is_missing_from_it(store: EmbeddedStore) -> None:
    assert not store.refresh_graph(min_tail=301)
    assert store.refresh_graph(min_tail=300)
    assert not store.refresh_graph(min_tail=1)
    _put(store, *_memories(29, first=300))
    assert not store.refresh_graph(min_tail=1)
    _put(store, *_memories(1, first=329))
    assert store.refresh_graph(min_tail=1)


def test_a_graph_with_too_many_gone_texts_is_built_without_them(store: EmbeddedStore, folder: Path) -> None:
    store.refresh_graph(min_tail=1)
    _put(store, *(Memory("far away", id=str(i)) for i in range(200)))
    assert store.refresh_graph(min_tail=1)
    assert _published(folder).vectors == 101
    assert len(_nearest(store, "item 250", 1000)) == 101


def test_a_graph_grows_by_what_is_new_and_replaces_the_old_file(store: EmbeddedStore, folder: Path) -> None:
    store.refresh_graph(min_tail=1)
    first = _published(folder)
    store.close()
    with closing(EmbeddedStore(folder)) as reopened:
        reopened.open_for_writing(_PIN)
        _put(reopened, *_memories(400, first=300))
        assert reopened.refresh_graph(min_tail=1)
        second = _published(folder)
        assert (first.vectors, second.vectors, second.generation) == (300, 700, first.generation + 1)
        _assert_finds(reopened, _texts(700))


def test_a_reader_follows_when_its_graph_is_replaced(store: EmbeddedStore, folder: Path) -> None:
    store.refresh_graph(min_tail=1)
    with closing(EmbeddedStore(folder)) as reader:
        _assert_finds(reader, _texts(300))
        _put(store, *_memories(100, first=300))
        store.refresh_graph(min_tail=1)
        _assert_finds(reader, _texts(400))


@pytest.mark.parametrize("published_before", [False, True])
def test_a_graph_that_cannot_be_written_costs_no_memory_and_is_written_when_it_can_be(
    store: EmbeddedStore, folder: Path, published_before: bool
) -> None:
    assert store.refresh_graph(min_tail=1 if published_before else 1000) == published_before
    _put(store, *_memories(50, first=300))
    obstacle = folder / "index" / f"{1 + published_before}.tmp"
    obstacle.mkdir(parents=True)
    with pytest.raises(StoreWriteError, match="the memories are safe"):
        store.refresh_graph(min_tail=1)
    _assert_finds(store, _texts(350))
    _put(store, *_memories(1, first=350))
    _assert_finds(store, _texts(351))
    obstacle.rmdir()
    assert store.refresh_graph(min_tail=1)
    assert _published(folder).vectors == 351
    _assert_finds(store, _texts(351))


def test_a_graph_file_of_a_publication_that_was_cut_off_is_not_used(store: EmbeddedStore, folder: Path) -> None:
    store.refresh_graph(min_tail=1)
    published = _graph_file(folder)
    shutil.copy(published, folder / "index" / "2.hnsw")
    (folder / "index" / "2.tmp").write_bytes(b"half")
    _put(store, *_memories(100, first=300))
    with closing(EmbeddedStore(folder)) as reader:
        _assert_finds(reader, _texts(400))
    assert store.refresh_graph(min_tail=1)
    assert _published(folder).generation == 2


def test_a_store_without_memories_publishes_no_graph(tmp_path: Path) -> None:
    with closing(EmbeddedStore(tmp_path / "empty")) as empty:
        empty.open_for_writing(_PIN)
        assert not empty.refresh_graph(min_tail=1)
        assert not (tmp_path / "empty" / "index").exists()


def test_hnswlib_is_needed_for_a_graph_alone_and_an_error_names_the_fix(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _nearest(store, "item 17")
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    assert _nearest(store, "item 17") == found
    with pytest.raises(StoreError, match=r"pip install .* hnswlib"):
        Graph(FAKE_DIM, 300)
