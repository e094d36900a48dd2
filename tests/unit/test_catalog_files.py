"""What a model's own files say is what counts: its pooling, its token limit, and whether it is all there."""

from pathlib import Path

import pytest

from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import ModelError
from tests.unit.test_catalog import HUB_MINILM, TEXTS, WORDS, Build, build, cosines, no_network

__all__ = ["build", "no_network"]  # fixtures


def put_in_cache(tmp_path: Path, build: Build, limit: int) -> Path:
    """The folder of MiniLM in the hub's cache, as a download leaves it."""
    revision = "0123456789" * 4
    cached = tmp_path / "cache" / "models--Qdrant--all-MiniLM-L6-v2-onnx"
    folder = build(cached / "snapshots" / revision, tokenizer_config={"model_max_length": limit, "pad_token": "[PAD]"})
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(revision)
    return folder


def test_two_folders_that_differ_in_pooling_alone_give_different_vectors(tmp_path: Path, build: Build) -> None:
    mean, cls = build(tmp_path / "mean"), build(tmp_path / "cls")
    (cls / "1_Pooling").mkdir()
    (cls / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    first, second = (
        catalog.load(catalog.resolve(ModelChoice(path=str(folder)))).embed(TEXTS).vectors for folder in (mean, cls)
    )
    assert cosines(first, second).max() < 0.99


def test_a_cached_model_truncates_where_its_tokenizer_says_and_counts_it(tmp_path: Path, build: Build) -> None:
    put_in_cache(tmp_path, build, 128)
    embedded = catalog.load(catalog.resolve(ModelChoice(HUB_MINILM))).embed([" ".join(WORDS)])
    assert (embedded.tokens, embedded.truncated) == (128, 1)


def test_a_model_that_is_cached_in_part_is_not_here(tmp_path: Path, build: Build) -> None:
    (put_in_cache(tmp_path, build, 256) / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="not cached here"):
        catalog.resolve(ModelChoice(HUB_MINILM))
