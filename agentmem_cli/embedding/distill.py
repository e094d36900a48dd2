"""Makes a static model of another: vectors of tokens whose sum points where the model's embedding of a text does.

Each token goes through the model alone, and its own output, weighted by how rare it is (a / (a + p), Arora et al. 2017,
with p from Zipf's law, as a WordPiece vocabulary is in the order of frequency), is where its vector starts from. Ridge
regression on the counts of tokens in texts then moves the vectors towards the model's embeddings of these texts. With
fewer texts than tokens its dual form is the smaller: solved exactly, by one Cholesky factorisation.
"""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import onnxruntime
import orjson
from numpy.typing import NDArray
from tokenizers import Tokenizer

from agentmem_cli.embedding import onnx
from agentmem_cli.embedding.base import OnProgress, Vectors
from agentmem_cli.embedding.static import token_counts
from agentmem_cli.embedding.static_files import HalfVectors
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.embedding.tokens import TokenIds
from agentmem_cli.errors import EmbeddingError, UsageError
from agentmem_cli.support.machine import usable_cores

_TOKENS_AT_ONCE: Final = 128
_TEXTS_AT_ONCE: Final = 500


class Teacher(Protocol):
    """A model to distil; its tokenizer is WordPiece's."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def dim(self) -> int:
        """How many dims its embeddings have."""

    @property
    def tokenizer_json(self) -> str:
        """The content of its tokenizer.json, without padding and truncation."""

    def token_outputs(self, on_progress: OnProgress) -> Vectors:
        """Each token of the vocabulary through the model alone: its own outputs (vocabulary, dim), by id."""

    def embed(self, texts: Sequence[str], on_progress: OnProgress) -> Vectors:
        """The model's embeddings (n, dim) of texts, of unit length."""


class OnnxTeacher:
    """An ONNX model of the catalogue; a Teacher. Raises UsageError where it is of a kind that can't be distilled."""

    def __init__(self, embedder: onnx.OnnxEmbedder) -> None:
        self._embedder = embedder
        self.name, self.dim = embedder.spec.name, embedder.spec.dim
        with embedder.open_folder() as folder:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = _session(self.name, folder / onnx.weights_file(embedder.spec, folder))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer_json: str = tokenizer.to_str()
        kind = orjson.loads(self.tokenizer_json)["model"].get("type")
        if kind != "WordPiece":
            raise UsageError(f"model {self.name} can't be distilled: its tokenizer is {kind}, and must be WordPiece")
        self._vocabulary = max(tokenizer.get_vocab().values()) + 1
        self._before_and_after = tokenizer.encode("").ids

    def token_outputs(self, on_progress: OnProgress) -> Vectors:
        """Each token between the special ones that a text has, such as [CLS] and [SEP]: its own outputs, by id."""
        starts = range(0, self._vocabulary, _TOKENS_AT_ONCE)
        parts = []
        with ThreadPoolExecutor(usable_cores()) as pool:
            try:
                for part in pool.map(self._outputs_from, starts):
                    parts.append(part)
                    on_progress("distilling tokens", len(parts) / len(starts))
            finally:
                pool.shutdown(cancel_futures=True)  # where one has failed, or Ctrl-C came
        return np.concatenate(parts)

    def embed(self, texts: Sequence[str], on_progress: OnProgress) -> Vectors:
        """The model's embeddings (n, dim) of texts, of unit length."""
        vectors = np.empty((len(texts), self._embedder.spec.dim), dtype=np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")[
            ::-1
        ]  # the longest first: time left only falls
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            rows = order[start : start + _TEXTS_AT_ONCE]
            vectors[rows] = self._embedder.embed([texts[row] for row in rows]).vectors
            on_progress("embedding texts to fit to", min(start + _TEXTS_AT_ONCE, len(texts)) / len(texts))
        return vectors

    def _outputs_from(self, start: int) -> Vectors:
        before, after = self._before_and_after[:1], self._before_and_after[1:]
        tokens = range(start, min(start + _TOKENS_AT_ONCE, self._vocabulary))
        given = np.array([[*before, token, *after] for token in tokens], dtype=np.int64)
        filled = {"input_ids": given, "attention_mask": np.ones_like(given), "token_type_ids": np.zeros_like(given)}
        wanted = {put.name: filled[put.name] for put in self._session.get_inputs() if put.name in filled}
        try:
            outputs: Vectors = self._session.run(None, wanted)[0]
        except Exception as error:  # onnxruntime raises bare Exceptions of its own
            raise EmbeddingError(f"model {self.name} failed: {error}") from error
        if outputs.ndim != 3:
            raise UsageError(f"model {self.name} can't be distilled: it gives embeddings of texts, and none of tokens")
        return outputs[:, len(before)]


