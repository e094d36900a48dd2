"""Model folders: their specs, and temporary folders of links for what opens a model."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
from tokenizers import BertWordPieceTokenizer

from agentmem_cli.embedding.base import EmbedderSpec, revision_of
from agentmem_cli.errors import ModelDamagedError, ModelNotFoundError
from agentmem_cli.support.files import sha256_of

AS_PUBLISHED: Final = "as published"  # the pooling of a model of fastembed, which knows it
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
