"""Model folders, and the models of fastembed: their descriptions, their cached files and downloads."""

import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import orjson
from fastembed import TextEmbedding
from fastembed.common.model_description import DenseModelDescription, ModelSource
from loguru import logger
from tokenizers import BertWordPieceTokenizer

from agentmem_cli.embedding.base import EmbedderSpec, revision_of
from agentmem_cli.embedding.cache import cache_folders, folder_for_new
from agentmem_cli.errors import ModelDamagedError, ModelNotFoundError
from agentmem_cli.support.files import sha256_of

_NAME_PREFIX: Final = "local-"
_MODEL_FILES: Final = ("model.onnx", "onnx/model.onnx")
_FALLBACK_TOKEN_LIMIT: Final = 512


def spec_of(folder: Path) -> EmbedderSpec:
    """The spec of a model folder in the layout of sentence-transformers: ONNX weights, tokenizer.json, config.json.

    Pooling is read from `1_Pooling/config.json`; the default is the mean. The token limit is read from
    `sentence_bert_config.json` or `tokenizer_config.json`; the default is 512. Raises ModelNotFoundError.
    """
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise ModelNotFoundError(f"model folder {folder} does not exist: --model-path takes a folder with model.onnx")
    weights = model_file(folder)
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise ModelNotFoundError(f"model folder {folder} has no tokenizer.json: export the model with its tokenizer")
    dim = _read_json(folder / "config.json").get("hidden_size")
    if not isinstance(dim, int):
        raise ModelNotFoundError(f"model folder {folder} has no config.json with hidden_size: add one")
    pooling, token_limit = _pooling(folder), _token_limit(folder)
    revision = revision_of(files_sha256(folder, weights), pooling, token_limit)
    return EmbedderSpec(
        name=_NAME_PREFIX + revision[:12],
        revision=revision,
        dim=dim,
        token_limit=token_limit,
        pooling=pooling,
        precision="as exported",
        folder=str(folder),
    )


def is_folder_model(name: str) -> bool:
    """Whether this is the name of a model from a folder."""
    return name.startswith(_NAME_PREFIX)


def model_file(folder: Path) -> str:
    """The path of the weights inside a model folder. Raises ModelNotFoundError."""
    for name in _MODEL_FILES:
        if (folder / name).is_file():
            return name
    raise ModelNotFoundError(f"model folder {folder} has no {' or '.join(_MODEL_FILES)}: export the model to ONNX")


def files_sha256(folder: Path, weights: str) -> str:
    """The sha256 of a model's weights, including external data files, and of its tokenizer."""
    graph = folder / weights
    beside = (path for ending in ("_data", ".data") for path in graph.parent.glob(f"{graph.name}{ending}*"))
    return sha256_of(graph, *sorted(beside), folder / "tokenizer.json")


@contextmanager
def from_folder(spec: EmbedderSpec) -> Iterator[Path]:
    """A temporary folder for fastembed: links to the files of the spec's folder, and the token limit."""
    folder = Path(spec.folder)
    with _assembled({entry.name: entry for entry in folder.iterdir()}, spec.token_limit) as assembled:
        yield assembled


@contextmanager
def from_vocabulary(weights: Path, vocabulary: Path, token_limit: int) -> Iterator[Path]:
    """A temporary model folder made of ONNX weights and a lower-cased WordPiece vocabulary."""
    with _assembled({"model.onnx": weights}, token_limit) as assembled:
        tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        tokenizer.save(str(assembled / "tokenizer.json"))
        yield assembled


@contextmanager
def from_files(weights: Path, tokenizer: Path, token_limit: int) -> Iterator[Path]:
    """A temporary model folder made of ONNX weights and a tokenizer.json."""
    with _assembled({"model.onnx": weights, "tokenizer.json": tokenizer}, token_limit) as assembled:
        yield assembled


@contextmanager
def _assembled(files: Mapping[str, Path], token_limit: int) -> Iterator[Path]:
    # A new folder for each load: it can't be stale, and processes don't share it.
    with tempfile.TemporaryDirectory(prefix="agentmem-model-") as name:
        folder = Path(name)
        for entry, target in files.items():
            (folder / entry).symlink_to(target.resolve())
        config = _read_json(folder / "tokenizer_config.json")
        (folder / "tokenizer_config.json").unlink(missing_ok=True)
        stated = {"pad_token": "[PAD]", **config, "model_max_length": token_limit}
        stated.pop("max_length", None)
        (folder / "tokenizer_config.json").write_bytes(orjson.dumps(stated))
        yield folder


def _token_limit(folder: Path) -> int:
    candidates = (
        _read_json(folder / "sentence_bert_config.json").get("max_seq_length"),
        _read_json(folder / "tokenizer_config.json").get("model_max_length"),
    )
    for limit in candidates:
        if isinstance(limit, int) and 0 < limit <= 1 << 20:  # unknown limits are written as 1e30
            return limit
    return _FALLBACK_TOKEN_LIMIT


def _pooling(folder: Path) -> str:
    config = _read_json(folder / "1_Pooling" / "config.json")
    if config.get("pooling_mode_cls_token"):
        return "cls"
    return "last_token" if config.get("pooling_mode_lasttoken") else "mean"


def _read_json(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ModelDamagedError(f"{path} is not JSON ({error.msg}): export the model again") from error
    return value if isinstance(value, dict) else {}


_PROBE_TIMEOUT_S: Final = 5.0
_TOKEN_LIMIT: Final = re.compile(r"(\d+) input tokens")
_POOLING: Final = "as published"
_UNSTATED_TOKEN_LIMIT: Final = 512

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
