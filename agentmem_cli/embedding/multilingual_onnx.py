"""Rewrites the published file of multilingual-e5-small as an ONNX model and a tokenizer.json.

The published file holds, little-endian: a header, the pieces of a SentencePiece unigram tokenizer with their scores, a
table of characters and their normal forms, a directory of tensors, and the tensors. A matrix is stored in rows of
blocks: 32 weights of 4 bits, from -8 to 7, and their scale. The ONNX model keeps these 4 bits. The code relies on the
layout of that one file, which is checked by its sha256.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import onnx
import orjson
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from agentmem_cli.embedding.minilm_onnx import named_failure

_Attributes: TypeAlias = Mapping[str, int | float | str]
_NONE: Final[_Attributes] = {}

_CONTRIBUTED: Final = "com.microsoft"  # the domain of onnxruntime's own operators
_CONTRIBUTED_OPERATORS: Final = ("Gelu", "MatMulNBits", "MultiHeadAttention")
_OPSET: Final = 18
_IR_VERSION: Final = 8
_BLOCK_WEIGHTS: Final = 32
_BLOCK_BYTES: Final = _BLOCK_WEIGHTS // 2
# Byte j of a block holds weight j in its lower four bits and weight j + 16 in its upper ones.
_BLOCK: Final = np.dtype([("scale", "<f2"), ("weights", "u1", _BLOCK_BYTES)])
_INT8_PRODUCTS: Final = 4  # MatMulNBits quantizes activations to int8 per block, so batches change no vector
_HEADER: Final = struct.Struct("<4sI7ifi")
_TOKENIZER_HEADER: Final = struct.Struct("<5iQ")
_TENSOR: Final = struct.Struct("<BIQQ")


def write_model(published: Path, target: Path) -> None:
    """Writes the ONNX model; its output is that of the last layer for each token. Raises ModelError, OSError."""
    with named_failure(published):
        onnx.save(_Graph(_Published(published.read_bytes())).model(), target)


def write_tokenizer(published: Path, target: Path) -> None:
    """Writes the tokenizer.json. Raises ModelError, OSError.

    Characters are normalized by Nmt and NFKC, which agree with the published table but for two characters of 1.1
    million, and unlike it compose a letter with a combining accent after it, as SentencePiece does.
    """
    with named_failure(published):
        target.write_bytes(orjson.dumps(_tokenizer(_Published(published.read_bytes()))))


class _Published:
    """The published file, read."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        _, _, self.dim, self.layers, self.heads, self.inner_dim, self.vocabulary, self.positions, _, self.epsilon, _ = (
            _HEADER.unpack_from(content)
        )
        at = _HEADER.size
        count, self.begin, self.end, self.padding, self.unknown, pieces_bytes = _TOKENIZER_HEADER.unpack_from(
            content, at
        )
        at += _TOKENIZER_HEADER.size
        ends = np.frombuffer(content, "<u4", count + 1, at).tolist()
        at += 4 * (count + 1)
        self.scores: list[float] = np.frombuffer(content, "<f4", count, at).tolist()
        at += 4 * count
        joined = content[at : at + pieces_bytes]
        self.pieces = [joined[ends[i] : ends[i + 1]].decode() for i in range(count)]
        at += pieces_bytes
        (table_bytes,) = struct.unpack_from("<I", content, at + 4)  # after the number of its characters
        at += 8 + table_bytes
        (tensors,) = struct.unpack_from("<i", content, at)
        at += 4
        self._tensors: dict[str, tuple[int, int]] = {}  # the number of values, and where they begin
        for _ in range(tensors):
            (name_bytes,) = struct.unpack_from("<H", content, at)
            name = content[at + 2 : at + 2 + name_bytes].decode()
            at += 2 + name_bytes
            _, values, start, _ = _TENSOR.unpack_from(content, at)
            at += _TENSOR.size
            self._tensors[name] = values, start

    def floats(self, name: str) -> NDArray[np.float32]:
        """The values of a tensor in fp32, flat."""
        values, start = self._tensors[name]
        return np.frombuffer(self._content, "<f4", values, start)

    def blocks(self, name: str, columns: int) -> NDArray[np.void]:
        """The blocks (rows, columns / 32) of a matrix."""
        values, start = self._tensors[name]
        flat = np.frombuffer(self._content, _BLOCK, values // _BLOCK_WEIGHTS, start)
        return flat.reshape(-1, columns // _BLOCK_WEIGHTS)


def _tokenizer(published: _Published) -> dict[str, object]:
    begin, end = published.pieces[published.begin], published.pieces[published.end]
    ids = {begin: published.begin, end: published.end}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    around = [{"SpecialToken": {"id": name, "type_id": 0}} for name in ids]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": {
            "strategy": "BatchLongest",
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": published.padding,
            "pad_type_id": 0,
            "pad_token": published.pieces[published.padding],
        },
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Nmt"},
                {"type": "NFKC"},
                {"type": "Strip", "strip_left": False, "strip_right": True},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [around[0], text, around[1]],
            "pair": [around[0], text, around[1], {"Sequence": {"id": "B", "type_id": 0}}, around[1]],
            "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in ids.items()},
        },
        "decoder": None,
        "model": {
            "type": "Unigram",
            "unk_id": published.unknown,
            "vocab": list(zip(published.pieces, published.scores, strict=True)),
            "byte_fallback": False,
        },
    }


