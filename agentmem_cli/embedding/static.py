"""Static models, which have one vector per token. Loads neither onnxruntime nor fastembed."""

import itertools
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.embedding import static_files
from agentmem_cli.embedding.base import Embedded, EmbedderSpec, Vectors
from agentmem_cli.embedding.tokens import Ids, Offsets, TokenIds
from agentmem_cli.errors import ModelDamagedError

_TEXTS_WORTH_LOADING: Final = 1_000  # to embed them takes about as long as to load what is faster
_FEW_TEXTS: Final = 8  # so few are summed one by one
_TOKENS_AT_ONCE: Final = 10_000
_LEAST_NORM: Final = 1e-6


class StaticEmbedder:
    """An Embedder whose vector of a text is the normalised sum of its tokens' vectors.

    Tokens without a vector ([UNK] and other special tokens) are ignored. Texts of only such tokens get one fixed
    direction, so they find only each other. Texts are read completely, up to a million tokens.

    After a thousand texts, it keeps the vectors as float32 and loads nanotoken, if that is installed (extra `fast`).
    """

    def __init__(self, spec: EmbedderSpec, folder: Path) -> None:
        """Loads the model from a folder that was checked to hold the spec's files. Raises ModelDamagedError."""
        self._spec = spec
        try:
            self._vectors, tokenizer_json = static_files.read(folder)
            self._tokens = TokenIds(tokenizer_json)
        except Exception as error:  # tokenizers and safetensors raise bare Exceptions of their own
            raise ModelDamagedError(f"model {spec.name} in {folder} can't be loaded: {error}") from error
        self._nowhere: Vectors = np.full(spec.dim, spec.dim**-0.5, dtype=np.float32)
        self._table: Vectors | None = None  # (vocabulary, dim)
        self._texts = 0

    @cached_property
    def _has_vector(self) -> NDArray[np.bool_]:
        return np.asarray(self._vectors.any(axis=1))

    @property
    def spec(self) -> EmbedderSpec:
        """The spec of the model."""
        return self._spec

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embeds n texts into (n, dim) float32 rows of unit length, in their order."""
        self._texts += len(texts)
        if self._table is None and self._texts >= _TEXTS_WORTH_LOADING:
            self._tokens.speed_up()
            self._table = self._vectors.astype(np.float32)
        start = time.perf_counter()
        ids, offsets, cut = _cut(*self._tokens.many(texts), self._spec.token_limit)
        tokenize_s = time.perf_counter() - start
        return Embedded(
            vectors=self._unit(self._sums(ids, offsets)),
            tokens=len(ids),
            special_tokens=0,
            unknown_tokens=len(ids) - int(np.count_nonzero(self._has_vector[ids])),
            cut=cut,
            tokenize_s=tokenize_s,
        )

    def embed_query(self, query: str) -> Vectors:
        """Embeds a search query into (dim,) float32 of unit length."""
        ids = self._tokens.one(query)[: self._spec.token_limit]
        vector: Vectors = self._unit(self._sum(ids)[np.newaxis])[0]
        return vector

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Embeds n search queries into (n, dim) float32 rows of unit length, in their order."""
        return self.embed(queries).vectors

    @property
    def special_tokens(self) -> int:
        """0: no tokens are added to a text."""
        return 0

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The characters [start, stop) of each token, in order."""
        return self._tokens.spans(text)

    def _sums(self, ids: Ids, offsets: Offsets) -> Vectors:
        if self._table is None:
            rows = [self._sum(ids[start:end]) for start, end in itertools.pairwise(offsets)]
            return np.array(rows, dtype=np.float32).reshape(len(rows), self._spec.dim)
        return pooled(self._table, ids, offsets)

    def _sum(self, ids: Ids) -> Vectors:
        vector: Vectors = self._vectors[ids].sum(axis=0, dtype=np.float32)
        return vector

    def _unit(self, sums: Vectors) -> Vectors:
        norms = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        sums[norms < _LEAST_NORM] = self._nowhere
        norms[norms < _LEAST_NORM] = 1
        rows: Vectors = sums / norms[:, np.newaxis]
        return rows


def pooled(table: Vectors, ids: Ids, offsets: Offsets) -> Vectors:
    """The sums (n, dim) of the rows of a table that each of n texts has; text i has ids[offsets[i]:offsets[i + 1]].

    One token of each text is added at a time, so that a few large operations do it, in little memory.
    """
    lengths = np.diff(offsets)
    longest_first = np.argsort(-lengths, kind="stable")
    starts, lengths = offsets[:-1][longest_first], lengths[longest_first]
    sums = np.zeros((len(lengths), table.shape[1]), dtype=np.float32)
    gathered = np.empty_like(sums)
    place, texts = 0, int(np.count_nonzero(lengths))
    while texts > _FEW_TEXTS:
        np.take(table, ids[starts[:texts] + place], axis=0, out=gathered[:texts], mode="clip")
        sums[:texts] += gathered[:texts]
        place += 1
        texts = int(np.searchsorted(-lengths, -place))
    for text in range(texts):
        stop = starts[text] + lengths[text]
        for begin in range(starts[text] + place, stop, _TOKENS_AT_ONCE):
            sums[text] += table[ids[begin : min(begin + _TOKENS_AT_ONCE, stop)]].sum(axis=0)
    in_order = np.empty_like(sums)
    in_order[longest_first] = sums
    return in_order


def _cut(ids: Ids, offsets: Offsets, limit: int) -> tuple[Ids, Offsets, NDArray[np.bool_]]:
    """The tokens of each text up to the limit, and whether each text (n,) was longer."""
    lengths = np.diff(offsets)
    cut = np.asarray(lengths > limit)
    if not cut.any():
        return ids, offsets, cut
    position: NDArray[np.int64] = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths)
    shorter = np.zeros_like(offsets)
    np.cumsum(np.minimum(lengths, limit), out=shorter[1:])
    return ids[position < limit], shorter, cut
