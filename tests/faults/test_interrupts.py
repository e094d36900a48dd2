"""A signal handler raises an exception anywhere in a call: what was acknowledged stays, and the next calls work."""

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, TypeAlias

import pytest

import agentmem_cli
from agentmem_cli import AgentMem
from agentmem_cli.errors import EmbeddingError, StoreDamagedError, StoreError
from agentmem_cli.store.embedded import graph_builder
from agentmem_cli.store.embedded.lock import WriterLock
from agentmem_cli.support import failpoints
from tests.fakes import FakeEmbedder
from tests.stores import embedded

_TRACED: Final = (str(Path(agentmem_cli.__file__).parent), str(Path(os.__file__).with_name("contextlib.py")))
_Trace: TypeAlias = "Callable[[FrameType, str, object], _Trace | None]"


class SoftLimit(Exception):
    """As a task queue's: an ordinary exception."""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class _Interrupted:
    """A store whose calls are interrupted; it keeps what was acknowledged, and every exception, with its frames."""

    def __init__(self, folder: Path) -> None:
        self.mem = AgentMem(folder, embedder=FakeEmbedder(), index="off")
        self.acknowledged: dict[str, str] = {}
        self.attempted = 0
        self.interrupts: list[BaseException] = []  # as a notebook keeps the last: nothing ends by being forgotten

    def add(self) -> None:
        """Adds a memory that no other is like; a stopped call may have done it or not."""
        self.attempted += 1
        identity, text = f"m{self.attempted}", f"memory number {self.attempted}"
        self.mem.add(text, id=identity, user_id=f"user{self.attempted % 3}")
        self.acknowledged[identity] = text

    def search(self) -> None:
        """Searches in all ways that keep something between calls."""
        self.mem.search(f"memory number {self.attempted}", 3)
        self.mem.search("memory", 3, user_id="user1")

    def stopped(self, call: Callable[[], None], interrupt: Callable[[Callable[[], None]], None]) -> None:
        """Makes a call that may be interrupted."""
        try:
            interrupt(call)
        except (KeyboardInterrupt, SoftLimit) as error:
            self.interrupts.append(error)
        except EmbeddingError as error:  # an embedder is anybody's: what it raises is said to be its failure
            assert any(isinstance(cause, SoftLimit) for cause in _causes(error))  # numpy puts errors of its own between
            self.interrupts.append(error)

    def check(self) -> None:
        """A search and an add work, and find what they should."""
        self.add()
        identity, text = f"m{self.attempted}", self.acknowledged[f"m{self.attempted}"]
        assert self.mem.search(text, 1)[0].id == identity
        scoped = self.mem.search(text, 1, user_id=f"user{self.attempted % 3}")
        assert scoped[0].id == identity
        memory = self.mem.get(identity)
        assert memory is not None
        assert memory.text == text

    def check_all(self, folder: Path) -> None:
        """Nothing that was acknowledged is lost, nothing is there in part, and the store is free for others."""
        self.check()
        assert self.mem.verify() == []
        stored = {memory.id: memory.text for memory in self.mem.export()}
        assert stored.items() >= self.acknowledged.items()
        assert stored.items() <= {f"m{i}": f"memory number {i}" for i in range(1, self.attempted + 1)}.items()
        self.mem.close()
        lock = WriterLock(folder / "LOCK")
        lock.acquire()
        lock.release()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@contextmanager
def _timer(error: type[BaseException]) -> Iterator[None]:
    def raise_it(_signal: int, _frame: FrameType | None) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _within(seconds: float) -> Callable[[Callable[[], None]], None]:
    def interrupt(call: Callable[[], None]) -> None:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    return interrupt


def _interrupt_at_random(folder: Path, times: int) -> None:
    chance = random.Random(times)
    for error in (KeyboardInterrupt, SoftLimit):
        store = folder / error.__name__
        calls = _Interrupted(store)
        calls.check()
        with _timer(error):
            for call in (calls.search, calls.add):
                stopped = len(calls.interrupts) + times // 4
                while len(calls.interrupts) < stopped:
                    calls.stopped(call, _within(chance.uniform(1e-5, 3e-3)))
                    calls.check()
        calls.check_all(store)


