"""Rewrites MiniLM's published ONNX file for speed: with fused nodes in fp32, and with matrix products in int8;
and measures such products.

The code relies on the graph of the published file, which is checked by its sha256.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from agentmem_cli.errors import ModelError

_CONTRIBUTED: Final = "com.microsoft"  # the domain of onnxruntime's own operators
# A token's activations are quantized to -63 to 63. With 7 bits on one side, sums of two products fit into 16 bits. With
# 8 bits on both sides, processors without VNNI saturate and would give other vectors.
_STEPS: Final = 63
_TOKENS, _WIDTH, _LAYER_WIDTH = 512, 384, 1536
_PRODUCTS: Final = 30


def write_fp32(published: Path, target: Path) -> None:
    """Writes the published model with faster nodes; its vectors differ only by rounding. Raises ModelError, OSError."""
    with named_failure(published):
        onnx.save(_with_faster_nodes(onnx.load(published)), target)


def write_int8(published: Path, target: Path) -> None:
    """Writes the model with matrix products in int8: the published int8 weights, and activations quantized per token.

    The scale of a token is the largest of its activations, so a vector does not depend on other texts of the batch.
    With onnxruntime's `quantize_dynamic`, which has one scale per batch, it does. Raises ModelError, OSError.
    """
    with named_failure(published):
        onnx.save(_with_int8_products(_with_faster_nodes(onnx.load(published))), target)


def _with_faster_nodes(model: ModelProto) -> ModelProto:
    """The model, changed in place to faster nodes with the same results.

    Five nodes become one GELU. An Add before a normalization becomes a Sum, because onnxruntime would fuse the Add into
    SkipLayerNormalization, which is slower. A softmax loses its guard against NaN, which only a text without tokens
    could cause: [CLS] is always present.
    """
    nodes = model.graph.node
    maker = {output: node for node in nodes for output in node.output}
    user = {name: node for node in nodes for name in node.input}  # the last user; where it matters there is only one
    needless: list[NodeProto] = []
    for node in nodes:
        if node.op_type == "Erf":  # x * (0.5 * (1 + erf(x / sqrt(2))))
            division, plus_one = maker[node.input[0]], user[node.output[0]]
            half = user[plus_one.output[0]]
            gelu = user[half.output[0]]
            gelu.op_type, gelu.domain, gelu.input[:] = "Gelu", _CONTRIBUTED, division.input[:1]
            needless += [division, node, plus_one, half]
        elif node.op_type == "LayerNormalization":
            maker[node.input[0]].op_type = "Sum"
        elif node.op_type == "IsNaN":
            softmax, guarded = maker[node.input[0]], user[node.output[0]]
            softmax.output[:] = guarded.output
            needless += [node, guarded]
    model.opset_import.append(helper.make_opsetid(_CONTRIBUTED, 1))
    return _with_nodes(model, [node for node in nodes if node not in needless])


def _with_int8_products(model: ModelProto) -> ModelProto:
    """The model, changed in place: a product with published weights, `x @ (float(w) * scale)`, becomes

    `largest * scale * (round(63 * x / largest) @ w) / 63`, where `largest` is that of a token's absolute activations.
    """
    maker = {output: node for node in model.graph.node for output in node.output}
    constants = {constant.name: constant for constant in model.graph.initializer}
    constants["step"] = numpy_helper.from_array(np.float32(1 / _STEPS), "step")
    constants["zero"] = numpy_helper.from_array(np.uint8(_STEPS + 1), "zero")
    nodes: list[NodeProto] = []
    rounded: set[str] = set()
    for node in model.graph.node:
        weights = maker.get(node.input[1]) if node.op_type == "MatMul" else None
        if weights is None or weights.op_type != "Mul" or maker[weights.input[0]].op_type != "Cast":
            nodes.append(node)
            continue
        (activations, _), (product,) = node.input, node.output
        if activations not in rounded:  # queries, keys and values have the same
            nodes += _rounded(activations)
            rounded.add(activations)
        scale = f"{weights.input[1]}_by_column"
        constants[scale] = numpy_helper.from_array(numpy_helper.to_array(constants[weights.input[1]]).ravel(), scale)
        operands = [f"{activations}_int8", maker[weights.input[0]].input[0], "step", scale, "zero"]
        nodes += [
            helper.make_node("MatMulIntegerToFloat", operands, [f"{product}_unit"], domain=_CONTRIBUTED),
            helper.make_node("Mul", [f"{product}_unit", f"{activations}_largest"], [product]),
        ]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants.values())
    return _with_nodes(model, nodes)


def _rounded(activations: str) -> list[NodeProto]:
    """Nodes that make `..._int8` and, per token, `..._largest` from activations."""
    absolute, largest, unit = (f"{activations}_{name}" for name in ("absolute", "largest", "unit"))
    return [
        helper.make_node("Abs", [activations], [absolute]),
        helper.make_node("ReduceMax", [absolute], [largest], axes=[-1], keepdims=1),
        helper.make_node("Div", [activations, largest], [unit]),
        helper.make_node("QuantizeLinear", [unit, "step", "zero"], [f"{activations}_int8"]),
    ]


def _with_nodes(model: ModelProto, nodes: list[NodeProto]) -> ModelProto:
    """The model with these nodes, without unused nodes and constants."""
    needed = {output.name for output in model.graph.output}
    kept: list[bytes] = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node.SerializeToString())  # clearing the graph's list destroys its nodes
    del model.graph.node[:]
    model.graph.node.extend(NodeProto.FromString(node) for node in reversed(kept))
    for constant in [constant for constant in model.graph.initializer if constant.name not in needed]:
        model.graph.initializer.remove(constant)
    return model


@contextmanager
def named_failure(published: Path) -> Iterator[None]:
    """Raises what onnx and protobuf raise inside as a ModelError that names the published weights."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # onnx and protobuf raise bare Exceptions of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{published} can't be made into an ONNX model: {reason}: reinstall onnx") from error


@dataclass(frozen=True, slots=True)
class ProductRates:
    """The rates of matrix products of MiniLM's shapes in onnxruntime, operations per second."""

    fp32: float
    int8: float


def product_rates(threads: int) -> ProductRates:
    """Measures products of 512 tokens with a layer's weights, in float32 and in int8, on this many threads."""
    random = np.random.default_rng(0)
    left = random.integers(1, 127, (_TOKENS, _WIDTH))
    right = random.integers(-127, 127, (_WIDTH, _LAYER_WIDTH))
    fp32 = _product_s("MatMul", TensorProto.FLOAT, left.astype(np.float32), right.astype(np.float32), threads)
    int8 = _product_s("MatMulInteger", TensorProto.INT32, left.astype(np.uint8), right.astype(np.int8), threads)
    operations = 2 * _TOKENS * _WIDTH * _LAYER_WIDTH
    return ProductRates(operations / fp32, operations / int8)


def _product_s(operator: str, out: int, left: NDArray[np.generic], right: NDArray[np.generic], threads: int) -> float:
    """The shortest time of one product, the right factor being constant as weights are."""
    import onnxruntime

    kind = helper.np_dtype_to_tensor_dtype(left.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", kind, list(left.shape))],
        [helper.make_tensor_value_info("product", out, [left.shape[0], right.shape[1]])],
        [numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
    )
    times_s = []
    for _ in range(_PRODUCTS):
        start = time.perf_counter()
        session.run(None, {"left": left})
        times_s.append(time.perf_counter() - start)
    return min(times_s)
