"""The machine during a benchmark: its arithmetic, its disk, and its load."""

import os
import platform
import sqlite3
import tempfile
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np

from agentmem_cli.bench.result import Environment
from agentmem_cli.support.machine import memory_bytes, usable_cores

_MATRIX_ROWS: Final = 1536  # with smaller matrices, cores wait for each other
_PRODUCTS: Final = 3
_FSYNCS: Final = 20
_BLOCK_BYTES: Final = 4096


def sgemm_flop_per_s() -> float:
    """The best rate of some float32 matrix products with numpy's own library and its default threads."""
    rows = np.random.default_rng(0).random((_MATRIX_ROWS, _MATRIX_ROWS), dtype=np.float32)
    product = np.empty_like(rows)
    times_s = []
    for _ in range(_PRODUCTS + 1):
        start = time.perf_counter()
        np.matmul(rows, rows, out=product)
        times_s.append(time.perf_counter() - start)
    return 2 * _MATRIX_ROWS**3 / min(times_s[1:])


def fsync_times_s(folder: Path) -> list[float]:
    """The durations of repeated writes of a block to a file in the folder, each with an fsync."""
    block = b"\0" * _BLOCK_BYTES
    times_s = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_FSYNCS):
            start = time.perf_counter()
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            times_s.append(time.perf_counter() - start)
    return times_s


def load_average() -> float | None:
    """The load average of the last minute; None if the system has none."""
    with suppress(OSError):
        return os.getloadavg()[0]
    return None


class StealClock:
    """Measures the share of processor time that the host of a virtual machine gave to others (steal time)."""

    def __init__(self) -> None:
        self._start = _ticks()

    def ratio(self) -> float | None:
        """The share since this object was made; None if the system does not report it."""
        now = _ticks()
        if now is None or self._start is None or now[0] <= self._start[0]:
            return None
        return (now[1] - self._start[1]) / (now[0] - self._start[0])


def _ticks() -> tuple[int, int] | None:
    """Total and stolen ticks of all cores since the system started (proc(5), /proc/stat)."""
    try:
        first = Path("/proc/stat").read_text().partition("\n")[0].split()
        ticks = [int(field) for field in first[1:9]]  # the later fields are included in earlier ones
        return sum(ticks), ticks[7]
    except (OSError, ValueError, IndexError):
        return None


_PACKAGES: Final = ("fastembed", "onnxruntime", "tokenizers", "numpy", "hnswlib", "orjson")
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def this_environment() -> Environment:
    """The environment of this process."""
    from agentmem_cli._version import __version__

    return Environment(
        agentmem=__version__,
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        cpu=_cpu(),
        cores=usable_cores(),
        versions={**{name: _version(name) for name in _PACKAGES}, "sqlite": sqlite3.sqlite_version},
        memory_bytes=memory_bytes(),
        thread_variables={name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
