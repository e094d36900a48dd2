"""LangGraph's store over agentmem: the same calls have the same results as with LangGraph's own InMemoryStore."""

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    InvalidNamespaceError,
    PutOp,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from langgraph.store.memory import InMemoryStore

from agentmem_cli import AgentMem, InvalidMemoryError, UsageError
from agentmem_cli.integrations.langgraph import AgentMemStore
from tests.fakes import FAKE_DIM, FakeEmbedder

Make: TypeAlias = Callable[[list[str] | None], BaseStore]
Seen: TypeAlias = tuple[tuple[str, ...], str, dict[str, Any]]
MAYA: Final = ("memories", "maya")


def _reference(fields: list[str] | None) -> InMemoryStore:
    """LangGraph's own store; it embeds nothing without fields."""
    if fields is None:
        return InMemoryStore()
    return InMemoryStore(index=IndexConfig(dims=FAKE_DIM, embed=_embedded, fields=fields))


def _embedded(texts: Sequence[str]) -> list[list[float]]:
    vectors: list[list[float]] = FakeEmbedder().embed(texts).vectors.tolist()
    return vectors


def _ours(mem: AgentMem, fields: list[str] | None) -> AgentMemStore:
    return AgentMemStore(mem, index=False if fields is None else IndexConfig(fields=fields))


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as opened:
        yield opened


@pytest.fixture(params=["InMemoryStore", "AgentMemStore"])
def make(request: pytest.FixtureRequest, mem: AgentMem) -> Make:
    """Makes LangGraph's own store, or ours: with fields to embed, or None."""
    return _reference if request.param == "InMemoryStore" else lambda fields: _ours(mem, fields)


def _seen(items: list[SearchItem]) -> list[Seen]:
    return [(item.namespace, item.key, item.value) for item in items]


def _keys(items: list[SearchItem]) -> list[str]:
    return [item.key for item in items]


def test_an_item_is_what_was_put_until_it_is_deleted(make: Make) -> None:
    store = make(None)
    value = {"diet": "vegan", "since": 2021, "strict": True, "likes": ["tofu", {"a": None}], "é.$": 0.5}
    assert store.get(MAYA, "food") is None
    assert store.search(MAYA) == []
    assert store.list_namespaces() in ([], [MAYA])  # InMemoryStore names a namespace that was read
    store.delete(MAYA, "food")
    store.put(MAYA, "food", value)
    item = store.get(MAYA, "food")
    assert item is not None
    assert (item.namespace, item.key, item.value) == (MAYA, "food", value)
    assert item.created_at.tzinfo is not None
    assert item.created_at <= item.updated_at
    store.put(MAYA, "food", {"diet": "none"})
    again = store.get(MAYA, "food")
    assert again is not None
    assert again.value == {"diet": "none"}
    assert again.updated_at > item.updated_at
    assert [store.get(("memories",), "food"), store.get(MAYA, "fo"), store.get(("memories", "may"), "food")] == [
        None
    ] * 3
    store.delete(MAYA, "food")
    assert store.get(MAYA, "food") is None
    assert store.search(()) == []


def test_a_prefix_has_whole_labels_and_all_that_is_beneath(make: Make) -> None:
    store = make(None)
    for namespace in (
        ("a",),
        ("a", "b"),
        ("a", "bc"),
        ("a", "b", "c"),
        ("a", "b", "c", "d"),
        ("ab",),
        ("b", "a"),
        ("*",),
    ):
        store.put(namespace, "/".join(namespace), {"in": namespace[0]})
    assert _keys(store.search(())) == ["a", "a/b", "a/bc", "a/b/c", "a/b/c/d", "ab", "b/a", "*"]
    assert _keys(store.search(("a",))) == ["a", "a/b", "a/bc", "a/b/c", "a/b/c/d"]
    assert _keys(store.search(("a", "b"))) == ["a/b", "a/b/c", "a/b/c/d"]
    assert _keys(store.search(("a", "b", "c"))) == ["a/b/c", "a/b/c/d"]
    assert _keys(store.search(("a", "b", "c", "d"))) == ["a/b/c/d"]
    assert _keys(store.search(("*",))) == ["*"]
    assert store.search(("a", "c")) == []


