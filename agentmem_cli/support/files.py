"""What files need beside being written and read: to be durable, and to be the ones that they were."""

import hashlib
import os
from pathlib import Path


def fsync_file(path: Path) -> None:
    """Forces a file's bytes to the disk."""
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    """Forces a folder's names to the disk: a renamed file is not durable before."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_durable_folder(path: Path) -> None:
    """Makes a folder, and those above it, for its owner alone, with its name on the disk, unless it is there."""
    if not path.is_dir():
        parent = path.absolute().parent
        make_durable_folder(parent)
        path.mkdir(mode=0o700, exist_ok=True)
        fsync_folder(parent)


def write_durably(path: Path, content: bytes, *, new: bool = False) -> None:
    """Writes a file for its owner alone, on the disk when this returns, and never through a link.

    Raises OSError; FileExistsError where it is to be `new` and its name is taken.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags | (os.O_EXCL if new else os.O_TRUNC), 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(*paths: Path) -> str:
    """The sha256, in hex, of files one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