def test_a_store_survives_two_hundred_interrupts_in_search_and_in_add(folder: Path) -> None:
    _interrupt_at_random(folder, 200)


@pytest.mark.soak
def test_a_store_survives_thousands_of_interrupts_in_search_and_in_add(folder: Path) -> None:
    _interrupt_at_random(folder, int(os.environ.get("AGENTMEM_SOAK_INTERRUPTS", "2000")))


def _traced(call: Callable[[], object], at_line: Callable[[FrameType], None]) -> None:
    """Makes a call, and says before each line of agentmem, and of the `with` statements that it uses, where it is."""

    def trace(frame: FrameType, event: str, _: object) -> "_Trace | None":
        if not frame.f_code.co_filename.startswith(_TRACED):
            return None
        if event == "line":
            at_line(frame)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)


def _lines(call: Callable[[], object], file: str = "") -> list[int]:
    """Which of the lines that a call runs, by their number, are the first of their place in the code, or in a file."""
    first: dict[tuple[object, ...], int] = {}
    count = 0

    def note(frame: FrameType) -> None:
        nonlocal count
        count += 1
        if not frame.f_code.co_filename.endswith(file):
            return
        caller = frame.f_back
        first.setdefault((frame.f_code, frame.f_lineno, caller and (caller.f_code, caller.f_lineno)), count)

    _traced(call, note)
    return list(first.values())


def _at_line(number: int) -> Callable[[Callable[[], object]], None]:
    """Interrupts a call where its nth line is about to be run."""
    left = number

    def count(_: FrameType) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            sys.settrace(None)
            raise KeyboardInterrupt

    return lambda call: _traced(call, count)


def _interrupt_at_each_line(folder: Path, name: str, every: int) -> None:
    calls = _Interrupted(folder)
    calls.check()
    call = {"search": calls.search, "add": calls.add}[name]
    lines = _lines(call)
    assert len(lines) > 100
    for number in lines[::every]:
        calls.stopped(call, _at_line(number))
        calls.check()
    calls.check_all(folder)


@pytest.mark.parametrize("name", ["search", "add"])
def test_a_call_may_be_interrupted_at_any_line_of_its_code(folder: Path, name: str) -> None:
    _interrupt_at_each_line(folder, name, 4)


def _interrupt_the_first_add(folder: Path, every: int) -> None:
    """Which makes the store, or opens it: the next call does what is left of that, and no lock stays behind."""

    def opened(name: str, *, again: bool) -> _Interrupted:
        if again:
            with AgentMem(folder / name, embedder=FakeEmbedder(), index="off") as mem:
                mem.add("before", id="before")
        return _Interrupted(folder / name)

    for again in (False, True):
        lines = _lines(opened(f"{again}", again=again).add)
        assert len(lines) > 200
        for number in lines[::every]:
            name = f"{again}-{number}"
            calls = opened(name, again=again)
            calls.stopped(calls.add, _at_line(number))
            calls.check()
            calls.mem.close()
            lock = WriterLock(folder / name / "LOCK")
            lock.acquire()
            lock.release()


def test_making_or_opening_a_store_may_be_interrupted_at_any_line_of_its_code(folder: Path) -> None:
    _interrupt_the_first_add(folder, 25)


@pytest.mark.soak
def test_each_line_of_the_code_may_be_the_interrupted_one(folder: Path) -> None:
    for name in ("search", "add"):
        _interrupt_at_each_line(folder / name, name, 1)
    _interrupt_the_first_add(folder, 1)


@pytest.mark.parametrize("then", ["search", "add"])
def test_closing_may_be_interrupted_at_each_line_of_its_code(folder: Path, then: str) -> None:
    calls = _Interrupted(folder)
    calls.check()
    lines = _lines(calls.mem.close)
    for number in lines:
        calls.check()
        calls.stopped(calls.mem.close, _at_line(number))
        if then == "search":
            assert calls.mem.search("memory", 1)
        calls.check()
    calls.check_all(folder)


