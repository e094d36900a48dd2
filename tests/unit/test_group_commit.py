"""Threads that add at the same time share commits, and each has the result that is its own."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from agentmem_cli import AgentMem, BatchResult, Memory
from agentmem_cli.embedding.base import Embedded
from agentmem_cli.errors import EmbeddingError, InvalidMemoryError
from agentmem_cli.ingest import group
from agentmem_cli.ingest.group import Call, How
from agentmem_cli.ingest.options import IngestOptions, Observer, Progress
from tests.fakes import FakeEmbedder

_LIMIT_S = 20.0  # what takes so long hangs


class _Embedder(FakeEmbedder):
    """Notes each batch, waits at the text "gate" until it is opened, and fails as a text tells it to."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.at_gate = threading.Event()
        self.gate = threading.Event()
        self.interrupts = 0  # to be raised
        self.on_embed: Callable[[], object] = lambda: None

    def embed(self, texts: Sequence[str]) -> Embedded:
        self.batches.append(list(texts))
        self.on_embed()
        if "gate" in texts:
            self.at_gate.set()
            assert self.gate.wait(_LIMIT_S)
        if "interrupt" in texts and self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        if "bad" in texts:
            raise EmbeddingError("a bad text")
        return super().embed(texts)


class _Client(threading.Thread):
    """A thread that makes one call; its result or its error."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.result: object = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.result = error

    def ended(self) -> object:
        """What came of the call."""
        self.join(_LIMIT_S)
        assert not self.is_alive(), "the call hangs"
        return self.result


@pytest.fixture
def embedder() -> _Embedder:
    return _Embedder()


@pytest.fixture
def mem(tmp_path: Path, embedder: _Embedder) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=embedder, index="off") as opened:
        yield opened


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def _waiting(mem: AgentMem, calls: Sequence[Callable[[], object]]) -> list[_Client]:
    """Clients whose calls wait in this order."""
    clients = []
    for call in calls:
        before = len(mem._adds._waiting)
        clients.append(_Client(call))
        _wait_until(lambda before=before: len(mem._adds._waiting) > before)  # type: ignore[misc]
    return clients


def _in_one_group(mem: AgentMem, embedder: _Embedder, calls: Sequence[Callable[[], object]]) -> list[object]:
    """The results of calls that come, in this order, while another is committed."""
    first = _Client(lambda: mem.add("gate"))
    assert embedder.at_gate.wait(_LIMIT_S)
    clients = _waiting(mem, calls)
    embedder.gate.set()
    assert isinstance(first.ended(), str)
    return [client.ended() for client in clients]


def _adds(mem: AgentMem, texts: Sequence[str]) -> list[Callable[[], object]]:
    return [lambda text=text: mem.add(text, id=f"id of {text}") for text in texts]  # type: ignore[misc]


def _texts(mem: AgentMem) -> dict[str, str]:
    return {memory.id: memory.text for memory in mem.export() if memory.text != "gate"}


def test_calls_that_come_during_a_commit_are_committed_together_in_their_order(
    mem: AgentMem, embedder: _Embedder
) -> None:
    texts = [f"text {number}" for number in range(8)]
    assert _in_one_group(mem, embedder, _adds(mem, texts)) == [f"id of {text}" for text in texts]
    assert embedder.batches == [["gate"], texts]
    assert list(_texts(mem).values()) == texts


def test_an_error_reaches_the_caller_whose_text_it_is_and_no_other(mem: AgentMem, embedder: _Embedder) -> None:
    texts = ["one", "two", "bad", "three"]
    results = _in_one_group(mem, embedder, [*_adds(mem, texts), lambda: mem.add_batch([{"text": "four"}])])
    assert isinstance(results.pop(2), EmbeddingError)
    assert results[:3] == ["id of one", "id of two", "id of three"]
    assert isinstance(results[3], BatchResult)
    assert sorted(_texts(mem).values()) == ["four", "one", "three", "two"]
    with pytest.raises(InvalidMemoryError):
        mem.add("")


def test_one_id_from_several_clients_has_the_history_of_calls_one_after_the_other(
    mem: AgentMem, embedder: _Embedder
) -> None:
    def call(*texts: str) -> Callable[[], object]:
        return lambda: mem.add_batch([{"id": "a", "text": text} for text in texts])

    results = _in_one_group(mem, embedder, [call("one"), call("two"), call("two"), call("two", "three", "one")])
    assert results == [
        BatchResult(["a"], 1, 0, 0),
        BatchResult(["a"], 0, 1, 0),
        BatchResult(["a"], 0, 0, 1),
        BatchResult(["a"] * 3, 0, 2, 1),
    ]
    assert len(embedder.batches) == 2
    assert [event.text for event in mem.history("a")] == ["one", "two", "three", "one"]


def test_whole_records_and_updates_are_taken_in_their_order(mem: AgentMem, embedder: _Embedder) -> None:
    _in_one_group(
        mem,
        embedder,
        [
            lambda: mem.add("one", id="a", user_id="ana"),
            lambda: mem.add("two", id="a", replace=True),
            lambda: mem.add("three", id="a", agent_id="bot"),
        ],
    )
    memory = mem.get("a")
    assert memory is not None
    assert (memory.text, memory.scope.user_id, memory.scope.agent_id) == ("three", None, "bot")


def test_a_group_has_a_bound_and_a_larger_call_is_one_of_its_own(
    mem: AgentMem, embedder: _Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "MOST_MEMORIES", 3)
    monkeypatch.setattr(group, "MOST_CHARS", 20)
    large = [f"large {number}" for number in range(5)]
    long = "a text that is longer than a whole group may be"
    calls = [*_adds(mem, ["1", "2", "3", "4"]), lambda: mem.add_batch([{"text": text} for text in large])]
    _in_one_group(mem, embedder, [*calls, *_adds(mem, ["5", long, "6", "7"])])
    assert embedder.batches == [["gate"], ["1", "2", "3"], ["4"], large, ["5"], [long], ["6", "7"]]


def test_an_interrupted_thread_leaves_the_calls_of_the_others_to_the_next(mem: AgentMem, embedder: _Embedder) -> None:
    embedder.interrupts = 1
    results = _in_one_group(mem, embedder, _adds(mem, ["interrupt", "one", "two", "three"]))
    assert isinstance(results[0], KeyboardInterrupt)
    assert results[1:] == ["id of one", "id of two", "id of three"]
    assert sorted(_texts(mem).values()) == ["one", "three", "two"]


@contextmanager
def _interrupted_when(condition: Callable[[], bool]) -> Iterator[None]:
    """Interrupts the main thread, once a condition holds."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def kill() -> None:
        _wait_until(condition)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        killer = _Client(kill)
        yield
        killer.ended()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_caller_that_is_interrupted_while_it_waits_holds_up_nobody_behind_it(
    mem: AgentMem, embedder: _Embedder, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "LOOK_EVERY_S", 10 * _LIMIT_S)  # nobody looks after the others
    first = _Client(lambda: mem.add("gate"))
    assert embedder.at_gate.wait(_LIMIT_S)
    before = _waiting(mem, _adds(mem, ["before"][:ahead]))
    behind: list[_Client] = []

    def is_followed() -> bool:
        _wait_until(lambda: len(mem._adds._waiting) == 2 + ahead)
        behind.extend(_waiting(mem, _adds(mem, ["behind"])))
        return True

    with pytest.raises(KeyboardInterrupt), _interrupted_when(is_followed):
        mem.add("interrupted")
    embedder.gate.set()
    assert [isinstance(client.ended(), str) for client in (first, *before, *behind)] == [True] * (2 + ahead)
    assert "behind" in _texts(mem).values()


