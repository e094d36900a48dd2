"""Static models by name, and stores that carry theirs: with the cache gone, a store still has its embedder."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from agentmem_cli import AgentMem
from agentmem_cli.embedding import catalog, distill, minilm, static_files
from agentmem_cli.embedding.base import EmbedderSpec
from agentmem_cli.embedding.catalog import entries
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import ModelDamagedError, ModelNotFoundError, StoreMismatchError, UsageError
from tests.fakes import FakeEmbedder
from tests.tiny_models import FakeTeacher, onnx_folder, publish_static, static_spec

Put = Callable[..., EmbedderSpec]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model cache, and no network."""
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "cache"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distils with few texts to fit to."""
    monkeypatch.setattr(distill, "distill", functools.partial(distill.distill, count=60))


@pytest.fixture
def put() -> Put:
    """Puts a static model into the cache, as if it had been made."""

    def put_model(name: str = catalog.STATIC_MODEL) -> EmbedderSpec:
        made = static_spec()
        place = static_files.home(name) / Path(made.folder).name
        shutil.copytree(made.folder, place)
        found = static_files.made_here(name)
        assert found is not None
        return found

    return put_model


def damage(spec: EmbedderSpec, folder: Path | None = None) -> None:
    """Changes one byte of a model's weights."""
    path = (folder or Path(spec.folder)) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["minilm-static", "all-MiniLM-L6-v2-static"])
def test_the_static_model_is_found_by_name_and_alias(name: str, put: Put) -> None:
    spec = put()
    assert catalog.resolve(ModelChoice(name)) == spec
    assert catalog.load(spec).spec == spec


def test_it_is_made_at_its_first_use_and_not_again(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "OnnxTeacher", lambda embedder: FakeTeacher(dim=256))
    told: list[float] = []
    spec = catalog.resolve(ModelChoice("minilm-static"), on_progress=lambda step, share: told.append(share))
    assert (spec.name, spec.dim) == ("all-MiniLM-L6-v2-static", 256)
    assert told[-1] == 1
    monkeypatch.setattr(distill, "distill", None)
    assert catalog.resolve(ModelChoice("minilm-static")) == spec
    assert catalog.distill(ModelChoice("minilm")) == spec


