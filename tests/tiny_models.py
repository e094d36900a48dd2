"""Models that are made within seconds: an ONNX model that looks its tokens up, and a static one of a fake teacher."""

import functools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import BertWordPieceTokenizer

from agentmem_cli.embedding import distill, minilm, static_files
from agentmem_cli.embedding.base import EmbedderSpec, OnProgress, Vectors, no_progress, unit_rows
from agentmem_cli.embedding.static import StaticEmbedder, pooled
from agentmem_cli.embedding.tokens import TokenIds

DIM: Final = 48
WORDS: Final = ("cat", "dog", "ferry", "ladder", "river", "music", "tea", "coffee", "hello", "world", "red", "apple")
SMALL_VOCABULARY: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "the", *WORDS, "##s", "##ing")


@functools.cache
def tokenizer_json() -> str:
    """The default model's tokenizer."""
    return str(BertWordPieceTokenizer(str(minilm.VOCABULARY), lowercase=True).to_str())


class FakeTeacher:
    """A model whose embedding of a text is the mean of its tokens' random vectors, and something of its first token."""

    def __init__(self, dim: int = DIM) -> None:
        self.name = "fake"
        self.tokenizer_json = tokenizer_json()
        self.dim = dim
        self._vocabulary = len(distill.tokens_by_id(self.tokenizer_json))
        rows = np.random.default_rng(3).standard_normal((2, self._vocabulary, dim), dtype=np.float32)
        self._table, self._first = rows

    def token_outputs(self, on_progress: OnProgress) -> Vectors:
        on_progress("distilling tokens", 1.0)
        table: Vectors = self._table
        return table

    def embed(self, texts: Sequence[str], on_progress: OnProgress) -> Vectors:
        ids, offsets = TokenIds(self.tokenizer_json).many(texts)
        rows = pooled(self._table, ids, offsets)
        first = np.array([self._first[ids[start]] if start < len(ids) else self._first[0] for start in offsets[:-1]])
        on_progress("embedding texts to fit to", 1.0)
        return unit_rows(rows + first, len(texts), self.dim, self.name)


@functools.cache
def static_spec() -> EmbedderSpec:
    """A static model of the default vocabulary, in a folder that lives as long as the process."""
    folder = tempfile.TemporaryDirectory(prefix="agentmem-tests-")
    _folders.append(folder)
    return publish_static(Path(folder.name), "tiny-static")


_folders: Final[list[tempfile.TemporaryDirectory[str]]] = []


def publish_static(parent: Path, name: str, own_texts: Sequence[str] = ()) -> EmbedderSpec:
    """Distills the fake into a folder."""
    vectors = distill.distill(FakeTeacher(), 32, own_texts or ["hello world"], no_progress, count=300)
    return static_files.publish(parent, name, vectors, tokenizer_json(), {"source": "fake"})


def static_embedder(token_limit: int = 1_000) -> StaticEmbedder:
    """The embedder of `static_spec`, with a limit that a test can reach."""
    spec = replace(static_spec(), token_limit=token_limit)
    return StaticEmbedder(spec, Path(spec.folder))


def onnx_folder(folder: Path, vocabulary: Sequence[str] = SMALL_VOCABULARY, dim: int = 16) -> Path:
    """An ONNX model folder for `--model-path`, whose output for a token is a random vector of the token's own."""
    folder.mkdir(parents=True)
    table = np.random.default_rng(5).standard_normal((len(vocabulary), dim), dtype=np.float32)
    int64_rows = ["batch", "sequence"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "lookup",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, int64_rows)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*int64_rows, dim])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True).save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"hidden_size": dim}), encoding="utf-8")
    return folder