def test_a_call_that_lost_its_thread_holds_up_nobody(mem: AgentMem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "LOOK_EVERY_S", 0.01)
    mem._adds._waiting.append(Call([Memory("left behind")], How()))
    assert _Client(lambda: mem.add("next", id="next")).ended() == "next"


def test_closing_commits_what_waits_and_gives_the_lock_back(mem: AgentMem) -> None:
    with mem._turn:
        clients = _waiting(mem, _adds(mem, ["one", "two", "three"]))
        mem.close()
    assert [client.ended() for client in clients] == ["id of one", "id of two", "id of three"]
    assert not mem._store.writing
    assert sorted(_texts(mem).values()) == ["one", "three", "two"]


def test_closing_waits_for_no_call_whose_thread_has_left_meanwhile(mem: AgentMem, embedder: _Embedder) -> None:
    gone = Call([Memory("gone")], How(replace=True))  # not of the first group
    embedder.on_embed = lambda: mem._adds._waiting.remove(gone)
    mem._adds._waiting.extend([Call([Memory("one")], How()), gone])
    assert _Client(mem.close).ended() is None
    assert list(_texts(mem).values()) == ["one"]


def test_an_observer_may_add_while_others_wait_for_the_ingest(
    mem: AgentMem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "LOOK_EVERY_S", 10 * _LIMIT_S)  # nobody looks after the others
    (tmp_path / "file").write_text('{"text": "from the file"}\n')
    clients: list[_Client] = []

    class Adding(Observer):
        def committed(self, progress: Progress) -> None:
            if not clients:
                clients.extend(_waiting(mem, _adds(mem, ["from a thread"])))
                mem.add("from the observer")

    _Client(lambda: mem.ingest([str(tmp_path / "file")], IngestOptions(), Adding())).ended()
    assert clients[0].ended() == "id of from a thread"
    assert set(_texts(mem).values()) == {"from the file", "from the observer", "from a thread"}


def test_many_threads_lose_nothing_and_take_fewer_commits_than_adds(mem: AgentMem, embedder: _Embedder) -> None:
    def work(name: int) -> list[str]:
        return [mem.add(f"text {name} {number}", id=f"{name}-{number}") for number in range(20)]

    clients = [_Client(lambda name=name: work(name)) for name in range(16)]  # type: ignore[misc]
    for name, client in enumerate(clients):
        assert client.ended() == [f"{name}-{number}" for number in range(20)]
    assert _texts(mem) == {f"{name}-{number}": f"text {name} {number}" for name in range(16) for number in range(20)}
    assert len(embedder.batches) < 320
