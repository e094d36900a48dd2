"""The machine and the versions that a figure belongs to."""

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from agentmem_cli.bench.result import Environment
from agentmem_cli.support.machine import memory_bytes, usable_cores

_PACKAGES: Final = ("fastembed", "onnxruntime", "tokenizers", "numpy", "hnswlib", "orjson")
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def this_environment() -> Environment:
    """Where this process runs."""
    from agentmem_cli import __version__

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
