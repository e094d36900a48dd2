"""Models that run through fastembed: found, downloaded where there is a network, and fed by length.

A batch is as slow as its longest text: fastembed pads every text of a batch to it, in arrival order. Here texts are
sorted by their number of tokens and cut into sub-batches, so that little is padding; vectors come back in input order.
"""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from fastembed.common.types import NumpyArray
from tokenizers import Tokenizer

from agentmem_cli.embedding import model_files
from agentmem_cli.embedding.base import Device, Embedded, EmbedderSpec, Vectors, unit_rows
from agentmem_cli.embedding.tokens import TOKENIZE_CHARS, by_characters
from agentmem_cli.errors import DeviceError, EmbeddingError, ModelDamagedError
from agentmem_cli.support.machine import usable_cores

# Padded tokens in a sub-batch. On a CPU what a layer makes of more no longer fits the caches; a GPU is idle with less.
_SUB_BATCH_TOKENS: Final[dict[Device, int]] = {"cpu": 512, "cuda": 32_768}
_PARTS_WORTH_WORKERS: Final = 8  # opening their sessions takes about as long as embedding so many
_MAX_SHARED_BYTES: Final = 200_000_000  # weights that may be held once a core
_POOLING: Final = {"mean": PoolingType.MEAN, "cls": PoolingType.CLS, "last_token": PoolingType.LAST_TOKEN}
_PROVIDERS: Final[dict[Device, str]] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_UNKNOWN_TOKENS: Final = ("[UNK]", "<unk>")


class OnnxEmbedder:
    """One fastembed model; an Embedder. Loads when it is made, and raises ModelDamagedError where it can't.

    A query or a small batch runs in a session of all threads. Many sub-batches are shared out to sessions of one thread
    each, as many as there are cores, which beats it: no thread waits for another. These are opened when there is work
    for them, and never for a model that is too large to be held so often.
    """

    def __init__(
        self,
        spec: EmbedderSpec,
        open_folder: Callable[[], AbstractContextManager[Path]],
        threads: int | None = None,
        device: Device = "cpu",
    ) -> None:
        self._spec = spec
        self._open_folder = open_folder
        self._device = device
        self._threads = threads or usable_cores()
        with self._named_failure(), open_folder() as model_folder:
            self._session = self._open_session(model_folder, self._threads)
            self._workers: list[TextEmbedding] = []
            size_bytes = (model_folder / weights_file(spec, model_folder)).stat().st_size
            self._may_have_workers = device == "cpu" and self._threads > 1 and size_bytes <= _MAX_SHARED_BYTES
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special_tokens: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._unknown_id = next(
            (i for i in map(self._tokenizer.token_to_id, _UNKNOWN_TOKENS) if i is not None),
            -1,
        )

    @property
    def spec(self) -> EmbedderSpec:
        """Which model this is."""
        return self._spec

    def open_folder(self) -> AbstractContextManager[Path]:
        """The model's folder, for who needs more of it than embeddings: weights (`weights_file`), tokenizer.json."""
        return self._open_folder()

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embeds n texts into (n, dim) float32 rows of unit length, in their order. Raises EmbeddingError."""
        start = time.perf_counter()
        lengths, unknown_tokens = self._token_counts(texts)
        tokenize_s = time.perf_counter() - start  # to sort by length; fastembed does it again for what it embeds
        read = [min(length, self._spec.token_limit) for length in lengths]
        return Embedded(
            vectors=self._by_length(texts, read, self._run),
            tokens=sum(read),
            special_tokens=self.special_tokens * len(texts),
            unknown_tokens=unknown_tokens,
            cut=np.array(lengths, dtype=np.int64) > self._spec.token_limit,
            tokenize_s=tokenize_s,
        )

    def embed_query(self, query: str) -> Vectors:
        """Embeds a search query into (dim,) float32 of unit length. Raises EmbeddingError."""
        vector: Vectors = self._run_queries(self._session, [query])[0]
        return vector

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The characters [start, stop) of each token, in order, without special tokens."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return spans

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Embeds n search queries into (n, dim) float32 rows of unit length, in their order. Raises EmbeddingError."""
        lengths, _ = self._token_counts(queries)
        return self._by_length(queries, [min(length, self._spec.token_limit) for length in lengths], self._run_queries)

    def _by_length(
        self, texts: Sequence[str], lengths: Sequence[int], run: Callable[[TextEmbedding, list[str]], Vectors]
    ) -> Vectors:
        vectors = np.empty((len(texts), self._spec.dim), dtype=np.float32)
        parts = list(sub_batches(texts, lengths, _SUB_BATCH_TOKENS[self._device]))
        self._embed_parts(parts, texts, vectors, run)
        return vectors

    def _embed_parts(
        self,
        parts: list[list[int]],
        texts: Sequence[str],
        vectors: Vectors,
        run: Callable[[TextEmbedding, list[str]], Vectors],
    ) -> None:
        """Fills in the rows of `vectors` part by part, the longest texts first, so that no session ends much later."""
        waiting = deque(reversed(parts))

        def work(session: TextEmbedding) -> None:
            while True:
                try:
                    rows = waiting.popleft()
                except IndexError:
                    return
                vectors[rows] = run(session, [texts[row] for row in rows])

        sessions = self._sessions_for(len(parts))
        if len(sessions) == 1:
            return work(sessions[0])
        with ThreadPoolExecutor(len(sessions)) as pool:
            try:
                for done in [pool.submit(work, session) for session in sessions]:
                    done.result()
            finally:
                waiting.clear()  # where one has failed, or Ctrl-C came, the others stop at their next part
        return None

    def _sessions_for(self, parts: int) -> list[TextEmbedding]:
        if not self._workers and self._may_have_workers and parts >= _PARTS_WORTH_WORKERS:
            with self._named_failure(), self._open_folder() as model_folder:
                self._workers = [self._open_session(model_folder, 1) for _ in range(self._threads)]
        return self._workers if self._workers and parts > 1 else [self._session]

    def _open_session(self, model_folder: Path, threads: int) -> TextEmbedding:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # static models have no threads, and say so
            warnings.simplefilter("ignore", RuntimeWarning)  # of no CUDA: an error here
            session = TextEmbedding(
                registered_name(self._spec, model_folder),
                cache_dir=str(model_folder),  # it makes one that it has no use for here, and may not be able to
                threads=threads,
                providers=[_PROVIDERS[self._device]],
                specific_model_path=str(model_folder),
            )
        if self._device == "cuda":
            _check_on_cuda(session, self._spec.name)
        return session

    @contextmanager
    def _named_failure(self) -> Iterator[None]:
        try:
            yield
        except DeviceError:
            raise
        except Exception as error:  # onnxruntime and tokenizers raise bare Exceptions of their own
            raise ModelDamagedError(f"model {self._spec.name} can't be loaded: {_first_line(error)}") from error

    def _run(self, session: TextEmbedding, texts: list[str]) -> Vectors:
        return self._checked(session.embed(texts, batch_size=len(texts)), len(texts))

    def _run_queries(self, session: TextEmbedding, queries: list[str]) -> Vectors:
        """The same for queries, which some models begin with words of their own; fastembed knows which."""
        return self._checked(session.query_embed(queries), len(queries))

    def _checked(self, embeddings: Iterable[NumpyArray], count: int) -> Vectors:
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


