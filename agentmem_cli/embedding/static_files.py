"""Folders of static models: published atomically, identified by the sha256 of their files, copied into stores.

    PARENT/<first 16 digits of its revision>/model.safetensors    `embeddings` (vocabulary, dim) float16
                                             tokenizer.json

Other programs for static models use the same names.
"""

import errno
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from agentmem_cli.embedding.base import EmbedderSpec, revision_of
from agentmem_cli.embedding.cache import cache_folders, folder_for_new
from agentmem_cli.errors import ModelDamagedError, ModelError, ModelNotFoundError, UsageError
from agentmem_cli.support.files import fsync_file, fsync_folder, make_durable_folder, sha256_of

POOLING: Final = "token sum"
TOKEN_LIMIT: Final = 1_000_000  # only to bound memory
_PRECISION: Final = "fp16"
_WEIGHTS: Final = "model.safetensors"
_TOKENIZER: Final = "tokenizer.json"
_FILES: Final = (_WEIGHTS, _TOKENIZER)
_TENSOR: Final = "embeddings"
_ABOUT: Final = "agentmem"
_REVISION: Final = re.compile(r"[0-9a-f]{16}")
_MAKING: Final = re.compile(r"\.making-[a-z0-9_]{8}")

HalfVectors: TypeAlias = NDArray[np.float16]


def is_static(spec: EmbedderSpec) -> bool:
    """Whether a spec is of a static model."""
    return spec.pooling == POOLING


def publish(
    parent: Path, name: str, vectors: HalfVectors, tokenizer_json: str, about: dict[str, str | int]
) -> EmbedderSpec:
    """Writes a model with vectors (vocabulary, dim) and returns its spec. Raises ModelError if that fails.

    If another process has published the same model, that one stays.
    """

    def write(folder: Path) -> None:
        # A single key, because the order of several keys varies from run to run.
        save_file({_TENSOR: vectors}, folder / _WEIGHTS, {_ABOUT: orjson.dumps(about).decode()})
        (folder / _TOKENIZER).write_text(tokenizer_json, encoding="utf-8")

    return _spec(name, _put(parent, write), vectors.shape[1])


def spec_of(name: str, folder: Path) -> EmbedderSpec:
    """The spec of the model in a folder. Raises ModelDamagedError if its files have changed."""
    try:
        if _revision(folder)[:16] != folder.name:
            raise ModelDamagedError(f"model {name} in {folder} is not what was written there (sha256 differs)")
        with safe_open(folder / _WEIGHTS, framework="numpy") as file:
            return _spec(name, folder, file.get_slice(_TENSOR).get_shape()[1])
    except (OSError, SafetensorError) as error:
        raise ModelDamagedError(f"model {name} in {folder} can't be read: {error}") from error


def read(folder: Path) -> tuple[HalfVectors, str]:
    """The vectors (vocabulary, dim) float16 and the tokenizer.json of a model. Raises OSError, SafetensorError."""
    with safe_open(folder / _WEIGHTS, framework="numpy") as file:
        vectors: HalfVectors = file.get_tensor(_TENSOR)
    return vectors, (folder / _TOKENIZER).read_text(encoding="utf-8")


def about(folder: Path) -> dict[str, str | int]:
    """The facts recorded when a model was made."""
    with safe_open(folder / _WEIGHTS, framework="numpy") as file:
        facts: dict[str, str | int] = orjson.loads(file.metadata()[_ABOUT])
    return facts


def size_mb(folder: Path) -> float:
    """The size of a model's files."""
    return round(sum((folder / name).stat().st_size for name in _FILES) / 1e6, 1)


def place_in(parent: Path, spec: EmbedderSpec) -> Path:
    """The folder of a model in a parent folder."""
    return parent / spec.revision[:16]


def find(spec: EmbedderSpec, parents: list[Path]) -> Path | None:
    """The first undamaged copy of a model in these parent folders, or None."""
    for folder in (place_in(parent, spec) for parent in parents):
        with suppress(OSError):
            if _revision(folder) == spec.revision:
                return folder
    return None


def copy_into(parent: Path, source: Path) -> None:
    """Copies a model's folder. Raises ModelError if it can't be written."""

    def write(folder: Path) -> None:
        for name in _FILES:
            shutil.copyfile(source / name, folder / name)

    _put(parent, write)


def is_place(folder: Path) -> bool:
    """Whether this is the name of a model's folder."""
    return _REVISION.fullmatch(folder.name) is not None


def keep_only(parent: Path, revision: str | None) -> None:
    """Removes all models except this revision, and incomplete ones, from a folder.

    Folders with other names, or with any other files, are not ours and stay.
    """
    if parent.is_dir() and not parent.is_symlink():
        for folder in parent.iterdir():
            is_other = is_place(folder) and (revision is None or folder.name != revision[:16])
            with suppress(OSError):
                if _MAKING.fullmatch(folder.name) or (is_other and len(_files_alone(folder)) == len(_FILES)):
                    _remove(folder)


