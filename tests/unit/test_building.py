"""The graph is built beside whoever writes: what a builder offers is published once, and only where it still fits."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from agentmem_cli import AgentMem
from agentmem_cli.store.embedded import graph_builder
from agentmem_cli.store.embedded.database import Database, GraphRow
from agentmem_cli.store.embedded.graph_builder import build, has_offer
from agentmem_cli.store.embedded.lock import PUBLISHING, FolderLock, WriterLock, is_held
from agentmem_cli.store.embedded.store import EmbeddedStore
from agentmem_cli.store.embedded.vectors import Vectors
from tests.fakes import FakeEmbedder
from tests.stores import embedded

_WAIT_S = 60.0


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 1,200 memories, without a graph."""
    path = tmp_path_factory.mktemp("pristine") / "store"
    with AgentMem(path, embedder=FakeEmbedder(), index="off") as mem:
        mem.add_batch(_memories(1200))
    return path


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(pristine, tmp_path / "store")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_builder, "PATIENCE_S", 0.2)


def _memories(count: int, first: int = 0) -> list[dict[str, str]]:
    return [{"id": f"m{i}", "text": f"text number {i}"} for i in range(first, first + count)]


def _published(store: Path) -> GraphRow | None:
    with closing(Database(store / "memories.db", writable=False)) as database:
        return database.graph()


def _published_vectors(store: Path) -> int:
    row = _published(store)
    return 0 if row is None else row.vectors


def _files(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "index").iterdir())


@pytest.fixture
def writer(store: Path) -> Iterator[AgentMem]:
    """Somebody who has the writer's lock."""
    with AgentMem(store, embedder=FakeEmbedder(), index="off") as mem:
        mem.open()
        yield mem


def test_where_nobody_writes_the_builder_publishes_itself(store: Path) -> None:
    build(store)
    assert _published_vectors(store) == 1200
    assert _files(store) == ["1.hnsw"]
    assert not is_held(store / "LOCK")


def test_where_somebody_writes_the_next_commit_publishes_what_was_built(store: Path, writer: AgentMem) -> None:
    build(store)
    assert (_published_vectors(store), has_offer(store / "index")) == (0, True)
    writer.add("one more")
    assert (_published_vectors(store), _files(store)) == (1200, ["1.hnsw"])
    assert writer.search("one more", 1)[0].text == "one more"
    assert writer.verify() == []


def test_closing_publishes_what_was_built(store: Path, writer: AgentMem) -> None:
    build(store)
    writer.close()
    assert (_published_vectors(store), _files(store)) == (1200, ["1.hnsw"])


def test_an_offer_that_was_never_taken_is_taken_by_the_next_writer(store: Path, writer: AgentMem) -> None:
    build(store)
    shutil.copytree(store, store.with_name("copy"))  # as a writer that is killed leaves it
    with AgentMem(store.with_name("copy"), embedder=FakeEmbedder(), index="off") as mem:
        mem.open()
        assert _published_vectors(store.with_name("copy")) == 1200


@pytest.mark.parametrize("key", ["store_id", "commits"])
def test_an_offer_of_another_store_or_of_a_later_state_is_dropped(store: Path, writer: AgentMem, key: str) -> None:
    build(store)
    path = store / "index" / "offer.json"
    offer = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**offer, key: {"store_id": "another", "commits": offer["commits"] + 1}[key]}))
    writer.add("one more")
    assert (_published(store), has_offer(store / "index")) == (None, False)
    assert writer.build_index() == 0


@pytest.mark.parametrize("content", [b"", b"[]", b'{"graph": {"generation": 1}}'])
def test_a_damaged_offer_is_dropped(store: Path, writer: AgentMem, content: bytes) -> None:
    build(store)
    (store / "index" / "offer.json").write_bytes(content)
    writer.add("one more")
    assert (_published(store), has_offer(store / "index")) == (None, False)


def test_what_can_not_be_taken_as_an_offer_stops_no_writing(store: Path) -> None:
    (store / "index" / "offer.json").mkdir(parents=True)
    with AgentMem(store, embedder=FakeEmbedder(), index="off") as mem:
        mem.add("one more")
        assert mem.search("one more", 1)[0].text == "one more"


def test_an_offer_whose_file_is_cut_off_is_dropped(store: Path, writer: AgentMem) -> None:
    build(store)
    graph = store / "index" / "1.hnsw"
    graph.write_bytes(graph.read_bytes()[:-1])
    writer.add("one more")
    assert _published(store) is None
    assert writer.build_index() == 0
    assert writer.verify() == []


@pytest.mark.parametrize("change", ["compact", "reembed", "repair"])
def test_what_was_built_before_a_change_of_all_vectors_is_never_published(
    store: Path, writer: AgentMem, change: str
) -> None:
    build(store)
    offered = (store / "index" / "offer.json").read_bytes()
    graph = (store / "index" / "1.hnsw").read_bytes()
    {
        "compact": writer.compact,
        "reembed": lambda: writer.reembed(embedder=FakeEmbedder("other")),
        "repair": writer.repair,
    }[change]()
    (store / "index" / "offer.json").write_bytes(offered)  # as a builder leaves it that was slower than the change
    (store / "index" / "1.hnsw").write_bytes(graph)
    writer.add("one more")
    row = _published(store)
    assert row is not None
    assert row.generation > 1
    assert writer.search("text number 77", 1)[0].id == "m77"
    assert writer.verify() == []


