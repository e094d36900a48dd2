"""A folder, a store or a model cache made by somebody else: nothing beside the store is lost, changed, read or told."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem, ModelDamagedError, ServerNotNamedError, StoreDamagedError, StoreError, UsageError
from agentmem_cli.embedding import catalog, endpoint, minilm, static_files
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.minilm import MINILM, MINILM_INT8
from agentmem_cli.support.files import sha256_of
from tests.e2e.conftest import Cli, jsonl
from tests.embedding_server import Server, serving
from tests.fakes import FakeEmbedder
from tests.faults.stores import fill, open_store, text_of, warnings_in
from tests.tiny_models import onnx_folder, publish_static

_COUNT: Final = 1100
_PRECIOUS: Final = "ssh-ed25519 AAAA maya@home\n"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a published graph."""
    return fill(tmp_path_factory.mktemp("pristine") / "store", _COUNT)


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's own, with a file in it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.hnsw").write_text(_PRECIOUS)
    return tmp_path / "outside"


@pytest.fixture
def agentmem(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def _tree(folder: Path) -> dict[str, str | bytes]:
    """All that is in a folder: the content of files, and where links lead."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


# Folders of others


def test_a_project_s_own_folders_under_model_are_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "cache"))
    spec = publish_static(tmp_path / "cache" / "static" / "tiny", "tiny", ["red apple", "the ferry"])
    project, models = tmp_path / "project", tmp_path / "project" / "model"
    with AgentMem(project, model="tiny") as mem:
        mem.add("red apple", id="1")
    for name in ("checkpoints", "0123456789abcdef", "abcdef0123456789", ".making-a1b2c3d4"):
        (models / name).mkdir()
        (models / name / "model.safetensors").write_text(_PRECIOUS)
    (models / "0123456789abcdef" / "notes.txt").write_text(_PRECIOUS)
    (models / ".making-a1b2c3d4" / "notes.txt").write_text(_PRECIOUS)
    (models / "config.json").write_text(_PRECIOUS)
    shutil.copytree(models / spec.revision[:16], models / ("f" * 16))  # this one is ours, of an earlier model
    before = _tree(models)
    with AgentMem(project) as mem:
        mem.add("the ferry", id="2")
    lost = {name for name in before if name not in _tree(models)}
    assert lost == {f"{'f' * 16}/model.safetensors", f"{'f' * 16}/tokenizer.json"}


def test_a_link_in_the_place_of_a_model_is_not_followed_to_delete(tmp_path: Path, outside: Path) -> None:
    (outside / "model.safetensors").write_text(_PRECIOUS)
    (outside / "tokenizer.json").write_text(_PRECIOUS)
    (outside / "1.hnsw").unlink()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "0123456789abcdef").symlink_to(outside)
    static_files.drop_others(MINILM, tmp_path / "model")
    (tmp_path / "linked").symlink_to(outside.parent / "model")
    static_files.drop_others(MINILM, tmp_path / "linked")
    assert sorted(_tree(outside)) == ["model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "mine"},
        {"LOCK": _PRECIOUS},
        {"LOCK": "123\nmore\n"},
        {".gitignore": "*.pyc\n"},
        {"memories.db.new": "my notes"},
        {"model/checkpoints/weights": "mine"},
        {"index/1.hnsw": "mine"},
        {"memories.db-wal": "of what database?"},
        {"LOCK/file": "mine"},
    ],
    ids=lambda files: next(iter(files)),
)
def test_a_folder_with_files_of_others_does_not_become_a_store(
    tmp_path: Path, agentmem: Cli, files: dict[str, str]
) -> None:
    folder = tmp_path / "project"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    before = _tree(folder)
    with pytest.raises(UsageError, match="project is not a store, and not empty: give a new or empty folder"):
        AgentMem(folder, embedder=FakeEmbedder())
    (tmp_path / "new.jsonl").write_bytes(jsonl({"text": "red apple"}))
    if "notes.txt" in files:  # a process takes a while, and says the same of all
        ingest = agentmem("ingest", "new.jsonl", "--store", "project")
        assert (ingest.exit_code, "is not a store, and not empty" in ingest.error()) == (2, True)
        search = agentmem("search", "apple", "--store", "project")
        assert (search.exit_code, "no store at" in search.error()) == (1, True)
    assert _tree(folder) == before


def test_files_that_come_into_a_folder_before_the_first_write_are_not_mixed_with_a_store(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "project", embedder=FakeEmbedder()) as mem:
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "notes.txt").write_text("mine")
        with pytest.raises(UsageError, match="not empty"):
            mem.add("red apple")
    assert list(_tree(tmp_path / "project")) == ["notes.txt"]


@pytest.mark.parametrize("database", [b"", bytes(5000), b"SQLite format 3\0" + bytes(100)])
def test_a_folder_in_which_making_a_store_was_cut_off_is_used(tmp_path: Path, database: bytes) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    for name, content in {"LOCK": b"123\n", ".gitignore": b"*\n", "memories.db.new": database}.items():
        (folder / name).write_bytes(content)
    (folder / "memories.db.new-wal").write_bytes(b"half")
    with open_store(folder) as mem:
        mem.add("red apple", id="1")
        assert mem.verify() == []
    assert sorted(_tree(folder)) == [".gitignore", "LOCK", "memories.db"]


@pytest.mark.parametrize("content", [_PRECIOUS, "123", "123 Publishing\n", "x" * 300, "1\n2\n"])
def test_a_lock_file_that_is_not_ours_is_not_emptied(store: Path, content: str) -> None:
    (store / "LOCK").write_text(content)
    with open_store(store) as mem:
        with pytest.raises(StoreDamagedError, match="LOCK is not a lock of agentmem: it was left as it is"):
            mem.add("red apple")
        assert len(mem) == _COUNT
    assert (store / "LOCK").read_text() == content


@pytest.mark.parametrize("content", ["", "123\n", "99999 publishing a graph\n", "\0" * 6])
def test_a_lock_that_a_killed_writer_left_is_taken(store: Path, content: str) -> None:
    (store / "LOCK").write_text(content)
    with open_store(store) as mem:
        mem.add("red apple")


def test_a_file_in_the_place_of_the_index_is_kept_and_memories_are_safe(store: Path) -> None:
    shutil.rmtree(store / "index")
    (store / "index").write_text(_PRECIOUS)
    with pytest.raises(StoreError, match=r"index can't be written .*memories are safe"), open_store(store) as mem:
        mem.add("red apple", id="new")
    assert (store / "index").read_text() == _PRECIOUS
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        assert mem.search("red apple", 1)[0].id == "new"


def test_files_of_others_in_the_index_are_not_deleted(store: Path) -> None:
    for name in ("mine.hnsw", "embeddings.tmp", "notes.json", "1.hnsw.bak"):
        (store / "index" / name).write_text(_PRECIOUS)
    with open_store(store) as mem:
        mem.repair()
        mem.compact()
    kept = {path.name for path in (store / "index").iterdir() if path.read_bytes() == _PRECIOUS.encode()}
    assert kept == {"mine.hnsw", "embeddings.tmp", "notes.json", "1.hnsw.bak"}


@pytest.mark.parametrize("where", ["mysql://maya:secret@db.example/m", "s3://bucket/m", "redis://127.0.0.1"])
def test_a_store_of_a_kind_that_is_not_known_makes_no_folder(where: str, tmp_path: Path) -> None:
    for path in (where, Path(where)):
        with pytest.raises(UsageError, match="give a folder, or postgresql://") as caught:
            AgentMem(path)
        assert "secret" not in str(caught.value)


def test_ingest_into_a_url_makes_no_folder(agentmem: Cli) -> None:
    (agentmem.folder / "new.jsonl").write_bytes(jsonl({"text": "red apple"}))
    result = agentmem("ingest", "new.jsonl", "--store", "mysql://h/db")
    assert (result.exit_code, "agentmem knows no such stores" in result.error()) == (2, True)
    assert sorted(path.name for path in agentmem.folder.iterdir()) == ["new.jsonl", "tmp"]


# Links and pipes within a store

_LINKED: Final = (
    "LOCK",
    ".gitignore",
    "memories.db",
    "memories.db-wal",
    "memories.db-shm",
    "memories.db-journal",
    "memories.db.new",
    "index",
    "index/1.hnsw",
    "index/2.tmp",
    "index/offer.json",
    "index/offer.json.tmp",
    "model",
    "model/0123456789abcdef",
    "model/0123456789abcdef/tokenizer.json",
)


def _put_link(store: Path, name: str, target: Path) -> None:
    path = store / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", _LINKED)
def test_a_link_in_a_store_is_not_followed(store: Path, outside: Path, name: str) -> None:
    target = outside if name in ("index", "model") or name.endswith("cdef") else outside / "1.hnsw"
    if name == "memories.db":
        shutil.copy(store / name, target)
    for end in (target, outside / "nothing"):
        _put_link(store, name, end)
        before, inside = _tree(outside), _tree(store)
        with pytest.raises(StoreDamagedError, match=f"{name} is a link, and a store holds no links"):
            open_store(store)
        with pytest.raises(StoreDamagedError, match="is a link"):
            AgentMem(store, create=False)
        assert (_tree(outside), _tree(store)) == (before, inside)


@pytest.mark.parametrize("name", ["LOCK", "memories.db-wal", "memories.db", "index", "index/2.tmp"])
def test_a_link_that_is_put_into_an_open_store_is_not_followed(store: Path, outside: Path, name: str) -> None:
    if name == "memories.db":
        shutil.copy(store / name, outside / "1.hnsw")
    mem = open_store(store)
    mem._store.close()
    _put_link(store, name, outside if name == "index" else outside / "1.hnsw")
    before = _tree(outside)
    with pytest.raises(StoreError):
        mem.add_batch([{"text": f"another {i}"} for i in range(_COUNT)])
        mem.build_index()
    mem._store.close()
    assert _tree(outside) == before


def test_a_graph_that_became_a_link_is_not_read(store: Path, outside: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(store) as mem:
        shutil.copy(store / "index" / "1.hnsw", outside / "copy")
        _put_link(store, "index/1.hnsw", outside / "copy")
        assert mem.search(text_of(7), 1)[0].id == "7"
    (warning,) = warnings_in(caplog)
    assert "is missing or not what was published" in warning


def test_a_store_that_is_reached_by_a_link_of_the_users_own_is_used(store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store)
    with open_store(tmp_path / "link") as mem:
        mem.add("red apple", id="new")
        assert mem.search("red apple", 1)[0].id == "new"


@pytest.mark.parametrize("name", ["LOCK", "memories.db", "memories.db-wal", "index/1.hnsw", "index/offer.json"])
def test_a_pipe_in_a_store_does_not_hang_it(store: Path, agentmem: Cli, name: str) -> None:
    (store / name).unlink(missing_ok=True)
    os.mkfifo(store / name)
    result = agentmem("stats", "--store", "store")
    assert (result.exit_code, f"{name} is neither a file nor a folder" in result.error()) == (1, True)
    with pytest.raises(StoreDamagedError, match="neither a file nor a folder"):
        open_store(store)


# Servers that a store names


@pytest.fixture
def brought(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that somebody else made on a machine of theirs, with a model that their server has."""
    monkeypatch.delenv("AGENTMEM_EMBEDDER_URL", raising=False)
    monkeypatch.delenv("AGENTMEM_EMBEDDER_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "theirs"))
    with AgentMem(tmp_path / "brought", embedder_url=server.url) as mem:
        mem.add_batch([{"id": str(i), "text": text_of(i)} for i in range(20)])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "ours"))
    server.requests.clear()
    return tmp_path / "brought"