def test_a_graph_whose_growth_was_interrupted_finds_each_memory_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_builder, "GROWTH", 0)  # each memory is enough to build for
    with AgentMem(folder, embedder=FakeEmbedder(), index="off") as mem:

        def refresh() -> bool:
            return embedded(mem).refresh_graph(1)

        mem.add_batch({"id": f"m{i}", "text": f"text number {i}"} for i in range(100))
        refresh()
        mem.add("newer text", id="newer")
        lines = _lines(refresh)[::4]
        mem.add("newest text", id="newest")
        lines += _lines(refresh, "store/embedded/graph.py")
        assert len(lines) > 50
        for number in lines:
            mem.add(f"newer text {number}", id=f"n{number}", created_at=number)
            with suppress(KeyboardInterrupt):
                _at_line(number)(refresh)
            hits = mem.search(f"newer text {number}", 20)
            assert hits[0].id == f"n{number}"
            assert len({hit.id for hit in hits}) == 20
        refresh()
        assert mem._store.unindexed() == 0
        assert mem.verify() == []


def test_a_filtered_search_that_was_interrupted_finds_what_was_added_before_it(folder: Path) -> None:
    with AgentMem(folder, embedder=FakeEmbedder(), index="off") as mem:

        def search() -> set[str]:
            return {hit.id for hit in mem.search("memory", 1000, user_id="ana")}

        mem.add("memory", user_id="ana")
        search()
        mem.add("memory", user_id="ana")
        lines = _lines(search, "store/embedded/filters.py")
        assert len(lines) > 10
        for number in lines:
            search()
            mem.add(f"memory {number}", id=f"m{number}", user_id="ana")
            with suppress(KeyboardInterrupt):
                _at_line(number)(search)
            assert f"m{number}" in search()


def test_a_snapshot_that_nobody_ended_hides_nothing_from_later_calls(folder: Path) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add_batch({"text": f"before {i}"} for i in range(3))
        reader = embedded(mem).reader()
        assert reader is not None
        left = reader.snapshot()
        left.__enter__()
        rows = reader.pages("SELECT id FROM memories", rows=1)
        next(rows)  # which holds what it reads, with a snapshot or without
        mem.add("after", id="after")
        assert mem.get("after") is not None
        assert [hit.id for hit in mem.search("after", 1)] == ["after"]
        del left, rows


def test_a_transaction_that_nobody_ended_is_no_part_of_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add("before", id="before")
        left = embedded(mem).writer().transaction()
        left.__enter__()
        uncommitted = embedded(mem)._writer
        assert uncommitted is not None
        uncommitted.change("DELETE FROM memories")
        mem.add("before", id="before")
        assert [event.event for event in mem.history("before")] == ["add"]
        left = embedded(mem).writer().transaction()
        left.__enter__()
        generator = left.gen
        monkeypatch.setattr(failpoints, "hook", lambda step: generator.close())  # as Python ends it, late
        mem.add("after", id="after")
        monkeypatch.setattr(failpoints, "hook", None)
        assert len(mem) == 2
        assert mem.verify() == []


def test_what_is_no_damage_brings_no_advice_to_look_for_damage(folder: Path) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add("before", id="before")
        writer = embedded(mem).writer()
        for sql in ("INSERT INTO meta VALUES ('embedder', '')", "BEGIN; BEGIN", "COMMIT"):
            with pytest.raises(StoreError) as caught:
                writer.change(sql)
            assert not isinstance(caught.value, StoreDamagedError)
            assert "verify" not in str(caught.value)


def test_the_error_of_an_alarm_is_no_error_of_the_disk(folder: Path) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add("before", id="before")
        writer = embedded(mem).writer()
        with pytest.raises(TimeoutError, match="too slow"), writer.transaction():
            raise TimeoutError("too slow")
