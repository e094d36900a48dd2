"""MiniLM's files are made of the published weights: fewer nodes that say the same, and int8 that is near."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from agentmem_cli.embedding import minilm, minilm_onnx
from agentmem_cli.errors import ModelError

_LAYERS = 6


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fp32 file."""
    target = tmp_path_factory.mktemp("fp32") / "model.onnx"
    minilm_onnx.write_fp32(minilm.published_weights(), target)
    return target


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 file."""
    target = tmp_path_factory.mktemp("int8") / "model.onnx"
    minilm_onnx.write_int8(minilm.published_weights(), target)
    return target


def _operators(file: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(file).graph.node)


def _int8_matrices(file: Path) -> dict[str, NDArray[np.int8]]:
    constants = onnx.load(file).graph.initializer
    return {
        constant.name: onnx.numpy_helper.to_array(constant)
        for constant in constants
        if constant.data_type == onnx.TensorProto.INT8
    }


def _outputs(file: Path, rows: Sequence[int] = (0, 1)) -> NDArray[np.float32]:
    """The model's output (2, 9, 384) for two texts, of which one is padded; or for some of them."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    ids = np.array([[101, 7592, 2088, 102, 0, 0, 0, 0, 0], [101, 2028, 2048, 2093, 2176, 2274, 2416, 2698, 102]])[
        list(rows)
    ]
    feed = {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    output: NDArray[np.float32] = session.run(None, feed)[0]
    return output


def test_the_fp32_file_has_quicker_nodes_and_the_same_output(fp32: Path) -> None:
    published = minilm.published_weights()
    before, after = _operators(published), _operators(fp32)
    assert {before["Erf"], before["IsNaN"], after["Gelu"]} == {_LAYERS}
    assert (after["Erf"], after["IsNaN"], after["Sum"]) == (0, 0, after["LayerNormalization"])
    np.testing.assert_allclose(_outputs(fp32), _outputs(published), atol=1e-4)


def test_the_int8_file_multiplies_by_all_the_published_weights_in_int8(int8: Path) -> None:
    assert _operators(int8)["MatMulIntegerToFloat"] == 6 * _LAYERS
    published, made = _int8_matrices(minilm.published_weights()), _int8_matrices(int8)
    assert len(made) == 6 * _LAYERS + 2  # the embeddings of words and places too
    assert all(np.array_equal(made[name], published[name]) for name in made)
    assert np.abs(_outputs(int8) - _outputs(minilm.published_weights()))[:, 0].max() < 0.3


def test_a_token_is_rounded_by_itself(int8: Path) -> None:
    outputs = _outputs(int8)
    np.testing.assert_allclose(_outputs(int8, rows=[0])[0], outputs[0], atol=1e-4)


def test_a_file_is_made_the_same_every_time(int8: Path, tmp_path: Path) -> None:
    minilm_onnx.write_int8(minilm.published_weights(), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == int8.read_bytes()


@pytest.mark.parametrize("write", [minilm_onnx.write_fp32, minilm_onnx.write_int8])
def test_what_is_no_model_is_an_error_in_one_line(write: Callable[[Path, Path], None], tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no\nmodel")
    with pytest.raises(ModelError, match=r"no\.onnx can't be made into an ONNX model") as error:
        write(tmp_path / "no.onnx", tmp_path / "target.onnx")
    assert len(str(error.value).splitlines()) == 1
