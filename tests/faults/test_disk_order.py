"""What is acknowledged would survive a power loss: it is forced to the disk first, and in the right order."""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.shim import run_child
from tests.faults.stores import fill, write_lines


def _log_of(shim: Path, folder: Path, lines: int, batch: int) -> list[str]:
    """Ingests into `folder/store`; the calls and acknowledgements in their order, paths as seen from the folder."""
    log, file = folder.parent / "log", write_lines(folder.parent / "memories.jsonl", lines)
    folder.mkdir(exist_ok=True)
    run_child(shim, "logged", folder / "store", file, batch, log=log)
    return log.read_text().replace(f"{folder}/", "").replace(str(folder), "FOLDER").splitlines()


def _last(log: list[str], line: str, before: int) -> int:
    """Where a line is last found before a place."""
    return max(i for i, found in enumerate(log[:before]) if found == line)


def _assert_synced(log: list[str], file: str, before: int) -> None:
    """That all that was written to a file before a place was forced to the disk before it too."""
    assert _last(log, f"write {file}", before) < _last(log, f"sync {file}", before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "watched"


def test_every_acknowledgement_follows_the_fsync_of_what_it_is_of(shim: Path, folder: Path) -> None:
    log = _log_of(shim, folder, 500, 100)
    acknowledgements = [i for i, line in enumerate(log) if line.startswith("acknowledged")]
    assert [log[i] for i in acknowledgements] == [
        *[f"acknowledged {lines}" for lines in (100, 200, 300, 400, 500, 500)],
        "acknowledged add",
        "acknowledged delete",
    ]
    wal = [(i, line.partition(" ")[0]) for i, line in enumerate(log) if line.endswith(" store/memories.db-wal")]
    # The next batch may be on its way to the disk already: as many must be forced to it as are acknowledged.
    forced = [i for (_, before), (i, what) in pairwise(wal) if (before, what) == ("write", "sync")]
    batches = dict.fromkeys(log[i] for i in acknowledgements)
    for nth, line in enumerate(batches):
        assert forced[nth] < log.index(line), line


def test_a_new_store_is_on_the_disk_before_its_first_batch_is_acknowledged(shim: Path, folder: Path) -> None:
    log = _log_of(shim, folder, 100, 100)
    named = log.index("rename store/memories.db.new store/memories.db")
    first = log.index("acknowledged 100")
    _assert_synced(log, "store/memories.db.new", named)
    assert named < log.index("sync store", named) < log.index("write store/memories.db-wal")
    assert log.index("write store/memories.db-wal") < _last(log, "sync store", first), "the log's name is not durable"


def test_the_name_of_a_new_store_is_on_the_disk_before_its_first_batch_is_acknowledged(
    shim: Path, folder: Path
) -> None:
    log = _log_of(shim, folder, 100, 100)
    assert log.index("mkdir store") < log.index("sync FOLDER") < log.index("acknowledged 100")


def test_a_graph_is_whole_on_the_disk_before_it_is_named_and_named_before_it_is_published(
    shim: Path, folder: Path
) -> None:
    folder.mkdir()
    fill(folder / "store", 1000)
    assert (folder / "store" / "index" / "1.hnsw").exists()
    log = _log_of(shim, folder, 2200, 1000)
    named = log.index("rename store/index/2.tmp store/index/2.hnsw")
    _assert_synced(log, "store/index/2.tmp", named)
    folder_synced = log.index("sync store/index", named)
    recorded = log.index("sync store/memories.db-wal", named)
    assert "write store/memories.db-wal" not in log[named:folder_synced]
    assert "write store/memories.db-wal" in log[folder_synced:recorded]
    assert recorded < log.index("unlink store/index/1.hnsw"), "the old graph goes when the new one is recorded"
