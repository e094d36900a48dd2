"""Filtered vector search: it finds what an exact scan finds, whichever way it takes, and of what is there now."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from agentmem_cli import AgentMem, Memory, Scope
from agentmem_cli.embedding.base import Vectors
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.values import JsonScalar
from agentmem_cli.store.embedded import graph
from agentmem_cli.store.embedded.database import Database
from agentmem_cli.store.embedded.filters import Selection
from agentmem_cli.store.embedded.graph import Graph
from agentmem_cli.store.embedded.snapshot import Matching, cosines, is_walk_shorter, matching_ids, nearest_vectors
from tests.fakes import FakeEmbedder
from tests.searches import ALWAYS, NEVER, walk_from
from tests.stores import embedded

_MEMORIES: Final = 3000
_IN_GRAPH: Final = 2800
_EMBEDDER: Final = FakeEmbedder()
_QUERIES: Final = [f"word{i} colour{i % 7} shape{i % 5}" for i in range(20)]


def _text(i: int) -> str:
    return f"word{i} colour{i % 7} shape{i % 11} size{i % 13}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMem]:
    """A store of memories, most of them in its graph, of which `rank` orders them by nearness to one text."""
    vectors = _EMBEDDER.embed([_text(i) for i in range(_MEMORIES)]).vectors
    ranks = np.argsort(np.argsort(-(vectors @ vectors[0]))) / _MEMORIES
    draws = np.random.default_rng(1).random(_MEMORIES)
    memories = [
        Memory(_text(i), str(i), metadata={"rank": float(ranks[i]), "draw": float(draws[i])}) for i in range(_MEMORIES)
    ]
    with AgentMem(tmp_path_factory.mktemp("nearest") / "store", embedder=_EMBEDDER, index="off") as mem:
        mem.add_batch(memories[:_IN_GRAPH])
        mem.build_index()
        mem.add_batch(memories[_IN_GRAPH:])
        yield mem


def _parts(mem: AgentMem) -> tuple[Database, Graph]:
    reader = embedded(mem).reader()
    assert reader is not None
    graph = embedded(mem).graph.current(reader)
    assert graph is not None
    return reader, graph


def _exact(reader: Database, query: Vectors, matching: Matching, k: int) -> Vectors:
    rows = np.concatenate([np.frombuffer(raw, dtype=np.float32) for raw in reader.vectors.of(matching.tolist())])
    best: Vectors = np.sort(rows.reshape(-1, len(query)) @ query)[::-1][:k]
    return best


@pytest.mark.parametrize("walk_vectors", [ALWAYS, NEVER], ids=["graph", "exact"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5])
@pytest.mark.parametrize("kind", ["random", "near one text", "far from it"])
def test_recall_at_ten_is_at_least_98_percent_at_every_selectivity(
    filled: AgentMem, monkeypatch: pytest.MonkeyPatch, kind: str, share: float, walk_vectors: int
) -> None:
    walk_from(monkeypatch, walk_vectors)
    key, comparisons = {
        "random": ("draw", {"<": share}),
        "near one text": ("rank", {"<": share}),
        "far from it": ("rank", {">=": 1 - share}),
    }[kind]
    reader, graph = _parts(filled)
    matching = matching_ids(reader, Selection(SearchFilter.of(where={key: comparisons})))
    assert matching is not None
    assert 0.5 < len(matching) / (share * _MEMORIES) < 2
    found = wanted = 0
    for text in _QUERIES:
        query = _EMBEDDER.embed_query(text)
        labels, scores = nearest_vectors(reader, graph, query, 10, matching)
        exact = _exact(reader, query, matching, 10)
        assert set(labels.tolist()) <= set(matching.tolist())
        assert len(labels) == len(exact)
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        found += int(np.sum(scores >= exact[-1] - 1e-5))
        wanted += len(exact)
    assert found / wanted >= 0.98


def test_the_way_is_chosen_by_how_many_match_and_what_share_that_is() -> None:
    assert [is_walk_shorter(n, 100_000) for n in (100, 1000, 10_000, 50_000)] == [False, False, False, True]
    assert not is_walk_shorter(20_000, 1_000_000)
    assert is_walk_shorter(200_000, 1_000_000)


def test_few_of_many_are_looked_at_one_by_one_and_many_are_walked_to(
    filled: AgentMem, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[int] = []
    search = Graph.search

    def counted(self: Graph, *arguments: object) -> object:
        walks.append(1)
        return search(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Graph, "search", counted)
    walk_from(monkeypatch, 100)
    filled.search("word1", where={"draw": {"<": 0.1}})
    assert walks == []
    filled.search("word1", where={"draw": {"<": 0.5}})
    assert walks == [1]


def test_cosines_come_in_the_order_of_the_ids_from_the_graph_and_from_after_it(filled: AgentMem) -> None:
    reader, graph = _parts(filled)
    query = _EMBEDDER.embed_query("word7 colour3")
    ids = np.array([2999, 1, 2801, 2800, 5, 5, 3000])
    expected = _EMBEDDER.embed([_text(i - 1) for i in ids.tolist()]).vectors @ query
    np.testing.assert_allclose(cosines(reader, graph, query, ids), expected, atol=1e-6)
    np.testing.assert_allclose(cosines(reader, None, query, ids), expected, atol=1e-6)
    assert len(cosines(reader, graph, query, ids[:0])) == 0


def test_a_graph_file_that_is_cut_while_it_is_in_use_changes_no_answer(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=_EMBEDDER, index="off") as mem:
        mem.add_batch(Memory(_text(i), str(i), metadata={"n": i}) for i in range(1500))
        mem.build_index()
        before = mem.search("word7 colour3", where={"n": {"<": 700}})
        (path,) = (tmp_path / "store" / "index").glob("*.hnsw")
        with path.open("r+b") as stream:
            stream.truncate(5000)
        after = mem.search("word7 colour3", where={"n": {"<": 700}})
    assert [hit.id for hit in after] == [hit.id for hit in before]


def test_what_matches_is_asked_again_once_somebody_has_written(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=_EMBEDDER, index="off") as writer:
        writer.add("red apple", id="a", user_id="ana", metadata={"n": 1})
        with AgentMem(tmp_path / "store", embedder=_EMBEDDER, index="off") as reader:

            def found() -> set[str]:
                return {hit.id for hit in reader.search("red", user_id="ana", where={"n": {">": 0}})}

            assert found() == {"a"}
            writer.add("green apple", id="b", user_id="ana", metadata={"n": 2})
            assert found() == {"a", "b"}
            writer.add("red apple", id="a", user_id="ana", metadata={"n": 0})
            assert found() == {"b"}
            writer.delete("b")
            assert found() == set()


def test_what_matches_is_asked_once_for_as_long_as_nobody_writes(
    filled: AgentMem, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database(Path(filled.location) / "memories.db", writable=False)) as database:
        asked: list[str] = []
        read = Database.read

        def counted(self: Database, sql: str, *arguments: object) -> object:
            asked.append(sql)
            return read(self, sql, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Database, "read", counted)
        filters = [Selection(SearchFilter.of(where={"draw": {"<": n / 100}})) for n in range(1, 31)]
        first = [database.memories.vector_ids(wanted) for wanted in filters]
        asked.clear()
        assert database.memories.vector_ids(filters[-1]) is first[-1]
        assert not any("memories" in sql for sql in asked)
        np.testing.assert_array_equal(database.memories.vector_ids(filters[0]), first[0])  # long gone
        assert any("memories" in sql for sql in asked)


def test_filters_that_python_finds_equal_are_told_apart(tmp_path: Path) -> None:
    values: dict[str, JsonScalar] = {"number": 1, "true": True, "text": "1", "null": None, "word": "true"}
    with AgentMem(tmp_path / "store", embedder=_EMBEDDER, index="off") as mem:
        mem.add_batch(Memory(f"text {name}", name, metadata={"k": value}) for name, value in values.items())
        for name, value in values.items():
            assert [hit.id for hit in mem.search("text", where={"k": value})] == [name]
        assert [hit.id for hit in mem.search("text", where={"k": 1.0})] == ["number"]


def test_one_vector_of_several_matching_memories_comes_once_and_is_not_to_be_written_to(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=_EMBEDDER, index="off") as mem:
        mem.add_batch(Memory("same text", str(i), Scope(user_id="ana")) for i in range(3))
        reader = embedded(mem).reader()
        assert reader is not None
        matching = matching_ids(reader, Selection(SearchFilter.of(user_id="ana")))
        assert matching is not None
        assert matching.tolist() == [1]
        with pytest.raises(ValueError, match="read-only"):
            matching[0] = 2
        assert matching_ids(reader, Selection()) is None


def test_a_filter_that_the_graph_can_not_serve_is_answered_all_the_same(
    filled: AgentMem, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk_from(monkeypatch, ALWAYS)
    monkeypatch.setattr(graph, "EF_SEARCH", 1)
    hits = filled.search("word7 colour3", 500, where={"draw": {"<": 0.1}})
    assert len(hits) == len(filled.ids_matching(SearchFilter.of(where={"draw": {"<": 0.1}})))
