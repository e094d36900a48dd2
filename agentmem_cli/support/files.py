"""Durable writes, and checksums of files."""

import hashlib
import os
from pathlib import Path


def fsync_file(path: Path) -> None:
    """Forces a file's bytes to the disk."""
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    """Forces a folder's entries to the disk: only then is a renamed file durable."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_durable_folder(path: Path) -> None:
    """Makes a folder and its missing parents durably, accessible only to the owner."""
    if not path.is_dir():
        parent = path.absolute().parent
        make_durable_folder(parent)
        path.mkdir(mode=0o700, exist_ok=True)
        fsync_folder(parent)


def write_durably(path: Path, content: bytes, *, new: bool = False) -> None:
    """Writes a file durably, accessible only to the owner; never follows a symbolic link.

    Raises OSError; with `new`, FileExistsError if the file exists.
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
    """The sha256, in hexadecimal, of the concatenation of files."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
