"""A growing store: how its ingest, graph, searches, memory and files change with its size."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import orjson

from agentmem_cli.api import AgentMem
from agentmem_cli.bench.child import child
from agentmem_cli.bench.measure import (
    Labelled,
    check_searchable,
    graph_found,
    retrieval,
)
from agentmem_cli.bench.place import Place, kept_store
from agentmem_cli.bench.result import ColdStart, Retrieval, SearchRun, StorePoint
from agentmem_cli.bench.workload import Workload
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder, EmbedderSpec
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import AgentMemError
from agentmem_cli.ingest.options import MAX_BATCH_SIZE, Observer, Progress
from agentmem_cli.records.jsonl import parse_memory, parse_object
from agentmem_cli.search.query import Mode
from agentmem_cli.store.base import MIN_INDEXED
from agentmem_cli.support.machine import peak_resident_bytes

FIRST_BATCH: Final = 10
SEARCHED_MODES: Final[tuple[Mode, ...]] = ("meaning", "hybrid")
_USER: Final = "user-"
_USERS: Final = 100
_SEARCHES_A_STEP: Final = 10


@dataclass(frozen=True, slots=True)
class Step:
    """A JSONL file to ingest, and its last line."""

    file: str
    last_line: str


@dataclass(frozen=True, slots=True)
class Doing:
    """The name of the step that starts when the next item is requested."""

    what: str


@dataclass(frozen=True, slots=True)
class Growth:
    """The steps by which a store grows, and the queries to run after each.

    `folder` holds files, and stores unless these are in the database at `url`; the caller creates and removes it.
    `first_lines` are the first batch that the model embeds, `warm_up_lines` are embedded before the store grows.
    `labelled` queries run on a separate store. The store is removed, unless there is a location to keep it at.
    """

    folder: str
    steps: list[Step]
    first_lines: list[str]
    warm_up_lines: list[str]
    queries: list[str]
    labelled: Labelled | None = None
    kept: str | None = None
    url: str | None = None

    @property
    def place(self) -> Place:
        """Where the stores are made."""
        return Place(Path(self.folder), self.url)


GrowthItem: TypeAlias = ColdStart | StorePoint | Retrieval | Doing
Grow: TypeAlias = Callable[[Growth], Iterator[GrowthItem]]


def grow_here(load: Callable[[], Embedder], growth: Growth, process_s: float | None = None) -> Iterator[GrowthItem]:
    """Loads a model in this process and grows a store with it. Raises AgentMemError.

    Yields the cold start, then the store at each size, then the results of labelled queries; a `Doing` before each
    step.
    """
    start = time.perf_counter()
    embedder = load()
    loaded = time.perf_counter()
    place = growth.place
    _add(embedder, growth.first_lines, place)
    yield ColdStart(process_s, loaded - start, time.perf_counter() - loaded, len(growth.first_lines))
    if growth.warm_up_lines:
        _add(embedder, growth.warm_up_lines, place)
        _add(embedder, growth.warm_up_lines[:FIRST_BATCH], place)  # a model may switch to a faster path after many
    grown = place.fresh_store(embedder) if growth.kept is None else kept_store(embedder, growth.kept)
    with grown as mem:
        for step in growth.steps:
            # A server keeps its index while a store grows, which is slower: it gets one at the end.
            indexed = growth.url is None or step is growth.steps[-1]
            yield from _grow(mem, embedder, step, growth.queries, indexed=indexed)
    if growth.labelled is not None:
        yield Doing("labelled queries")
        yield from retrieval(embedder, growth.labelled, place)


def write_growth(
    workload: Workload,
    sizes: Sequence[int],
    place: Place,
    labelled: Labelled | None = None,
    kept: str | None = None,
) -> Growth:
    """Writes the files from which a store grows to these ascending sizes.

    With several sizes, the model is warmed up first, with texts that the store does not get, so that the sizes can be
    compared. In a database, the memories are those of a hundred users, so that searches of one user can be compared
    with searches of all.
    """
    lines, steps = workload.batch_lines if place.url is None else _of_users(workload.batch_lines), []
    for start, end in itertools.pairwise([0, *sizes]):
        file = place.folder / f"up-to-{end}.jsonl"
        file.write_bytes(b"\n".join(lines[start:end]))
        steps.append(Step(str(file), lines[end - 1].decode()))
    first = [line.decode() for line in workload.batch(FIRST_BATCH, 0)]
    warm_up = [line.decode() for line in workload.batch(MAX_BATCH_SIZE, 1)] if len(sizes) > 1 else []
    folder, queries = str(place.folder), list(workload.queries)
    return Growth(folder, steps, first, warm_up, queries, labelled, kept, place.url)


def _of_users(lines: Sequence[bytes]) -> list[bytes]:
    return [
        orjson.dumps({**parse_object(line), "user_id": f"{_USER}{place % _USERS}"}) for place, line in enumerate(lines)
    ]


def _add(embedder: Embedder, lines: Sequence[str], place: Place) -> None:
    with place.fresh_store(embedder) as mem:
        mem.add_batch([parse_memory(line.encode()) for line in lines])


def _grow(
    mem: AgentMem, embedder: Embedder, step: Step, queries: Sequence[str], *, indexed: bool
) -> Iterator[GrowthItem]:
    yield Doing("a store grows")
    clock = _CommitClock()
    report = mem.ingest([step.file], observer=clock)
    memories = len(mem)
    check_searchable(mem, step.last_line.encode(), memories)
    index_s = _index_s(mem) if indexed and memories >= MIN_INDEXED else None
    searches_s: list[float] = []
    for start in range(0, len(queries), _SEARCHES_A_STEP):
        yield Doing(f"searches of {memories:,} memories")
        searches_s += [_search_s(mem, query) for query in queries[start : start + _SEARCHES_A_STEP]]
    peak = peak_resident_bytes()  # before the exact scan, which searches don't use
    by_filter = []
    if mem.stats().server:
        yield Doing(f"searches of {memories:,} memories, of one user and of all")
        by_filter = list(_searches(mem, queries))
    found_by_graph = [] if index_s is None else graph_found(mem, embedder, queries)
    mem.close()  # so that SQLite's log is merged into the database
    contents = mem.stats()
    mem.open()
    yield StorePoint(
        memories=memories,
        added=report.added,
        ingest_s=report.elapsed_s,
        batches_s=clock.batches_s,
        index_s=index_s,
        searches_s=searches_s,
        bytes=contents.total_bytes,
        peak_resident_bytes=peak,
        graph_found=found_by_graph,
        searches=by_filter,
        server=contents.server,
    )


def _index_s(mem: AgentMem) -> float:
    start = time.perf_counter()
    mem.build_index()
    spent_s = time.perf_counter() - start
    mem.search("loads the graph")
    return spent_s


def _search_s(mem: AgentMem, query: str) -> float:
    start = time.perf_counter()
    mem.search(query, k=10)
    return time.perf_counter() - start


def _searches(mem: AgentMem, queries: Sequence[str]) -> Iterator[SearchRun]:
    """Searches for 10 memories of one user, and of all; each kind begins with a warm-up."""
    for mode in SEARCHED_MODES:
        for user in (f"{_USER}0", None):
            mem.search(queries[0], mode=mode, user_id=user)
            spent_s, before = [], mem.round_trips
            for query in queries:
                start = time.perf_counter()
                mem.search(query, mode=mode, user_id=user)
                spent_s.append(time.perf_counter() - start)
            yield SearchRun(mode, user is not None, spent_s, (mem.round_trips - before) / len(queries))


class _CommitClock(Observer):
    """Measures the time between durable batches."""

    def __init__(self) -> None:
        self.batches_s: list[float] = []
        self._last = time.perf_counter()

    def committed(self, progress: Progress) -> None:
        now = time.perf_counter()
        self.batches_s.append(now - self._last)
        self._last = now


@dataclass(frozen=True, slots=True)
class _Task:
    started_at_s: float
    stored_spec: dict[str, str | int]
    choice: ModelChoice
    growth: Growth


@dataclass(frozen=True, slots=True)
class _Message:
    cold_start: ColdStart | None = None
    store: StorePoint | None = None
    retrieval: Retrieval | None = None
    doing: Doing | None = None

    @classmethod
    def of(cls, item: GrowthItem) -> "_Message":
        """The message for an item."""
        if isinstance(item, Doing):
            return cls(doing=item)
        if isinstance(item, ColdStart):
            return cls(cold_start=item)
        return cls(store=item) if isinstance(item, StorePoint) else cls(retrieval=item)

    @property
    def item(self) -> GrowthItem | None:
        """The item of the message."""
        return self.cold_start or self.store or self.retrieval or self.doing


def grow_alone(spec: EmbedderSpec, choice: ModelChoice, growth: Growth) -> Iterator[GrowthItem]:
    """Runs `grow_here` in a new process, which also waits after each item until the next is requested.

    Raises StoreError with that process's error message.
    """
    with child("agentmem_cli.bench.growth", spec.name) as process:
        process.send(_Task(time.time(), spec.stored(), choice, growth))
        for line in process.lines():
            item = msgspec.json.decode(line, type=_Message).item
            if item is not None:
                yield item
            process.send()


def _main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Task)
    process_s = time.time() - task.started_at_s

    def load() -> Embedder:
        return catalog.load(EmbedderSpec.from_stored(task.stored_spec), task.choice)

    try:
        for item in grow_here(load, task.growth, process_s):
            sys.stdout.buffer.write(msgspec.json.encode(_Message.of(item)) + b"\n")
            sys.stdout.buffer.flush()
            sys.stdin.buffer.readline()
    except AgentMemError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # the parent process is interrupted too
        sys.exit(130)


if __name__ == "__main__":
    _main()
