"""Taking files in: batch by durable batch, with bad lines reported and everything counted."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Scope
from agentmem_cli.embedding.base import Vectors
from agentmem_cli.errors import EmbeddingError, InputError, RejectedLineError, UsageError
from agentmem_cli.ingest.options import IngestOptions, Observer, Progress
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.memory import Position, Rejection
from tests.fakes import BrokenEmbedder, FakeEmbedder
from tests.stores import embedded

_TEN = IngestOptions(batch_size=10)


class _Notes(Observer):
    """Keeps what it was told, and what the store held at that moment."""

    def __init__(self, mem: AgentMem | None = None) -> None:
        self._mem = mem
        self.started_with: list[tuple[str, Position | None, int | None]] = []
        self.rejections: list[Rejection] = []
        self.positions: list[Position] = []
        self.stored: list[int] = []
        self.sizes: list[tuple[int, int | None]] = []

    def started(self, file: str, earlier: Position | None, size_bytes: int | None) -> None:
        self.started_with.append((file, earlier, size_bytes))

    def rejected(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)

    def committed(self, progress: Progress) -> None:
        self.positions.append(progress.position)
        self.sizes.append((progress.source_bytes, progress.source_size_bytes))
        if self._mem is not None:
            self.stored.append(len(self._mem))


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memories.jsonl"


def _line(number: int) -> str:
    return json.dumps({"id": f"m{number}", "text": f"text {number}"})


def _write(file: Path, *lines: str) -> str:
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(file)


def _write_numbered(file: Path, count: int, bad: dict[int, str] | None = None) -> str:
    return _write(file, *((bad or {}).get(number, _line(number)) for number in range(1, count + 1)))


def _ids(mem: AgentMem) -> set[str]:
    return {hit.id for hit in mem.search("text", 10_000)}


def _counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.read, report.added, report.updated, report.unchanged, report.rejected


def test_a_file_is_taken_in_batch_by_batch_and_each_is_stored_when_it_is_reported(mem: AgentMem, file: Path) -> None:
    path, notes = _write_numbered(file, 25), _Notes(mem)
    report = mem.ingest([path], _TEN, notes)
    assert _counts(report) == (25, 25, 0, 0, 0)
    assert notes.positions == [Position(path, 10), Position(path, 20), Position(path, 25, complete=True)]
    assert [told <= stored for told, stored in zip([10, 20, 25], notes.stored, strict=True)] == [True] * 3
    assert notes.started_with == [(path, None, file.stat().st_size)]
    assert notes.sizes[-1] == (file.stat().st_size, file.stat().st_size)


def test_a_file_again_changes_nothing_and_embeds_nothing(mem: AgentMem, file: Path) -> None:
    path, notes = _write_numbered(file, 25), _Notes()
    mem.ingest([path], _TEN)
    report = mem.ingest([path], IngestOptions(batch_size=20), notes)
    assert _counts(report) == (25, 0, 0, 25, 0)
    assert (report.embedded, report.tokens, report.stored) == (0, 0, 25)
    assert notes.started_with[0][1] == Position(path, 25, complete=True)
    assert [event.event for event in mem.history("m7")] == ["add"]


def test_the_report_counts_what_became_of_each_memory(mem: AgentMem, file: Path) -> None:
    mem.add("text 1", id="m1")
    mem.add("old text", id="m2")
    long = json.dumps({"id": "long", "text": "word " * 20})
    unknown = json.dumps({"id": "unknown", "text": "zzword known"})
    same = json.dumps({"id": "same", "text": "text 3"})
    report = mem.ingest([_write(file, _line(1), _line(2), _line(3), "", same, "nonsense", long, unknown)])
    assert _counts(report) == (7, 4, 1, 1, 1)
    assert (report.stored, report.embedded, report.reused, report.truncated) == (6, 4, 1, 1)
    assert (report.tokens, report.unknown_tokens) == (2 + 2 + 16 + 2, 1)
    assert report.unknown_token_ratio == 1 / 22
    assert set(report.stages_s) == {"parse", "plan", "load", "embed", "commit", "index"}
    assert report.elapsed_s >= sum(report.stages_s.values())


_BAD = {3: '{"text": ""}', 12: "{broken", 25: '{"id": "no text"}'}


def test_bad_lines_are_skipped_and_reported_with_their_number_and_content(mem: AgentMem, file: Path) -> None:
    path, notes = _write_numbered(file, 25, _BAD), _Notes()
    report = mem.ingest([path], _TEN, notes)
    assert _counts(report) == (25, 22, 0, 0, 3)
    assert [(r.file, r.line, r.raw.decode()) for r in notes.rejections] == [(path, *bad) for bad in _BAD.items()]
    assert "text is empty" in notes.rejections[0].reason
    assert _ids(mem) == {f"m{number}" for number in range(1, 26)} - {"m3", "m12", "m25"}
    assert notes.positions[-1] == Position(path, 25, complete=True)


@pytest.mark.parametrize(("bad_line", "stored"), [(1, 0), (7, 6), (11, 10), (18, 17)])
def test_stopping_at_a_bad_line_keeps_all_that_came_before_it(
    mem: AgentMem, file: Path, bad_line: int, stored: int
) -> None:
    path, notes = _write_numbered(file, 25, {bad_line: "{broken"}), _Notes()
    options = IngestOptions(batch_size=10, stop_at_rejection=True)
    with pytest.raises(RejectedLineError, match=rf"memories.jsonl:{bad_line}: not JSON.* the {stored} memories before"):
        mem.ingest([path], options, notes)
    assert _ids(mem) == {f"m{number}" for number in range(1, bad_line)}
    assert notes.positions[-1:] == ([Position(path, bad_line - 1)] if stored else [])
    assert [rejection.line for rejection in notes.rejections] == [bad_line]
    _write_numbered(file, 25)
    report = mem.ingest([path], options)
    assert _counts(report) == (25, 25 - stored, 0, stored, 0)


@pytest.mark.parametrize(("length", "rejected"), [(100, 0), (101, 1)])
def test_a_line_over_the_limit_is_rejected_whole(mem: AgentMem, file: Path, length: int, rejected: int) -> None:
    line = json.dumps({"id": "a", "text": ""})
    path = _write(file, line.replace('""', '"' + "x" * (length - len(line)) + '"'), _line(2))
    notes = _Notes()
    report = mem.ingest([path], IngestOptions(max_line_bytes=100), notes)
    assert (report.added, report.rejected) == (2 - rejected, rejected)
    assert [r.reason for r in notes.rejections] == ["line is longer than 100 bytes"] * rejected


def test_what_is_shown_of_a_rejected_line_is_bounded(mem: AgentMem, file: Path) -> None:
    notes = _Notes()
    mem.ingest([_write(file, _line(1), "x" * 500_000)], observer=notes)
    assert notes.rejections[0].raw == b"x" * 10_000


def test_a_batch_of_very_long_memories_is_committed_before_it_is_full(mem: AgentMem, file: Path) -> None:
    pad, notes = "x" * 990_000, _Notes()
    path = _write(file, *(json.dumps({"id": str(i), "text": f"text {i}", "pad": pad}) for i in range(20)))
    mem.ingest([path], IngestOptions(batch_size=100), notes)
    assert [position.line for position in notes.positions] == [17, 20]
    assert len(mem) == 20


def test_several_files_are_taken_in_order_and_a_later_one_wins(mem: AgentMem, tmp_path: Path) -> None:
    first = _write(tmp_path / "1.jsonl", '{"id": "a", "text": "one"}', _line(2))
    second = _write(tmp_path / "2.jsonl", '{"id": "a", "text": "two"}')
    (tmp_path / "3.jsonl.gz").write_bytes(gzip.compress(_line(3).encode()))
    report = mem.ingest([first, second, str(tmp_path / "3.jsonl.gz")])
    assert _counts(report) == (4, 3, 1, 0, 0)
    assert [event.text for event in mem.history("a")] == ["one", "two"]
    assert _ids(mem) == {"a", "m2", "m3"}


def test_an_unreadable_file_stops_the_ingest_and_keeps_the_files_before_it(mem: AgentMem, tmp_path: Path) -> None:
    paths = [_write_numbered(tmp_path / "1.jsonl", 5), str(tmp_path / "missing.jsonl"), str(tmp_path / "3.jsonl")]
    with pytest.raises(InputError, match=r"missing.jsonl: can't be read: No such file"):
        mem.ingest(paths)
    assert len(mem) == 5


def test_a_cut_off_gzip_file_keeps_the_batches_that_were_committed(mem: AgentMem, tmp_path: Path) -> None:
    path, notes = tmp_path / "cut.jsonl.gz", _Notes(mem)
    path.write_bytes(gzip.compress("".join(_line(number) + "\n" for number in range(25)).encode())[:-8])
    with pytest.raises(InputError, match="cut-off gzip"):
        mem.ingest([str(path)], _TEN, notes)
    assert [position.line for position in notes.positions] == [10, 20]
    assert len(mem) == 20
    assert mem._store.position(str(path)) == Position(str(path), 20)


@pytest.mark.parametrize(("lines", "bad"), [([], 0), (["", " "], 0), (["{broken", "[]"], 2)])
def test_an_input_without_a_memory_makes_no_store(mem: AgentMem, file: Path, lines: list[str], bad: int) -> None:
    notes = _Notes()
    assert _counts(mem.ingest([_write(file, *lines)], observer=notes)) == (bad, 0, 0, 0, bad)
    assert len(notes.rejections) == bad
    assert (notes.positions, len(mem)) == ([], 0)
    assert not Path(mem.location).exists()


def test_an_input_without_a_memory_leaves_no_trace_in_a_store(mem: AgentMem, file: Path) -> None:
    mem.add("text", id="before")
    commits = embedded(mem).writer().commits()
    path = _write(file, "{broken", "")
    assert _counts(mem.ingest([path])) == (1, 0, 0, 0, 1)
    assert embedded(mem).writer().commits() == commits
    assert mem._store.position(path) is None
    assert mem.verify() == []


def test_bad_lines_before_the_first_memory_and_after_the_last_count_into_the_position(
    mem: AgentMem, file: Path
) -> None:
    path = _write(file, "{broken", _line(2), "{broken")
    mem.ingest([path])
    assert mem._store.position(path) == Position(path, 3, complete=True)


def test_fields_of_other_names_and_default_scopes_are_used(mem: AgentMem, file: Path) -> None:
    path = _write(file, '{"id": "a", "content": "one"}', '{"id": "b", "content": "two", "user_id": "own"}')
    mem.ingest([path], IngestOptions(text_field="content", defaults=Scope(user_id="default", run_id="run")))
    assert [hit.id for hit in mem.search("one", user_id="default", run_id="run")] == ["a"]
    assert [hit.id for hit in mem.search("two", user_id="own", run_id="run")] == ["b"]


@pytest.mark.parametrize("size", [0, 9, 1001, -1])
def test_a_batch_size_out_of_bounds_is_a_usage_error(size: int) -> None:
    with pytest.raises(UsageError, match=f"batch size {size} is not between 10 and 1000"):
        IngestOptions(batch_size=size)


def _fail_at_text_13(rows: Vectors) -> Vectors:
    return rows[:-1] if len(rows) == 3 else rows


def test_a_model_that_fails_in_a_later_batch_keeps_the_batches_before_it(tmp_path: Path, file: Path) -> None:
    path, notes = _write_numbered(file, 13), _Notes()
    with AgentMem(tmp_path / "store", embedder=BrokenEmbedder(_fail_at_text_13)) as mem:
        with pytest.raises(EmbeddingError, match=r"returned vectors of shape \(2, 32\) for 3 texts"):
            mem.ingest([path], _TEN, notes)
        assert len(mem) == 10
    assert notes.positions == [Position(path, 10)]


class _Interrupted(_Notes):
    def committed(self, progress: Progress) -> None:
        super().committed(progress)
        if progress.position.line == 20:
            raise KeyboardInterrupt


def test_an_interrupted_ingest_keeps_what_was_committed_and_completes_when_run_again(mem: AgentMem, file: Path) -> None:
    path, interrupted = _write_numbered(file, 75), _Interrupted()
    with pytest.raises(KeyboardInterrupt):
        mem.ingest([path], _TEN, interrupted)
    stored = len(mem)
    assert 20 <= stored <= 60  # batches that were on their way arrive, and are told of
    assert interrupted.positions[-1] == Position(path, stored)
    notes = _Notes()
    assert _counts(mem.ingest([path], _TEN, notes)) == (75, 75 - stored, 0, stored, 0)
    assert notes.started_with[0][1] == Position(path, stored)


def test_an_ingest_leaves_a_graph_of_a_large_file_behind(mem: AgentMem, file: Path, tmp_path: Path) -> None:
    waiting = IngestOptions(wait_index=True)
    assert mem.ingest([_write_numbered(file, 999)], waiting).unindexed == 999
    assert not (tmp_path / "store" / "index").exists()
    assert mem.ingest([_write_numbered(file, 1000)], waiting).unindexed == 0
    assert [path.name for path in (tmp_path / "store" / "index").iterdir()] == ["1.hnsw"]


def _stop_after(mem: AgentMem, path: str, batch_size: int, line: int) -> None:
    """Takes a file in until a commit of so many lines, and then is interrupted."""

    class Stopping(Observer):
        def committed(self, progress: Progress) -> None:
            if progress.position.line >= line:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mem.ingest([path], IngestOptions(batch_size=batch_size), Stopping())


@pytest.mark.parametrize("complete", [False, True])
def test_taking_a_file_in_again_in_smaller_batches_does_not_undo_how_far_it_came(
    mem: AgentMem, file: Path, complete: bool
) -> None:
    path, notes = _write_numbered(file, 200), _Notes()
    if complete:
        mem.ingest([path])
    else:
        _stop_after(mem, path, 100, 100)
    before = mem._store.position(path)
    _stop_after(mem, path, 10, 10)
    assert mem._store.position(path) == before
    mem.ingest([path], observer=notes)
    assert notes.started_with[0][1] == before