def test_items_come_in_order_of_arrival_by_namespace_and_in_pages(make: Make) -> None:
    store = make(None)
    for number in range(6):
        store.put(("even" if number % 2 == 0 else "odd",), str(number), {"n": number})
    store.put(("odd",), "1", {"n": -1})  # keeps its place
    store.delete(("even",), "2")
    store.put(("even",), "2", {"n": 0})
    assert _keys(store.search(())) == ["0", "4", "2", "1", "3", "5"]
    assert _keys(store.search((), limit=2, offset=1)) == ["4", "2"]
    assert _keys(store.search((), limit=10, offset=5)) == ["5"]
    assert store.search((), limit=2, offset=6) == []


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"kind": "a"}, ["1", "2"]),
        ({"kind": {"$eq": "a"}}, ["1", "2"]),
        ({"kind": {"$ne": "a"}}, ["3", "4", "5"]),
        ({"kind": "a", "n": 2}, ["2"]),
        ({"n": 1.0}, ["1", "5"]),  # True equals 1, as in Python
        ({"n": True}, ["1", "5"]),
        ({"n": {"$gte": 2, "$lt": 3}}, ["2", "4"]),
        ({"n": {"$gt": 2}}, ["3", "4"]),
        ({"n": {"$lte": 1}}, ["1", "5"]),
        ({"missing": None}, ["1", "2", "3", "4", "5"]),
        ({"kind": None}, ["5"]),
        ({"tags": ["x", "y"]}, ["3"]),
        ({"tags": ["x"]}, []),
        ({"inner": {"deep": {"$gt": 1}}}, ["4"]),
        ({"inner": {"deep": 2}}, ["4"]),
        ({"inner.deep": "dotted"}, ["4"]),
        ({"kind": "'; DROP TABLE memories; --"}, []),
        ({"kind": "\0"}, []),
        ({"n": 2**70}, []),
    ],
)
def test_a_filter_finds_the_same_items(make: Make, filter: dict[str, Any], expected: list[str]) -> None:
    store = make(["text"])
    store.put(MAYA, "1", {"kind": "a", "n": 1, "text": "red apple"})
    store.put(MAYA, "2", {"kind": "a", "n": 2, "text": "green apple"})
    store.put(MAYA, "3", {"kind": "b", "n": 3, "tags": ["x", "y"], "text": "blue apple"})
    store.put(MAYA, "4", {"kind": "b", "n": 2.5, "inner": {"deep": 2}, "inner.deep": "dotted", "text": "an apple"})
    store.put(MAYA, "5", {"kind": None, "n": True, "text": "no apple"})
    assert _keys(store.search(MAYA, filter=filter)) == expected
    assert sorted(_keys(store.search(MAYA, query="apple", filter=filter))) == expected
    assert len(store.search(MAYA, query="blue apple", filter=filter, limit=1)) == min(1, len(expected))


def test_a_query_finds_the_nearest_first_with_the_same_scores(make: Make) -> None:
    store = make(["text"])
    texts = [
        "she eats no cashews",
        "he runs on sunday",
        "cashews are nuts",
        "trains run late on sunday",
        "nuts and bolts",
    ]
    for number, text in enumerate(texts):
        store.put(MAYA if number % 2 else ("memories", "kenji"), str(number), {"text": text})
    found = store.search(("memories",), query="nuts cashews", limit=3)
    expected = _reference(["text"])
    for number, text in enumerate(texts):
        expected.put(MAYA if number % 2 else ("memories", "kenji"), str(number), {"text": text})
    reference = expected.search(("memories",), query="nuts cashews", limit=3)
    assert _seen(found) == _seen(reference)
    assert [item.score for item in found] == pytest.approx([item.score for item in reference], abs=1e-5)
    assert _keys(store.search(MAYA, query="sunday", limit=1, offset=1)) == ["3"]


