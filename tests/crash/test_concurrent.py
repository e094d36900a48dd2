"""Several processes at one store: one writes, the rest read what is durable, and nobody waits for the dead."""

import signal
import threading
import time
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.embedding.base import Vectors
from agentmem_cli.errors import StoreBusyError, StoreMismatchError
from agentmem_cli.records.memory import Hit
from agentmem_cli.store.embedded import graph
from tests.crash.forks import Child, Forks
from tests.crash.inputs import column, embedder, id_of, ids_up_to, other, rows, text_of, write_input
from tests.crash.programs import search_once
from tests.fakes import FakeEmbedder
from tests.stores import embedded

_ENDLESS: Final = 60_000  # memories: more than an ingest takes in while it is being watched
_BUSY: Final = StoreBusyError.exit_code


@pytest.fixture(autouse=True)
def _search_visits_every_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "EF_SEARCH", 10_000)


def _filled(store: Path, count: int) -> Path:
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.add_batch([{"id": id_of(n), "text": text_of(n)} for n in range(1, count + 1)])
        embedded(mem).refresh_graph(min_tail=1)
    return store


def _holds_once(store: Path, count: int) -> None:
    assert column(store, "SELECT id FROM memories ORDER BY seq") == ids_up_to(count)
    assert rows(store, "SELECT id, event FROM history ORDER BY seq") == [(i, "add") for i in ids_up_to(count)]
    with AgentMem(store, embedder=embedder(), create=False) as mem:
        assert mem.verify() == []


@pytest.mark.parametrize("round_", range(8))
def test_of_two_ingests_at_once_one_wins_and_the_other_is_refused_or_comes_after(
    forks: Forks, tmp_path: Path, round_: int
) -> None:
    store, file, count = tmp_path / "store", write_input(tmp_path / "memories.jsonl", 1000), 1000
    pair = [forks.start("ingest", store, file, 50, 4), forks.start("ingest", store, file, 50, 4)]
    codes = [child.wait() for child in pair]
    assert 0 in codes
    assert set(codes) <= {0, _BUSY}
    for child, code in zip(pair, codes, strict=True):
        if code == _BUSY:
            assert child.durable == 0
            assert child.notes[-1].startswith(f"error StoreBusyError: store {store} is being written by process ")
        else:
            assert child.durable == count
    _holds_once(store, count)


def test_an_ingest_into_a_store_that_is_being_written_is_refused_and_told_by_whom(forks: Forks, tmp_path: Path) -> None:
    store, file = tmp_path / "store", write_input(tmp_path / "memories.jsonl", _ENDLESS)
    first = forks.start("ingest", store, file, 50, 1000)
    assert first.noted("durable 100")
    second = forks.start("ingest", store, file, 50, 1000)
    assert second.wait() == _BUSY
    assert f"process {first.pid}:" in second.notes[-1]
    with (
        pytest.raises(StoreBusyError, match=f"process {first.pid}:"),
        AgentMem(store, embedder=embedder(), index="wait") as mem,
    ):
        mem.add("anything")
    first.kill()
    assert first.durable < _ENDLESS


def test_searches_during_an_ingest_find_all_that_was_acknowledged_before(forks: Forks, tmp_path: Path) -> None:
    store, acks = tmp_path / "store", tmp_path / "acks"
    writer = forks.start("ingest", store, write_input(tmp_path / "memories.jsonl", _ENDLESS), 50, 4, str(acks))
    assert writer.noted("durable 50")
    processes = [forks.start("search", store, acks, 15) for _ in range(2)]
    lists: list[list[str]] = [[], [], []]

    def read(answers: list[str]) -> None:
        with AgentMem(store, embedder=embedder(), create=False) as mem:
            for _ in range(15):
                answers.append(search_once(mem, acks))
                time.sleep(0.01)

    threads = [threading.Thread(target=read, args=(answers,)) for answers in lists]
    for thread in threads:
        thread.start()
    writer.noted("durable 1000")
    for thread in threads:
        thread.join()
    assert [child.wait() for child in processes] == [0, 0]
    assert writer.kill() == -signal.SIGKILL, "the ingest ended before the searches"

    answers = [*lists, *(child.notes for child in processes)]
    assert [len(part) for part in answers] == [15] * 5
    for part in answers:
        counts = []
        for answer in part:
            _, acknowledged, count, found = answer.split()
            assert int(count) >= int(acknowledged)
            assert found == "True", answer
            counts.append(int(count))
        assert counts == sorted(counts)
    assert any(part[0].split()[2] != part[-1].split()[2] for part in answers)


