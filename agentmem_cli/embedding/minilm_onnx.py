"""Rewrites MiniLM's published ONNX file for speed: with fused nodes in fp32, and with matrix products in int8.

The code relies on the graph of the published file, which is checked by its sha256.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from agentmem_cli.errors import ModelError

_CONTRIBUTED: Final = "com.microsoft"  # the domain of onnxruntime's own operators
# A token's activations are quantized to -63 to 63. With 7 bits on one side, sums of two products fit into 16 bits. With
# 8 bits on both sides, processors without VNNI saturate and would give other vectors.
_STEPS: Final = 63


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