def check_cuda() -> None:
    """Raises DeviceError where the onnxruntime that is installed has no CUDA."""
    if _PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        raise DeviceError(
            "--device cuda: the onnxruntime that is installed has no CUDA: pip uninstall -y fastembed onnxruntime, "
            "then pip install fastembed-gpu, or use --device cpu"
        )


def _check_on_cuda(session: TextEmbedding, model: str) -> None:
    """Where CUDA's libraries are missing, onnxruntime runs on the CPU and only logs it: here that is an error."""
    running = getattr(session.model, "model", None)
    if not isinstance(running, onnxruntime.InferenceSession):
        raise DeviceError(f"--device cuda: model {model} is a table of vectors, and runs on the CPU: use --device cpu")
    if _PROVIDERS["cuda"] not in running.get_providers():
        raise DeviceError(
            f"--device cuda: model {model} would run on the CPU, because CUDA could not be started: check the driver "
            "(nvidia-smi) and the CUDA and cuDNN that onnxruntime-gpu asks for, or use --device cpu"
        )


def sub_batches(texts: Sequence[str], lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """The indices of the texts, shortest first, in parts of so many tokens at most, padded to a part's longest text."""
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


def registered_name(spec: EmbedderSpec, model_folder: Path) -> str:
    """The name under which fastembed knows the model, registered first where it isn't one of its own."""
    known = {entry["model"] for entry in TextEmbedding.list_supported_models()}
    if spec.name in known:
        return spec.name
    file = model_files.model_file(model_folder)
    name = f"agentmem/{spec.name}-{spec.pooling}-{spec.dim}-{file}"  # fastembed keeps the first of a name
    if name not in known:
        TextEmbedding.add_custom_model(
            model=name,
            pooling=_POOLING[spec.pooling],
            normalization=True,
            sources=ModelSource(url="none: its folder is given"),
            dim=spec.dim,
            model_file=file,
        )
    return name


def weights_file(spec: EmbedderSpec, model_folder: Path) -> str:
    """The weights' path inside the model's folder."""
    own = {entry["model"]: entry["model_file"] for entry in TextEmbedding.list_supported_models()}
    return str(own.get(spec.name) or model_files.model_file(model_folder))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
