"""The model cache: where downloaded models are, and files that are made once from others and kept."""

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
    """The folders in which models are looked for, which need not exist; the last is where new ones go.

    They are the one that FASTEMBED_CACHE_PATH names, and the user's own where that is unset or can't be written.
    """
    # fastembed's own default is in the system's temporary folder, which a reboot empties.
    default = Path(platformdirs.user_cache_dir("agentmem")) / "models"
    stated = os.environ.get(_VARIABLE)
    if not stated:
        return [default]
    return [Path(stated)] if _is_writable(Path(stated)) else [Path(stated), default]


def folder_for_new() -> Path:
    """The folder that new models go to; one line says so where it is not the one that the user named."""
    *unwritable, folder = cache_folders()
    for stated in unwritable:
        _say_instead(stated, folder)
    return folder


def made(name: str, sha256: str, make: Callable[[Path], None]) -> Path:
    """The file of this name: the one in the cache, if its content has this sha256, or else made now.

    What is made is kept, by its own sha256: where that is another one, it is not found again, and made again next time.
    Processes that make it at once each publish a whole file, by one rename. Raises OSError where it can be neither
    found nor written, and what `make` raises.
    """
    for file in (folder / f"{name}-{sha256}.onnx" for folder in cache_folders()):
        with suppress(OSError):
            if sha256_of(file) == sha256:
                return file
    folder = folder_for_new()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as scratch:
        whole = Path(scratch) / "model.onnx"
        make(whole)
        fsync_file(whole)
        file = folder / f"{name}-{sha256_of(whole)}.onnx"
        whole.replace(file)
    fsync_folder(folder)
    return file


def _is_writable(folder: Path) -> bool:
    """Whether files can be put into a folder, or into the nearest one above it, where it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


@functools.cache  # once
def _say_instead(stated: Path, folder: Path) -> None:
    _log.warning(
        "agentmem: warning: %s is %s, which can't be written: new models go to %s",
        _VARIABLE,
        printable(str(stated)),
        printable(str(folder)),
    )
