"""Many clients at once: threads that share one AgentMem, and processes that search a store while another one adds."""

import itertools
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from agentmem_cli.api import AgentMem
from agentmem_cli.bench.child import Child, child
from agentmem_cli.bench.measure import check_searchable, collect_garbage
from agentmem_cli.bench.place import Place
from agentmem_cli.bench.result import CallsSample
from agentmem_cli.bench.workload import Workload, asked
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder, EmbedderSpec
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import AgentMemError
from agentmem_cli.ingest.options import MAX_BATCH_SIZE
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.memory import Memory

WINDOW_S: Final = 1.0
_WARM_UP: Final = 10
Item = TypeVar("Item")


def add_at_once(embedder: Embedder, lines: Sequence[bytes], clients: int, place: Place) -> CallsSample:
    """Threads add lines to a fresh store, each durably. Raises like `ingest_batch`."""
    with place.fresh_store(embedder) as mem:
        sample = _at_once(lambda line: mem.add_batch([parse_memory(line)]), lines, clients)
        check_searchable(mem, lines[-1], len(lines))
        return sample


def search_at_once(embedder: Embedder, queries: Sequence[str], clients: int, store: str) -> CallsSample:
    """Threads search a store for 10 memories. The first query is a warm-up, which loads the graph."""
    with _reading(embedder, store) as mem:
        mem.search(queries[0])
        return _at_once(mem.search, queries[1:], clients)


def _at_once(call: Callable[[Item], object], items: Sequence[Item], clients: int) -> CallsSample:
    """Calls for each item, in this many threads, which begin together; their shares differ by one item at most.

    If a call fails, or this thread is interrupted, each thread ends after the call that it has begun.
    """
    begin, stop = threading.Event(), threading.Event()

    def client(share: Sequence[Item]) -> tuple[float, list[float]]:
        begin.wait()
        end, latencies_s = time.perf_counter(), []
        for item in share:
            if stop.is_set():
                break
            start = time.perf_counter()
            try:
                call(item)
            except BaseException:
                stop.set()
                raise
            end = time.perf_counter()
            latencies_s.append(end - start)
        return end, latencies_s

    with ThreadPoolExecutor(clients) as pool:
        try:
            calls = [pool.submit(client, items[first::clients]) for first in range(clients)]
            collect_garbage()
            start = time.perf_counter()
            begin.set()
            done = [called.result() for called in calls]
        finally:
            stop.set()
            begin.set()
    return CallsSample(
        max(end for end, _ in done) - start, [latency_s for _, latencies_s in done for latency_s in latencies_s]
    )


@contextmanager
def _reading(embedder: Embedder, store: str) -> Iterator[AgentMem]:
    with AgentMem(store, embedder=embedder, create=False, index="off") as mem:
        yield mem


class Readers:
    """Processes that search. `window` measures them, the writer in this process, or both."""

    def __init__(
        self, processes: Sequence[Child], embedder: Embedder, workload: Workload, store: str, place: Place
    ) -> None:
        self._processes = processes
        self._embedder = embedder
        self._workload = workload
        self._store = store
        self._place = place

    def window(
        self, turn: int, *, searching: bool, adding: bool, window_s: float = WINDOW_S
    ) -> tuple[CallsSample, CallsSample]:
        """The searches and the adds of a window of time. Raises AgentMemError.

        What adds uses a copy of the store; in a database it adds to the store itself.
        """
        processes = self._processes if searching else []
        with tempfile.TemporaryDirectory(dir=self._place.folder) as own:
            store = self._store
            if adding and self._place.url is None:
                store = str(shutil.copytree(store, Path(own) / "store"))
            for process in processes:
                process.send(_Window(store, turn, window_s))
            with AgentMem(store, embedder=self._embedder, create=False, index="off") as mem:
                memories = self._memories(turn)
                if adding:
                    mem.open()
                    for memory in itertools.islice(memories, _WARM_UP):
                        mem.add_batch([memory])
                for process in processes:
                    process.receive()  # it is ready
                collect_garbage()
                for process in processes:
                    process.send()
                adds = CallsSample(0.0, [])
                if adding:
                    adds = _until(window_s, lambda memory: mem.add_batch([memory]), memories)
                samples = [msgspec.json.decode(process.receive(), type=CallsSample) for process in processes]
        return _together(samples), adds

    def _memories(self, turn: int) -> Iterator[Memory]:
        """Memories of a turn, without end; each has an id and a text of its own, so that it replaces none."""
        memories = [parse_memory(line) for line in self._workload.batch(MAX_BATCH_SIZE, turn)]
        for lap in itertools.count():
            for place, memory in enumerate(memories):
                yield replace(memory, id=f"{turn}-{lap}-{place}", text=f"{memory.text} {lap}")


def _until(window_s: float, call: Callable[[Item], object], items: Iterable[Item]) -> CallsSample:
    """Calls for one item after another until the time is over."""
    begin = end = time.perf_counter()
    latencies_s = []
    for item in items:
        start = time.perf_counter()
        if start - begin >= window_s:
            break
        call(item)
        end = time.perf_counter()
        latencies_s.append(end - start)
    return CallsSample(end - begin, latencies_s)


def _together(samples: Sequence[CallsSample]) -> CallsSample:
    """The samples of processes that worked at the same time, as one."""
    return CallsSample(
        max((sample.total_s for sample in samples), default=0.0),
        [latency_s for sample in samples for latency_s in sample.latencies_s],
    )


@dataclass(frozen=True, slots=True)
class _Task:
    """The model and the queries of a process that searches."""

    stored_spec: dict[str, str | int]
    choice: ModelChoice
    queries: list[str]


@dataclass(frozen=True, slots=True)
class _Window:
    """A window of time: after it has opened the store, the process answers, and begins at the next line."""

    store: str
    turn: int
    window_s: float


@contextmanager
def readers(
    count: int, embedder: Embedder, choice: ModelChoice, workload: Workload, store: str, place: Place
) -> Iterator[Readers]:
    """Starts processes that load the embedder's model by this choice. Raises StoreError with their error message."""
    task = _Task(embedder.spec.stored(), choice, list(workload.queries))
    with ExitStack() as stack:
        processes = [
            stack.enter_context(child("agentmem_cli.bench.clients", f"searches with {embedder.spec.name}"))
            for _ in range(count)
        ]
        for process in processes:
            process.send(task)
        yield Readers(processes, embedder, workload, store, place)


def _main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Task)
    try:
        embedder = catalog.load(EmbedderSpec.from_stored(task.stored_spec), task.choice)
        for line in iter(sys.stdin.buffer.readline, b""):
            window = msgspec.json.decode(line, type=_Window)
            queries = asked(task.queries, window.turn)
            with _reading(embedder, window.store) as mem:
                for query in itertools.islice(queries, _WARM_UP):
                    mem.search(query)
                _answer(None)
                sys.stdin.buffer.readline()
                _answer(_until(window.window_s, mem.search, queries))
    except AgentMemError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # the parent process is interrupted too
        sys.exit(130)


def _answer(answer: CallsSample | None) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