def test_each_text_of_an_item_can_find_it_once(make: Make) -> None:
    store = make(["title", "parts[*].text"])
    store.put(MAYA, "many", {"title": "red", "parts": [{"text": f"word{i}"} for i in range(9)]})
    store.put(MAYA, "one", {"title": "word3 word9"})
    store.put(MAYA, "blank", {"title": "", "parts": []}, index=["parts[*].text"])
    assert _keys(store.search(MAYA, query="word3")) == ["many", "one", "blank"]
    assert _keys(store.search(MAYA, query="red", limit=1)) == ["many"]
    assert [item.score for item in store.search(MAYA, query="word8")][:1] == pytest.approx([1], abs=1e-5)
    store.put(MAYA, "one", {"title": "word3", "note": "amber"}, index=["note"])
    assert _keys(store.search(MAYA, query="amber", limit=1)) == ["one"]


def test_items_without_index_come_last_and_without_a_score(make: Make) -> None:
    store = make(["text"])
    store.put(MAYA, "hidden", {"text": "red apple"}, index=False)
    store.put(MAYA, "textless", {"note": "red apple"})
    store.put(MAYA, "found", {"text": "a red door"})
    found = store.search(MAYA, query="red apple")
    assert _keys(found) == ["found", "hidden", "textless"]
    assert [item.score is None for item in found] == [False, True, True]
    assert _keys(store.search(MAYA, query="red apple", limit=2)) == ["found", "hidden"]
    assert store.get(MAYA, "hidden") is not None


def test_the_whole_value_is_embedded_where_no_field_is_named(make: Make) -> None:
    store = make(["$"])
    store.put(MAYA, "a", {"colour": "amber", "n": 3})
    store.put(MAYA, "b", {"colour": "green"})
    assert _keys(store.search(MAYA, query="amber")) == ["a", "b"]


