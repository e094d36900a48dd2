"""What is deleted is gone, what is compacted is the same but smaller, and what is listed and counted is there."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Memory, Scope
from agentmem_cli.cli.main import run
from agentmem_cli.errors import StoreError, StoreNotFoundError, UsageError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.values import JsonScalar
from agentmem_cli.store.embedded.database import Database
from tests.fakes import FakeEmbedder
from tests.stores import embedded

RARE = "xylophone quagmire"
QUERIES = ("item 17", "colour2 shape3", "item 299 colour5", RARE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def mem(folder: Path) -> Iterator[AgentMem]:
    with AgentMem(folder, embedder=FakeEmbedder()) as opened:
        yield opened


def many(count: int, first: int = 0) -> list[Memory]:
    return [Memory(f"item {i} colour{i % 7} shape{i % 11}", id=str(i)) for i in range(first, first + count)]


def files_with(folder: Path, wanted: bytes) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()}


def vector_of(text: str) -> bytes:
    return bytes(FakeEmbedder().embed([text]).vectors[0].tobytes())


def found(mem: AgentMem) -> list[list[tuple[str, float]]]:
    return [[(hit.id, round(hit.score, 4)) for hit in mem.search(query, 10, mode="meaning")] for query in QUERIES]


def events(mem: AgentMem, identity: str) -> list[tuple[str, str | None, str | None]]:
    return [(event.event, event.previous_text, event.text) for event in mem.history(identity)]


# Deleting


def test_a_deleted_memory_leaves_events_and_no_text(mem: AgentMem) -> None:
    mem.add_batch([Memory("red apple", id="kept"), Memory(RARE, id="a")])
    mem.add(RARE + " again", id="a")
    assert mem.delete("a") == 1
    assert mem.get("a") is None
    assert (len(mem), [hit.text for hit in mem.search(RARE)]) == (1, ["red apple"])
    assert events(mem, "a") == [("add", None, None), ("update", None, None), ("delete", None, None)]
    assert events(mem, "kept") == [("add", None, "red apple")]
    assert mem.stats().vectors == 1
    assert mem.verify() == []


def test_the_text_and_vector_of_a_deleted_memory_are_in_no_file_after_compaction(mem: AgentMem, folder: Path) -> None:
    mem.add_batch([*many(1100), Memory(RARE, id="a", metadata={"note": RARE})])
    embedded(mem).refresh_graph()
    assert files_with(folder, RARE.encode()) & {"memories.db", "memories.db-wal"}
    assert {"1.hnsw"} < files_with(folder, vector_of(RARE))
    mem.delete("a")
    mem.compact()
    assert mem.stats().graph["state"] == "published"
    assert files_with(folder, RARE.encode()) == files_with(folder, vector_of(RARE)) == set()
    mem.close()
    assert files_with(folder, RARE.encode()) == files_with(folder, vector_of(RARE)) == set()


def test_replaced_texts_that_were_deleted_are_in_no_file_after_compaction(mem: AgentMem, folder: Path) -> None:
    for text in (RARE, "second", "third"):
        mem.add(text, id="a")
    mem.delete("a")
    mem.compact()
    assert files_with(folder, RARE.encode()) == set()


def test_a_graph_of_too_few_memories_is_not_left_behind_by_compaction(mem: AgentMem, folder: Path) -> None:
    mem.add_batch([*many(20), Memory(RARE, id="a")])
    embedded(mem).refresh_graph(min_tail=1)
    mem.delete("a")
    mem.compact()
    assert list((folder / "index").iterdir()) == []
    assert mem.stats().graph["vectors"] == 0


def test_a_vector_that_another_memory_has_stays(mem: AgentMem) -> None:
    mem.add_batch([Memory(RARE, id="a"), Memory(RARE, id="b")])
    assert mem.delete("a") == 1
    assert [(hit.id, hit.text) for hit in mem.search(RARE)] == [("b", RARE)]
    assert mem.stats().vectors == 1
    assert mem.delete("b") == 1
    assert mem.stats().vectors == 0
    assert mem.verify() == []


@pytest.mark.parametrize(
    ("ids", "deleted"),
    [((), 0), (("nothing",), 0), (("a", "nothing", "b"), 2), (("a", "a", "a"), 1), (("' OR 1=1 --",), 0)],
)
def test_deleting_says_how_many_were_there(mem: AgentMem, ids: tuple[str, ...], deleted: int) -> None:
    mem.add_batch([Memory("red", id="a"), Memory("green", id="b"), Memory("blue", id="c")])
    assert mem.delete(*ids) == deleted
    assert len(mem) == 3 - deleted
    assert mem.delete(*ids) == 0
    assert mem.history("nothing") == []


def test_more_memories_are_deleted_at_once_than_a_statement_binds(mem: AgentMem) -> None:
    mem.add_batch(many(2500))
    assert mem.delete(*(str(i) for i in range(2400))) == 2400
    assert len(mem) == mem.stats().vectors == 100
    assert mem.verify() == []


def test_a_deleted_memory_may_come_back_and_its_earlier_text_does_not(mem: AgentMem) -> None:
    mem.add(RARE, id="a")
    mem.delete("a")
    assert mem.add_batch([Memory("green pear", id="a")]).added == 1
    mem.add("green plum", id="a")
    assert events(mem, "a") == [
        ("add", None, None),
        ("delete", None, None),
        ("add", None, "green pear"),
        ("update", "green pear", "green plum"),
    ]


def test_a_deleted_text_that_comes_back_is_embedded_again_and_found(folder: Path) -> None:
    embedder = FakeEmbedder()
    with AgentMem(folder, embedder=embedder) as mem:
        mem.add_batch([*many(30), Memory(RARE, id="a")])
        embedded(mem).refresh_graph(min_tail=1)
        mem.delete("a")
        before = embedder.texts_embedded
        mem.add(RARE, id="a")
        assert embedder.texts_embedded == before + 1
        assert mem.search(RARE, 1)[0].score == pytest.approx(1, abs=1e-5)
        assert mem.verify() == []


def test_memories_are_deleted_by_filter(mem: AgentMem) -> None:
    mem.add_batch([Memory(f"text {i}", id=str(i), scope=Scope(user_id="ana" if i % 2 else "bo")) for i in range(6)])
    doomed = mem.ids_matching(SearchFilter(Scope(user_id="ana")))
    assert doomed == ["1", "3", "5"]
    assert mem.delete(*doomed) == 3
    assert mem.ids_matching(SearchFilter()) == ["0", "2", "4"]


def test_a_search_finds_enough_although_the_graph_is_full_of_deleted_memories(mem: AgentMem) -> None:
    mem.add_batch(many(300))
    embedded(mem).refresh_graph(min_tail=1)
    mem.delete(*(str(i) for i in range(295)))
    assert {hit.id for hit in mem.search("item 3 colour3 shape3", 10)} == {"295", "296", "297", "298", "299"}


# Compacting


@pytest.mark.parametrize("count", [50, 1200])
def test_compaction_changes_no_search(mem: AgentMem, count: int) -> None:
    mem.add_batch(many(count))
    before = found(mem), mem.history("7")
    mem.compact()
    assert (found(mem), mem.history("7")) == before
    assert mem.verify() == []
    assert mem.stats().graph["vectors"] == (count if count > 1000 else 0)


def test_the_files_of_a_store_are_smaller_after_deletion_and_compaction(mem: AgentMem) -> None:
    mem.add_batch(many(2000))
    mem.compact()
    full = mem.stats().total_bytes
    mem.delete(*(str(i) for i in range(1800)))
    kept = found(mem)
    mem.compact()
    assert mem.stats().total_bytes < full / 2
    assert found(mem) == kept


@contextmanager
def _read(folder: Path) -> Iterator[None]:
    """Somebody is reading the store, and sees it as it is now."""
    with closing(Database(folder / "memories.db", writable=False)) as database, database.snapshot():
        database.memories.count()
        yield


@pytest.mark.parametrize("count", [50, 1200])
def test_a_compaction_that_could_not_erase_deleted_texts_does_not_promise_it(
    mem: AgentMem, folder: Path, count: int, impatient: None
) -> None:
    mem.add_batch([*many(count), Memory(RARE, id="a")])
    embedded(mem).refresh_graph()
    mem.delete("a")
    before = found(mem)
    with _read(folder), pytest.raises(StoreError, match="is being read, and deleted texts are still in its") as caught:
        mem.compact()
    assert caught.value.exit_code == 1
    assert found(mem) == before
    assert mem.stats().graph["vectors"] == (count if count > 1000 else 0)  # searches are as quick as they were
    assert mem.verify() == []
    mem.compact()
    assert files_with(folder, RARE.encode()) == set()


def test_the_command_says_that_a_store_could_not_be_compacted(
    folder: Path, impatient: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add(RARE, id="a")
        mem.delete("a")
    with _read(folder):
        assert run(["compact", "--store", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"agentmem: error: store {folder} was not compacted: it is being read, and deleted texts are")
    assert run(["compact", "--store", str(folder)]) == 0


def test_whoever_reads_while_another_compacts_finds_the_same(mem: AgentMem, folder: Path) -> None:
    mem.add_batch(many(1200))
    embedded(mem).refresh_graph()
    with AgentMem(folder, embedder=FakeEmbedder()) as reader:
        before = found(reader)
        mem.compact()
        assert found(reader) == before
        mem.delete(before[0][0][0])
        mem.compact()
        assert found(reader) == found(mem) != before
        assert reader.verify() == []


def test_a_compacted_store_takes_memories_and_gives_no_vector_id_twice(mem: AgentMem) -> None:
    mem.add_batch(many(10))
    last = embedded(mem).writer().vectors.next_id()
    mem.delete(*(str(i) for i in range(10)))
    mem.compact()
    assert embedded(mem).writer().vectors.next_id() == last
    mem.add_batch(many(10))
    assert len(mem) == 10
    assert mem.verify() == []


# Counting


def test_stats_are_what_was_put_in(mem: AgentMem, folder: Path) -> None:
    for number, text in enumerate(["red", "red", "green", "blue"]):
        kind = "semantic" if number else None
        mem.add(text, id=str(number), user_id="ana" if number < 3 else "bo", memory_type=kind)
    mem.add("white", id="3", user_id="bo", agent_id="agent")
    mem.delete("2")
    stats = mem.stats()
    assert (stats.memories, stats.vectors, stats.history_events) == (3, 2, 6)
    assert stats.by_scope == {
        "user_id": {"ana": 2, "bo": 1},
        "agent_id": {"": 2, "agent": 1},
        "run_id": {"": 3},
        "memory_type": {"semantic": 2, "": 1},
    }
    assert (stats.embedder["name"], stats.embedder["dim"]) == ("fake", 32)
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert stats.bytes_by_file == files
    assert stats.total_bytes == sum(files.values()) > 0


def test_stats_show_the_largest_scopes_first_and_not_all(mem: AgentMem) -> None:
    sizes = {f"user-{i:02}": i for i in range(1, 26)}
    mem.add_batch([Memory(f"{user} {i}", scope=Scope(user_id=user)) for user, n in sizes.items() for i in range(n)])
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:20]
    assert list(mem.stats().by_scope["user_id"].items()) == largest


def test_stats_say_how_much_the_graph_covers(mem: AgentMem, folder: Path) -> None:
    mem.add_batch(many(30))
    assert mem.stats().graph == {"state": "none: every vector is scanned", "vectors": 0, "scanned": 30}
    embedded(mem).refresh_graph(min_tail=1)
    mem.add_batch(many(5, first=30))
    assert mem.stats().graph == {"state": "published", "file": "1.hnsw", "vectors": 30, "scanned": 5}
    (folder / "index" / "1.hnsw").write_bytes(b"cut off")
    damaged = mem.stats().graph
    assert str(damaged["state"]).startswith("damaged or missing")
    assert damaged["scanned"] == 35


# Listing


def test_memories_are_listed_newest_first_and_of_one_time_latest_arrival_first(mem: AgentMem) -> None:
    for identity, time in (("old", 1), ("new", 9), ("first", 5), ("second", 5)):
        mem.add(f"text {identity}", id=identity, created_at=time)
    assert [memory.id for memory in mem.list_memories()] == ["new", "second", "first", "old"]


def test_pages_cover_all_memories_once(mem: AgentMem) -> None:
    mem.add_batch(many(47))
    pages = [[memory.id for memory in mem.list_memories(10, offset)] for offset in range(0, 60, 10)]
    assert [len(page) for page in pages] == [10, 10, 10, 10, 7, 0]
    assert sorted(identity for page in pages for identity in page) == sorted(str(i) for i in range(47))


@pytest.mark.parametrize(
    ("user", "where", "expected"),
    [
        (None, {}, {"a", "b", "c"}),
        ("ana", {}, {"a", "b"}),
        ("ana", {"n": 1}, {"a"}),
        (None, {"n": "1"}, {"b"}),
        (None, {"n": None}, {"c"}),
        ("nobody", {}, set()),
    ],
)
def test_only_memories_that_match_are_listed(
    mem: AgentMem, user: str | None, where: dict[str, JsonScalar], expected: set[str]
) -> None:
    mem.add("red", id="a", user_id="ana", metadata={"n": 1})
    mem.add("green", id="b", user_id="ana", metadata={"n": "1"})
    mem.add("blue", id="c", metadata={"n": None})
    assert {memory.id for memory in mem.list_memories(user_id=user, where=where)} == expected


@pytest.mark.parametrize(("limit", "offset"), [(0, 0), (-1, 0), (1, -1)])
def test_a_page_that_can_not_be_is_a_usage_error(mem: AgentMem, limit: int, offset: int) -> None:
    with pytest.raises(UsageError, match="it must be at least"):
        mem.list_memories(limit, offset)


def test_a_store_that_is_not_there_can_not_be_looked_after(mem: AgentMem, folder: Path) -> None:
    for look in (mem.stats, mem.verify, mem.list_memories, lambda: list(mem.export())):
        with pytest.raises(StoreNotFoundError, match="no store at"):
            look()
    assert not folder.exists()
