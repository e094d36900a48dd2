"""Models that run with onnxruntime, in batches of texts of similar length.

Every text of a batch is padded to the longest one, so one long text slows the whole batch down. Here texts are sorted
by their number of tokens and split into sub-batches with little padding; vectors are returned in input order.

fastembed opens models that it knows and those of folders. The installed models need only onnxruntime: to load fastembed
would take as long as to load the model.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from agentmem_cli.embedding import model_files
from agentmem_cli.embedding.base import Embedded, EmbedderSpec, OnShare, Prefixes, Vectors, unit_rows
from agentmem_cli.embedding.choice import PROVIDERS, Device
from agentmem_cli.embedding.model_files import AS_PUBLISHED
from agentmem_cli.embedding.tokens import TOKENIZE_CHARS, by_characters
from agentmem_cli.errors import DeviceError, EmbeddingError, ModelDamagedError
from agentmem_cli.support.machine import usable_cores

_TELL_EVERY_S: Final = 0.2
# Padded tokens per sub-batch. On a CPU, larger ones exceed the caches; smaller ones leave a GPU idle.
_SUB_BATCH_TOKENS: Final[dict[Device, int]] = {"cpu": 512, "cuda": 32_768}
_PARTS_WORTH_WORKERS: Final = 8  # opening the sessions takes about as long as embedding 8 parts
_MAX_SHARED_BYTES: Final = 200_000_000  # of weights that may be loaded once per core
_UNKNOWN_TOKENS: Final = ("[UNK]", "<unk>")
_NO_PREFIXES: Final = Prefixes()


class _Session(Protocol):
    """A model that is open, as fastembed's TextEmbedding is."""

    def embed(self, documents: list[str], batch_size: int) -> Iterable[NDArray[np.generic]]:
        """The vectors of texts, in their order."""

    def query_embed(self, query: list[str]) -> Iterable[NDArray[np.generic]]:
        """The vectors of queries, in their order."""


