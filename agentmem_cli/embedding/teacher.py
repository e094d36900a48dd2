"""What distilling needs of an ONNX model: its tokenizer, its embeddings of texts, and its outputs for single tokens."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import onnxruntime
import orjson
from tokenizers import Tokenizer

from agentmem_cli.embedding import onnx
from agentmem_cli.embedding.base import OnProgress, Vectors
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
        raise UsageError(f"model {name} can't be distilled: it is no ONNX model") from error