def _put(parent: Path, write: Callable[[Path], None]) -> Path:
    """Writes a model into a temporary folder, makes it durable and renames it."""
    try:
        make_durable_folder(parent)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=parent))
        try:
            write(making)
            for name in _FILES:
                (making / name).chmod(0o600)
                fsync_file(making / name)
            fsync_folder(making)
            place = parent / _revision(making)[:16]
            _move(making, place)
            fsync_folder(parent)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise ModelError(
            f"the model can't be written to {parent}: {error.strerror}: free disk space, or check its permissions"
        ) from error
    return place


def _move(making: Path, place: Path) -> None:
    try:
        making.rename(place)
    except OSError:
        if not _holds_same(place, making):  # unless another process was faster
            _remove(place)
            making.rename(place)


def _remove(folder: Path) -> None:
    """Removes a folder that holds only a model's files. Raises OSError for other folders."""
    for file in _files_alone(folder):
        file.unlink()
    folder.rmdir()


def _files_alone(folder: Path) -> list[Path]:
    """The files of a folder. Raises OSError if it holds anything except a model's files, or is not a folder."""
    if folder.is_symlink():
        raise OSError(errno.ENOTDIR, "it is a link")
    files = list(folder.iterdir())
    if not all(file.name in _FILES and file.is_file() and not file.is_symlink() for file in files):
        raise OSError(errno.ENOTEMPTY, "it holds files that are not a model's")
    return files


def _holds_same(place: Path, making: Path) -> bool:
    with suppress(OSError):
        return _revision(place) == _revision(making)
    return False


def _revision(folder: Path) -> str:
    return revision_of(sha256_of(folder / _WEIGHTS, folder / _TOKENIZER), POOLING, TOKEN_LIMIT)


def _spec(name: str, folder: Path, dim: int) -> EmbedderSpec:
    return EmbedderSpec(
        name=name,
        revision=_revision(folder),
        dim=dim,
        token_limit=TOKEN_LIMIT,
        pooling=POOLING,
        precision=_PRECISION,
        folder=str(folder),
    )


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ALL: Final = "static"


def check_name(name: str) -> None:
    """Raises UsageError if this is not a valid name for a static model."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"a static model can't be named {name!r}: letters, digits, '.', '-' and '_' make a name")


def home(name: str) -> Path:
    """The parent folder for new models of this name."""
    return folder_for_new() / _ALL / name


def made_here(name: str) -> EmbedderSpec | None:
    """The first undamaged model of this name, or None if there is no model of this name.

    Raises ModelDamagedError if all models of this name are damaged.
    """
    if not _NAME.fullmatch(name):
        return None
    damage: ModelDamagedError | None = None
    for folder in _made(name):
        try:
            return spec_of(name, folder)
        except ModelDamagedError as error:
            damage = error
    if damage is not None:
        raise damage
    return None


def listed(*always: str) -> dict[str, EmbedderSpec | None]:
    """The static models on this machine, and those named in `always`; None for a missing or damaged model."""
    names = sorted({path.name for folder in _folders() if folder.is_dir() for path in folder.iterdir()})
    made = [name for name in names if _NAME.fullmatch(name) and _made(name)]
    specs: dict[str, EmbedderSpec | None] = {}
    for name in (*always, *made):
        try:
            specs[name] = made_here(name)
        except ModelDamagedError:
            specs[name] = None
    return specs


def files_of(spec: EmbedderSpec, carried: Path | None) -> Path:
    """The folder with a model's files: a store's own copy, or the cache's. Raises ModelNotFoundError."""
    parents = [] if carried is None else [carried]
    if spec.folder:
        parents.append(Path(spec.folder).parent)
    if _NAME.fullmatch(spec.name):
        parents += [folder / spec.name for folder in _folders()]
    parents = list(dict.fromkeys(parents))
    folder = find(spec, parents)
    if folder is None:
        raise ModelNotFoundError(
            f"model {spec.name} (revision {spec.revision[:12]}) is whole in none of {', '.join(map(str, parents))}: "
            "restore that folder, or change the store's model with 'agentmem reembed'"
        )
    return folder


def carry(spec: EmbedderSpec, folder: Path) -> None:
    """Copies a static model into a store's folder for models, so that the store never loses its embedder.

    Does nothing for other models, or if the copy exists. Raises ModelNotFoundError, ModelError.
    """
    if is_static(spec) and not place_in(folder, spec).is_dir():
        copy_into(folder, files_of(spec, None))


def drop_others(spec: EmbedderSpec, folder: Path) -> None:
    """Removes a store's copies of other models; other files stay."""
    keep_only(folder, spec.revision if is_static(spec) else None)


def _made(name: str) -> list[Path]:
    homes = [folder / name for folder in _folders() if (folder / name).is_dir()]
    made = [entry for home in homes for entry in home.iterdir() if is_place(entry)]
    return sorted(made, key=lambda entry: (entry.stat().st_mtime_ns, entry.name))


def _folders() -> list[Path]:
    return [folder / _ALL for folder in cache_folders()]
