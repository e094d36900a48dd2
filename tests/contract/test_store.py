"""What a store promises of its batches: whole or not at all, each text once, every change in the history."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from agentmem_cli.errors import StoreMismatchError, StoreNotFoundError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Memory, Position, Scope
from agentmem_cli.store import open_store
from agentmem_cli.store.base import MemoryStore
from tests.fakes import FakeEmbedder
from tests.searches import nearest
from tests.stores import Put, put

_EMBEDDER = FakeEmbedder()
_PIN = _EMBEDDER.spec.fingerprint()
_ALL = SearchFilter()


Open: TypeAlias = Callable[[], MemoryStore]  # the same store, opened once more
KINDS: Final = ("embedded", "postgres")


@pytest.fixture(params=KINDS)
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        return lambda: open_store(url)
    return lambda: open_store(tmp_path / "store")


@pytest.fixture
def store(open_again: Open) -> Iterator[MemoryStore]:
    with closing(open_again()) as opened:
        opened.open_for_writing(_PIN)
        yield opened


def _put(store: MemoryStore, *memories: Memory, position: Position | None = None) -> Put:
    return put(store, *memories, position=position)


def _found(store: MemoryStore, query: str, k: int = 10) -> list[str]:
    return [hit.id for hit in nearest(store, _EMBEDDER.embed_query(query), k, _ALL, _PIN)]


def _events(store: MemoryStore, identity: str) -> list[tuple[str, str | None, str | None]]:
    return [(event.event, event.previous_text, event.text) for event in store.history(identity)]


def test_a_store_that_is_not_there_is_empty_and_reading_makes_nothing(open_again: Open, tmp_path: Path) -> None:
    store = open_again()
    assert not store.exists
    assert (store.embedder(), store.count(), store.get("a"), store.history("a")) == (None, 0, None, [])
    assert store.position("file") is None
    assert _found(store, "anything") == []
    assert not store.any(_ALL)
    assert list(tmp_path.iterdir()) == []


def test_a_new_store_is_empty_and_pinned_to_its_embedder(store: MemoryStore) -> None:
    assert store.exists
    assert store.embedder() == _PIN
    assert (store.count(), store.get("a")) == (0, None)
    assert _found(store, "anything") == []


def test_a_memory_comes_back_as_it_was_put(store: MemoryStore) -> None:
    memory = Memory(
        text="Line one\nline two, «quoted», 記憶, \U0001f9e0",
        id="käse/1'; --",
        scope=Scope("agent", "user", "run", "episodic"),
        importance=0.1,
        created_at=datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        metadata={"a": [1, 2.5, True, None, {"b": "c"}], "": "empty key", "big": 2**64 - 1, "pi": 3.141592653589793},
    )
    _put(store, memory)
    assert store.get(memory.id) == memory


def test_what_was_committed_is_there_for_another_reader_and_after_reopening(
    store: MemoryStore, open_again: Open
) -> None:
    with closing(open_again()) as reader:
        _put(store, Memory("red apple", id="a"), position=Position("file", 3))
        store.close()
        for opened in (reader, open_again()):
            assert opened.count() == 1
            assert _found(opened, "red apple") == ["a"]
            assert opened.position("file") == Position("file", 3)


def test_the_same_memory_again_changes_nothing(store: MemoryStore) -> None:
    memory = Memory("red apple", id="a", metadata={"x": 1, "y": 2})
    _put(store, memory)
    first = store.get("a")
    result = _put(store, Memory("red apple", id="a", metadata={"y": 2, "x": 1}))
    assert (result.added, result.updated, result.unchanged, result.new_texts) == (0, 0, 1, [])
    assert store.get("a") == first
    assert _events(store, "a") == [("add", None, "red apple")]


@pytest.mark.parametrize(
    "changed",
    [
        Memory("red apple", id="a", scope=Scope(user_id="other")),
        Memory("red apple", id="a", importance=0.5),
        Memory("red apple", id="a", metadata={"x": 1.0}),
        Memory("red apple", id="a", metadata={"x": True}),
        Memory("red apple", id="a", created_at=datetime(2024, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_other_content_around_the_same_text_is_an_update_that_embeds_nothing(
    store: MemoryStore, changed: Memory
) -> None:
    _put(store, Memory("red apple", id="a", metadata={"x": 1}))
    result = _put(store, changed)
    assert (result.added, result.updated, result.unchanged, result.new_texts) == (0, 1, 0, [])
    stored = store.get("a")
    assert stored is not None
    expected = changed.over(Memory("red apple", id="a", metadata={"x": 1}))
    assert (stored.scope, stored.importance, stored.metadata) == (
        expected.scope,
        expected.importance,
        expected.metadata,
    )
    assert _events(store, "a") == [("add", None, "red apple"), ("update", "red apple", "red apple")]
    assert _found(store, "red apple") == ["a"]


def test_an_update_replaces_the_text_and_keeps_both_in_the_history(store: MemoryStore) -> None:
    _put(store, Memory("red apple", id="a"), Memory("blue whale", id="b"))
    result = _put(store, Memory("green pear", id="a"))
    assert (result.added, result.updated, result.unchanged) == (0, 1, 0)
    assert store.count() == 2
    assert _found(store, "green pear", 1) == ["a"]
    assert nearest(store, _EMBEDDER.embed_query("red apple"), 1, _ALL, _PIN)[0].score < 0.99
    assert _events(store, "a") == [("add", None, "red apple"), ("update", "red apple", "green pear")]


def test_repeated_ids_in_a_batch_are_taken_in_order_and_only_the_last_text_is_embedded(store: MemoryStore) -> None:
    result = _put(store, *(Memory(text, id="a") for text in ("one", "two", "two", "three")))
    assert (result.added, result.updated, result.unchanged, result.new_texts) == (1, 2, 1, ["three"])
    assert _events(store, "a") == [("add", None, "one"), ("update", "one", "two"), ("update", "two", "three")]
    assert store.count() == 1


def test_a_batch_that_ends_where_the_memory_began_keeps_its_vector(store: MemoryStore) -> None:
    _put(store, Memory("one", id="a"))
    result = _put(store, Memory("two", id="a"), Memory("one", id="a"))
    assert (result.updated, result.new_texts) == (2, [])
    assert _found(store, "one") == ["a"]
    assert _events(store, "a")[1:] == [("update", "one", "two"), ("update", "two", "one")]


def test_a_text_that_is_known_is_stored_under_other_ids_without_another_vector(store: MemoryStore) -> None:
    within = _put(store, Memory("same", id="a"), Memory("same", id="b"), Memory("other", id="c"))
    across = _put(store, Memory("same", id="d"), Memory("new", id="e"))
    assert within.new_texts == ["same", "other"]
    assert across.new_texts == ["new"]
    assert _found(store, "same", 3) == ["a", "b", "d"]


def test_the_vector_of_a_replaced_text_goes_when_no_memory_has_it(store: MemoryStore) -> None:
    _put(store, Memory("shared", id="a"), Memory("shared", id="b"))
    _put(store, Memory("new", id="a"))
    assert store.plan([Memory("shared", id="c")]).new_texts == []
    _put(store, Memory("new", id="b"))
    assert store.plan([Memory("shared", id="c")]).new_texts == ["shared"]
    assert _found(store, "shared") == ["a", "b"]


def test_a_memory_without_a_time_keeps_the_one_of_its_arrival(store: MemoryStore) -> None:
    before = datetime.now(timezone.utc)
    _put(store, Memory("one", id="a"))
    after = datetime.now(timezone.utc)
    first = store.get("a")
    _put(store, Memory("two", id="a"))
    second = store.get("a")
    assert first is not None
    assert second is not None
    assert first.created_at is not None
    assert before.replace(microsecond=0) <= first.created_at <= after
    assert second.created_at == first.created_at


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_vectors_stores_nothing(store: MemoryStore, count: int) -> None:
    plan = store.plan([Memory("one", id="a"), Memory("two", id="b")])
    with pytest.raises(ValueError, match=r"argument 2 is (shorter|longer)"):
        store.commit(plan, _EMBEDDER.embed(["one", "two", "three"]).vectors[:count])
    assert store.count() == 0
    assert store.plan([Memory("one", id="a")]).new_texts == ["one"]


def test_an_empty_batch_moves_the_position_alone(store: MemoryStore) -> None:
    _put(store, position=Position("file", 9, complete=True))
    assert store.count() == 0
    assert store.position("file") == Position("file", 9, complete=True)


def test_memories_are_counted_by_what_they_match(store: MemoryStore) -> None:
    _put(store, *(Memory(f"text {i}", id=str(i), scope=Scope(user_id=f"u{i % 3}")) for i in range(10)))
    wanted = SearchFilter(Scope(user_id="u0"))
    assert (store.count(), store.count(wanted), store.any(wanted)) == (10, 4, True)
    assert not store.any(SearchFilter(Scope(user_id="nobody")))


def test_planning_changes_nothing(store: MemoryStore) -> None:
    first = store.plan([Memory("one", id="a")])
    second = store.plan([Memory("one", id="a")])
    assert (first.new_texts, second.new_texts, store.count()) == (["one"], ["one"], 0)


def test_a_store_of_another_embedder_is_refused_and_the_lock_given_back(store: MemoryStore, open_again: Open) -> None:
    _put(store, Memory("text", id="a"))
    store.close()
    with closing(open_again()) as other, closing(open_again()) as same:
        with pytest.raises(StoreMismatchError, match="holds vectors of fake, not of other"):
            other.open_for_writing(FakeEmbedder("other").spec.fingerprint())
        same.open_for_writing({**_PIN, "folder": "/elsewhere"})
        assert same.embedder() == _PIN


def test_a_store_that_is_not_open_for_writing_takes_nothing(store: MemoryStore, open_again: Open) -> None:
    plan = store.plan([Memory("one", id="a")])
    with closing(open_again()) as reader:
        with pytest.raises(StoreNotFoundError, match="not open for writing"):
            reader.commit(plan, _EMBEDDER.embed(["one"]).vectors)
        with pytest.raises(StoreNotFoundError, match="not open for writing"):
            reader.delete(["a"])
    assert store.count() == 0


def test_speakers_are_those_of_two_memories_that_match_in_any_spelling(store: MemoryStore) -> None:
    def said(user: str, *speakers: str) -> list[Memory]:
        return [Memory(f"{user} {i}", scope=Scope(user_id=user), speaker=name) for i, name in enumerate(speakers)]

    _put(store, *said("x", "Élise", "Élise", "élise", "élise", "Bo Li", "Bo Li", "Bo Ma", "小明", "小明", "Ana"))
    _put(store, *said("y", "Ana", "Bo Ma"))
    _put(store, Memory("Ana: no field, but the text", scope=Scope(user_id="y")))

    def named(*keys: str, user: str | None = None) -> set[str]:
        with store.snapshot(SearchFilter(Scope(user_id=user)), _PIN) as snapshot:
            assert snapshot is not None
            return set(snapshot.speakers(keys))

    assert named("élise", "nobody") == {"Élise", "élise"}
    assert named("bo") == {"Bo Li", "Bo Ma"}
    assert named("bo", "小明", user="x") == {"Bo Li", "小明"}
    assert named("ana") == {"Ana"}
    assert named("ana", user="y") == {"Ana"}
    assert named("ana", "bo", user="x") == {"Bo Li"}
    assert named() == set()
