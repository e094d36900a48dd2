"""Embedders that need no model: a deterministic one, and ones that fail as real ones do."""

import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from agentmem_cli.embedding.base import Embedded, EmbedderSpec, Vectors, unit_rows

FAKE_DIM = 32


class FakeEmbedder:
    """The normalised sum of a fixed random vector a word: texts that share words are near. Counts what it embeds."""

    def __init__(self, name: str = "fake", dim: int = FAKE_DIM, token_limit: int = 16) -> None:
        self.spec = EmbedderSpec(
            name=name, revision=f"{name}-1", dim=dim, token_limit=token_limit, pooling="sum", precision="fp32"
        )
        self.texts_embedded = 0

    def embed(self, texts: Sequence[str]) -> Embedded:
        self.texts_embedded += len(texts)
        limit = self.spec.token_limit
        words = [re.findall(r"\w+", text.lower()) or [text] for text in texts]
        rows = np.array([np.sum([self._word(word) for word in row[:limit]], axis=0) for row in words], dtype=np.float32)
        return Embedded(
            vectors=unit_rows(rows.reshape(len(texts), self.spec.dim), len(texts), self.spec.dim, self.spec.name),
            tokens=sum(min(len(row), limit) for row in words),
            special_tokens=0,
            unknown_tokens=sum(word.startswith("zz") for row in words for word in row),
            cut=np.array([len(row) > limit for row in words], dtype=np.bool_),
        )

    def embed_query(self, query: str) -> Vectors:
        vector: Vectors = self.embed([query]).vectors[0]
        self.texts_embedded -= 1
        return vector

    @property
    def special_tokens(self) -> int:
        return 0

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+", text)]

    def _word(self, word: str) -> Vectors:
        return _vector_of(word if self.spec.name == "fake" else f"{self.spec.name}{word}", self.spec.dim)


@functools.cache  # for all embedders of a process: a test may make hundreds
def _vector_of(word: str, dim: int) -> Vectors:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)


class CosineEmbedder(FakeEmbedder):
    """Has texts whose cosine with every query is given; those of one cosine are near-duplicates."""

    def __init__(self, cosines: Mapping[str, float]) -> None:
        super().__init__(dim=2)
        self._cosines = cosines

    def embed(self, texts: Sequence[str]) -> Embedded:
        cosines = np.array([self._cosines.get(text, 1.0) for text in texts], dtype=np.float32)
        vectors = np.column_stack([cosines, np.sqrt(1 - cosines**2)])
        return replace(super().embed(texts), vectors=unit_rows(vectors, len(texts), 2, self.spec.name))


class BrokenEmbedder(FakeEmbedder):
    """A fake whose vectors go through `damage` before they are checked, as a real model's go through `unit_rows`."""

    def __init__(self, damage: Callable[[Vectors], Vectors]) -> None:
        super().__init__()
        self._damage = damage

    def embed(self, texts: Sequence[str]) -> Embedded:
        embedded = super().embed(texts)
        rows = self._damage(embedded.vectors.copy())
        return Embedded(
            unit_rows(rows, len(texts), self.spec.dim, self.spec.name),
            embedded.tokens,
            embedded.special_tokens,
            embedded.unknown_tokens,
            embedded.cut,
        )
