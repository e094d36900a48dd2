"""A store's folder: which of its files are ours, and that none of them leads outside.

A folder may come from a stranger, in a cloned repository or an archive. So a store contains no links, devices or pipes,
and is created only in a new or empty folder.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentmem_cli.errors import StoreDamagedError, UsageError
from agentmem_cli.records.values import kind_of
from agentmem_cli.support.files import fsync_folder, write_durably

DATABASE: Final = "memories.db"
NEW_DATABASE: Final = "memories.db.new"  # one that is being made
LOCK: Final = "LOCK"
INDEX: Final = "index"
MODELS: Final = "model"
MAGIC: Final = b"SQLite format 3\x00"
_GITIGNORE: Final = ".gitignore"
_IGNORE_ALL: Final = b"*\n"
_OF_SQLITE: Final = ("", "-wal", "-shm", "-journal")
_DATABASE_FILES: Final = tuple(f"{DATABASE}{ending}" for ending in _OF_SQLITE)
_NEW_FILES: Final = tuple(f"{NEW_DATABASE}{ending}" for ending in _OF_SQLITE)
_FILES: Final = (LOCK, _GITIGNORE, *_DATABASE_FILES, *_NEW_FILES)
_FOLDERS: Final = (INDEX, MODELS)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://?")  # a Path has one slash of two
# A pid and a note; empty when nobody holds it; NULs where the machine lost power.
_LOCK_CONTENT: Final = re.compile(rb"(\d{1,20}( [a-z ]{1,40})?\n)?|\0+")
_MOST_LOCK_BYTES: Final = 64


def path_of(store: str | Path) -> Path:
    """The folder of a store as a user names it. Raises UsageError for a URL."""
    try:
        folder = Path(store)
    except TypeError as error:
        raise UsageError(f"a store's path is a string or a Path, not {kind_of(store)}") from error
    scheme = _SCHEME.match(str(store))
    if scheme is not None:
        raise UsageError(
            f"store {scheme[1]}://...: agentmem knows no such stores: give a folder, or postgresql://USER@HOST/DB"
        )
    return folder


def paths(folder: Path) -> Iterator[Path]:
    """Every existing file and folder of a store, folders before their contents."""
    for name in (*_FILES, *_FOLDERS):
        if os.path.lexists(folder / name):
            yield folder / name
    for name in _FOLDERS:
        yield from _within(folder / name)


def check(folder: Path) -> None:
    """Raises StoreDamagedError for a link, a pipe or a device in a store."""
    for path in paths(folder):
        check_path(path)


def check_database(database: Path) -> None:
    """The same for a database and the files that SQLite keeps beside it."""
    for ending in _OF_SQLITE:
        check_path(database.with_name(f"{database.name}{ending}"))


def check_path(path: Path) -> None:
    """The same for one path, which need not exist."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(mode):
        raise StoreDamagedError(
            f"{path} is a link, and a store holds no links: nothing was changed; remove the link, or use another store"
        )
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise StoreDamagedError(
            f"{path} is neither a file nor a folder: nothing was changed; remove it, or use another store"
        )


def check_unused(folder: Path) -> None:
    """Raises UsageError where a new store would share its folder with files that are not its own.

    Files that a process left when it was killed while creating a store are the store's own.
    """
    try:
        found = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UsageError(f"{folder} can't be read: {error.strerror}: give a folder of your own") from error
    if folder / DATABASE not in found and not all(map(_is_left_by_making, found)):
        raise UsageError(f"{folder} is not a store, and not empty: give a new or empty folder")


def is_lock_content(content: bytes) -> bool:
    """Whether agentmem may have written this to a lock file."""
    return len(content) <= _MOST_LOCK_BYTES and _LOCK_CONTENT.fullmatch(content) is not None


def write_gitignore(folder: Path) -> None:
    """Keeps a new store out of `git add .`, unless the folder has a `.gitignore` already. Raises OSError."""
    with suppress(FileExistsError):
        write_durably(folder / _GITIGNORE, _IGNORE_ALL, new=True)
        fsync_folder(folder)


def _is_left_by_making(path: Path) -> bool:
    try:
        if path.name not in (LOCK, _GITIGNORE, *_NEW_FILES) or not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as stream:
            content = stream.read(_MOST_LOCK_BYTES + 1)
    except OSError as error:
        return isinstance(error, FileNotFoundError)  # another process has made the store meanwhile
    if path.name == LOCK:
        return is_lock_content(content)
    if path.name == _GITIGNORE:
        return content in (b"", _IGNORE_ALL)
    # Pages that were not on the disk yet when the power went are zeros.
    return path.name != NEW_DATABASE or content.startswith(MAGIC) or not content.strip(b"\0")


def _within(folder: Path, levels: int = 2) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            yield folder / entry.name
            if levels > 1 and entry.is_dir(follow_symlinks=False):
                yield from _within(folder / entry.name, levels - 1)
