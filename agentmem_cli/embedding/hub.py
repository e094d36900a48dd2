"""Models that fastembed knows by name: what it says of them, where they are cached, and how they are fetched."""

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import orjson
from fastembed import TextEmbedding
from fastembed.common.model_description import DenseModelDescription, ModelSource
from loguru import logger

from agentmem_cli.embedding.base import EmbedderSpec, revision_of
from agentmem_cli.embedding.cache import cache_folders, folder_for_new
from agentmem_cli.embedding.folder import files_sha256
from agentmem_cli.errors import ModelNotFoundError

_PROBE_TIMEOUT_S: Final = 5.0
_TOKEN_LIMIT: Final = re.compile(r"(\d+) input tokens")
_POOLING: Final = "as published"
_UNSTATED_TOKEN_LIMIT: Final = 512

logger.disable("fastembed")  # it logs what we say in one line


def descriptions() -> Iterator[DenseModelDescription]:
    """All models that fastembed knows by name."""
    for entry in TextEmbedding.list_supported_models():
        if not entry["model"].startswith("agentmem/"):
            yield _description(entry)


def locate(name: str, own_names: Sequence[str] = ()) -> EmbedderSpec:
    """The spec of a model that fastembed knows, from its cache, or downloaded.

    Raises ModelNotFoundError, within seconds; `own_names` may be what was meant.
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
    files = files_sha256(folder, description.model_file)
    return EmbedderSpec(
        name=description.model,
        revision=revision_of(files, _POOLING, limit),
        dim=description.dim or 0,
        token_limit=limit,
        pooling=_POOLING,
        precision="as published",
        folder=str(folder),
    )


def token_limit(description: DenseModelDescription) -> int | None:
    """How many tokens the publisher says that the model reads, or None."""
    found = _TOKEN_LIMIT.search(description.description)
    return int(found.group(1)) if found else None


def cached(description: DenseModelDescription) -> Path | None:
    """The folder of a model that is in the cache already, or None. Reaches for no network."""
    for cache in cache_folders():
        try:
            folder = TextEmbedding.download_model(description, str(cache), local_files_only=True)
        except (ValueError, OSError):
            continue
        if all((folder / file).is_file() for file in (description.model_file, "tokenizer.json")):
            return folder
    return None


def _limit_in(folder: Path) -> int | None:
    """The limit that fastembed cuts at, which may be below the one that the publisher states."""
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
    # fastembed retries for 39 s before it gives up; a hub that doesn't answer in a few won't.
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