@pytest.mark.slow
def test_minilm_distilled_keeps_meaning(quick: None, tmp_path: Path) -> None:
    """Its first 6,000 tokens, which take a few seconds; how good all of it is, tests/perf/retrieval_quality.py says."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(minilm.published_weights())
    (folder / "vocab.txt").write_text("\n".join(minilm.VOCABULARY.read_text("utf-8").splitlines()[:6_000]))
    BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True).save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"hidden_size": 384}')
    embedder = catalog.load(catalog.distill(ModelChoice(path=str(folder))))
    query = embedder.embed_query("What does she do at work?")
    near, far = embedder.embed(["Anna has a job at the office.", "The river runs to the sea."]).vectors @ query
    assert near > far + 0.1


def test_a_damaged_one_is_made_again_and_a_users_own_is_refused(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(put())
    damage(put("mine"))
    monkeypatch.setattr(catalog, "distill", lambda **_: static_spec())
    assert catalog.resolve(ModelChoice("minilm-static")) == static_spec()
    with pytest.raises(ModelDamagedError, match=r"model mine in .* is not what was written there"):
        catalog.resolve(ModelChoice("mine"))
    assert [entry.here for entry in entries() if entry.source == "made here"] == [False, False]


def test_a_model_of_ones_own_is_listed_and_used_by_its_name(tmp_path: Path, quick: None) -> None:
    folder = str(onnx_folder(tmp_path / "model"))
    spec = catalog.distill(ModelChoice(path=folder), name="pets", dim=8, texts=["a cat", "the red dog"])
    assert (spec.name, spec.dim) == ("pets", 8)
    (entry,) = (entry for entry in entries() if entry.name == "pets")
    assert (entry.dim, entry.here, entry.source) == (8, True, "made here")
    with AgentMem(tmp_path / "store", model="pets") as mem:
        mem.add_batch([{"id": "1", "text": "the cat"}, {"id": "2", "text": "music"}])
        assert mem.search("cat", 1)[0].id == "1"


@pytest.mark.parametrize("name", ["minilm", "minilm-static", "pets"])
def test_a_name_that_is_taken_is_refused_before_any_work(name: str, put: Put, tmp_path: Path) -> None:
    put("pets")
    with pytest.raises(UsageError, match="give another --name"):
        catalog.distill(ModelChoice("minilm"), name=name)


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "x" * 101, "new\nline"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="can't be named"):
        static_files.check_name(name)
    assert static_files.made_here(name) is None


def test_a_static_model_can_not_be_distilled(put: Put) -> None:
    put()
    with pytest.raises(UsageError, match="it is static already"):
        catalog.distill(ModelChoice("minilm-static"))


def test_a_store_keeps_its_model_when_the_cache_is_gone(put: Put, tmp_path: Path, cache: Path) -> None:
    put()
    with AgentMem(tmp_path / "store", model="minilm-static") as mem:
        mem.add("the ferry leaves at nine", id="1")
        assert [name.split("/")[0] for name in mem.stats().bytes_by_file if "model" in name] == ["model", "model"]
        before = mem.search("ferry")
    shutil.rmtree(cache)
    for model in (None, "minilm-static"):
        with AgentMem(tmp_path / "store", model=model) as mem:
            assert [hit.id for hit in mem.search("ferry", 1)] == [hit.id for hit in before]
            mem.add("the ladder is in the shed", id="2")
            assert mem.verify() == []
            mem.compact()
            assert len(list(mem.export(vectors=True))) == 2
    assert not cache.exists()


def test_a_store_without_its_copy_takes_the_cache_s_and_copies_it_again(put: Put, tmp_path: Path) -> None:
    spec = put()
    store = tmp_path / "store"
    with AgentMem(store, model="minilm-static") as mem:
        mem.add("the ferry")
    damage(spec, store / "model" / spec.revision[:16])
    with AgentMem(store) as mem:
        assert mem.search("ferry")
    shutil.rmtree(store / "model")
    with AgentMem(store) as mem:
        mem.add("the ladder")
    assert (store / "model" / spec.revision[:16] / "model.safetensors").is_file()


def test_where_both_are_gone_the_error_says_so_and_memories_can_still_be_removed(
    put: Put, tmp_path: Path, cache: Path
) -> None:
    put()
    with AgentMem(tmp_path / "store", model="minilm-static") as mem:
        mem.add("the ferry", id="1")
    shutil.rmtree(cache)
    shutil.rmtree(tmp_path / "store" / "model")
    with AgentMem(tmp_path / "store") as mem:
        with pytest.raises(ModelNotFoundError, match=r"is whole in none of .*store/model"):
            mem.search("ferry")
        with pytest.raises(ModelNotFoundError, match="agentmem reembed"):
            mem.add("new")
    with AgentMem(tmp_path / "store") as mem:
        assert mem.delete("1") == 1


def test_a_store_of_another_model_is_refused_before_a_model_is_made(tmp_path: Path, cache: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add("the ferry")
    with pytest.raises(StoreMismatchError):
        AgentMem(tmp_path / "store", model="minilm-static")
    assert not cache.exists()


def test_re_embedding_changes_the_copy(put: Put, tmp_path: Path, cache: Path) -> None:
    put()
    other = publish_static(cache / "static" / "other", "other", ["red apple", "the ferry"])
    with AgentMem(tmp_path / "store", model="minilm-static") as mem:
        mem.add("the ferry")
        mem.reembed("other")
        assert [entry.name for entry in (tmp_path / "store" / "model").iterdir()] == [other.revision[:16]]
        mem.reembed(embedder=FakeEmbedder())
        assert list((tmp_path / "store" / "model").iterdir()) == []


def test_an_embedder_that_was_given_is_not_copied(put: Put, tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=catalog.load(put())) as mem:
        mem.add("the ferry")
    assert not (tmp_path / "store" / "model").exists()


def test_vectors_are_the_same_from_either_copy(put: Put, tmp_path: Path) -> None:
    spec = put()
    static_files.carry(spec, tmp_path / "carried")
    first = catalog.load(spec).embed(["a cat"]).vectors
    shutil.rmtree(spec.folder)
    np.testing.assert_array_equal(catalog.load(spec, carried=tmp_path / "carried").embed(["a cat"]).vectors, first)
