"""Makes a static model from another model: token vectors whose sum approximates the direction of a text's embedding.

Each token first runs through the model alone. Its output, weighted by rarity, is the initial vector; the weight is
a / (a + p) (Arora et al. 2017), with p from Zipf's law, since a WordPiece vocabulary is sorted by frequency. Ridge
regression on token counts of texts then moves the vectors towards the model's embeddings of these texts. With fewer
texts than tokens, the dual form is smaller; one Cholesky factorisation solves it exactly.
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
from agentmem_cli.embedding.static import pooled
from agentmem_cli.embedding.static_files import HalfVectors
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.embedding.tokens import Ids, TokenIds
from agentmem_cli.errors import EmbeddingError, UsageError
from agentmem_cli.support.machine import usable_cores

_TOKENS_AT_ONCE: Final = 128
_TEXTS_AT_ONCE: Final = 500


class Teacher(Protocol):
    """A model to distill, with a WordPiece tokenizer."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def dim(self) -> int:
        """The number of dimensions of its embeddings."""

    @property
    def tokenizer_json(self) -> str:
        """The content of its tokenizer.json, without padding and truncation."""

    def token_outputs(self, on_progress: OnProgress) -> Vectors:
        """The outputs (vocabulary, dim) of the model for each token alone, by token id."""

    def embed(self, texts: Sequence[str], on_progress: OnProgress) -> Vectors:
        """The model's embeddings (n, dim) of texts, of unit length."""


class OnnxTeacher:
    """A Teacher that is an ONNX model of the catalogue. Raises UsageError if the model can't be distilled."""

    def __init__(self, embedder: onnx.OnnxEmbedder) -> None:
        self._embedder = embedder
        self.name: str = embedder.spec.name
        self.dim: int = embedder.spec.dim
        with embedder.open_folder() as folder:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = _session(self.name, folder / onnx.weights_file(embedder.spec, folder))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer_json: str = tokenizer.to_str()
        kind = orjson.loads(self.tokenizer_json)["model"].get("type")
        if kind != "WordPiece":
            raise UsageError(f"model {self.name} can't be distilled: its tokenizer is {kind}, not WordPiece")
        self._vocabulary = max(tokenizer.get_vocab().values()) + 1
        self._before_and_after = tokenizer.encode("").ids

    def token_outputs(self, on_progress: OnProgress) -> Vectors:
        """The outputs for each token alone, between the special tokens of a text such as [CLS] and [SEP], by id."""
        starts = range(0, self._vocabulary, _TOKENS_AT_ONCE)
        parts = []
        with ThreadPoolExecutor(usable_cores()) as pool:
            try:
                for part in pool.map(self._outputs_from, starts):
                    parts.append(part)
                    on_progress("distilling tokens", len(parts) / len(starts))
            finally:
                pool.shutdown(cancel_futures=True)  # after a failure or Ctrl-C
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
        inputs = {put.name: filled[put.name] for put in self._session.get_inputs() if put.name in filled}
        try:
            outputs: Vectors = self._session.run(None, inputs)[0]
        except Exception as error:  # onnxruntime raises bare Exceptions of its own
            raise EmbeddingError(f"model {self.name} failed: {error}") from error
        if outputs.ndim != 3:
            raise UsageError(f"model {self.name} can't be distilled: it returns embeddings of texts but not of tokens")
        return outputs[:, len(before)]


