"""A disk that fails on demand: builds the library that does it, starts children over it, and is their handle on it."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Compiles the library; skips the test where that can't be."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux"):
        pytest.skip("the faulty disk is made with LD_PRELOAD, which is Linux's")
    if compiler is None:
        pytest.skip("the faulty disk is written in C, and there is no C compiler")
    library = folder / "shim.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("shim.c"), "-ldl"], check=True
    )
    return library


def run_child(library: Path, scenario: str, *arguments: Path | str | int, log: Path | None = None) -> list[Any]:
    """Runs a scenario of `tests.faults.child` over the faulty disk, and returns what it prints, line by line."""
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
    if log is not None:
        environment["SHIM_LOG"] = str(log)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.child", scenario, *map(str, arguments)],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def drop_root_powers() -> None:
    """From now on the permissions of files hold for this process, even where it is root's."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


class FaultyDisk:
    """What a child holds of the disk beneath it: only files whose path contains a given part are touched."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._library.shim_space.argtypes = [ctypes.c_longlong]
        self._library.shim_fail_sync.argtypes = [ctypes.c_long]

    def watch(self, part: str) -> None:
        """Faults and the log are of paths that contain this; of none where it is empty."""
        self._library.shim_watch(os.fsencode(part))

    def leave_space(self, size_bytes: int) -> None:
        """So many bytes can still be written."""
        self._library.shim_space(size_bytes)

    def fail_sync(self, nth: int) -> None:
        """This fsync from now on fails, and all after it."""
        self._library.shim_fail_sync(nth)

    def make_read_only(self) -> None:
        """Nothing can be opened for writing, made, renamed or removed."""
        self._library.shim_read_only(1)

    def heal(self) -> None:
        """All works from now on."""
        self._library.shim_space(-1)
        self._library.shim_fail_sync(0)
        self._library.shim_read_only(0)

    def note(self, text: str) -> None:
        """Writes a line to the log, in order with the calls."""
        self._library.shim_note(text.encode())
