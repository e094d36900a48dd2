"""What an embedder is: a spec that says which model, and a thing that turns texts into unit vectors."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.errors import AgentMemError, EmbeddingError

Vectors: TypeAlias = NDArray[np.float32]
OnProgress: TypeAlias = Callable[[str, float], None]  # what is being done, and which share of it is, from 0 to 1
Device: TypeAlias = Literal["cpu", "cuda"]
REMOTE_PREFIX: Final = "remote:"  # begins the name of a model that a server has
_UNIT_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """Which model makes the vectors; picklable, and made without loading anything.

    `revision` stands for all that makes the vectors, weights and tokenizer first: two specs of equal revision make
    equal vectors.
    `folder` is where the model's files are, or the URL that serves it; it is empty for a model that ships as a package.
    `probe` is how a served model is recognised (see `agentmem_cli.embedding.remote`); it is empty for others.
    """

    name: str
    revision: str
    dim: int
    token_limit: int
    pooling: str
    precision: str
    folder: str = ""
    probe: str = ""

    def fingerprint(self) -> dict[str, str | int]:
        """What a store is pinned to: all of the spec but where the model is, and how it is recognised there."""
        return {
            "name": self.name,
            "revision": self.revision,
            "dim": self.dim,
            "token_limit": self.token_limit,
            "pooling": self.pooling,
            "precision": self.precision,
        }

    def stored(self) -> dict[str, str | int]:
        """What a store keeps of the spec; `from_stored` reads it."""
        probe: dict[str, str | int] = {"probe": self.probe} if self.probe else {}
        return {**self.fingerprint(), "folder": self.folder, **probe}

    @classmethod
    def from_stored(cls, fields: Mapping[str, str | int]) -> "EmbedderSpec":
        """The spec that a store was pinned to, from what it keeps."""
        return cls(
            name=str(fields["name"]),
            revision=str(fields["revision"]),
            dim=int(fields["dim"]),
            token_limit=int(fields["token_limit"]),
            pooling=str(fields["pooling"]),
            precision=str(fields["precision"]),
            folder=str(fields.get("folder", "")),
            probe=str(fields.get("probe", "")),
        )


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors (n, dim), float32, of unit length, in the order of the texts, and what the tokenizer saw of them.

    `tokens` counts what the model read, `special_tokens` (such as [CLS]) included; `unknown_tokens` those of them that
    it has no vector for. `cut` (n,) says of each text whether it was longer than the model reads, so that its vector is
    of its beginning. `tokenize_s` is how long it took to find this out, of the whole time, or 0 where it isn't known.
    """

    vectors: Vectors
    tokens: int
    special_tokens: int
    unknown_tokens: int
    cut: NDArray[np.bool_]
    tokenize_s: float = 0.0

    @property
    def truncated(self) -> int:
        """How many texts were cut."""
        return int(np.count_nonzero(self.cut))


class Embedder(Protocol):
    """Turns texts into unit vectors of one model."""

    @property
    def spec(self) -> EmbedderSpec:
        """Which model this is."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embeds n texts into (n, dim) float32 rows of unit length, in their order. Raises EmbeddingError."""

    def embed_query(self, query: str) -> Vectors:
        """Embeds a search query into (dim,) float32 of unit length. Raises EmbeddingError."""


@runtime_checkable
class QueriesEmbedder(Embedder, Protocol):
    """An Embedder that takes many queries at once; one that doesn't is given them one by one."""

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Embeds n queries, each as `embed_query` does, into (n, dim) float32 rows of unit length, in their order.

        Raises EmbeddingError.
        """


@runtime_checkable
class TokenSpans(Protocol):
    """What an embedder may also do: say where a text's tokens are, so that long texts can be split between them."""

    @property
    def special_tokens(self) -> int:
        """How many tokens it adds to every text."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The characters [start, stop) of each token, in order, without special tokens, and beyond the limit too."""


def none_cut(count: int) -> NDArray[np.bool_]:
    """Of n texts, (n,), that none was cut, or that nobody can tell."""
    return np.zeros(count, dtype=np.bool_)


def no_progress(step: str, share: float) -> None:
    """Tells nobody."""


def revision_of(files_sha256: str, pooling: str, token_limit: int) -> str:
    """The revision of a model whose files don't settle how it is used."""
    return hashlib.sha256(f"{files_sha256} {pooling} {token_limit}".encode()).hexdigest()


def embed_checked(embedder: Embedder, texts: Sequence[str]) -> Embedded:
    """`embedder.embed(texts)`, with rows that can be stored; whatever goes wrong is an EmbeddingError that says so."""
    spec = embedder.spec
    with _failures_named(spec.name):
        embedded = embedder.embed(texts)
        vectors = unit_rows(embedded.vectors, len(texts), spec.dim, spec.name)
        if embedded.cut.shape != (len(texts),):
            raise EmbeddingError(
                f"model {spec.name} said of {len(embedded.cut)} of {len(texts)} texts whether it cut them"
            )
        return replace(embedded, vectors=vectors)


def embed_query_checked(embedder: Embedder, query: str) -> Vectors:
    """The same for `embedder.embed_query(query)`: (dim,) float32 of unit length."""
    spec = embedder.spec
    with _failures_named(spec.name):
        rows = np.asarray(embedder.embed_query(query), dtype=np.float32).reshape(1, -1)
        vector: Vectors = unit_rows(rows, 1, spec.dim, spec.name)[0]
        return vector


def embed_queries_checked(embedder: Embedder, queries: Sequence[str]) -> Vectors:
    """The same for n queries, at once where the embedder can: (n, dim) float32 of unit length, in their order."""
    spec = embedder.spec
    if len(queries) < 2 or not isinstance(embedder, QueriesEmbedder):
        rows = [embed_query_checked(embedder, query) for query in queries]
        return np.array(rows, dtype=np.float32).reshape(len(rows), spec.dim)
    with _failures_named(spec.name):
        return unit_rows(np.asarray(embedder.embed_queries(queries)), len(queries), spec.dim, spec.name)


@contextmanager
def _failures_named(model: str) -> Iterator[None]:
    try:
        yield
    except AgentMemError:
        raise
    except Exception as error:  # an embedder may be anybody's
        raise EmbeddingError(f"model {model} failed: {type(error).__name__}: {error}") from error


def is_unit(row: Vectors) -> bool:
    """Whether a row (dim,) is of unit length, as far as float32 can say."""
    return bool(abs(float(np.linalg.norm(row)) - 1) < _UNIT_TOLERANCE)  # False for NaN too


def unit_rows(vectors: Vectors, count: int, dim: int, model: str) -> Vectors:
    """The rows, (count, dim) float32, scaled to unit length; raises EmbeddingError where they can't be stored."""
    if vectors.shape != (count, dim):
        raise EmbeddingError(f"model {model} returned vectors of shape {vectors.shape} for {count} texts of {dim} dims")
    rows = np.asarray(vectors, dtype=np.float64)  # float16 overflows in its own squares
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise EmbeddingError(f"model {model} returned NaN or infinity for {int((~np.isfinite(norms)).sum())} texts")
    if not norms.all():
        raise EmbeddingError(f"model {model} returned a zero vector for {int((norms == 0).sum())} texts")
    return np.ascontiguousarray(rows / norms, dtype=np.float32)