def _session(name: str, weights: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one run per core at once is faster than one run on all cores
    try:
        return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare Exceptions of its own
        raise UsageError(f"model {name} can't be distilled: it is not an ONNX model") from error


FIT_TEXTS: Final = 5_000  # memory grows with their square (0.5 GB), time with their cube
_ENGLISH_SHARE: Final = 0.3
_WORDS_A_TEXT: Final = 10
_RARITY: Final = 1e-3
_STRENGTH: Final = 1.0  # of the ridge; a text without repeated tokens has weight 1
_COUNTED_TOKENS: Final = 2_000
_CONTINUES: Final = "##"
# The shares of the total time, for progress.
_TOKENS_SHARE, _TEXTS_SHARE = 0.3, 0.6


def distill(
    teacher: Teacher, dim: int, own_texts: Sequence[str], on_progress: OnProgress, count: int = FIT_TEXTS
) -> HalfVectors:
    """The vectors (vocabulary, dim) float16 of a static model, by token id; zero for special and unused tokens.

    They are fitted to `count` texts: `own_texts`, filled up with general texts. Results are deterministic on one
    machine. Raises UsageError if the model or `dim` is not possible, and ModelError.
    """
    if not 1 <= dim <= teacher.dim:
        raise UsageError(f"--dim {dim}: model {teacher.name} has {teacher.dim} dims: give at most that many")
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
    """The vocabulary of a WordPiece tokenizer by id; "" for special tokens and unused ids."""
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
    """Initial vectors from the outputs (vocabulary, dim) for single tokens: centred, and weighted by rarity."""
    known = np.array([token != "" for token in vocabulary])
    centred = outputs - outputs[known].mean(axis=0)
    vectors: Vectors = (centred * (rarities(vocabulary) * known)[:, np.newaxis]).astype(np.float32)
    return vectors


def rarities(vocabulary: Sequence[str]) -> NDArray[np.float64]:
    """a / (a + p) of each token, (vocabulary,).

    Punctuation and single letters come first and get the highest frequency; the n-th token after them gets 1/n of it.
    """
    long = np.array([len(token.removeprefix(_CONTINUES)) > 1 for token in vocabulary])
    ranks = np.where(long, np.cumsum(long), 1)
    probabilities = 1 / ranks / (1 / np.arange(1, max(int(long.sum()), 1) + 1)).sum()
    weights: NDArray[np.float64] = _RARITY / (_RARITY + probabilities)
    return weights


def general_texts(vocabulary: Sequence[str], count: int) -> list[str]:
    """General texts to fit to: English memories, and random words of the vocabulary, so that all words occur.

    The result depends only on the vocabulary and `count`.
    """
    english = round(_ENGLISH_SHARE * count)
    words = _endless([token for token in vocabulary if len(token) > 1 and token.isalpha()])
    rows = [" ".join(next(words, "") for _ in range(_WORDS_A_TEXT)) for _ in range(count - english)]
    return [*mixed_texts(english), *rows]


def _endless(words: Sequence[str]) -> Iterator[str]:
    """The words, endlessly, in a new random order each time."""
    draw = random.Random(0).random  # `random.shuffle` may differ between versions of Python
    while words:
        yield from sorted(words, key=lambda _: draw())


def principal_axes(rows: Vectors, dim: int) -> Vectors:
    """The orthonormal axes (all dims, dim) of largest variance of rows (n, all dims)."""
    _, axes = np.linalg.eigh(rows.T.astype(np.float64) @ rows.astype(np.float64))
    kept: Vectors = axes[:, : -dim - 1 : -1].astype(np.float32)
    return kept


def fit(start: Vectors, tokens: TokenIds, texts: Sequence[str], targets: Vectors) -> Vectors:
    """Vectors (vocabulary, dim) near `start` whose sums approximate the directions of the targets (n, dim) of texts.

    X is the matrix of token counts by text, each row divided by the square root of its length. Y is the targets, scaled
    to the length of X W0. The result W = W0 + X' (X X' + strength I)^-1 (Y - X W0) minimises
    |X W - Y|^2 + strength |W - W0|^2 (dual ridge regression; Saunders, Gammerman, Vovk 1998).
    """
    ids, offsets = tokens.many(texts)
    texts_of = np.repeat(np.arange(len(texts)), np.diff(offsets))
    moves = np.asarray(start.any(axis=1))[ids]  # zero vectors stay zero
    roots = np.sqrt(np.maximum(np.bincount(texts_of[moves], minlength=len(texts)), 1)).astype(np.float32)[:, np.newaxis]
    sums = pooled(start, ids, offsets) / roots
    scale = (sums * targets).sum() / max(float((targets**2).sum()), 1e-12)
    kernel = _STRENGTH * np.eye(len(texts))
    for _, counts in _counts(ids[moves], texts_of[moves], len(texts)):
        counts /= roots
        kernel += counts @ counts.T
    weights = np.linalg.solve(kernel, (scale * targets - sums).astype(np.float64)).astype(np.float32)
    fitted: Vectors = start.copy()
    for columns, counts in _counts(ids[moves], texts_of[moves], len(texts)):
        fitted[columns] += counts.T @ (weights / roots)
    return fitted


def _counts(ids: Ids, texts_of: NDArray[np.int64], texts: int) -> Iterator[tuple[Ids, Vectors]]:
    """The counts (texts, tokens) of each token in each text, for some of the tokens that occur at a time."""
    used, places = np.unique(ids, return_inverse=True)
    for first in range(0, len(used), _COUNTED_TOKENS):
        columns = used[first : first + _COUNTED_TOKENS]
        held = (places >= first) & (places < first + len(columns))
        cells = texts_of[held] * len(columns) + places[held] - first
        counts = np.bincount(cells, minlength=texts * len(columns)).reshape(texts, len(columns))
        yield columns, counts.astype(np.float32)
