"""The interface of embedders: the spec of a model, and objects that turn texts into unit vectors."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.errors import AgentMemError, EmbeddingError

Vectors: TypeAlias = NDArray[np.float32]
OnProgress: TypeAlias = Callable[[str, float], None]  # called with the current step and the completed share, 0 to 1
REMOTE_PREFIX: Final = "remote:"  # begins the name of a served model
_UNIT_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """The identity of a model; creating one loads nothing.

    `revision` identifies everything that affects the vectors, such as weights and tokenizer: specs of equal revision
    make equal vectors. `folder` is the folder of the model's files or the URL that serves it; it is empty for a model
    that is installed as a package. `probe` identifies a served model (see `agentmem_cli.embedding.remote`).
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
        """The fields that a store is pinned to: all except `folder` and `probe`."""
        return {
            "name": self.name,
            "revision": self.revision,
            "dim": self.dim,
            "token_limit": self.token_limit,
            "pooling": self.pooling,
            "precision": self.precision,
        }

    def stored(self) -> dict[str, str | int]:
        """The fields that a store keeps; `from_stored` reads them."""
        probe: dict[str, str | int] = {"probe": self.probe} if self.probe else {}
        return {**self.fingerprint(), "folder": self.folder, **probe}

    @classmethod
    def from_stored(cls, fields: Mapping[str, str | int]) -> "EmbedderSpec":
        """The spec from the fields that a store keeps."""
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
class Prefixes:
    """What a model reads before each query and before each stored text, if it was trained so."""

    query: str = ""
    passage: str = ""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors (n, dim) float32 of unit length, in the order of the texts, and token counts.

    `tokens` is the number of tokens that the model read, including `special_tokens` such as [CLS] and of a prefix;
    `unknown_tokens` of them are not in its vocabulary. `cut` (n,) is true for texts longer than the model reads: only
    their beginning was embedded. `tokenize_s` is the part of the time spent on counting tokens, or 0 if unknown.
    """

    vectors: Vectors
    tokens: int
    special_tokens: int
    unknown_tokens: int
    cut: NDArray[np.bool_]
    tokenize_s: float = 0.0

    @property
    def truncated(self) -> int:
        """The number of texts that were cut."""
        return int(np.count_nonzero(self.cut))


class Embedder(Protocol):
    """Turns texts into unit vectors of one model."""

    @property
    def spec(self) -> EmbedderSpec:
        """The spec of the model."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embeds n texts into (n, dim) float32 rows of unit length, in their order. Raises EmbeddingError."""

    def embed_query(self, query: str) -> Vectors:
        """Embeds a search query into (dim,) float32 of unit length. Raises EmbeddingError."""


OnShare: TypeAlias = Callable[[float], None]  # gets the share of texts that are embedded, 0 to 1


@runtime_checkable
class WatchedEmbedder(Embedder, Protocol):
    """An Embedder that tells how far it has come."""

    def embed_watched(self, texts: Sequence[str], on_share: OnShare) -> Embedded:
        """As `embed`; meanwhile calls `on_share`, in the caller's thread, with the share of the work that is done."""


@runtime_checkable
class QueriesEmbedder(Embedder, Protocol):
    """An Embedder that embeds several queries at once; others get queries one by one."""

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Embeds n queries, each as `embed_query` does, into (n, dim) float32 rows of unit length, in their order.

        Raises EmbeddingError.
        """


@runtime_checkable
class TokenSpans(Protocol):
    """An optional part of an embedder: the positions of tokens, at which long texts are split."""

    @property
    def special_tokens(self) -> int:
        """The number of tokens that are added to every text."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The characters [start, stop) of each token, in order, without special tokens and without the token limit."""


def none_cut(count: int) -> NDArray[np.bool_]:
    """The `cut` (n,) of n texts if none was cut, or if it is unknown."""
    return np.zeros(count, dtype=np.bool_)


def no_progress(step: str, share: float) -> None:
    """Ignores progress."""


def revision_of(files_sha256: str, pooling: str, token_limit: int) -> str:
    """The revision of a model whose vectors also depend on pooling and token limit."""
    return hashlib.sha256(f"{files_sha256} {pooling} {token_limit}".encode()).hexdigest()


def embed_checked(embedder: Embedder, texts: Sequence[str], on_share: OnShare | None = None) -> Embedded:
    """`embedder.embed(texts)`, with checked vectors. Raises EmbeddingError for any failure of the embedder.

    `on_share` is called as in `WatchedEmbedder`, if this is one.
    """
    spec = embedder.spec
    with _failures_named(spec.name):
        if on_share is not None and isinstance(embedder, WatchedEmbedder):
            embedded = embedder.embed_watched(texts, on_share)
        else:
            embedded = embedder.embed(texts)
        vectors = unit_rows(embedded.vectors, len(texts), spec.dim, spec.name)
        if embedded.cut.shape != (len(texts),):
            raise EmbeddingError(
                f"model {spec.name} said of {len(embedded.cut)} of {len(texts)} texts whether it cut them"
            )
        return replace(embedded, vectors=vectors)


def embed_query_checked(embedder: Embedder, query: str) -> Vectors:
    """`embedder.embed_query(query)`, checked: (dim,) float32 of unit length."""
    spec = embedder.spec
    with _failures_named(spec.name):
        rows = np.asarray(embedder.embed_query(query), dtype=np.float32).reshape(1, -1)
        vector: Vectors = unit_rows(rows, 1, spec.dim, spec.name)[0]
        return vector


def embed_queries_checked(embedder: Embedder, queries: Sequence[str]) -> Vectors:
    """The checked vectors of n queries, (n, dim) float32 of unit length, in their order."""
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
    except Exception as error:  # the embedder may be the user's own
        raise EmbeddingError(f"model {model} failed: {type(error).__name__}: {error}") from error


def is_unit(row: Vectors) -> bool:
    """Whether a row (dim,) is of unit length, to the accuracy of float32."""
    return bool(abs(float(np.linalg.norm(row)) - 1) < _UNIT_TOLERANCE)  # False for NaN too


def unit_rows(vectors: Vectors, count: int, dim: int, model: str) -> Vectors:
    """The rows (count, dim) scaled to unit length, as float32. Raises EmbeddingError if they can't be stored."""
    if vectors.shape != (count, dim):
        raise EmbeddingError(f"model {model} returned vectors of shape {vectors.shape} for {count} texts of {dim} dims")
    rows = np.asarray(vectors, dtype=np.float64)  # float16 overflows in its own squares
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise EmbeddingError(f"model {model} returned NaN or infinity for {int((~np.isfinite(norms)).sum())} texts")
    if not norms.all():
        raise EmbeddingError(f"model {model} returned a zero vector for {int((norms == 0).sum())} texts")
    return np.ascontiguousarray(rows / norms, dtype=np.float32)
