"""What all tests share: a model cache and a configuration of their own: none reads or writes the user's."""

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from agentmem_cli.embedding.base import Embedder

ROOT: Final = Path(__file__).parent
# Processes, servers, real models, kills and damage: left out by `-m 'not slow'`.
SLOW: Final = (
    "crash/",
    "e2e/",
    "faults/",
    "contract/test_embed",
    "property/test_store_machine",
    "unit/test_building",
    "unit/test_catalog_files",
    "unit/test_clients",
    "unit/test_reembed",
    "unit/test_remedies",
    "unit/test_remote",
    "unit/test_rewrite",
)
# Thousands of stores are made durable: on a disk in memory, where the system has one, that costs nothing.
IN_MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 4 << 30


def _is_usable(disk: Path) -> bool:
    """Whether a disk has room, and lets programs of the tests run."""
    if not disk.is_dir():
        return False
    return shutil.disk_usage(disk).free >= ROOM_BYTES and not os.statvfs(disk).f_flag & os.ST_NOEXEC


sys.dont_write_bytecode = False  # or each worker would compile all tests in each run, which takes as long as 300 tests
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # tests run in a process a core; before numpy is loaded
if "TMPDIR" not in os.environ and _is_usable(IN_MEMORY):
    os.environ["TMPDIR"] = tempfile.tempdir = str(IN_MEMORY)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell: commands would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests are left out, their files are not even imported."""
    is_left_out = config.option.markexpr == "not slow" and _path(collection_path).startswith(SLOW)
    return True if is_left_out else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what takes long, and puts these files first, so that no worker is left with one of them at the end."""
    for item in items:
        goes_on = item.get_closest_marker("soak") is not None  # -m on the command line replaces the one in pyproject
        if goes_on or _path(item.path).startswith(SLOW) or _asks_for_much(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not _path(item.path).startswith(SLOW))


def _asks_for_much(item: pytest.Item) -> bool:
    """Whether a test uses a real model or a real server."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return "minilm" in getattr(item, "fixturenames", ()) or "postgres" in {
        *getattr(item, "fixturenames", ()),
        *map(str, parameters.values()),
    }


def _path(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


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
    os.environ["MPLCONFIGDIR"] = str(models / "matplotlib")  # which looks at all fonts of a new home, and says so


@pytest.fixture(scope="session")
def minilm(model_cache: None) -> "Embedder":
    """The default model; every test that asks for it is slow."""
    from agentmem_cli.embedding import catalog

    return catalog.load(catalog.resolve())


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server, one for all workers; every test that asks for it is slow."""
    from tests.postgres_server import IS_THERE, MISSING, shared_server

    if not IS_THERE:
        pytest.skip(MISSING)
    base = tmp_path_factory.getbasetemp()
    with shared_server(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as url:
        yield url


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of a store in a schema of the test's own, which is dropped afterwards."""
    from tests.postgres_server import drop_schema, new_schema_url

    url = new_schema_url(postgres)
    yield url
    drop_schema(url)


@pytest.fixture(scope="session", autouse=True)
def configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A configuration folder in which no server is named at first."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))
