"""Models behind an OpenAI-compatible embeddings endpoint: a GPU server, or several behind a load balancer.

Servers do not report which weights they use, and one of several may use others under the same name. Every request
therefore includes one more text, the probe, and its vector in the answer is compared with that of the store's creation.

A store remembers the URL of its model, but it may come from somebody else. Texts therefore go only to the servers that
the user has given with `--embedder-url`; their URLs are kept in the user's configuration folder, as a JSON list.
"""

import base64
import binascii
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import platformdirs

from agentmem_cli.embedding.base import (
    REMOTE_PREFIX,
    Embedded,
    EmbedderSpec,
    OnShare,
    Vectors,
    none_cut,
    unit_rows,
)
from agentmem_cli.embedding.endpoint import (
    MAX_DIM,
    Answer,
    Endpoint,
    Limits,
    Rows,
    canonical_url,
    checked_url,
    key_for,
    largest_answer_bytes,
    read_complaint,
    read_models,
    read_rows,
)
from agentmem_cli.errors import (
    EmbeddingError,
    ModelDamagedError,
    ServerNotNamedError,
    StoreMismatchError,
    UsageError,
)
from agentmem_cli.support.files import make_durable_folder, write_durably
from agentmem_cli.support.safe_text import printable

_ALLOWED_FILE: Final = "embedders.json"
_MOST_BYTES: Final = 1_000_000
_log: Final = logging.getLogger("agentmem")


def _is_allowed(url: str) -> bool:
    """Whether the user has allowed this URL. Raises UsageError if it is not a valid URL of an embedder."""
    return canonical_url(url) in _allowed()


def _allow(url: str) -> None:
    """Records that the user allows this URL; logs a warning if that fails. Raises UsageError."""
    canonical, allowed = canonical_url(url), _allowed()
    if canonical in allowed:
        return
    file = _file()
    temporary = file.with_name(f"{_ALLOWED_FILE}.{os.getpid()}.new")
    try:
        make_durable_folder(file.parent)
        try:
            write_durably(temporary, orjson.dumps(sorted({*allowed, canonical}), option=orjson.OPT_INDENT_2))
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        _log.warning(
            "agentmem: warning: %s can't be written (%s): give --embedder-url each time",
            printable(str(file)),
            error.strerror,
        )


def _allowed() -> set[str]:
    try:
        with _file().open("rb") as stream:
            kept = orjson.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError):
        return set()
    return {url for url in kept if isinstance(url, str)} if isinstance(kept, list) else set()


def _file() -> Path:
    return platformdirs.user_config_path("agentmem") / _ALLOWED_FILE


URL_VARIABLE: Final = "AGENTMEM_EMBEDDER_URL"
MAX_REQUEST_TEXTS: Final = 32  # the strictest limit of common servers; includes the probe
_MAX_REQUEST_CHARS: Final = 100_000
_MAX_NAME_CHARS: Final = 200
_SHOWN_MODELS: Final = 10
_MODELS_BYTES: Final = 4_000_000

_PROBE_TEXT: Final = "The ferry to Ærø left at 07:42, and 三 children waved."
# Measured: the same weights give 1.0 in fp32 and at least 0.990 in dynamic int8 in batches with other texts, but 0.951
# with another instruction before the text. Other models are far below.
_SAME_MODEL_COSINE: Final = 0.98

_OK: Final = 200
_TOO_LARGE: Final = 413
_REFUSED: Final = (400, 422)


def find(url: str, model: str | None, limits: Limits | None = None) -> EmbedderSpec:
    """The spec of a served model, from the embedding of the probe. Without `model`, the server must have only one.

    `revision` identifies the name, the dimensions and the probe's vector rounded to two decimals. Rounding may
    distinguish equal models, so `probe` holds the vector itself, with which later answers are compared. `token_limit`
    is 0, which means unknown. The URL is recorded as allowed. Raises UsageError, EmbeddingError.
    """
    spec = probed(url, key_for(url), model, limits)
    _allow(url)
    return spec


def probed(url: str, key: str, model: str | None, limits: Limits | None = None) -> EmbedderSpec:
    """As `find`, with this key, and records nothing."""
    endpoint = Endpoint(url, key, limits)
    name = (model or _only_model(endpoint)).removeprefix(REMOTE_PREFIX)
    if not name or len(name) > _MAX_NAME_CHARS or printable(name) != name:
        raise UsageError(
            f"embedder {endpoint.url}: {endpoint.quoted(name)} is not a valid name of a model: give another"
        )
    rows = endpoint.run(_Served(endpoint, name).rows([_PROBE_TEXT], MAX_DIM))
    if rows is None:
        raise EmbeddingError(f"embedder {endpoint.url} refuses even a short text (413): check the server's limits")
    vector = unit_rows(rows.vectors, 1, rows.vectors.shape[1], name)[0]
    identity = f"{name}\n{len(vector)}\n{np.rint(100 * vector).astype(int).tolist()}"
    return EmbedderSpec(
        name=f"{REMOTE_PREFIX}{name}",
        revision=hashlib.sha256(identity.encode()).hexdigest(),
        dim=len(vector),
        token_limit=0,
        pooling="as served",
        precision="as served",
        folder=endpoint.url,
        probe=_Probe(vector, rows.tokens).encoded(),
    )


