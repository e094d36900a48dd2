"""A store belongs to one place and one process: nothing that was acknowledged goes where nobody finds it."""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, StoreBusyError, StoreError, StoreWriteError
from agentmem_cli.store.embedded.lock import WriterLock
from agentmem_cli.support.machine import network_file_system
from tests.embedding_server import serving
from tests.fakes import FakeEmbedder
from tests.remotes import TEXTS, assert_right, connect

_HUNG_S = 20.0


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    """A store that is open for writing, with one memory."""
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as opened:
        opened.add("red apple", id="a")
        yield opened


def in_child(work: Callable[[], object]) -> bool:
    """Whether this could be done in a forked child, in time."""
    child = os.fork()
    if child == 0:
        done = False
        try:
            work()
            done = True
        finally:
            os._exit(0 if done else 1)
    end_s = time.monotonic() + _HUNG_S
    while time.monotonic() < end_s:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def test_memories_stay_together_when_the_process_changes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with AgentMem("store", embedder=FakeEmbedder()) as mem:
        monkeypatch.chdir("elsewhere")
        mem.add("red apple", id="a")
        assert [hit.id for hit in mem.search("red apple")] == ["a"]
    assert not (tmp_path / "elsewhere" / "store").exists()
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        assert len(mem) == 1


def _removed(store: Path) -> None:
    shutil.rmtree(store)


def _moved(store: Path) -> None:
    store.rename(store.with_name("moved"))


def _replaced(store: Path) -> None:
    shutil.copytree(store, store.with_name("copy"))
    shutil.rmtree(store)
    store.with_name("copy").rename(store)


def _without_lock(store: Path) -> None:
    (store / "LOCK").unlink()


@pytest.mark.parametrize("change", [_removed, _moved, _replaced, _without_lock])
def test_nothing_is_acknowledged_in_a_folder_that_is_gone(
    mem: AgentMem, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(tmp_path / "store")
    with pytest.raises(StoreWriteError, match="was removed, moved or replaced while it was open"):
        mem.add("green pear", id="b")
    with pytest.raises(StoreError):
        mem.delete("a")
    mem.close()
    mem.add("green pear", id="b")
    assert [hit.id for hit in mem.search("green pear", k=1)] == ["b"]


def test_a_lock_that_is_replaced_while_it_is_taken_is_taken_at_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "LOCK", fcntl.flock

    def take_and_replace(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        monkeypatch.undo()
        path.unlink()
        path.touch()

    monkeypatch.setattr(fcntl, "flock", take_and_replace)
    lock = WriterLock(path)
    lock.acquire()
    with pytest.raises(StoreBusyError):
        WriterLock(path).acquire()
    lock.release()


def test_a_child_reads_what_its_parent_wrote_and_is_told_who_writes(mem: AgentMem) -> None:
    def read_and_try_to_write() -> None:
        assert [hit.id for hit in mem.search("red apple")] == ["a"]
        with pytest.raises(StoreBusyError, match=f"by process {os.getppid()}:"):
            mem.add("green pear", id="b")

    assert in_child(read_and_try_to_write)
    mem.add("blue whale", id="c")
    assert in_child(lambda: mem.get("c") or pytest.fail("not found"))
    assert mem.verify() == []


def test_a_child_may_write_once_its_parent_has_closed_the_store(mem: AgentMem, tmp_path: Path) -> None:
    mem.close()

    def write_and_close() -> None:
        mem.add("green pear", id="b")
        mem.close()

    assert in_child(write_and_close)
    mem.add("blue whale", id="c")
    assert {memory.id for memory in mem.list_memories()} == {"a", "b", "c"}


def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(mem: AgentMem, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)  # until the parent has seen what it wants to see
        os._exit(0)
    os.close(reading)
    try:
        mem.close()
        WriterLock(tmp_path / "store" / "LOCK").acquire()
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def test_a_child_forked_while_another_thread_has_the_store_is_not_stuck(mem: AgentMem) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with mem._turn, mem._store.turn:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert in_child(lambda: mem.search("red apple"))
    finally:
        done.set()
        thread.join()


def test_a_remote_embedder_works_in_a_child_and_still_in_its_parent() -> None:
    with serving() as server:
        embedder = connect(server)
        assert_right(embedder.embed(TEXTS))
        assert in_child(lambda: assert_right(embedder.embed(TEXTS)))
        assert_right(embedder.embed(TEXTS))


def test_a_model_with_threads_of_its_own_works_in_a_child(tmp_path: Path) -> None:
    program = """
import os, sys
from agentmem_cli import AgentMem
mem = AgentMem(sys.argv[1], threads=2)
mem.add("Maya is allergic to cashews.", id="a")
child = os.fork()
if child == 0:
    os._exit(0 if mem.search("what must she not eat?")[0].id == "a" else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "store")]
    assert subprocess.run(command, timeout=3 * _HUNG_S).returncode == 0


def test_a_writer_waits_for_another_as_long_as_it_is_told(mem: AgentMem, tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder(), wait_s=0.05) as impatient, pytest.raises(StoreBusyError):
        impatient.add("green pear", id="b")
    threading.Timer(0.2, mem.close).start()
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder(), wait_s=_HUNG_S) as patient:
        patient.add("green pear", id="b")
        assert len(patient) == 2


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/maya/store", "nfs4"),
        ("/home/maya/local/store", None),
        ("/mnt/my disk/store", "fuse.sshfs"),
        ("/store", None),
        ("/homes", None),
    ],
)
def test_a_network_file_system_is_known_by_its_mount(tmp_path: Path, path: str, kind: str | None) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 22 0:50 / /home rw shared:9 - nfs4 server:/home rw,vers=4.2\n"
        "41 40 8:2 / /home/maya/local rw - xfs /dev/sdb1 rw\n"
        "42 22 0:51 / /mnt/my\\040disk rw master:3 - fuse.sshfs maya@host: rw\n"
    )
    assert network_file_system(Path(path), mounts) == kind
