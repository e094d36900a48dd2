"""A store whose vectors a server makes: it finds the server again, and takes no vectors of another model."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, EmbeddingError, ModelDamagedError, StoreMismatchError, UsageError
from tests import embedding_server as faults
from tests.embedding_server import Server, serving
from tests.fakes import FakeEmbedder
from tests.remotes import KEY, Noisy

TEXTS = [{"id": str(i), "text": f"item {i} colour{i % 7}"} for i in range(100)]


@pytest.fixture
def store(tmp_path: Path, server: Server) -> Path:
    """A store that the server's model has made."""
    with AgentMem(tmp_path / "store", embedder_url=server.url) as mem:
        mem.add_batch(TEXTS)
    return tmp_path / "store"


def best(mem: AgentMem) -> str:
    return mem.search("item 17 colour3", 1)[0].id


def test_a_store_finds_its_server_again(store: Path, server: Server) -> None:
    with AgentMem(store) as mem:
        assert (mem.model.name, mem.model.folder, best(mem)) == ("remote:fake", server.url, "17")
        mem.add("late", id="late")
        assert mem.search("late", 1)[0].id == "late"


@pytest.mark.parametrize("model", [None, "fake", "remote:fake"])
def test_a_server_that_has_moved_is_named_again(store: Path, model: str | None) -> None:
    with serving() as moved, AgentMem(store, model=model, embedder_url=moved.url) as mem:
        assert best(mem) == "17"
        assert len(moved.requests) == 1


def test_a_server_that_has_moved_is_named_by_the_environment(
    store: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.requests.clear()
    with serving() as moved:
        monkeypatch.setenv("AGENTMEM_EMBEDDER_URL", moved.url)
        with AgentMem(store) as mem:
            assert best(mem) == "17"
    assert server.requests == []


def test_to_open_to_read_and_to_take_in_again_needs_no_server(store: Path, server: Server) -> None:
    server.requests.clear()
    server.every = faults.hang_up
    for url in (None, server.url):
        with AgentMem(store, embedder_url=url) as mem:
            assert mem.get("17") is not None
            assert mem.add_batch(TEXTS).unchanged == len(TEXTS)
    assert server.requests == []


def test_another_model_under_the_same_name_stores_nothing(store: Path, server: Server) -> None:
    server.models["fake"] = FakeEmbedder("other")
    for url in (None, server.url):
        with AgentMem(store, embedder_url=url) as mem:
            with pytest.raises(StoreMismatchError, match="another model as fake"):
                mem.add("late", id="late")
            with pytest.raises(StoreMismatchError, match="another model as fake"):
                mem.search("item 17")
            assert (len(mem), mem.get("late")) == (len(TEXTS), None)


@pytest.mark.parametrize("model", ["other", "minilm", "remote:other"])
def test_a_model_of_another_name_is_refused(store: Path, server: Server, model: str) -> None:
    server.models.update({"other": FakeEmbedder("other"), "minilm": FakeEmbedder()})
    name = model.removeprefix("remote:")
    with pytest.raises(StoreMismatchError, match=f"holds vectors of remote:fake, not of remote:{name}"):
        AgentMem(store, model=model, embedder_url=server.url)


def test_a_local_model_and_a_served_one_of_its_name_are_two(store: Path, server: Server, tmp_path: Path) -> None:
    with pytest.raises(StoreMismatchError, match="remote:fake, not of all-MiniLM-L6-v2"):
        AgentMem(store, model="minilm")
    with AgentMem(tmp_path / "local", embedder=FakeEmbedder()) as mem:
        mem.add("red apple")
    with pytest.raises(StoreMismatchError, match="holds vectors of fake, not of remote:fake"):
        AgentMem(tmp_path / "local", embedder_url=server.url)


@pytest.mark.parametrize("damage", ["", "x", "3 AAAA", "3 ?", "? AAAA"])
def test_a_store_that_can_not_tell_its_model_is_not_written(store: Path, damage: str) -> None:
    with closing(sqlite3.connect(store / "memories.db")) as database, database:
        database.execute("UPDATE meta SET value = json_set(value, '$.probe', ?) WHERE key = 'embedder'", (damage,))
    with AgentMem(store) as mem:
        with pytest.raises(ModelDamagedError, match="has lost the data that identifies remote:fake"):
            mem.add("late")
        assert len(mem) == len(TEXTS)


def test_nothing_is_stored_of_a_batch_that_failed(store: Path, server: Server) -> None:
    with AgentMem(store) as mem:
        server.faults.extend([faults.sound, faults.status(404, "gone")])
        with pytest.raises(EmbeddingError, match="gone"):
            mem.add_batch([{"id": f"new{i}", "text": f"new {i}"} for i in range(100)])
        assert (len(mem), mem.verify()) == (len(TEXTS), [])


def test_a_served_model_goes_with_no_other(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--embedder-url and --model-path name two models"):
        AgentMem(tmp_path / "a", model_path=".", embedder_url=server.url)
    with pytest.raises(UsageError, match="give either embedder= or a model"):
        AgentMem(tmp_path / "a", embedder=FakeEmbedder(), embedder_url=server.url)


def test_a_store_is_reembedded_by_a_server(server: Server, tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder("local", 8)) as mem:
        mem.add_batch(TEXTS)
        mem.reembed(embedder_url=server.url)
        assert (mem.model.name, best(mem), mem.verify()) == ("remote:fake", "17", [])
        with pytest.raises(StoreMismatchError, match="holds vectors of remote:fake already"):
            mem.reembed(embedder_url=server.url)


def test_a_reembedding_that_was_cut_off_goes_on_though_the_answers_waver(tmp_path: Path) -> None:
    texts = [{"text": f"item {i}"} for i in range(1500)]
    with serving(models={"fake": Noisy(0.01)}) as server:
        with AgentMem(tmp_path / "store", embedder=FakeEmbedder("local", 8)) as mem:
            mem.add_batch(texts)
            server.faults.extend([faults.sound] * 40)
            server.every = faults.status(404, "cut off")
            with pytest.raises(EmbeddingError, match="cut off"):
                mem.reembed("fake", embedder_url=server.url)
        server.every = None
        server.requests.clear()
        with AgentMem(tmp_path / "store", embedder=FakeEmbedder("local", 8)) as mem:
            mem.reembed(embedder_url=server.url)
            assert mem.verify() == []
        assert sum(len(request["input"]) - 1 for request in server.requests) == 500


def test_the_key_is_in_no_file_of_the_store(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_EMBEDDER_KEY", KEY)
    with AgentMem(tmp_path / "store", embedder_url=server.url) as mem:
        mem.add("red apple")
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_vectors_that_were_exported_are_taken_in_without_the_server(
    store: Path, server: Server, tmp_path: Path
) -> None:
    with AgentMem(store) as mem:
        exported = list(mem.export(vectors=True))
    shutil.rmtree(store)
    with AgentMem(tmp_path / "restored", embedder_url=server.url) as mem:
        server.requests.clear()
        mem.add_batch(exported)
        assert server.requests == []
        assert best(mem) == "17"