def moved(spec: EmbedderSpec, url: str) -> EmbedderSpec:
    """The same model at another URL."""
    return replace(spec, folder=checked_url(url))


def recognised(spec: EmbedderSpec, known: EmbedderSpec) -> bool:
    """Whether two specs of `find` are of the same model."""
    if (spec.name, spec.dim) != (known.name, known.dim):
        return False
    return float(_Probe.decoded(spec).vector @ _Probe.decoded(known).vector) >= _SAME_MODEL_COSINE


def load(spec: EmbedderSpec, named_url: str | None = None, requests_at_once: int | None = None) -> "RemoteEmbedder":
    """The embedder of a spec of `find`. Sends no request yet.

    `named_url`, or AGENTMEM_EMBEDDER_URL, is the URL that the user gives; the key is sent only there. The spec's own
    URL may come from somebody else's store, so it is used only if the user has allowed it before. Raises UsageError,
    ServerNotNamedError.
    """
    url = named_url or os.environ.get(URL_VARIABLE)
    limits = Limits(requests_at_once=requests_at_once or Limits().requests_at_once)
    if url:
        embedder = RemoteEmbedder(moved(spec, url), key_for(url), limits)
        if named_url:
            _allow(named_url)
        return embedder
    if not _is_allowed(spec.folder):
        raise ServerNotNamedError(
            f"the store's model is served at {spec.folder}, which is not allowed on this machine: texts and "
            f"queries would be sent there; to allow it, give --embedder-url {spec.folder} once"
        )
    return RemoteEmbedder(spec, "", limits)


class RemoteEmbedder:
    """An Embedder for a model behind an endpoint. Requests run concurrently, with limits on texts and characters.

    Token counts are the server's, or 0 if it has none. Servers report neither unknown tokens nor cut texts, so these
    counts are 0. Queries are embedded like texts, without an instruction. Raises EmbeddingError, and StoreMismatchError
    if the server has another model.
    """

    def __init__(self, spec: EmbedderSpec, key: str = "", limits: Limits | None = None) -> None:
        self._spec = spec
        self._probe = _Probe.decoded(spec)
        self._endpoint = Endpoint(spec.folder, key, limits)
        self._served = _Served(self._endpoint, spec.name.removeprefix(REMOTE_PREFIX))

    @property
    def spec(self) -> EmbedderSpec:
        """Which model this is."""
        return self._spec

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embeds n texts into (n, dim) float32 rows of unit length, in their order. Raises EmbeddingError."""
        return self.embed_watched(texts, lambda share: None)

    def embed_watched(self, texts: Sequence[str], on_share: OnShare) -> Embedded:
        """As `embed`; calls `on_share` after each answer with the share of requests that are answered."""
        parts = list(_parts(texts, self._served.most_texts - 1))
        answers = self._endpoint.run_all(
            [self._embed_part(part) for part in parts], lambda done: on_share(done / len(parts))
        )
        empty = np.empty((0, self._spec.dim), dtype=np.float32)
        return Embedded(
            vectors=np.concatenate([empty, *(rows.vectors for rows in answers)]),
            tokens=sum(rows.tokens for rows in answers),
            special_tokens=0,
            unknown_tokens=0,
            cut=none_cut(len(texts)),
        )

    def embed_query(self, query: str) -> Vectors:
        """Embeds a search query into (dim,) float32 of unit length. Raises EmbeddingError."""
        vector: Vectors = self.embed([query]).vectors[0]
        return vector

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Embeds n search queries into (n, dim) float32 rows of unit length, in their order. Raises EmbeddingError."""
        return self.embed(queries).vectors

    async def _embed_part(self, texts: Sequence[str]) -> Rows:
        rows = await self._served.rows([*texts, _PROBE_TEXT], self._spec.dim)
        if rows is None:
            return await self._embed_halves(texts)
        self._check_probe(rows.vectors[-1])
        vectors = unit_rows(rows.vectors[:-1], len(texts), self._spec.dim, self._spec.name)
        return Rows(vectors, max(0, rows.tokens - self._probe.tokens))

    async def _embed_halves(self, texts: Sequence[str]) -> Rows:
        if len(texts) == 1:
            raise EmbeddingError(
                f"embedder {self._endpoint.url} refuses a text of {len(texts[0]):,} characters (413): shorten it, "
                "or raise the server's limit"
            )
        middle = len(texts) // 2
        first, second = [await self._embed_part(part) for part in (texts[:middle], texts[middle:])]
        return Rows(np.concatenate([first.vectors, second.vectors]), first.tokens + second.tokens)

    def _check_probe(self, served: Vectors) -> None:
        if served.shape != self._probe.vector.shape:
            difference = f"vectors of {len(served)} dims, not {self._spec.dim}"
        else:
            cosine = float(unit_rows(served[np.newaxis], 1, self._spec.dim, self._spec.name)[0] @ self._probe.vector)
            if cosine >= _SAME_MODEL_COSINE:
                return
            difference = f"the vector of a known text has cosine {cosine:.3f} to the earlier one"
        raise StoreMismatchError(
            f"embedder {self._endpoint.url} has another model as {self._served.model} than before ({difference}): "
            "give the URL of the right one with --embedder-url, or reembed"
        )


