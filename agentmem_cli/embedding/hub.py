"""The models of fastembed: their descriptions, their cached files and downloads, and sessions that fastembed opens.

Loading fastembed takes as long as loading the default model, so only what needs it imports this module.
"""

import os
import re
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import onnxruntime
import orjson
from fastembed import TextEmbedding
from fastembed.common.model_description import DenseModelDescription, ModelSource, PoolingType
from loguru import logger

from agentmem_cli.embedding import model_files
from agentmem_cli.embedding.base import EmbedderSpec, revision_of
from agentmem_cli.embedding.cache import cache_folders, folder_for_new
from agentmem_cli.embedding.choice import PROVIDERS, Device
from agentmem_cli.embedding.model_files import AS_PUBLISHED
from agentmem_cli.errors import DeviceError, ModelNotFoundError

_PROBE_TIMEOUT_S: Final = 5.0
_TOKEN_LIMIT: Final = re.compile(r"(\d+) input tokens")
_UNSTATED_TOKEN_LIMIT: Final = 512
_POOLING: Final = {"mean": PoolingType.MEAN, "cls": PoolingType.CLS, "last_token": PoolingType.LAST_TOKEN}

logger.disable("fastembed")  # our error messages say the same in one line


def descriptions() -> Iterator[DenseModelDescription]:
    """All models of fastembed."""
    for entry in TextEmbedding.list_supported_models():
        if not entry["model"].startswith("agentmem/"):
            yield _description(entry)


def locate(name: str, own_names: Sequence[str] = ()) -> EmbedderSpec:
    """The spec of a model of fastembed, which is downloaded if it is not cached.

    Raises ModelNotFoundError within seconds; its suggestion may also be one of `own_names`.
    """
    known = {description.model.lower(): description for description in descriptions()}
    description = known.get(name.lower())
    if description is None:
        names = {
            **{model.rpartition("/")[2]: known[model].model for model in known},
            **{n.lower(): n for n in own_names},
        }
        close = get_close_matches(name.lower().rpartition("/")[2], names, n=1)
        hint = f" (did you mean {names[close[0]]}?)" if close else ""
        raise ModelNotFoundError(
            f"no model is named {name}{hint}: 'agentmem models' lists them, --model-path takes a folder"
        )
    folder = cached(description) or _download(description)
    limit = _limit_in(folder) or token_limit(description) or _UNSTATED_TOKEN_LIMIT
    files = model_files.files_sha256(folder, description.model_file)
    return EmbedderSpec(
        name=description.model,
        revision=revision_of(files, AS_PUBLISHED, limit),
        dim=description.dim or 0,
        token_limit=limit,
        pooling=AS_PUBLISHED,
        precision=AS_PUBLISHED,
        folder=str(folder),
    )


def token_limit(description: DenseModelDescription) -> int | None:
    """The token limit that the publisher states, or None."""
    match = _TOKEN_LIMIT.search(description.description)
    return int(match.group(1)) if match else None


def cached(description: DenseModelDescription) -> Path | None:
    """The folder of a cached model, or None. Uses no network."""
    for cache in cache_folders():
        try:
            folder = TextEmbedding.download_model(description, str(cache), local_files_only=True)
        except (ValueError, OSError):
            continue
        if all((folder / file).is_file() for file in (description.model_file, "tokenizer.json")):
            return folder
    return None


def _limit_in(folder: Path) -> int | None:
    """The limit at which fastembed cuts texts; it may be below the one that the publisher states."""
    path = folder / "tokenizer_config.json"
    config = orjson.loads(path.read_bytes()) if path.is_file() else {}
    limits = [config.get(name) for name in ("model_max_length", "max_length")]
    return min((limit for limit in limits if isinstance(limit, int) and 0 < limit <= 1 << 20), default=None)


def _download(description: DenseModelDescription) -> Path:
    _check_reachable(description)
    try:
        return TextEmbedding.download_model(description, str(folder_for_new()), retries=1)
    except (ValueError, OSError) as error:
        raise ModelNotFoundError(f"model {description.model} can't be downloaded ({error}): try again later") from error


def _check_reachable(description: DenseModelDescription) -> None:
    # fastembed retries for 39 s; a hub that does not answer within a few seconds won't.
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        raise _unreachable(description, "HF_HUB_OFFLINE is set")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    request = urllib.request.Request(f"{endpoint}/api/models/{description.sources.hf}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise _unreachable(description, f"the hub answers {error.code}") from error
    except (OSError, ValueError) as error:
        raise _unreachable(description, f"the hub can't be reached: {getattr(error, 'reason', error)}") from error


def _unreachable(description: DenseModelDescription, why: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"model {description.model} is not cached here and can't be downloaded ({why}): connect once, "
        "give a folder with --model-path, or use --model minilm, which is installed"
    )


def _description(entry: dict[str, Any]) -> DenseModelDescription:
    return DenseModelDescription(**{**entry, "sources": ModelSource(**entry["sources"])})


def weights_file(name: str) -> str:
    """The path of the weights inside the folder of a model of fastembed."""
    return next(description.model_file for description in descriptions() if description.model == name)


def open_session(spec: EmbedderSpec, model_folder: Path, threads: int, device: Device) -> TextEmbedding:
    """A session that fastembed opens for the model in a folder. Raises DeviceError, and what fastembed raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # static models warn that they have no threads
        warnings.simplefilter("ignore", RuntimeWarning)  # about missing CUDA, which is an error here
        session = TextEmbedding(
            registered_name(spec, model_folder),
            cache_dir=str(model_folder),  # fastembed creates a cache folder even if it needs none
            threads=threads,
            providers=[PROVIDERS[device]],
            specific_model_path=str(model_folder),
        )
    if device == "cuda":
        _check_on_cuda(session, spec.name)
    return session


def registered_name(spec: EmbedderSpec, model_folder: Path) -> str:
    """The name of the model in fastembed, where it is registered first if necessary."""
    known = {entry["model"] for entry in TextEmbedding.list_supported_models()}
    if spec.name in known:
        return spec.name
    file = model_files.model_file(model_folder)
    name = f"agentmem/{spec.name}-{spec.pooling}-{spec.dim}-{file}"  # fastembed keeps the first model of a name
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


def _check_on_cuda(session: TextEmbedding, model: str) -> None:
    """Raises DeviceError if the session runs on the CPU: without CUDA's libraries, onnxruntime only logs that."""
    running = getattr(session.model, "model", None)
    if not isinstance(running, onnxruntime.InferenceSession):
        raise DeviceError(f"--device cuda: model {model} is a table of vectors and runs on the CPU: use --device cpu")
    if PROVIDERS["cuda"] not in running.get_providers():
        raise DeviceError(
            f"--device cuda: model {model} would run on the CPU, because CUDA could not be started: check the driver "
            "(nvidia-smi) and the CUDA and cuDNN that onnxruntime-gpu asks for, or use --device cpu"
        )