class _MeanSession:
    """A session on the CPU, with a tokenizer that others use too; pools by the mean."""

    def __init__(self, weights: Path, tokenizer: Tokenizer, token_limit: int, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._model = onnxruntime.InferenceSession(str(weights), options, providers=[PROVIDERS["cpu"]])
        self._has_types = any(put.name == "token_type_ids" for put in self._model.get_inputs())
        self._tokenizer = tokenizer
        self._token_limit = token_limit

    def embed(self, documents: list[str], batch_size: int) -> Iterable[NDArray[np.generic]]:
        """The vectors of texts, in their order, all in one batch."""
        rows = [self._cut(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(documents)]
        ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, own_ids in enumerate(rows):
            ids[row, : len(own_ids)] = own_ids
            mask[row, : len(own_ids)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self._has_types:
            inputs["token_type_ids"] = np.zeros_like(ids)
        outputs: Vectors = self._model.run(None, inputs)[0]
        read = mask.astype(np.float32)[:, :, np.newaxis]
        means: Vectors = (outputs * read).sum(axis=1) / read.sum(axis=1)
        return means

    def query_embed(self, query: list[str]) -> Iterable[NDArray[np.generic]]:
        """The vectors of queries, in their order, all in one batch."""
        return self.embed(query, len(query))

    def _cut(self, ids: list[int]) -> list[int]:
        """The ids up to the token limit, with the special token at the end."""
        return ids if len(ids) <= self._token_limit else [*ids[: self._token_limit - 1], ids[-1]]


class OnnxEmbedder:
    """An Embedder that runs a model with onnxruntime. Loads the model; raises ModelDamagedError if that fails.

    A query or a small batch runs in one session with all threads. Many sub-batches run in single-threaded sessions, one
    per thread, which is faster because no thread waits for another. These sessions are opened when they are first
    needed, and only for models small enough to be loaded several times.
    """

    def __init__(
        self,
        spec: EmbedderSpec,
        open_folder: Callable[[], AbstractContextManager[Path]],
        threads: int | None = None,
        device: Device = "cpu",
        prefixes: Prefixes = _NO_PREFIXES,
        *,
        pools_by_mean: bool = False,
    ) -> None:
        """`pools_by_mean` is for models on the CPU alone, whose sessions share a tokenizer and do without fastembed."""
        self._spec = spec
        self._open_folder = open_folder
        self._device = device
        self._prefixes = prefixes
        self._pools_by_mean = pools_by_mean
        self._threads = threads or usable_cores()
        with self._named_failure(), open_folder() as model_folder:
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            self._session = self._open_session(model_folder, self._threads)
            self._workers: list[_Session] = []
            size_bytes = (model_folder / weights_file(spec, model_folder)).stat().st_size
            self._may_have_workers = device == "cpu" and self._threads > 1 and size_bytes <= _MAX_SHARED_BYTES
        own_tokens = len(self.token_spans(prefixes.passage))
        self.special_tokens: int = self._tokenizer.num_special_tokens_to_add(is_pair=False) + own_tokens
        self._unknown_id = next(
            (i for i in map(self._tokenizer.token_to_id, _UNKNOWN_TOKENS) if i is not None),
            -1,
        )

    @property
    def spec(self) -> EmbedderSpec:
        """The spec of the model."""
        return self._spec

    def open_folder(self) -> AbstractContextManager[Path]:
        """The model's folder with its weights (see `weights_file`) and tokenizer.json."""
        return self._open_folder()

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embeds n texts into (n, dim) float32 rows of unit length, in their order. Raises EmbeddingError."""
        return self.embed_watched(texts, lambda share: None)

    def embed_watched(self, texts: Sequence[str], on_share: OnShare) -> Embedded:
        """As `embed`; calls `on_share` meanwhile with the share that is done, some times a second."""
        start = time.perf_counter()
        texts = _prefixed(self._prefixes.passage, texts)
        lengths, unknown_tokens = self._token_counts(texts)
        tokenize_s = time.perf_counter() - start  # for sorting by length; the session tokenizes again to embed
        read = [min(length, self._spec.token_limit) for length in lengths]
        return Embedded(
            vectors=self._by_length(texts, read, self._run, on_share),
            tokens=sum(read),
            special_tokens=self.special_tokens * len(texts),
            unknown_tokens=unknown_tokens,
            cut=np.array(lengths, dtype=np.int64) > self._spec.token_limit,
            tokenize_s=tokenize_s,
        )

    def embed_query(self, query: str) -> Vectors:
        """Embeds a search query into (dim,) float32 of unit length. Raises EmbeddingError."""
        vector: Vectors = self._run_queries(self._session, _prefixed(self._prefixes.query, [query]))[0]
        return vector

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The characters [start, stop) of each token, in order, without special tokens."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return spans

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Embeds n search queries into (n, dim) float32 rows of unit length, in their order. Raises EmbeddingError."""
        queries = _prefixed(self._prefixes.query, queries)
        lengths, _ = self._token_counts(queries)
        return self._by_length(queries, [min(length, self._spec.token_limit) for length in lengths], self._run_queries)

    def _by_length(
        self,
        texts: Sequence[str],
        lengths: Sequence[int],
        run: Callable[[_Session, list[str]], Vectors],
        on_share: OnShare = lambda share: None,
    ) -> Vectors:
        vectors = np.empty((len(texts), self._spec.dim), dtype=np.float32)
        parts = list(sub_batches(texts, lengths, _SUB_BATCH_TOKENS[self._device]))
        # Sub-batches take about as long as one another.
        self._embed_parts(parts, texts, vectors, run, lambda done: on_share(done / len(parts)))
        return vectors

    def _embed_parts(
        self,
        parts: list[list[int]],
        texts: Sequence[str],
        vectors: Vectors,
        run: Callable[[_Session, list[str]], Vectors],
        on_done: Callable[[int], None],
    ) -> None:
        """Fills the rows of `vectors`, longest texts first, so that all sessions end at about the same time.

        Calls `on_done` in this thread with the number of parts that are done.
        """
        waiting = deque(reversed(parts))

        def work(session: _Session, on_part: Callable[[], None] = lambda: None) -> None:
            while True:
                try:
                    rows = waiting.popleft()
                except IndexError:
                    return
                vectors[rows] = run(session, [texts[row] for row in rows])
                on_part()

        sessions = self._sessions_for(len(parts))
        if len(sessions) == 1:
            return work(sessions[0], lambda: on_done(len(parts) - len(waiting)))
        with ThreadPoolExecutor(len(sessions)) as pool:
            try:
                running = {pool.submit(work, session) for session in sessions}
                while running:
                    ended, running = wait(running, _TELL_EVERY_S, FIRST_EXCEPTION)
                    for worker in ended:
                        worker.result()
                    on_done(max(0, len(parts) - len(waiting) - len(running)))  # each has one in hand
            finally:
                waiting.clear()  # after a failure or Ctrl-C, the others stop at their next part
        return None

    def _sessions_for(self, parts: int) -> list[_Session]:
        if not self._workers and self._may_have_workers and parts >= _PARTS_WORTH_WORKERS:
            with self._named_failure(), self._open_folder() as model_folder:
                self._workers = [self._open_session(model_folder, 1) for _ in range(self._threads)]
        return self._workers if self._workers and parts > 1 else [self._session]

    def _open_session(self, model_folder: Path, threads: int) -> _Session:
        if self._pools_by_mean:
            weights = model_folder / weights_file(self._spec, model_folder)
            return _MeanSession(weights, self._tokenizer, self._spec.token_limit, threads)
        from agentmem_cli.embedding import hub

        return hub.open_session(self._spec, model_folder, threads, self._device)

    @contextmanager
    def _named_failure(self) -> Iterator[None]:
        try:
            yield
        except DeviceError:
            raise
        except Exception as error:  # onnxruntime and tokenizers raise bare Exceptions of their own
            raise ModelDamagedError(f"model {self._spec.name} can't be loaded: {_first_line(error)}") from error

    def _run(self, session: _Session, texts: list[str]) -> Vectors:
        return self._checked(session.embed(texts, batch_size=len(texts)), len(texts))

    def _run_queries(self, session: _Session, queries: Sequence[str]) -> Vectors:
        """As `_run` for queries; fastembed adds the instruction that some models need."""
        return self._checked(session.query_embed(list(queries)), len(queries))

    def _checked(self, embeddings: Iterable[NDArray[np.generic]], count: int) -> Vectors:
        try:
            rows = np.asarray(list(embeddings), dtype=np.float32)
        except Exception as error:
            raise EmbeddingError(f"model {self._spec.name} failed: {_first_line(error)}") from error
        return unit_rows(rows, count, self._spec.dim, self._spec.name)

    def _token_counts(self, texts: Sequence[str]) -> tuple[list[int], int]:
        lengths: list[int] = []
        unknown_tokens = 0
        for part in by_characters(texts):
            for encoding in self._tokenizer.encode_batch_fast(part):
                ids = encoding.ids
                lengths.append(len(ids))
                unknown_tokens += ids[: self._spec.token_limit].count(self._unknown_id)
        return lengths, unknown_tokens


def _prefixed(prefix: str, texts: Sequence[str]) -> Sequence[str]:
    return [prefix + text for text in texts] if prefix else texts


def check_cuda() -> None:
    """Raises DeviceError if the installed onnxruntime has no CUDA."""
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        raise DeviceError(
            "--device cuda: the installed onnxruntime has no CUDA: pip uninstall -y fastembed onnxruntime, "
            "then pip install fastembed-gpu, or use --device cpu"
        )


def sub_batches(texts: Sequence[str], lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """The indices of the texts, shortest first, in parts of at most `max_tokens` tokens, padding included."""
    order = sorted(range(len(texts)), key=lengths.__getitem__)
    part: list[int] = []
    characters = 0
    for row in order:
        padded_tokens = (len(part) + 1) * lengths[row]
        if part and (padded_tokens > max_tokens or characters + len(texts[row]) > TOKENIZE_CHARS):
            yield part
            part, characters = [], 0
        part.append(row)
        characters += len(texts[row])
    if part:
        yield part


def weights_file(spec: EmbedderSpec, model_folder: Path) -> str:
    """The path of the weights inside the model's folder."""
    if spec.pooling != AS_PUBLISHED:
        return model_files.model_file(model_folder)
    from agentmem_cli.embedding import hub

    return hub.weights_file(spec.name)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
