"""AgentMem over a store that another process writes, or that is not a store: who holds it is said, nothing is lost."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.errors import StoreBusyError, StoreDamagedError, StoreWriteError
from tests.fakes import FakeEmbedder

_WRITER = """
import sys
from agentmem_cli import AgentMem
from tests.fakes import FakeEmbedder
mem = AgentMem(sys.argv[1], embedder=FakeEmbedder())
mem.add("from the child", id="child")
print("added", flush=True)
sys.stdin.read()
"""


def _open(folder: Path) -> AgentMem:
    return AgentMem(folder, embedder=FakeEmbedder())


@contextmanager
def _written_by_another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "added\n"
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_told_the_pid_of_the_first_while_readers_read(tmp_path: Path) -> None:
    with _written_by_another_process(tmp_path / "store") as child, _open(tmp_path / "store") as mem:
        with pytest.raises(StoreBusyError, match=f"by process {child.pid}") as caught:
            mem.add("from the parent")
        assert caught.value.exit_code == 5
        with pytest.raises(StoreBusyError, match=f"by process {child.pid}"):
            mem.ingest([])
        assert [hit.id for hit in mem.search("from the child")] == ["child"]
        assert (len(mem), len(mem.history("child"))) == (1, 1)


def test_the_store_is_free_and_whole_when_its_writer_has_been_killed(tmp_path: Path) -> None:
    with _written_by_another_process(tmp_path / "store") as child:
        child.kill()
        child.wait()
        with _open(tmp_path / "store") as mem:
            mem.add("from the parent")
            assert {hit.text for hit in mem.search("from")} == {"from the child", "from the parent"}


def test_a_reader_sees_what_is_written_after_it_opened(tmp_path: Path) -> None:
    with _open(tmp_path / "store") as reader, _open(tmp_path / "store") as writer:
        assert reader.search("red apple") == []
        writer.add("red apple", id="a")
        assert [hit.id for hit in reader.search("red apple")] == ["a"]
        writer.add("red pear", id="b")
        assert [hit.id for hit in reader.search("red pear")] == ["b", "a"]


def test_reading_takes_no_lock(tmp_path: Path) -> None:
    with _open(tmp_path / "store") as mem:
        mem.add("red apple")
    (tmp_path / "store" / "LOCK").unlink()
    with _open(tmp_path / "store") as reader:
        assert len(reader.search("red apple")) == 1
    assert not (tmp_path / "store" / "LOCK").exists()


def test_closing_gives_the_store_to_the_next_writer(tmp_path: Path) -> None:
    first, second = _open(tmp_path / "store"), _open(tmp_path / "store")
    first.add("one")
    with pytest.raises(StoreBusyError, match=f"by process {os.getpid()}"):
        second.add("two")
    first.close()
    second.add("two")
    assert len(second) == 2
    second.close()


def _make_text(path: Path) -> None:
    path.write_text("my notes\n" * 100)


def _make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE memories(id, text)")


def _make_newer(path: Path) -> None:
    with AgentMem(path.parent, embedder=FakeEmbedder()) as mem:
        mem.add("from the future")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.touch, "memories.db is empty"),
        (_make_text, "memories.db is not a database"),
        (_make_foreign, "memories.db is not an agentmem store"),
        (_make_newer, "made by a newer agentmem .schema 99.: upgrade agentmem"),
    ],
)
def test_what_is_not_a_store_of_ours_is_refused_and_left_as_it_was(
    tmp_path: Path, make: Callable[[Path], None], reason: str, create: bool
) -> None:
    (tmp_path / "store").mkdir()
    path = tmp_path / "store" / "memories.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreDamagedError, match=reason):
        AgentMem(tmp_path / "store", embedder=FakeEmbedder(), create=create)
    assert path.read_bytes() == before


def test_a_database_that_appears_in_place_of_the_store_is_not_written(tmp_path: Path) -> None:
    mem = _open(tmp_path / "store")
    (tmp_path / "store").mkdir()
    _make_foreign(tmp_path / "store" / "memories.db")
    before = (tmp_path / "store" / "memories.db").read_bytes()
    with pytest.raises(StoreDamagedError, match="not an agentmem store"):
        mem.add("red apple")
    assert (tmp_path / "store" / "memories.db").read_bytes() == before


def test_a_store_cannot_be_made_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with _open(tmp_path / "store") as mem, pytest.raises(StoreWriteError, match="store can't be made"):
        mem.add("red apple")
    assert (tmp_path / "store").read_text() == "a file"
