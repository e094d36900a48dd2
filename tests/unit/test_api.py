"""AgentMem as a Python user meets it: what is added is there, and what can't be is refused with the reason."""

import os
import stat
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Memory
from agentmem_cli.errors import InvalidMemoryError, StoreMismatchError, StoreNotFoundError, UsageError
from agentmem_cli.records.values import JsonValue
from tests.fakes import FakeEmbedder
from tests.stores import embedded


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def mem(tmp_path: Path, embedder: FakeEmbedder) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=embedder) as opened:
        yield opened


def test_a_memory_comes_back_with_everything_that_was_said_about_it(mem: AgentMem) -> None:
    metadata: dict[str, JsonValue] = {"tags": ["a", None, {"deep": True}], "n": 0.1, "big": -(2**63), "": "«ü» 記憶"}
    identity = mem.add(
        "red apple",
        agent_id="agent",
        user_id="user",
        run_id="run",
        memory_type="semantic",
        importance=0.7,
        created_at="2024-05-01T10:00:00.123456+02:00",
        metadata=metadata,
    )
    stored = mem.get(identity)
    assert stored is not None
    scope = stored.scope
    assert (stored.id, stored.text, stored.importance) == (identity, "red apple", 0.7)
    assert (scope.agent_id, scope.user_id, scope.run_id, scope.memory_type) == ("agent", "user", "run", "semantic")
    assert stored.created_at == datetime(2024, 5, 1, 8, 0, 0, 123456, tzinfo=timezone.utc)
    assert stored.metadata == metadata


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (datetime(2024, 5, 1, 10, tzinfo=timezone(timedelta(hours=-5))), datetime(2024, 5, 1, 15, tzinfo=timezone.utc)),
        (datetime(2024, 5, 1, 10), datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
        (1714557600.25, datetime(2024, 5, 1, 10, 0, 0, 250_000, tzinfo=timezone.utc)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=timezone.utc)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=timezone.utc)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)),
    ],
)
def test_times_of_every_form_come_back_as_utc(mem: AgentMem, given: datetime | str | float, expected: datetime) -> None:
    stored = mem.get(mem.add("red apple", created_at=given))
    assert stored is not None
    assert stored.created_at == expected
    assert mem.search("red apple")[0].created_at == expected


def test_a_hit_carries_the_whole_memory_and_its_cosine(mem: AgentMem) -> None:
    identity = mem.add("red apple", user_id="ana", importance=1, metadata={"x": [1]}, created_at=0)
    (hit,) = mem.search("red apple")
    assert (hit.id, hit.text, hit.user_id, hit.importance) == (identity, "red apple", "ana", 1.0)
    assert (hit.metadata, hit.created_at) == ({"x": [1]}, datetime(1970, 1, 1, tzinfo=timezone.utc))
    assert hit.score == pytest.approx(1, abs=1e-5)


def test_a_memory_without_an_id_is_the_same_memory_when_added_again(mem: AgentMem) -> None:
    first, second = mem.add("red apple", user_id="ana"), mem.add("red apple", user_id="ana")
    assert first == second != mem.add("red apple", user_id="bo")
    assert len(mem) == 2
    assert [event.event for event in mem.history(first)] == ["add"]


def test_a_changed_memory_keeps_both_texts_in_its_history(mem: AgentMem) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    mem.add("red apple", id="a")
    mem.add("green pear", id="a")
    first, second = mem.history("a")
    assert (first.event, first.previous_text, first.text) == ("add", None, "red apple")
    assert (second.event, second.previous_text, second.text) == ("update", "red apple", "green pear")
    assert before <= first.at <= second.at


def test_a_batch_reports_ids_in_order_and_what_became_of_each(mem: AgentMem) -> None:
    mem.add("old", id="a")
    result = mem.add_batch([Memory("new", id="a"), {"text": "two", "id": "b"}, {"text": "two", "id": "b"}])
    assert result.ids == ["a", "b", "b"]
    assert (result.added, result.updated, result.unchanged) == (1, 1, 1)


def test_a_text_is_embedded_once_whatever_ids_and_batches_it_comes_in(mem: AgentMem, embedder: FakeEmbedder) -> None:
    mem.add_batch([{"text": "same", "id": "a"}, {"text": "same", "id": "b"}, {"text": "other", "id": "c"}])
    assert embedder.texts_embedded == 2
    mem.add("same", id="d")
    mem.add("same", id="a", importance=1)
    mem.add("other", id="a")
    assert embedder.texts_embedded == 2
    assert len(mem) == 4


def test_a_text_that_no_memory_has_any_more_is_embedded_again(mem: AgentMem, embedder: FakeEmbedder) -> None:
    mem.add("one", id="a")
    mem.add("two", id="a")
    mem.add("one", id="a")
    assert embedder.texts_embedded == 3
    assert [hit.score for hit in mem.search("one")] == pytest.approx([1], abs=1e-5)


def test_a_batch_with_one_bad_memory_stores_none(mem: AgentMem) -> None:
    with pytest.raises(InvalidMemoryError, match="text is empty"):
        mem.add_batch([{"text": "fine"}, {"text": " "}, {"text": "fine too"}])
    assert len(mem) == 0


def test_more_hits_than_memories_are_all_of_them(mem: AgentMem) -> None:
    ids = {mem.add(f"text {number}") for number in range(5)}
    assert {hit.id for hit in mem.search("text", k=10_000)} == ids


