"""What all tests share: a model cache and a configuration of their own: none reads or writes the user's."""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from agentmem_cli.embedding.base import Embedder

ROOT: Final = Path(__file__).parent
# Processes, real models, kills and damage: left out by `-m 'not slow'`.
SLOW: Final = (
    "crash/",
    "e2e/",
    "faults/",
    "contract/test_embed",
    "property/test_store_machine",
    "unit/test_catalog_files",
    "unit/test_rewrite",
)
# Thousands of stores are made durable: where there is room, on a disk in memory, where that costs nothing.
IN_MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 4 << 30

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # tests run in a process a core; before numpy is loaded
if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= ROOM_BYTES:
    os.environ["TMPDIR"] = tempfile.tempdir = str(IN_MEMORY)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell: commands would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what takes long."""
    for item in items:
        with_model = "minilm" in getattr(item, "fixturenames", ())
        if with_model or item.path.relative_to(ROOT).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Takes all that was imported and collected out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model cache that is empty at first; what is made once is made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    models = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "models"
    models.mkdir(exist_ok=True)
    os.environ["FASTEMBED_CACHE_PATH"] = str(models)


@pytest.fixture(scope="session")
def minilm(model_cache: None) -> "Embedder":
    """The default model; every test that asks for it is slow."""
    from agentmem_cli.embedding import catalog

    return catalog.load(catalog.resolve())


@pytest.fixture(scope="session", autouse=True)
def configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A configuration folder in which no server is named at first."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))