def test_no_text_goes_to_a_server_that_only_the_store_names(brought: Path, server: Server) -> None:
    with AgentMem(brought) as mem:
        for send in (lambda: mem.search("my secret"), lambda: mem.add("my secret"), mem.load):
            with pytest.raises(ServerNotNamedError) as caught:
                send()
            assert f"give --embedder-url {server.url} once" in str(caught.value)
        assert mem.search("colour3", mode="words")
        assert (len(mem), mem.stats().memories, len(mem.list_memories()), len(list(mem.export()))) == (20,) * 4
        assert mem.add_batch([{"id": "0", "text": text_of(0)}]).unchanged == 1
        assert (mem.get("0") is not None, mem.delete("0"), mem.verify()) == (True, 1, [])
    assert server.requests == []


def test_the_command_says_where_a_query_would_go_and_how_to_allow_it(
    brought: Path, server: Server, agentmem: Cli
) -> None:
    refused = agentmem("search", "my secret", "--store", "brought")
    assert refused.exit_code == 1
    assert f"served at {server.url}" in refused.error() and f"--embedder-url {server.url} once" in refused.error()
    assert server.requests == []
    allowed = ("search", text_of(7), "--store", "brought", "-k", "1", "--json")
    assert agentmem(*allowed, "--embedder-url", server.url).json()[0]["id"] == "7"
    assert agentmem(*allowed).json()[0]["id"] == "7"