def test_a_builder_gives_up_when_all_vectors_change_under_it(
    store: Path, writer: AgentMem, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Vectors.page

    def changed_meanwhile(vectors: Vectors, after: int, limit: int) -> tuple[list[int], bytes]:
        monkeypatch.setattr(Vectors, "page", page)
        database_of_writer = embedded(writer).writer()
        with database_of_writer.transaction():
            database_of_writer.forget_graph()
        return page(vectors, after, limit)

    monkeypatch.setattr(Vectors, "page", changed_meanwhile)
    build(store)
    assert _files(store) == []
    assert _published(store) is None


def _locked(store: Path) -> FolderLock:
    """What a builder at work has, also one that is stopped and does nothing."""
    lock = FolderLock(store / "index")
    lock.acquire()
    return lock


def test_a_builder_that_finds_another_at_work_ends(store: Path) -> None:
    lock = _locked(store)
    builders = [graph_builder.start_builder(store) for _ in range(3)]
    assert [builder.wait(_WAIT_S) for builder in builders] == [0, 0, 0]
    lock.release()
    assert _published(store) is None
    graph_builder.start_builder(store).wait(_WAIT_S)
    assert _published_vectors(store) == 1200


def test_a_stopped_builder_lets_no_processes_pile_up(store: Path, tmp_path: Path) -> None:
    lock = _locked(store)
    before = len(graph_builder._started)
    for number in range(4):
        file = tmp_path / f"{number}.jsonl"
        file.write_bytes(b"\n".join(orjson.dumps(memory) for memory in _memories(20, 1200 + 20 * number)))
        with AgentMem(store, embedder=FakeEmbedder()) as mem:
            mem.ingest([str(file)])
    started = graph_builder._started[-4:]
    assert len(graph_builder._started) <= before + 4
    assert [builder.wait(_WAIT_S) for builder in started] == [0] * len(started)
    lock.release()
    build(store)
    assert _published_vectors(store) == 1280


def test_what_is_committed_while_a_builder_ends_is_built_by_it(
    store: Path, writer: AgentMem, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = FolderLock.release
    vectors: list[int] = []

    def committed_meanwhile(lock: FolderLock) -> None:
        if lock._descriptor >= 0 and not vectors and _published_vectors(store) == 1200:  # it has found nothing to do
            vectors.append(1200)
            writer.add_batch(_memories(1500, 1200))
            with pytest.raises(BlockingIOError):
                build(store, wait=False)
        release(lock)

    build(store)
    writer.add("takes what was built")
    monkeypatch.setattr(FolderLock, "release", committed_meanwhile)
    build(store)
    writer.add("takes that too")
    assert (vectors, _published_vectors(store)) == ([1200], 2701)


def test_building_in_the_foreground_waits_for_a_builder_and_does_what_is_left(store: Path) -> None:
    lock = _locked(store)
    timer = threading.Timer(0.3, lock.release)
    timer.start()
    with AgentMem(store, embedder=FakeEmbedder(), index="off") as mem:
        assert mem.build_index() == 0
    timer.join()
    first = _published(store)
    build(store)
    assert _published(store) == first


def test_a_writer_waits_for_a_builder_that_is_just_publishing(store: Path) -> None:
    lock = WriterLock(store / "LOCK", PUBLISHING)
    lock.acquire()
    with closing(EmbeddedStore(store)) as waiting:
        timer = threading.Timer(0.3, lock.release)
        timer.start()
        waiting.open_for_writing(FakeEmbedder().spec.fingerprint())
        assert waiting.writing
        timer.join()


def test_a_damaged_graph_is_replaced_by_the_builder(store: Path) -> None:
    build(store)
    graph = store / "index" / "1.hnsw"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    build(store)
    assert _files(store) == ["2.hnsw"]
    with AgentMem(store, embedder=FakeEmbedder(), index="off") as mem:
        assert mem.verify() == []


def test_an_ingest_does_not_wait_for_the_graph_and_finds_everything_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "memories.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps(memory) for memory in _memories(3000)))
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        report = mem.ingest([str(file)])
        assert (report.added, report.indexing) == (3000, True)
        assert mem.search("text number 2999", 1)[0].id == "m2999"
    deadline = time.monotonic() + _WAIT_S
    while _published_vectors(tmp_path / "store") < 3000 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _published_vectors(tmp_path / "store") == 3000
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        assert mem.search("text number 2999", 1)[0].id == "m2999"
        assert mem.verify() == []


def test_a_builder_whose_store_is_gone_ends_quietly(tmp_path: Path) -> None:
    assert graph_builder.start_builder(tmp_path / "gone").wait(_WAIT_S) == 0


def test_no_builder_is_started_for_a_small_store_or_where_it_is_off(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    monkeypatch.setattr("agentmem_cli.store.embedded.graph_builder.start_builder", started.append)
    with AgentMem(tmp_path / "small", embedder=FakeEmbedder()) as mem:
        mem.add_batch(_memories(999))
    with AgentMem(store, embedder=FakeEmbedder(), index="off") as mem:
        mem.add("one more")
    assert started == []
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        mem.add("another")
    assert started == [store]
