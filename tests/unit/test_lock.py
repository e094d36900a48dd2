"""One writer a store: the second is told who the first is, and a dead one holds nothing."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentmem_cli.errors import StoreBusyError, StoreWriteError
from agentmem_cli.store.embedded.lock import WriterLock

_HOLDER = """
import sys
from pathlib import Path
from agentmem_cli.store.embedded.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def _held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_refused_and_told_the_pid_of_the_first(tmp_path: Path) -> None:
    first, second = WriterLock(tmp_path / "LOCK"), WriterLock(tmp_path / "LOCK")
    first.acquire()
    with pytest.raises(StoreBusyError, match=rf"by process {os.getpid()}: try"):
        second.acquire()
    assert first.held
    assert not second.held


def test_every_further_writer_is_told_the_pid_too(tmp_path: Path) -> None:
    first = WriterLock(tmp_path / "LOCK")
    first.acquire()
    for _ in range(3):
        with pytest.raises(StoreBusyError, match=rf"by process {os.getpid()}: try"):
            WriterLock(tmp_path / "LOCK").acquire()


def test_a_lock_that_is_given_back_can_be_taken_by_another(tmp_path: Path) -> None:
    first, second = WriterLock(tmp_path / "LOCK"), WriterLock(tmp_path / "LOCK")
    first.acquire()
    first.release()
    assert not first.held
    second.acquire()
    assert second.held


def test_taking_a_held_lock_again_and_giving_it_back_twice_change_nothing(tmp_path: Path) -> None:
    first, second = WriterLock(tmp_path / "LOCK"), WriterLock(tmp_path / "LOCK")
    first.acquire()
    first.acquire()
    first.release()
    first.release()
    second.acquire()
    assert second.held


def test_another_process_that_holds_the_lock_is_named(tmp_path: Path) -> None:
    with (
        _held_by_another_process(tmp_path / "LOCK") as holder,
        pytest.raises(StoreBusyError, match=rf"by process {holder.pid}: try"),
    ):
        WriterLock(tmp_path / "LOCK").acquire()


def test_the_lock_is_free_when_its_holder_has_been_killed(tmp_path: Path) -> None:
    with _held_by_another_process(tmp_path / "LOCK") as holder:
        holder.kill()
        holder.wait()
        assert (tmp_path / "LOCK").read_text() == f"{holder.pid}\n"
        lock = WriterLock(tmp_path / "LOCK")
        lock.acquire()
    assert (tmp_path / "LOCK").read_text() == f"{os.getpid()}\n"
    assert lock.held


def test_a_shorter_pid_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "LOCK").write_text("12345678901234567890\n")
    WriterLock(tmp_path / "LOCK").acquire()
    assert (tmp_path / "LOCK").read_text() == f"{os.getpid()}\n"


def test_the_lock_file_is_its_owners_alone(tmp_path: Path) -> None:
    WriterLock(tmp_path / "LOCK").acquire()
    assert stat.S_IMODE((tmp_path / "LOCK").stat().st_mode) == 0o600


def test_a_lock_file_that_cannot_be_made_is_a_write_error_with_the_reason(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path / "missing" / "LOCK")
    with pytest.raises(StoreWriteError, match="missing can't be written: No such file or directory"):
        lock.acquire()
    assert not lock.held
