"""Batches are read ahead, embedded and committed in threads of their own: nothing is done twice or out of order."""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.embedding.base import Embedded
from agentmem_cli.errors import StoreError
from agentmem_cli.ingest.options import IngestOptions, Observer, Progress
from agentmem_cli.ingest.pipeline import Pipeline
from agentmem_cli.records.lines import open_source
from agentmem_cli.records.memory import Memory
from agentmem_cli.support import failpoints
from tests.fakes import FakeEmbedder

_TEN = IngestOptions(batch_size=10)


@pytest.fixture(autouse=True, params=[False, True], ids=["at once", "in threads"])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pipeline, "waits", request.param)


def _write(file: Path, rows: Sequence[dict[str, str]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def _rows(count: int) -> list[dict[str, str]]:
    return [{"id": f"m{i}", "text": f"text {i}"} for i in range(count)]


def test_a_text_whose_vector_is_on_its_way_is_not_embedded_again(tmp_path: Path) -> None:
    fake = FakeEmbedder()
    path = _write(tmp_path / "f", [{"id": f"m{i}", "text": f"text {i % 12}"} for i in range(100)])
    with AgentMem(tmp_path / "store", embedder=fake) as mem:
        report = mem.ingest([path], _TEN)
        assert (fake.texts_embedded, report.embedded, report.reused) == (12, 12, 88)
        assert mem.verify() == []


def test_a_text_that_was_replaced_before_it_was_stored_is_embedded_when_it_comes_again(tmp_path: Path) -> None:
    rows = _rows(9) + [{"id": "m8", "text": "in its place"}] + [{"id": f"n{i}", "text": f"text {i}"} for i in range(9)]
    fake = FakeEmbedder()
    with AgentMem(tmp_path / "store", embedder=fake) as mem:
        report = mem.ingest([_write(tmp_path / "f", rows)], _TEN)
        assert (report.added, report.updated, report.embedded, report.reused) == (18, 1, 10, 9)
        assert mem.search("text 8", 1)[0].id == "n8"
        assert mem.verify() == []


def test_a_text_whose_vector_goes_with_a_batch_under_way_is_embedded_again(tmp_path: Path) -> None:
    change = [{"id": "m0", "text": "changed"}, *[{"id": f"x{i}", "text": f"x {i}"} for i in range(9)]]
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.ingest([_write(tmp_path / "f", _rows(10))], _TEN)
        mem.ingest([_write(tmp_path / "f", [*change, {"id": "again", "text": "text 0"}])], _TEN)
        assert mem.search("text 0", 1)[0].id == "again"
        assert mem.verify() == []


def test_nothing_follows_a_batch_that_could_not_be_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0

    def fail_at_the_third(step: str) -> None:
        nonlocal commits
        commits += step == "commit.begun"
        if step == "commit.vectors" and commits == 3:
            raise StoreError("the disk is full")

    told: list[int] = []
    monkeypatch.setattr(failpoints, "hook", fail_at_the_third)
    observer = Observer()
    monkeypatch.setattr(observer, "committed", lambda progress: told.append(progress.position.line))
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        with pytest.raises(StoreError, match="the disk is full"):
            mem.ingest([_write(tmp_path / "f", _rows(200))], _TEN, observer)
        assert (len(mem), commits, told) == (20, 3, [10, 20])


def test_the_observer_is_called_in_the_callers_thread_and_may_use_the_store(tmp_path: Path) -> None:
    threads: set[threading.Thread] = set()

    class Adding(Observer):
        def committed(self, progress: Progress) -> None:
            threads.add(threading.current_thread())
            mem.add(f"told of line {progress.position.line}", id=f"told{progress.position.line}")

    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.ingest([_write(tmp_path / "f", _rows(100))], _TEN, Adding())
        assert len(mem) == 100 + 10
        assert mem.verify() == []
    assert threads == {threading.current_thread()}


def test_the_next_batch_is_embedded_while_one_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pipeline, "waits", True)
    embedded_twenty = threading.Event()

    class Watched(FakeEmbedder):
        def embed(self, texts: Sequence[str]) -> Embedded:
            embedded = super().embed(texts)
            if self.texts_embedded >= 20:
                embedded_twenty.set()
            return embedded

    def wait_in_the_first_commit(step: str) -> None:
        if step == "commit.begun":
            assert embedded_twenty.wait(60)

    monkeypatch.setattr(failpoints, "hook", wait_in_the_first_commit)
    with AgentMem(tmp_path / "store", embedder=Watched()) as mem:
        assert mem.ingest([_write(tmp_path / "f", _rows(40))], _TEN).added == 40


def test_a_thread_that_waits_for_more_of_a_pipe_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b'{"text": "one"}\n{"te')
    with os.fdopen(read_end, "r") as stdin, os.fdopen(write_end, "w"):
        monkeypatch.setattr("sys.stdin", stdin)
        with open_source("-") as source:
            lines = source.lines()
            first = next(lines)
            timer = threading.Timer(0.2, source.stop)
            timer.start()
            rest = list(lines)
            timer.join()
    assert (first.content, [line.content for line in rest]) == (b'{"text": "one"}', [b'{"te'])


def test_memories_added_one_at_a_time_and_in_batches_give_the_same_store(tmp_path: Path) -> None:
    memories = [Memory(f"text {i}", id=f"m{i}") for i in range(30)]
    found = []
    for name, batches in (("one", [[memory] for memory in memories]), ("all", [memories])):
        with AgentMem(tmp_path / name, embedder=FakeEmbedder()) as mem:
            for batch in batches:
                mem.add_batch(batch)
            found.append([(hit.id, hit.score) for hit in mem.search("text 7", 30)])
    assert found[0] == found[1]