def test_namespaces_are_listed_by_prefix_suffix_and_depth(make: Make) -> None:
    store = make(None)
    for namespace in (
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("z",),
    ):
        store.put(namespace, "k", {})
        store.put(namespace, "l", {})
    assert store.list_namespaces(prefix=("a", "b"), max_depth=3) == [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]
    assert store.list_namespaces(suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f")]
    assert store.list_namespaces(prefix=("a", "*", "f")) == [("a", "b", "f"), ("a", "c", "f")]
    assert store.list_namespaces(prefix=("a",), suffix=("*", "e")) == [("a", "b", "d", "e")]
    assert store.list_namespaces(max_depth=1) == [("a",), ("z",)]
    assert store.list_namespaces(limit=2, offset=4) == [("a", "c", "f"), ("z",)]
    assert store.list_namespaces(prefix=("a", "b", "c", "d", "e", "f")) == []


def test_a_batch_reads_before_it_writes_and_the_last_put_of_an_item_counts(make: Make) -> None:
    store = make(None)
    store.put(MAYA, "a", {"n": 0})
    results = store.batch(
        [
            PutOp(MAYA, "a", {"n": 1}),
            GetOp(MAYA, "a"),
            PutOp(MAYA, "b", {"n": 2}),
            PutOp(MAYA, "b", {"n": 3}),
            SearchOp(MAYA),
            PutOp(MAYA, "c", {"n": 4}),
            PutOp(MAYA, "c", None),
        ]
    )
    assert [type(result).__name__ for result in results] == [
        "NoneType",
        "Item",
        "NoneType",
        "NoneType",
        "list",
        *["NoneType"] * 2,
    ]
    assert _seen(store.search(MAYA)) == [(MAYA, "a", {"n": 1}), (MAYA, "b", {"n": 3})]
    assert getattr(results[1], "value", None) == {"n": 0}
    assert store.batch([]) == []


def test_tasks_put_and_search_as_threads_do(make: Make) -> None:
    store = make(["text"])

    async def work() -> list[SearchItem]:
        await asyncio.gather(*(store.aput(MAYA, str(number), {"text": f"word{number}"}) for number in range(20)))
        await store.adelete(MAYA, "7")
        assert await store.aget(MAYA, "7") is None
        assert await store.alist_namespaces(suffix=("maya",)) == [MAYA]
        return await store.asearch(MAYA, query="word11", limit=1)

    assert _keys(asyncio.run(work())) == ["11"]


@pytest.mark.parametrize("namespace", [(), ("a.b",), ("",), ("langgraph", "x")])
def test_a_namespace_that_langgraph_refuses_is_refused(make: Make, namespace: tuple[str, ...]) -> None:
    with pytest.raises(InvalidNamespaceError):
        make(None).put(namespace, "k", {})


_labels = st.sampled_from(["a", "b", '"', "é", "a b"])
_namespaces = st.lists(_labels, min_size=1, max_size=3).map(tuple)
_values = st.fixed_dictionaries(
    {"text": st.sampled_from(["red apple", "green apple", "red door", "a blue sea"])},
    optional={
        "n": st.sampled_from([0, 1, True, 2.5, "1", None]),
        "tags": st.lists(st.sampled_from("xy"), max_size=2, unique=True),
    },
)
_filters = st.sampled_from(
    [None, {"n": 1}, {"n": {"$ne": 1}}, {"tags": ["x"]}, {"text": "red door"}, {"text": {"$eq": "red apple"}, "n": 0}]
)
_puts = st.tuples(
    st.just("put"), _namespaces, st.sampled_from("kl"), _values, st.sampled_from([None, False, ["tags[*]"]])
)
_deletes = st.tuples(st.just("delete"), _namespaces, st.sampled_from("kl"))
_searches = st.tuples(
    st.just("search"), st.lists(_labels, max_size=2).map(tuple), st.sampled_from([None, "red sea", "x"]), _filters
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_puts | _deletes | _searches, max_size=12))
def test_any_calls_have_the_same_results(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[Any, ...]]
) -> None:
    reference = _reference(["text"])
    with AgentMem(tmp_path_factory.mktemp("calls") / "store", embedder=FakeEmbedder()) as mem:
        ours = _ours(mem, ["text"])
        for kind, *arguments in [*calls, ("search", (), None, None)]:
            if kind == "put":
                for store in (reference, ours):
                    store.delete(*arguments[:2])  # InMemoryStore keeps vectors of fields that a put leaves out
                    store.put(*arguments)
            elif kind == "delete":
                for store in (reference, ours):
                    store.delete(*arguments)
            else:
                prefix, query, filter = arguments
                expected = reference.search(prefix, query=query, filter=filter, limit=50)
                found = ours.search(prefix, query=query, filter=filter, limit=50)
                assert _ranked(found) == _ranked(expected)
                if query is None:
                    assert _by_namespace(found) == _by_namespace(expected)


def _ranked(items: list[SearchItem]) -> list[tuple[float, list[str]]]:
    """The items by score, those of one score in any order."""
    by_score: dict[float, list[str]] = {}
    for item in items:
        by_score.setdefault(9 if item.score is None else round(item.score, 3) + 0.0, []).append(repr(_seen([item])))
    return [(score, sorted(seen)) for score, seen in by_score.items()]


def _by_namespace(items: list[SearchItem]) -> list[Seen]:
    """The items in their order, of each namespace: InMemoryStore also remembers where empty namespaces stood."""
    return sorted(_seen(items), key=lambda item: item[0])


# What InMemoryStore does not do.


def test_an_update_keeps_when_an_item_was_made(mem: AgentMem) -> None:
    store = _ours(mem, None)
    store.put(MAYA, "food", {"diet": "vegan"})
    made = store.get(MAYA, "food")
    store.put(MAYA, "food", {"diet": "none"})
    changed = store.get(MAYA, "food")
    assert made is not None
    assert changed is not None
    assert changed.created_at == made.created_at