def test_when_the_writer_is_killed_the_next_gets_in_at_once(forks: Forks, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for number in range(1, 11):
        holder = forks.start("hold", store, number)
        assert holder.stopped_at("stopping")
        holder.kill()
        with AgentMem(store, embedder=embedder(), index="wait") as mem:
            mem.open()
            assert len(mem) == number
    _holds_once(store, 10)


def test_a_stopped_writer_still_holds_the_lock_and_goes_on_when_continued(forks: Forks, tmp_path: Path) -> None:
    store = tmp_path / "store"
    holder = forks.start("hold", store, 1)
    assert holder.stopped_at("stopping")
    for _ in range(3):
        with AgentMem(store, embedder=embedder(), index="wait") as mem:
            with pytest.raises(StoreBusyError, match=f"process {holder.pid}:"):
                mem.add("from another")
            assert len(mem) == 1
            assert mem.search(text_of(1), 1)[0].id == id_of(1)
    holder.send(signal.SIGCONT)
    assert holder.wait() == 0
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.open()
    _holds_once(store, 2)


def _next_stop(child: Child) -> str | None:
    """The step that a child stops at next; None where it ends instead."""
    stops = child.notes.count("stopping")
    if stops:
        child.send(signal.SIGCONT)
    return child.notes[-2].removeprefix("at ") if child.stopped_at("stopping", stops + 1) else None


def _assert_right(hits: list[Hit], number: int) -> None:
    assert hits[0].id == id_of(number)
    assert hits[0].text == text_of(number)
    assert hits[0].score == pytest.approx(1, abs=1e-5)


def test_a_reader_that_is_open_while_the_store_is_compacted_sees_right_answers(forks: Forks, tmp_path: Path) -> None:
    store, steps = _filled(tmp_path / "store", 2501), []
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.delete(*ids_up_to(98))
    kept = 2501 - 98
    with AgentMem(store, embedder=embedder(), create=False) as early:
        _assert_right(early.search(text_of(2501), 3), 2501)
        child = forks.start("compact_stopping", store)
        while step := _next_stop(child):
            steps.append(step)
            with AgentMem(store, embedder=embedder(), create=False) as late:
                for reader in (early, late):
                    assert len(reader) == kept
                    _assert_right(reader.search(text_of(2501), 3), 2501)
                    assert reader.get(id_of(7)) is None
                    assert all(hit.id not in ids_up_to(98) for hit in reader.search(text_of(7), 20))
        assert child.wait() == 0
        _assert_right(early.search(text_of(2501), 3), 2501)
        assert early.verify() == []
    assert {"compact.unpublished", "compact.vacuumed", "publish.recorded", "publish.cleaned"} <= set(steps)


def test_a_reader_that_is_open_while_the_store_is_re_embedded_is_right_or_refused(forks: Forks, tmp_path: Path) -> None:
    store, steps = _filled(tmp_path / "store", 2501), []
    with AgentMem(store, embedder=embedder(), create=False) as early:
        child = forks.start("reembed_stopping", store)
        while step := _next_stop(child):
            steps.append(step)
            if step.startswith(("stage", "switch")):
                _assert_right(early.search(text_of(2501), 3), 2501)
                continue
            with pytest.raises(StoreMismatchError, match="other"):
                early.search(text_of(2501), 3)
            with AgentMem(store, embedder=other(), create=False) as late:
                _assert_right(late.search(text_of(2501), 3), 2501)
        assert child.wait() == 0
        with pytest.raises(StoreMismatchError, match="other"):
            early.search(text_of(2501), 3)
    assert {"stage.rows", "switch.vectors", "switch.pinned", "publish.recorded"} <= set(steps)


class _SlowEmbedder(FakeEmbedder):
    """Takes so long over a query that the store is re-embedded meanwhile."""

    def __init__(self, forks: Forks, store: Path) -> None:
        super().__init__()
        self._forks, self._store = forks, store

    def embed_query(self, query: str) -> Vectors:
        assert self._forks.start("reembed", self._store, "never", 1).wait() == 0
        return super().embed_query(query)


def test_a_store_that_is_re_embedded_in_the_middle_of_a_search_gives_no_wrong_hits(
    forks: Forks, tmp_path: Path
) -> None:
    store = _filled(tmp_path / "store", 2501)
    reader = AgentMem(store, embedder=_SlowEmbedder(forks, store), create=False)
    with reader, pytest.raises(StoreMismatchError, match="other"):
        reader.search(text_of(2501), 3)