class _Served:
    """One model at an endpoint, with the encoding and request size that its server accepts."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self.model = model
        self.most_texts = MAX_REQUEST_TEXTS
        self._endpoint = endpoint
        self._encoding = "base64"  # a quarter of the size of numbers in JSON, and read 6 times faster

    async def rows(self, texts: Sequence[str], dim: int) -> Rows | None:
        """The vectors (n, dim) of n texts, in their order; None if they are too many for one request."""
        encoding = self._encoding
        answer = await self._ask(texts, dim, encoding)
        if answer.status in _REFUSED and encoding == "base64":
            answer = await self._ask(texts, dim, "float")
            if answer.status == _OK:
                self._encoding = "float"
        if answer.status == _TOO_LARGE:
            self.most_texts = min(self.most_texts, max(2, (len(texts) + 1) // 2))
            return None
        if answer.status != _OK:
            raise EmbeddingError(f"embedder {self._endpoint.url}: {_refusal(self._endpoint, answer)}")
        try:
            if not answer.whole:
                raise ValueError(f"more than {len(answer.body):,} bytes for {len(texts)} texts")
            return read_rows(answer.body, len(texts))
        except ValueError as error:
            raise EmbeddingError(
                f"embedder {self._endpoint.url} gave an invalid answer: {error}: check that the URL and the model are "
                "those of an embeddings server"
            ) from error

    async def _ask(self, texts: Sequence[str], dim: int, encoding: str) -> Answer:
        request = {"model": self.model, "input": texts, "encoding_format": encoding}
        return await self._endpoint.send(
            "POST", "/embeddings", orjson.dumps(request), largest_answer_bytes(len(texts), dim)
        )


@dataclass(frozen=True, slots=True)
class _Probe:
    """The probe's vector (dim,), float32 of unit length, and its number of tokens as counted by the server."""

    vector: Vectors
    tokens: int

    def encoded(self) -> str:
        return f"{self.tokens} {base64.b64encode(self.vector.astype('<f2').tobytes()).decode()}"

    @classmethod
    def decoded(cls, spec: EmbedderSpec) -> "_Probe":
        tokens, _, encoded = spec.probe.partition(" ")
        try:
            vector = np.frombuffer(base64.b64decode(encoded, validate=True), dtype="<f2").astype(np.float32)
            return cls(unit_rows(vector[np.newaxis], 1, spec.dim, spec.name)[0], int(tokens))
        except (binascii.Error, ValueError, EmbeddingError) as error:
            raise ModelDamagedError(
                f"the store has lost the data that identifies {spec.name}: restore it from a copy, or reembed"
            ) from error


def _only_model(endpoint: Endpoint) -> str:
    answer = endpoint.run(endpoint.send("GET", "/models", b"", _MODELS_BYTES))
    try:
        names = read_models(answer.body) if answer.status == _OK and answer.whole else []
    except ValueError:
        names = []
    if answer.status in (401, 403):
        raise EmbeddingError(f"embedder {endpoint.url}: {_refusal(endpoint, answer)}")
    if len(names) == 1:
        return names[0]
    listed = ", ".join(endpoint.quoted(name, 80) for name in names[:_SHOWN_MODELS])
    more = ", ..." if len(names) > _SHOWN_MODELS else ""
    offer = f"has {len(names)} models ({listed}{more})" if names else "does not list its models"
    raise UsageError(f"embedder {endpoint.url} {offer}: name one with --model")


def _refusal(endpoint: Endpoint, answer: Answer) -> str:
    if 300 <= answer.status < 400:
        return f"redirects to {endpoint.quoted(answer.location)}: give the URL that answers"
    said = f"answers {answer.status} ({endpoint.quoted(read_complaint(answer.body))})"
    if answer.status in (401, 403):
        return (
            f"{said}: put a valid key in AGENTMEM_EMBEDDER_KEY; it is sent to a URL that you give with "
            f"--embedder-url or {URL_VARIABLE}, not to one that a store remembers"
        )
    return f"{said}: check --embedder-url and --model"


def _parts(texts: Sequence[str], most_texts: int) -> Iterator[Sequence[str]]:
    start = characters = 0
    for end, text in enumerate(texts):
        if end > start and (end - start >= most_texts or characters + len(text) > _MAX_REQUEST_CHARS):
            yield texts[start:end]
            start, characters = end, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]