def test_an_empty_store_finds_nothing_and_loads_no_model(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store") as mem:
        assert (mem.search("anything"), mem.get("a"), mem.history("a"), len(mem)) == ([], None, [], 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("query", "k", "reason"), [("red", 0, "k is 0"), ("red", -1, "k is -1"), ("", 1, "empty"), (" \n", 1, "empty")]
)
def test_a_search_that_can_mean_nothing_is_a_usage_error(mem: AgentMem, query: str, k: int, reason: str) -> None:
    mem.add("red apple")
    with pytest.raises(UsageError, match=reason):
        mem.search(query, k)


def test_a_store_that_must_be_there_and_is_not_is_reported_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"no store at .*store: make one"):
        AgentMem(tmp_path / "store", embedder=FakeEmbedder(), create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_another_model_is_refused_and_named(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add("red apple")
    for other in (FakeEmbedder("other"), FakeEmbedder(dim=16), FakeEmbedder(token_limit=8)):
        with pytest.raises(StoreMismatchError, match="holds vectors of fake, not of"):
            AgentMem(tmp_path / "store", embedder=other)
    with pytest.raises(StoreMismatchError, match="not of all-MiniLM-L6-v2"):
        AgentMem(tmp_path / "store", model="minilm")


def _emptied(folder: Path) -> None:
    """A store that has, or had, a graph, and no vector any more."""
    with AgentMem(folder, embedder=FakeEmbedder(dim=16), index="wait") as mem:
        mem.add_batch({"id": str(i), "text": f"text {i}"} for i in range(1100))
        mem.build_index()
        mem.delete(*(str(i) for i in range(1100)))


def test_a_store_without_vectors_may_change_its_model_with_its_first_write(tmp_path: Path) -> None:
    store = tmp_path / "store"
    _emptied(store)
    with AgentMem(store, embedder=FakeEmbedder("other"), index="wait") as mem:
        mem.open()
        assert mem.search("blue whale") == []
        assert mem.stats().embedder["name"] == "fake"  # nothing was written
        mem.add_batch({"id": str(i), "text": f"blue whale {i}"} for i in range(1100))
        assert mem.stats().embedder["name"] == "other"
        assert mem.search("blue whale 77", 1)[0].id == "77"
        assert mem.verify() == []
    with pytest.raises(StoreMismatchError, match="holds vectors of other, not of fake"):
        AgentMem(store, embedder=FakeEmbedder())


def test_a_store_that_got_vectors_of_its_model_in_the_meantime_keeps_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        mem.open()
    late = AgentMem(store, embedder=FakeEmbedder("other"))
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        mem.add("red apple")
    with pytest.raises(StoreMismatchError, match="holds vectors of fake, not of other"):
        late.add("blue whale")
    assert len(mem) == 1


def test_a_file_without_a_memory_does_not_change_an_empty_stores_model(tmp_path: Path) -> None:
    store, file = tmp_path / "store", tmp_path / "file.jsonl"
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        mem.open()
    file.write_text("{broken")
    with AgentMem(store, embedder=FakeEmbedder("other")) as mem:
        assert mem.ingest([str(file)]).rejected == 1
        assert mem.stats().embedder["name"] == "fake"


def test_a_store_that_another_model_made_in_the_meantime_takes_no_memory(tmp_path: Path) -> None:
    late = AgentMem(tmp_path / "store", embedder=FakeEmbedder("other"))
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add("red apple")
    with pytest.raises(StoreMismatchError, match="holds vectors of fake, not of other"):
        late.add("blue whale")
    assert len(mem) == 1


def test_an_embedder_and_a_model_are_two_models(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give either embedder= or a model"):
        AgentMem(tmp_path / "store", model="minilm", embedder=FakeEmbedder())


def test_a_store_is_read_without_saying_or_loading_its_model(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add("red apple", id="a")
    with AgentMem(tmp_path / "store", create=False) as reader:
        assert reader.model == FakeEmbedder().spec
        assert (len(reader), len(reader.history("a"))) == (1, 1)
        assert reader.search("red apple", user_id="nobody") == []


def test_only_the_owner_can_read_the_store(mem: AgentMem, tmp_path: Path) -> None:
    earlier = os.umask(0)
    try:
        mem.add_batch([{"text": f"text {number}"} for number in range(50)])
        embedded(mem).refresh_graph(min_tail=1)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").rglob("*")}
    finally:
        os.umask(earlier)
    assert set(modes) >= {"memories.db", "memories.db-wal", "memories.db-shm", "LOCK", "index", "1.hnsw"}
    assert modes.pop("index") == stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}


def test_threads_that_share_one_object_take_turns(mem: AgentMem) -> None:
    failures: list[Exception] = []

    def work(name: int) -> None:
        try:
            for number in range(10):
                mem.add(f"text {name} {number}", id=f"{name}-{number}")
                mem.search(f"text {name}", 3)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(mem) == 40


def test_closing_brings_a_large_enough_graph_up_to_date_and_an_error_does_not_wait_for_it(tmp_path: Path) -> None:
    batch = [{"text": f"text {number}"} for number in range(1000)]
    with pytest.raises(KeyboardInterrupt), AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch(batch)
        raise KeyboardInterrupt
    assert not (tmp_path / "store" / "index").exists()
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder(), index="wait") as mem:
        mem.open()
    assert [path.name for path in (tmp_path / "store" / "index").iterdir()] == ["1.hnsw"]
