"""The model cache: where downloaded models are, and files that are made once from others and kept."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from agentmem_cli.files import fsync_file, fsync_folder, sha256_of


def cache_folder() -> Path:
    """The folder of the model cache, which need not exist."""
    # fastembed's own default is in the system's temporary folder, which a reboot empties.
    stated = os.environ.get("FASTEMBED_CACHE_PATH")
    return Path(stated) if stated else Path(platformdirs.user_cache_dir("agentmem")) / "models"


def made(key: str, make: Callable[[Path], None]) -> Path:
    """The file of this key: the one in the cache, if its content has the sha256 in its name, or else made now.

    A damaged one is removed and made again. Processes that make it at once each publish a whole file, by one rename.
    Raises OSError where it can be neither found nor written, and what `make` raises.
    """
    folder = cache_folder()
    for file in sorted(folder.glob(f"{key}-*.onnx")):
        if _is_whole(file, key):
            return file
        file.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as scratch:
        whole = Path(scratch) / "model.onnx"
        make(whole)
        fsync_file(whole)
        file = folder / f"{key}-{sha256_of(whole)}.onnx"
        whole.replace(file)
    fsync_folder(folder)
    return file


def _is_whole(file: Path, key: str) -> bool:
    try:
        return file.stem == f"{key}-{sha256_of(file)}"
    except FileNotFoundError:  # another process found it damaged
        return False
