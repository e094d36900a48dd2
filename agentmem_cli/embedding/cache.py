"""The model cache: downloaded models, and files that are derived from others once."""

import functools
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import platformdirs

from agentmem_cli.support.files import fsync_file, fsync_folder, sha256_of
from agentmem_cli.support.safe_text import printable

_VARIABLE: Final = "FASTEMBED_CACHE_PATH"
_log: Final = logging.getLogger("agentmem")


def cache_folders() -> list[Path]:
    """The folders that are searched for models, whether they exist or not; new models go to the last.

    The first is that of FASTEMBED_CACHE_PATH. If it is unset or can't be written, the user's cache folder follows.
    """
    # fastembed's default is the system's temporary folder, which a reboot empties.
    default = Path(platformdirs.user_cache_dir("agentmem")) / "models"
    stated = os.environ.get(_VARIABLE)
    if not stated:
        return [default]
    return [Path(stated)] if _is_writable(Path(stated)) else [Path(stated), default]


def folder_for_new() -> Path:
    """The folder for new models; logs a warning if it is not the one that the user set."""
    *unwritable, folder = cache_folders()
    for stated in unwritable:
        _say_instead(stated, folder)
    return folder


def made(name: str, sha256: str, make: Callable[[Path], None], suffix: str = ".onnx") -> Path:
    """The cached file of this name, sha256 and suffix; makes it if it is missing.

    The file is cached under its real sha256: if that differs, the file is made again next time. Concurrent processes
    each publish a complete file by renaming. Raises OSError if the file can't be written, and the errors of `make`.
    """
    for file in (folder / f"{name}-{sha256}{suffix}" for folder in cache_folders()):
        with suppress(OSError):
            if sha256_of(file) == sha256:
                return file
    folder = folder_for_new()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as scratch:
        whole = Path(scratch) / f"made{suffix}"
        make(whole)
        fsync_file(whole)
        file = folder / f"{name}-{sha256_of(whole)}{suffix}"
        whole.replace(file)
    fsync_folder(folder)
    return file


def _is_writable(folder: Path) -> bool:
    """Whether a folder can be written, or created in its nearest existing parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


@functools.cache  # so that it warns once
def _say_instead(stated: Path, folder: Path) -> None:
    _log.warning(
        "agentmem: warning: %s is %s, which can't be written: new models go to %s",
        _VARIABLE,
        printable(str(stated)),
        printable(str(folder)),
    )
