"""The static models that were made on this machine, by name: CACHE/static/NAME/<revision>/."""

import re
from pathlib import Path
from typing import Final

from agentmem_cli.embedding import static_folder
from agentmem_cli.embedding.base import EmbedderSpec
from agentmem_cli.embedding.cache import cache_folders, folder_for_new
from agentmem_cli.errors import ModelDamagedError, ModelNotFoundError, UsageError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ALL: Final = "static"


def check_name(name: str) -> None:
    """Raises UsageError for a name that no static model can have."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"a static model can't be named {name!r}: letters, digits, '.', '-' and '_' make a name")


def home(name: str) -> Path:
    """The folder that a new model of a name goes to."""
    return folder_for_new() / _ALL / name


def find(name: str) -> EmbedderSpec | None:
    """The model of a name, the first where several processes made it, or None.

    Raises ModelDamagedError where there is one, but none that is whole.
    """
    if not _NAME.fullmatch(name):
        return None
    damage: ModelDamagedError | None = None
    for folder in _made(name):
        try:
            return static_folder.spec_of(name, folder)
        except ModelDamagedError as error:
            damage = error
    if damage is not None:
        raise damage
    return None


def listed(*always: str) -> dict[str, EmbedderSpec | None]:
    """All static models that were made here, and those of the names given; None for one that isn't here whole."""
    names = sorted({path.name for folder in _folders() if folder.is_dir() for path in folder.iterdir()})
    made = [name for name in names if _NAME.fullmatch(name) and _made(name)]
    specs: dict[str, EmbedderSpec | None] = {}
    for name in (*always, *made):
        try:
            specs[name] = find(name)
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
    folder = static_folder.find(spec, parents)
    if folder is None:
        raise ModelNotFoundError(
            f"model {spec.name} (revision {spec.revision[:12]}) is whole in none of {', '.join(map(str, parents))}: "
            "restore that folder, or change the store's model with 'agentmem reembed'"
        )
    return folder


def carry(spec: EmbedderSpec, folder: Path) -> None:
    """Copies a static model into a store's folder for models, unless it is there: a store never loses its embedder.

    Does nothing for a model of another kind. Raises ModelNotFoundError, ModelError.
    """
    if static_folder.is_static(spec) and not static_folder.place_in(folder, spec).is_dir():
        static_folder.copy_into(folder, files_of(spec, None))


def drop_others(spec: EmbedderSpec, folder: Path) -> None:
    """Removes the models that a store carries, but for this one; what else lies there stays."""
    static_folder.keep_only(folder, spec.revision if static_folder.is_static(spec) else None)


def _made(name: str) -> list[Path]:
    homes = [folder / name for folder in _folders() if (folder / name).is_dir()]
    made = [entry for home in homes for entry in home.iterdir() if static_folder.is_place(entry)]
    return sorted(made, key=lambda entry: (entry.stat().st_mtime_ns, entry.name))


def _folders() -> list[Path]:
    return [folder / _ALL for folder in cache_folders()]