@pytest.mark.parametrize("by", ["a search", "making a store", "the same in other letters"])
def test_a_server_that_the_user_has_named_once_is_used_from_then_on(
    brought: Path, server: Server, tmp_path: Path, by: str
) -> None:
    url = server.url.replace("http:", "HTTP:") + "/" if by == "the same in other letters" else server.url
    with AgentMem(tmp_path / "own" if by == "making a store" else brought, embedder_url=url) as mem:
        mem.add("red apple")
    with AgentMem(brought) as mem:
        assert mem.search(text_of(7), 1)[0].id == "7"
    (kept,) = [path for path in (tmp_path / "ours").rglob("*") if path.is_file()]
    assert json.loads(kept.read_bytes()) == [server.url]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_server_named_by_the_environment_is_used_and_not_kept(
    brought: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_EMBEDDER_URL", server.url)
    with AgentMem(brought) as mem:
        assert mem.search(text_of(7), 1)[0].id == "7"
    monkeypatch.delenv("AGENTMEM_EMBEDDER_URL")
    with AgentMem(brought) as mem, pytest.raises(ServerNotNamedError):
        mem.search("my secret")


@pytest.mark.parametrize("change", [lambda url: url + "x", lambda url: url.replace("127.0.0.1", "localhost")])
def test_to_name_one_server_allows_no_other(
    brought: Path, server: Server, tmp_path: Path, change: Callable[[str], str]
) -> None:
    configuration = tmp_path / "ours" / "agentmem"
    configuration.mkdir(parents=True)
    (configuration / "embedders.json").write_text(json.dumps([change(server.url), 5]))
    with AgentMem(brought) as mem, pytest.raises(ServerNotNamedError):
        mem.search("my secret")
    assert server.requests == []


@pytest.mark.parametrize("content", ["{}", "[", '"http"', "\xff"])
def test_a_damaged_list_of_servers_names_none_and_is_written_again(
    brought: Path, server: Server, tmp_path: Path, content: str
) -> None:
    configuration = tmp_path / "ours" / "agentmem"
    configuration.mkdir(parents=True)
    (configuration / "embedders.json").write_text(content, encoding="latin-1")
    with AgentMem(brought) as mem, pytest.raises(ServerNotNamedError):
        mem.search("my secret")
    for url in (server.url, None):
        with AgentMem(brought, embedder_url=url) as mem:
            assert mem.search(text_of(7), 1)[0].id == "7"


def test_a_configuration_that_can_not_be_written_is_one_line_and_no_failure(
    brought: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with AgentMem(brought, embedder_url=server.url) as mem:
        assert mem.search(text_of(7), 1)[0].id == "7"
    (warning,) = warnings_in(caplog)
    assert "give --embedder-url each time" in warning


@pytest.mark.parametrize("url", ["http://maya:secret@h/v1", "ftp://maya:secret@h/v1", "http://h/v1?key=secret"])
def test_a_password_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        endpoint.checked_url(url)
    assert "secret" not in str(caught.value)


# Model caches of others


def test_weights_that_were_changed_under_a_consistent_name_do_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "cache"))
    for spec in (MINILM, MINILM_INT8):
        sound = minilm.weights_to_run(spec, "cpu")
        wanted = sha256_of(sound)
        evil = bytearray(sound.read_bytes())
        evil[len(evil) // 2] ^= 1
        sound.unlink()
        name = f"{sound.name.removesuffix(f'{wanted}.onnx')}{hashlib.sha256(evil).hexdigest()}.onnx"
        (tmp_path / "cache" / name).write_bytes(evil)
        assert sha256_of(minilm.weights_to_run(spec, "cpu")) == wanted
        sound.write_bytes(evil)
        assert sha256_of(minilm.weights_to_run(spec, "cpu")) == wanted


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx_data", "model.onnx.data", "tokenizer.json"])
def test_a_model_folder_whose_weights_were_changed_is_not_the_store_s(tmp_path: Path, name: str) -> None:
    folder = onnx_folder(tmp_path / "model")
    for beside in ("model.onnx_data", "model.onnx.data"):
        (folder / beside).write_bytes(b"weights")
    spec = catalog.resolve(ModelChoice(path=str(folder)))
    with (folder / name).open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(ModelDamagedError, match="is not the revision that made the store"):
        catalog.load(spec)


def test_a_model_cache_that_can_not_be_written_is_the_user_s_own_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "file" / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    for _ in range(2):
        weights = minilm.weights_to_run(MINILM_INT8, "cpu")
        assert weights.parent == tmp_path / "own" / "agentmem" / "models"
    said = [line for line in warnings_in(caplog) if "FASTEMBED_CACHE_PATH" in line]
    assert len(said) == 1 and f"new models go to {weights.parent}" in said[0]


def test_a_command_works_where_the_model_cache_can_not_be_written(agentmem: Cli) -> None:
    (agentmem.folder / "file").write_text("")
    (agentmem.folder / "new.jsonl").write_bytes(jsonl({"text": "red apple"}))
    result = agentmem(
        "ingest", "new.jsonl", "--quiet", variables={"FASTEMBED_CACHE_PATH": str(agentmem.folder / "file" / "models")}
    )
    assert (result.exit_code, len(result.stderr.splitlines())) == (0, 1)
    assert f"new models go to {agentmem.folder}" in result.stderr


def test_a_model_cache_that_can_only_be_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "baked"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    weights = minilm.weights_to_run(MINILM, "cpu")
    publish_static(tmp_path / "baked" / "static" / "tiny", "tiny", ["red apple"])
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert minilm.weights_to_run(MINILM, "cpu") == weights
    found = static_files.made_here("tiny")
    assert found is not None and Path(found.folder).is_relative_to(tmp_path / "baked")
    assert (warnings_in(caplog), (tmp_path / "own").exists()) == ([], False)


# Git


def test_a_new_store_stays_out_of_git(tmp_path: Path) -> None:
    fill(tmp_path / "store", 3)
    assert (tmp_path / "store" / ".gitignore").read_text() == "*\n"


def test_a_store_that_is_tracked_on_purpose_stays_so(store: Path) -> None:
    (store / ".gitignore").unlink()
    with open_store(store) as mem:
        mem.add("red apple")
    assert not (store / ".gitignore").exists()