@dataclass
class _Graph:
    """The nodes and constants of the ONNX model, in the making."""

    published: _Published
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def model(self) -> onnx.ModelProto:
        """The ONNX model."""
        states = self._embedded()
        self._node("Cast", ["attention_mask"], "mask", {"to": TensorProto.INT32})
        for layer in range(self.published.layers):
            states = self._layer(states, f"l{layer}.")
        self._node("Identity", [states], "last_hidden_state")
        shape = ["batch", "tokens"]
        graph = helper.make_graph(
            self.nodes,
            "multilingual-e5-small",
            [
                helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape),
                helper.make_tensor_value_info("attention_mask", TensorProto.INT64, shape),
            ],
            [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, self.published.dim])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIBUTED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)

    def _embedded(self) -> str:
        """The sum of the vectors of a token and of its position, normalized."""
        dim = self.published.dim
        blocks = self.published.blocks("emb.word", dim)
        rows = self._constant("words", blocks["weights"].reshape(len(blocks), -1))
        scales = self._constant("words.scales", blocks["scale"])
        by_block = self._constant("by_block", np.array([0, 0, dim // _BLOCK_WEIGHTS, _BLOCK_BYTES], dtype=np.int64))
        self._node("Gather", [rows, "input_ids"], "packed_row")
        self._node("Reshape", ["packed_row", by_block], "packed")
        self._node("BitwiseAnd", ["packed", self._constant("lower_bits", np.uint8(15))], "lower")
        self._node("BitShift", ["packed", self._constant("four", np.uint8(4))], "upper", {"direction": "RIGHT"})
        self._node("Concat", ["lower", "upper"], "steps", {"axis": -1})
        self._node("Cast", ["steps"], "steps_fp32", {"to": TensorProto.FLOAT})
        self._node("Sub", ["steps_fp32", self._constant("eight", np.float32(8))], "signed")
        self._node("Gather", [scales, "input_ids"], "scale")
        self._node("Cast", ["scale"], "scale_fp32", {"to": TensorProto.FLOAT})
        last = self._constant("last", np.array([-1], dtype=np.int64))
        self._node("Unsqueeze", ["scale_fp32", last], "block_scale")
        self._node("Mul", ["signed", "block_scale"], "word_blocks")
        flat = self._constant("flat", np.array([0, 0, dim], dtype=np.int64))
        self._node("Reshape", ["word_blocks", flat], "word")
        # All tokens are of type 0, whose vector is added to those of the positions.
        positions = self.published.floats("emb.pos").reshape(-1, dim) + self.published.floats("emb.type")[:dim]
        self._node("Shape", ["input_ids"], "length", {"start": 1, "end": 2})
        zero = self._constant("zero", np.array([0], dtype=np.int64))
        self._node("Slice", [self._constant("positions", positions), zero, "length"], "position")
        self._node("Add", ["word", "position"], "embedded")
        return self._normalized("embedded", "emb.ln", "embedded_normal")

    def _layer(self, states: str, name: str) -> str:
        """One layer of the encoder: attention, then two products with GELU between them."""
        dim = self.published.dim
        joined = self._product(states, [f"{name}{part}" for part in "qkv"], dim, f"{name}qkv")
        parts = [f"{name}{part}" for part in ("queries", "keys", "values")]
        self.nodes.append(helper.make_node("Split", [joined], parts, axis=-1, num_outputs=3))
        attention = f"{name}attention"
        heads = self.published.heads
        self._node("MultiHeadAttention", [*parts, "", "mask"], attention, {"num_heads": heads})
        output = self._product(attention, [f"{name}ao"], dim, f"{name}ao")
        # Not Add, which onnxruntime would fuse into SkipLayerNormalization, which is slower.
        self._node("Sum", [states, output], f"{name}attended")
        attended = self._normalized(f"{name}attended", f"{name}aln", f"{name}attended_normal")
        inner = self._product(attended, [f"{name}fi"], dim, f"{name}fi")
        self._node("Gelu", [inner], f"{name}gelu")
        output = self._product(f"{name}gelu", [f"{name}fo"], self.published.inner_dim, f"{name}fo")
        self._node("Sum", [attended, output], f"{name}output")
        return self._normalized(f"{name}output", f"{name}oln", f"{name}output_normal")

    def _product(self, inputs: str, names: Sequence[str], columns: int, output: str) -> str:
        """The product of the inputs (..., columns) with these matrices, one below the other, and their biases."""
        blocks = np.concatenate([self.published.blocks(f"{name}.w", columns) for name in names])
        steps = np.concatenate([blocks["weights"] & 15, blocks["weights"] >> 4], axis=-1)
        packed = steps[..., ::2] | steps[..., 1::2] << 4  # MatMulNBits has neighbours in one byte
        weights = self._constant(f"{output}.weights", packed)
        scales = self._constant(f"{output}.scales", blocks["scale"].astype(np.float32).ravel())
        shape = {"K": columns, "N": len(blocks), "bits": 4, "block_size": _BLOCK_WEIGHTS}
        product = f"{output}.product"
        self._node("MatMulNBits", [inputs, weights, scales], product, {**shape, "accuracy_level": _INT8_PRODUCTS})
        bias = np.concatenate([self.published.floats(f"{name}.b") for name in names])
        self._node("Add", [product, self._constant(f"{output}.bias", bias)], f"{output}.sum")
        return f"{output}.sum"

    def _normalized(self, inputs: str, name: str, output: str) -> str:
        weights, bias = (self._constant(f"{name}.{end}", self.published.floats(f"{name}.{end}")) for end in "wb")
        self._node(
            "LayerNormalization", [inputs, weights, bias], output, {"axis": -1, "epsilon": self.published.epsilon}
        )
        return output

    def _constant(self, name: str, values: "NDArray[np.generic] | np.generic") -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name

    def _node(self, operator: str, inputs: Sequence[str], output: str, attributes: _Attributes = _NONE) -> None:
        domain = _CONTRIBUTED if operator in _CONTRIBUTED_OPERATORS else ""
        node = helper.make_node(operator, inputs, [output], domain=domain)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in sorted(attributes.items()))
        self.nodes.append(node)
