"""A process that has a store open several times keeps SQLite's lock on it, so that no other takes its log away."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agentmem_cli.store.embedded.database import Database
from tests.faults.stores import fill, open_store

# SQLite's shared lock is on these bytes: whoever could lock them alone would take the database for nobody else's.
_ALONE = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
    except OSError:
        print("in use")
    else:
        print("free")
"""


def _seen_by_another_process(store: Path) -> str:
    command = [sys.executable, "-c", _ALONE, str(store / "memories.db")]
    return subprocess.check_output(command, text=True, timeout=60).strip()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path / "store", 20)


def test_a_store_that_nobody_has_open_is_free(store: Path) -> None:
    assert _seen_by_another_process(store) == "free"


def test_opening_a_store_again_keeps_the_lock_of_who_has_it_open(store: Path) -> None:
    with closing(Database(store / "memories.db", writable=False)) as first:
        first.memories.count()
        with closing(Database(store / "memories.db", writable=True)) as second:
            second.memories.count()
            with closing(Database(store / "memories.db", writable=False)):
                assert _seen_by_another_process(store) == "in use"
        assert _seen_by_another_process(store) == "in use"
    assert _seen_by_another_process(store) == "free"


def test_a_store_that_is_written_and_read_is_in_use(store: Path) -> None:
    with open_store(store) as reader, open_store(store) as mem:
        reader.search("item")
        mem.add("another", id="another")  # there is a log now, which is looked at when a store is opened
        with open_store(store) as late:
            assert len(late) == 21
        assert _seen_by_another_process(store) == "in use"
        assert len(reader) == 21
