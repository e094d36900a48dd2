"""A dry run says what an ingest would do, and does it to nothing."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmem_cli import AgentMem, IngestReport
from agentmem_cli.errors import RejectedLineError
from agentmem_cli.ingest.options import IngestOptions, Observer
from agentmem_cli.records.memory import Rejection
from tests.fakes import FakeEmbedder

_DRY = IngestOptions(batch_size=10, dry_run=True)


def _write(file: Path, rows: list[tuple[int, int]]) -> str:
    lines = [json.dumps({"id": f"m{identity}", "text": f"text {text}"}) for identity, text in rows]
    file.write_text("".join(line + "\n" for line in lines))
    return str(file)


def _counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.read, report.added, report.updated, report.unchanged, report.rejected


def _content(folder: Path) -> dict[str, bytes]:
    """All files of a store but those that SQLite makes beside an open database, whether or not anything is written."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "memories.db-shm"]
    return {path.name: path.read_bytes() for path in files if path.stat().st_size}


def test_a_dry_run_makes_no_store_and_embeds_nothing(tmp_path: Path) -> None:
    path, embedder = _write(tmp_path / "file.jsonl", [(i, i) for i in range(25)]), FakeEmbedder()
    with AgentMem(tmp_path / "store", embedder=embedder) as mem:
        report = mem.ingest([path], _DRY)
        assert len(mem) == 0
    assert _counts(report) == (25, 25, 0, 0, 0)
    assert report.embedded == 25
    assert embedder.texts_embedded == 0
    assert not (tmp_path / "store").exists()


def test_a_dry_run_leaves_a_store_as_it_was(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        mem.add_batch([{"id": "m1", "text": "text 1"}, {"id": "m2", "text": "old"}])
    before = _content(store)
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        report = mem.ingest([_write(tmp_path / "file.jsonl", [(1, 1), (2, 2), (3, 3)])], _DRY)
    assert _counts(report) == (3, 1, 1, 1, 0)
    assert _content(store) == before


def test_a_dry_run_needs_no_lock(tmp_path: Path) -> None:
    path = _write(tmp_path / "file.jsonl", [(1, 1)])
    with (
        AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as writer,
        AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem,
    ):
        writer.add("text 1", id="m1")
        assert _counts(mem.ingest([path], _DRY)) == (1, 0, 0, 1, 0)


def test_a_dry_run_knows_repeated_ids_and_texts_of_earlier_batches_and_files(tmp_path: Path) -> None:
    first = _write(tmp_path / "1.jsonl", [*((i, i) for i in range(10)), (3, 3), (4, 99), (50, 5)])
    second = _write(tmp_path / "2.jsonl", [(50, 5), (4, 4), (60, 6)])
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        dry, real = mem.ingest([first, second], _DRY), mem.ingest([first, second], IngestOptions(batch_size=10))
    assert _counts(dry) == _counts(real) == (16, 12, 2, 2, 0)


def test_a_dry_run_reports_and_stops_at_bad_lines_as_an_ingest_does(tmp_path: Path) -> None:
    (tmp_path / "file.jsonl").write_text('{"text": "one"}\n{broken\n{"text": "two"}\n')
    rejections: list[Rejection] = []

    class Notes(Observer):
        def rejected(self, rejection: Rejection) -> None:
            rejections.append(rejection)

    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        assert _counts(mem.ingest([str(tmp_path / "file.jsonl")], _DRY, Notes())) == (3, 2, 0, 0, 1)
        with pytest.raises(RejectedLineError, match=r"file.jsonl:2: not JSON"):
            mem.ingest([str(tmp_path / "file.jsonl")], IngestOptions(dry_run=True, stop_at_rejection=True))
    assert [rejection.line for rejection in rejections] == [2]


_ROWS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5)), max_size=40)


@settings(max_examples=12, deadline=None)
@given(stored=_ROWS, incoming=_ROWS)
def test_a_dry_run_foretells_what_the_ingest_then_reports(
    tmp_path_factory: pytest.TempPathFactory, stored: list[tuple[int, int]], incoming: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("dry")
    with AgentMem(folder / "store", embedder=FakeEmbedder()) as mem:
        mem.ingest([_write(folder / "stored.jsonl", stored)])
        path = _write(folder / "incoming.jsonl", incoming)
        assert _counts(mem.ingest([path], _DRY)) == _counts(mem.ingest([path], IngestOptions(batch_size=10)))
