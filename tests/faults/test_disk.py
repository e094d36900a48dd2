"""A disk that is full or fails to sync: what was acknowledged stays, what was not is not there, and it is said."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.shim import run_child
from tests.faults.stores import assert_holds, fill, open_store, warnings_in, write_lines

_LINES, _BATCH = 200, 50


def _assert_one_line(case: dict[str, Any], *words: str) -> None:
    assert case["error"] == "StoreWriteError", case
    assert "\n" not in case["message"] and "Traceback" not in case["message"]
    for word in words:
        assert word in case["message"]


def _assert_completes(store: Path, file: Path, stored: int) -> None:
    """Run again with nothing wrong, an ingest stores what is missing."""
    with open_store(store) as mem:
        report = mem.ingest([str(file)])
    assert (report.added, report.updated, report.unchanged) == (_LINES - stored, 0, stored)
    assert_holds(store, _LINES)


def test_a_batch_that_the_disk_has_no_room_for_is_not_stored_and_a_rerun_completes(shim: Path, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "memories.jsonl", _LINES)
    budgets = [0, 1, 1000, 5000, 20_000, 50_000, *range(200_000, 1_000_001, 50_000)]
    cases = run_child(shim, "full", tmp_path, file, _BATCH, 0, *budgets)
    acknowledged = [case["acknowledged"][-1] if case["acknowledged"] else 0 for case in cases]
    assert len(set(acknowledged)) > 3, "the budgets should fall into different batches"
    assert acknowledged == sorted(acknowledged)
    for case, lines in zip(cases, acknowledged, strict=True):
        store = Path(case["store"])
        if lines < _LINES:
            _assert_one_line(case, str(tmp_path))
        assert_holds(store, lines)
        _assert_completes(store, file, lines)


def test_a_disk_that_fills_up_within_a_batch_leaves_the_batches_before_it(shim: Path, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "memories.jsonl", _LINES)
    budgets = [0, 1, 24, 32, 33, 4000, 8248, 8249, 9000, 16_000, 30_000]
    for case in run_child(shim, "full", tmp_path, file, _BATCH, 2, *budgets):
        assert case["acknowledged"] == [_BATCH, 2 * _BATCH]
        _assert_one_line(case, "memories.db can't be written", "full")
        assert_holds(Path(case["store"]), 2 * _BATCH)
        _assert_completes(Path(case["store"]), file, 2 * _BATCH)


def test_a_batch_whose_fsync_fails_is_not_acknowledged_and_a_rerun_completes(shim: Path, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "memories.jsonl", _LINES)
    cases = run_child(shim, "fsync", tmp_path, file, _BATCH, *range(1, 19))
    acknowledged = [case["acknowledged"][-1] if case["acknowledged"] else 0 for case in cases]
    assert acknowledged[0] == 0
    assert {0, _BATCH, 2 * _BATCH, 3 * _BATCH} <= set(acknowledged), acknowledged
    for case, lines in zip(cases, acknowledged, strict=True):
        store = Path(case["store"])
        if lines < _LINES:
            _assert_one_line(case, str(tmp_path))
        # Written but not synced: what nobody was told of may be there after all, but as a whole batch.
        with open_store(store) as mem:
            stored = len(mem)
        assert stored in (lines, min(lines + _BATCH, _LINES))
        assert_holds(store, stored)
        _assert_completes(store, file, stored)


def test_a_writer_goes_on_as_if_nothing_had_been_when_the_disk_is_well_again(shim: Path, tmp_path: Path) -> None:
    budgets = (0, 1, 5000, 12_000, -1, 0, -1)
    texts = ["before the disk breaks"]
    for budget, case in zip(budgets, run_child(shim, "recover", tmp_path / "store", *budgets), strict=True):
        _assert_one_line(case, "memories.db can't be written")
        assert set(case["found"]) == set(texts), "a search sees nothing of the batch that failed"
        texts += [f"after {budget}"] if f"after {budget}" not in texts else []
        assert (case["texts"], case["findings"]) == (texts, 0)
    with open_store(tmp_path / "store") as mem:
        assert [memory.text for memory in mem.export()] == texts
        assert mem.verify() == []


def test_a_graph_that_the_disk_has_no_room_for_costs_no_memory(
    shim: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = fill(tmp_path / "store", 999)
    assert not (store / "index").exists()
    texts: list[str] = []
    for budget in (0, 1, 4096, 100_000, 200_000):
        (case,) = run_child(shim, "publish", store, budget)
        texts.append(f"added with {budget} bytes left")
        _assert_one_line(case, "graph", "the memories are safe", "searches slower")
        assert case["files"] == []
        assert_holds(store, 999, *texts)
    assert warnings_in(caplog) == []
    with open_store(store) as mem:
        mem.add("added with room", id="room")
    assert [path.suffix for path in (store / "index").iterdir()] == [".hnsw"]
    assert_holds(store, 999, *texts, "added with room")


def test_no_room_for_the_next_graph_leaves_the_published_one_in_use(
    shim: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = fill(tmp_path / "store", 1000)
    more = [f"more {i} of it" for i in range(1000)]
    with open_store(store) as mem:
        mem.add_batch([{"id": text, "text": text} for text in more])
        mem._store.close()
    cases = run_child(shim, "publish", store, 0, 1, 150_000)
    for case in cases:
        _assert_one_line(case, "graph", "the memories are safe")
        assert case["files"] == ["1.hnsw"]
    more += [f"added with {budget} bytes left" for budget in (0, 1, 150_000)]
    assert_holds(store, 1000, *more)
    assert warnings_in(caplog) == []


def test_a_graph_whose_row_cannot_be_written_is_published_when_it_can_be(shim: Path, tmp_path: Path) -> None:
    store = fill(tmp_path / "store", 1000)
    with open_store(store) as mem:
        mem.add_batch([{"id": f"more {i}", "text": f"more {i} of it"} for i in range(1000)])
        mem._store.close()
    (case,) = run_child(shim, "unrecorded", store)
    _assert_one_line(case)
    assert case["found"] == ["after"]
    assert case["published"]
    with open_store(store) as mem:
        assert mem.verify() == []
        assert mem.stats().graph["vectors"] == 2002
