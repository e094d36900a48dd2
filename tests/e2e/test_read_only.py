"""A store on a medium that can't be written, such as an image of a container: it can be read, and says that it can't be
written."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, StoreWriteError
from tests.fakes import FakeEmbedder


@pytest.fixture
def read_only_store(tmp_path: Path) -> Iterator[Path]:
    """A store of two memories on a file system that is then mounted read-only; needs root."""
    medium = tmp_path / "medium"
    medium.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(medium)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        with AgentMem(medium / "store", embedder=FakeEmbedder()) as mem:
            mem.add("likes tea", id="tea")
            mem.add("likes coffee", id="coffee")
        subprocess.run(["mount", "-o", "remount,ro", str(medium)], check=True)
        yield medium / "store"
    finally:
        subprocess.run(["umount", str(medium)], check=True)


def test_a_read_only_store_is_searched_listed_and_verified(read_only_store: Path) -> None:
    with AgentMem(read_only_store, embedder=FakeEmbedder(), create=False) as mem:
        assert [hit.id for hit in mem.search("tea", 1)] == ["tea"]
        assert (len(mem), len(mem.list_memories()), mem.verify()) == (2, 2, [])


def test_writing_to_a_read_only_store_is_refused_in_one_line(read_only_store: Path) -> None:
    with (
        pytest.raises(StoreWriteError, match="Read-only file system"),
        AgentMem(read_only_store, embedder=FakeEmbedder()) as mem,
    ):
        mem.add("likes milk")
