"""A store that can't be written: it is searched all the same, and what writes says so and changes nothing."""

import shutil
from pathlib import Path

import pytest

from tests.faults.shim import run_child
from tests.faults.stores import fill, open_store, text_of

_ASKED = (3, 500, 1099)
_WHAT_WRITES = ["add", "delete", "compact", "repair"]
_CLOSED = "closed"
_KILLED = pytest.param(
    "killed",
    marks=pytest.mark.xfail(strict=True, reason="SQLite can't make the -shm file again that a killed writer left"),
)


@pytest.fixture(params=["closed", "killed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store that its last writer closed, or left as it was when it was killed."""
    folder = fill(tmp_path / "store", 1100)
    if request.param == "closed":
        return folder
    with open_store(folder) as mem:
        mem.add("from the killed writer")
        shutil.copytree(folder, tmp_path / "killed")
    assert (tmp_path / "killed" / "memories.db-wal").stat().st_size > 0
    return tmp_path / "killed"


def _content(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")
    }


def _protect(folder: Path, mode: int) -> None:
    for path in folder.rglob("*"):
        path.chmod(mode | 0o100 if path.is_dir() else mode)
    folder.chmod(mode | 0o100)


def _assert_found(shim: Path, store: Path, fault: str) -> None:
    (case,) = run_child(shim, "search", store, fault, *map(text_of, _ASKED))
    assert case["error"] == "", case["message"]
    assert [ids[0] for ids in case["found"]] == [str(number) for number in _ASKED]


def _assert_nothing_is_written(shim: Path, store: Path, fault: str) -> None:
    before = _content(store)
    cases = run_child(shim, "write", store, fault)
    assert [case["call"] for case in cases] == _WHAT_WRITES
    for case in cases:
        assert case["error"] == "StoreWriteError", case
        assert str(store) in case["message"] and "\n" not in case["message"]
    assert _content(store) == before


@pytest.mark.parametrize("store", [_CLOSED, _KILLED], indirect=True)
def test_a_search_needs_no_room_on_the_disk(shim: Path, store: Path) -> None:
    _assert_found(shim, store, "full")


def test_a_store_on_a_read_only_disk_can_be_searched(shim: Path, store: Path) -> None:
    _assert_found(shim, store, "read-only")


def test_a_store_that_may_only_be_read_can_be_searched(shim: Path, store: Path) -> None:
    _protect(store, 0o400)
    _assert_found(shim, store, "permissions")


def test_what_writes_to_a_read_only_disk_says_so_and_changes_nothing(shim: Path, store: Path) -> None:
    _assert_nothing_is_written(shim, store, "read-only")


def test_what_writes_to_a_store_that_may_only_be_read_says_so_and_changes_nothing(shim: Path, store: Path) -> None:
    _protect(store, 0o400)
    _assert_nothing_is_written(shim, store, "permissions")


@pytest.mark.parametrize("part", ["", "memories.db"])
def test_a_store_that_may_not_even_be_read_says_so(shim: Path, tmp_path: Path, part: str) -> None:
    store = fill(tmp_path / "store", 3)
    (store / part).chmod(0)
    (case,) = run_child(shim, "search", store, "permissions", "item 1")
    assert case["error"].startswith("Store")
    assert str(store) in case["message"] and "\n" not in case["message"]


def test_a_graph_that_may_not_be_read_only_makes_searches_slower(shim: Path, tmp_path: Path) -> None:
    store = fill(tmp_path / "store", 1100)
    (store / "index" / "1.hnsw").chmod(0)
    _assert_found(shim, store, "permissions")
