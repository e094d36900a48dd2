"""What is distilled points where the teacher does, is the same every time, and weighs rare words more."""

import itertools
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from agentmem_cli.embedding import catalog, distill
from agentmem_cli.embedding.base import Vectors, no_progress, unit_rows
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.distill import OnnxTeacher
from agentmem_cli.embedding.onnx import OnnxEmbedder
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.embedding.tokens import TokenIds
from agentmem_cli.errors import UsageError
from tests.tiny_models import DIM, FakeTeacher, onnx_folder, tokenizer_json

OWN: Final = [f"{text} 𓀀" for text in mixed_texts(200, seed=5)]


def sums(vectors: Vectors, texts: list[str]) -> Vectors:
    """The sums of the texts' tokens' vectors, of unit length."""
    ids, offsets = TokenIds(tokenizer_json()).many(texts)
    rows = np.array([vectors[ids[i:j]].sum(axis=0) for i, j in itertools.pairwise(offsets)], np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def agreement(vectors: Vectors, texts: list[str]) -> float:
    """How far cosines between texts follow the teacher's: their correlation."""
    ours, theirs = sums(vectors, texts), FakeTeacher().embed(texts, no_progress)
    theirs = unit_rows(theirs - theirs.mean(axis=0), len(texts), DIM, "fake")
    above = np.triu_indices(len(texts), 1)
    return float(np.corrcoef((ours @ ours.T)[above], (theirs @ theirs.T)[above])[0, 1])


def test_texts_that_it_was_fitted_to_are_nearer_to_the_teachers() -> None:
    general, own = (
        distill.distill(FakeTeacher(), DIM, texts, no_progress, count=150).astype(np.float32) for texts in ([], OWN)
    )
    assert agreement(own, OWN[:150]) > agreement(general, OWN[:150]) + 0.1
    assert agreement(own, OWN[150:]) > agreement(general, OWN[150:])  # which it has not seen


def test_it_is_the_same_every_time() -> None:
    first, second = (distill.distill(FakeTeacher(), 16, OWN[:20], no_progress, count=100) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (30522, 16)


def test_what_means_nothing_has_no_vector() -> None:
    vectors = distill.distill(FakeTeacher(), 16, OWN, no_progress, count=100)
    ids = TokenIds(tokenizer_json()).one("[PAD] [UNK] [CLS] [SEP] [MASK] 𓀀")
    assert not vectors[ids].any()
    assert vectors[TokenIds(tokenizer_json()).one("hello")].any()


def test_the_rarer_a_token_the_more_it_weighs() -> None:
    vocabulary = distill.tokens_by_id(tokenizer_json())
    weights = distill.rarities(vocabulary)
    comma, the, cat, porcupine = (weights[vocabulary.index(token)] for token in (",", "the", "cat", "##riders"))
    assert comma == pytest.approx(the, rel=0.01)
    assert the < 0.1 < cat < porcupine < 1


def test_progress_goes_from_nothing_to_all() -> None:
    told: list[float] = []
    distill.distill(FakeTeacher(), 16, [], lambda step, share: told.append(share), count=20)
    assert told == sorted(told)
    assert told[-1] == 1


def test_more_dims_than_the_teacher_has_are_refused() -> None:
    with pytest.raises(UsageError, match="--dim 49: model fake has 48 dims"):
        distill.distill(FakeTeacher(), 49, [], no_progress, count=20)


def test_general_texts_meet_every_word() -> None:
    vocabulary = distill.tokens_by_id(tokenizer_json())
    words = {token for token in vocabulary if token.isalpha() and len(token) > 1}
    met = " ".join(distill.general_texts(vocabulary, distill.FIT_TEXTS)).split()
    assert words <= set(met)


def test_principal_axes_are_those_of_the_largest_spread() -> None:
    rows = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32) * np.array([1, 9, 2, 4, 1], np.float32)
    axes = distill.principal_axes(rows, 2)
    np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-5)
    assert np.abs(axes).argmax(axis=0).tolist() == [1, 3]


def test_an_onnx_models_tokens_have_their_own_outputs(tmp_path: Path) -> None:
    embedder = catalog.load(catalog.resolve(ModelChoice(path=str(onnx_folder(tmp_path / "model")))))
    assert isinstance(embedder, OnnxEmbedder)
    teacher = OnnxTeacher(embedder)
    outputs = teacher.token_outputs(no_progress)
    np.testing.assert_allclose(outputs, np.random.default_rng(5).standard_normal(outputs.shape, dtype=np.float32))
    texts = ["a cat", "the red apples", "dog"] * 400
    np.testing.assert_allclose(teacher.embed(texts, no_progress), embedder.embed(texts).vectors, atol=1e-6)


def test_a_model_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = onnx_folder(tmp_path / "model")
    tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
    assert '"WordPiece"' in tokenizer
    (folder / "tokenizer.json").write_text(
        '{"version":"1.0","added_tokens":[],"model":{"type":"WordLevel","vocab":{"[UNK]":0,"[PAD]":1},'
        '"unk_token":"[UNK]"}}'
    )
    with pytest.raises(UsageError, match="its tokenizer is WordLevel, not WordPiece"):
        catalog.distill(ModelChoice(path=str(folder)), dim=8, name="other")