def _session(name: str, weights: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as many runs at once as there are cores beat one run on all of them
    try:
        return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare Exceptions of its own
        raise UsageError(f"model {name} can't be distilled: it is not an ONNX model") from error


FIT_TEXTS: Final = 5_000  # the factorisation takes memory by their square, 0.5 GB, and time by their cube
_ENGLISH_SHARE: Final = 0.3
_WORDS_A_TEXT: Final = 10
_RARITY: Final = 1e-3
_STRENGTH: Final = 1.0  # of the ridge, where a text without repetitions weighs 1
_CONTINUES: Final = "##"
# How the time is shared out, for who waits.
_TOKENS_SHARE, _TEXTS_SHARE = 0.3, 0.6


def distill(
    teacher: Teacher, dim: int, own_texts: Sequence[str], on_progress: OnProgress, count: int = FIT_TEXTS
) -> HalfVectors:
    """The vectors (vocabulary, dim) float16 of a static model, by token id; zero for tokens that mean nothing.

    It is fitted to `count` texts: `own_texts`, and general ones as far as these leave room. The same every time on one
    machine. Raises UsageError where the model or dim is one that can't be had, and ModelError.
    """
    if not 1 <= dim <= teacher.dim:
        raise UsageError(f"--dim {dim}: model {teacher.name} has {teacher.dim} dims, and a static one can't have more")
    vocabulary = tokens_by_id(teacher.tokenizer_json)
    start = token_vectors(
        vocabulary, teacher.token_outputs(lambda step, share: on_progress(step, _TOKENS_SHARE * share))
    )
    own = list(own_texts[:count])
    texts = [*own, *general_texts(vocabulary, count - len(own))]
    targets = teacher.embed(texts, lambda step, share: on_progress(step, _TOKENS_SHARE + _TEXTS_SHARE * share))
    on_progress("fitting", _TOKENS_SHARE + _TEXTS_SHARE)
    targets = targets - targets.mean(axis=0)
    axes = principal_axes(targets, dim)
    fitted = fit(start @ axes, TokenIds(teacher.tokenizer_json), texts, targets @ axes)
    on_progress("done", 1.0)
    vectors: HalfVectors = (fitted / np.abs(fitted).max()).astype(np.float16)
    return vectors


def tokens_by_id(tokenizer_json: str) -> list[str]:
    """The vocabulary of a WordPiece tokenizer, in the order of its ids, "" for a special token or an id without one."""
    content = orjson.loads(tokenizer_json)
    added = content["added_tokens"]
    ids: dict[str, int] = {**content["model"]["vocab"], **{token["content"]: token["id"] for token in added}}
    special = {content["model"]["unk_token"], *(token["content"] for token in added if token["special"])}
    vocabulary = [""] * (max(ids.values()) + 1)
    for token, index in ids.items():
        if token not in special and not token.startswith("[unused"):
            vocabulary[index] = token
    return vocabulary


def token_vectors(vocabulary: Sequence[str], outputs: Vectors) -> Vectors:
    """What tokens' outputs (vocabulary, dim) alone say: centred, and scaled by how rare each token is."""
    known = np.array([token != "" for token in vocabulary])
    centred = outputs - outputs[known].mean(axis=0)
    vectors: Vectors = (centred * (rarities(vocabulary) * known)[:, np.newaxis]).astype(np.float32)
    return vectors


def rarities(vocabulary: Sequence[str]) -> NDArray[np.float64]:
    """a / (a + p) of each token, (vocabulary,); marks and single letters, which stand in front, are as frequent as can
    be, and from there on the n-th token has 1/n of that."""
    long = np.array([len(token.removeprefix(_CONTINUES)) > 1 for token in vocabulary])
    ranks = np.where(long, np.cumsum(long), 1)
    probabilities = 1 / ranks / (1 / np.arange(1, max(int(long.sum()), 1) + 1)).sum()
    weights: NDArray[np.float64] = _RARITY / (_RARITY + probabilities)
    return weights


def general_texts(vocabulary: Sequence[str], count: int) -> list[str]:
    """Texts that are good for everyone: English memories, for how sentences use the frequent words, and random words of
    the vocabulary, so that every word is met. The same for a vocabulary anywhere."""
    english = round(_ENGLISH_SHARE * count)
    words = _endless([token for token in vocabulary if len(token) > 1 and token.isalpha()])
    rows = [" ".join(next(words, "") for _ in range(_WORDS_A_TEXT)) for _ in range(count - english)]
    return [*mixed_texts(english), *rows]


def _endless(words: Sequence[str]) -> Iterator[str]:
    """The words in one random order after the other."""
    draw = random.Random(0).random  # alone: what `shuffle` makes of it may differ between versions of Python
    while words:
        yield from sorted(words, key=lambda _: draw())


def principal_axes(rows: Vectors, dim: int) -> Vectors:
    """The axes (all dims, dim) along which rows (n, all dims) differ most, orthonormal."""
    _, axes = np.linalg.eigh(rows.T.astype(np.float64) @ rows.astype(np.float64))
    kept: Vectors = axes[:, : -dim - 1 : -1].astype(np.float32)
    return kept


def fit(start: Vectors, tokens: TokenIds, texts: Sequence[str], targets: Vectors) -> Vectors:
    """Vectors (vocabulary, dim) near `start` that make sums of tokens point towards the targets (n, dim) of texts.

    With X the counts of tokens by text, each row divided by the square root of its length, and Y the targets, scaled to
    the length of X W0: W = W0 + X' (X X' + strength I)^-1 (Y - X W0), which minimises |X W - Y|^2 + strength |W - W0|^2
    (ridge regression in its dual form; Saunders, Gammerman, Vovk 1998).
    """
    from scipy.linalg import cho_factor, cho_solve

    counts = token_counts(*tokens.many(texts), len(start))
    counts.data *= np.asarray(start.any(axis=1))[counts.indices]  # what means nothing stays so
    lengths = np.maximum(counts.sum(axis=1), 1)
    counts.data /= np.repeat(np.sqrt(lengths), np.diff(counts.indptr)).astype(np.float32)
    sums = counts @ start
    scale = (sums * targets).sum() / max(float((targets**2).sum()), 1e-12)
    kernel = (counts @ counts.T).toarray().astype(np.float64)
    kernel[np.diag_indices_from(kernel)] += _STRENGTH
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    weights = cho_solve(factor, (scale * targets - sums).astype(np.float64), check_finite=False)
    fitted: Vectors = start + counts.T @ weights.astype(np.float32)
    return fitted