def test_items_outlive_the_process_and_are_found_by_the_other_commands(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        _ours(mem, ["text"]).put(MAYA, "food", {"text": "Maya eats no cashews", "n": 1})
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        item = _ours(mem, ["text"]).get(MAYA, "food")
        assert item is not None
        assert item.value == {"text": "Maya eats no cashews", "n": 1}
        (hit,) = mem.search("cashews", agent_id="memories", user_id="maya")
        assert hit.text == "Maya eats no cashews"


def test_texts_that_an_update_or_a_deletion_leaves_out_are_gone(mem: AgentMem) -> None:
    store = _ours(mem, ["lines[*]"])
    store.put(MAYA, "song", {"lines": ["amber one", "secret two", "secret three"]})
    store.put(MAYA, "song", {"lines": ["amber four"]})
    assert [memory.text for memory in mem.export()] == ["amber four"]
    assert _keys(store.search(MAYA, query="secret two")) == ["song"]
    store.put(MAYA, "song", {"lines": ["a", "b"]}, index=False)
    assert [item.score for item in store.search(MAYA, query="amber")] == [None]
    store.put(MAYA, "song", {"lines": ["a", "b", "c"]})
    store.delete(MAYA, "song")
    assert len(mem) == 0


def test_a_put_during_another_of_the_same_item_leaves_one_whole_item(
    mem: AgentMem, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, delete = _ours(mem, ["lines[*]"]), mem.delete
    store.put(MAYA, "song", {"lines": ["one", "two"]})
    with ThreadPoolExecutor(1) as threads:

        def interrupted(*ids: str) -> int:
            monkeypatch.undo()
            wait([threads.submit(store.put, MAYA, "song", {"lines": ["three", "four", "five"]})], timeout=0.2)
            return delete(*ids)

        monkeypatch.setattr(mem, "delete", interrupted)
        store.put(MAYA, "song", {"lines": ["six"]})
    (item,) = store.search(MAYA)
    assert item.value["lines"] == [memory.text for memory in mem.export()]


def expiries(mem: AgentMem) -> list[datetime]:
    """When the memories expire."""
    return [memory.expires_at for memory in mem.export() if memory.expires_at is not None]


def test_an_item_that_has_expired_is_found_by_nothing_and_swept(mem: AgentMem) -> None:
    store = _ours(mem, ["lines[*]"])
    store.put(MAYA, "stays", {"lines": ["red"]}, ttl=60)
    store.put(MAYA, "gone", {"lines": ["red", "apple"]}, ttl=1e-6)
    store.put(("other",), "gone", {"lines": []}, ttl=1e-6)
    mem.add("no item", ttl=timedelta(microseconds=1))
    assert store.get(MAYA, "gone") is None
    assert _keys(store.search((), query="red apple")) == ["stays"]
    assert _keys(store.search(())) == ["stays"]
    assert store.list_namespaces() == [MAYA]
    assert store.sweep_ttl() == 3
    assert store.sweep_ttl() == 0
    assert len(mem.list_memories(expired=True)) == 1
    store.put(MAYA, "gone", {"lines": ["again"]})
    assert _keys(store.search(MAYA)) == ["stays", "gone"]
    assert len(expiries(mem)) == 1


def test_a_read_lets_an_item_live_longer_unless_it_is_told_not_to(mem: AgentMem) -> None:
    store = _ours(mem, ["lines[*]"])
    store.put(MAYA, "a", {"lines": ["red", "apple"]}, ttl=60)
    put = expiries(mem)
    store.get(MAYA, "a", refresh_ttl=False)
    store.search(MAYA, refresh_ttl=False)
    assert expiries(mem) == put
    item = store.get(MAYA, "a")
    read = expiries(mem)
    assert all(later > earlier for later, earlier in zip(read, put, strict=True))
    found = store.search(MAYA, query="red")
    assert all(later > earlier for later, earlier in zip(expiries(mem), read, strict=True))
    assert [(one.value, one.updated_at) for one in found] == [(item.value, item.updated_at)] if item else False
    store.put(MAYA, "a", {"lines": ["green"]})
    assert expiries(mem) == []


def test_the_defaults_for_expiry_are_those_of_langgraph(mem: AgentMem) -> None:
    store = AgentMemStore(mem, ttl=TTLConfig(default_ttl=60, refresh_on_read=False))
    store.put(MAYA, "a", {"n": 1})
    put = expiries(mem)
    store.get(MAYA, "a")
    assert expiries(mem) == put
    assert len(put) == 1
    store.put(MAYA, "a", {"n": 1}, ttl=None)
    assert expiries(mem) == []
    for ttl in (1e300, float("nan"), 0):
        with pytest.raises(UsageError, match="ttl is"):
            store.put(MAYA, "a", {"n": 2}, ttl=ttl)


def test_memories_that_are_no_items_are_left_alone(mem: AgentMem) -> None:
    store = _ours(mem, ["text"])
    store.put(MAYA, "a", {"text": "red"})
    about = next(mem.export()).metadata["langgraph"]
    assert isinstance(about, dict)
    mem.add("red apple", agent_id="memories", user_id="maya")
    mem.add("no id", metadata={"langgraph": about})
    mem.add("door", id='["langgraph", ["memories", "maya"], "a", 0]', metadata={"langgraph": about})
    mem.add("no labels", id='["langgraph",[["a"]],"k",0]', metadata={"langgraph": about})
    mem.add("no value", id='["langgraph",["a"],"k",0]', metadata={"langgraph": {"part": 0, "indexed": True}})
    mem.add("too many", id='["langgraph",["a"],"huge",0]', metadata={"langgraph": {**about, "parts": 10**12}})
    (found,) = store.search((), query="door")
    assert (found.key, found.score is not None and found.score < 0.9) == ("a", True)  # by its own text, "red"
    assert _keys(store.search((), query="red apple")) == ["a"]
    assert _keys(store.search(())) == ["a"]
    assert store.get(("a",), "k") is None
    assert set(store.list_namespaces()) <= {MAYA, ("a",)}
    for namespace, key in ((MAYA, "a"), (("a",), "huge")):
        store.delete(namespace, key)
    assert len(mem) == 6


def test_a_hybrid_search_finds_words_that_the_model_does_not_know(mem: AgentMem) -> None:
    store = AgentMemStore(mem, index=IndexConfig(fields=["text"]), mode="hybrid")
    for number in range(5):
        store.put(MAYA, str(number), {"text": f"release R-{number} went well"})
    assert _keys(store.search(MAYA, query="R-3", limit=1)) == ["3"]


@pytest.mark.parametrize(
    "value", [{"n": float("nan")}, {"n": 2**70}, {"at": ("a", "b")}, {"text": "\0"}, {"at": object()}]
)
def test_a_value_that_json_can_not_hold_is_refused_and_stores_nothing(mem: AgentMem, value: Mapping[str, Any]) -> None:
    store = _ours(mem, ["text"])
    with pytest.raises(InvalidMemoryError):
        store.batch([PutOp(MAYA, "good", {"text": "a"}), PutOp(MAYA, "bad", dict(value))])
    assert store.search(()) == []


def test_what_can_not_be_is_a_usage_error(mem: AgentMem) -> None:
    with pytest.raises(UsageError, match="leave out dims and embed"):
        AgentMemStore(mem, index=IndexConfig(dims=3, embed=_embedded))
    store = _ours(mem, None)
    store.put(MAYA, "a", {"n": 1})
    with pytest.raises(UsageError, match=r"\$in"):
        store.search(MAYA, filter={"n": {"$in": [1]}})
    assert store.search(MAYA, filter={"missing": {"$gt": 1}, "n": {"$lt": "x"}}) == []


def test_without_langgraph_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "agentmem_cli.integrations.langgraph")
    monkeypatch.setitem(sys.modules, "langgraph.store.base", None)
    with pytest.raises(ImportError, match=r"pip install 'agentmem-cli\[langgraph\]'"):
        importlib.import_module("agentmem_cli.integrations.langgraph")
