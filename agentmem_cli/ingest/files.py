"""Taking files in: lines -> memories -> batches, read ahead, embedded, committed behind, and told of in their order."""

import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, TypeVar, cast

import numpy as np

from agentmem_cli.embedding.base import Embedded, Embedder, EmbedderSpec, Vectors, none_cut
from agentmem_cli.errors import InvalidMemoryError, RejectedLineError, UsageError
from agentmem_cli.ingest.pipeline import Pipeline, Ready
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.lines import MAX_EXPANSION, MAX_LINE_BYTES, Line, LineSource, open_source
from agentmem_cli.records.memory import Memory, Position, Rejection, Scope
from agentmem_cli.store.embedded.store import EmbeddedStore

MIN_BATCH_SIZE: Final = 10
MAX_BATCH_SIZE: Final = 1000
_BATCH_BYTES: Final = 16_000_000  # a batch of very long memories is committed before it is full
_AHEAD: Final = 2  # batches that are read before they are needed, and that wait to be committed
_LOOK_EVERY_S: Final = 0.1
_SHOWN_RAW_BYTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to take inputs in. Raises UsageError for a batch size outside 10 to 1000, or a negative interval.

    A batch is committed when it is full; where the input is a pipe, a terminal or a device, also when its oldest memory
    has waited for `flush_interval_s`: with 0, as soon as it has come.

    A memory whose id is stored updates that one: what its line leaves out keeps its value, null empties a field, and
    with `replace` the line is the whole record. With `chunk`, memories that are longer than the model reads (than 512
    tokens, where it reads more) are split into overlapping chunks of `chunk_tokens` tokens, 128 by default; also those
    that the store has already. A dry run doesn't foretell that.
    """

    batch_size: int = MAX_BATCH_SIZE
    flush_interval_s: float = 1.0
    text_field: str = "text"
    defaults: Scope = field(default_factory=Scope)
    stop_at_rejection: bool = False
    replace: bool = False
    chunk: bool = False
    chunk_tokens: int | None = None
    dry_run: bool = False
    wait_index: bool = False
    max_line_bytes: int = MAX_LINE_BYTES
    max_expansion: int = MAX_EXPANSION

    def __post_init__(self) -> None:
        if not MIN_BATCH_SIZE <= self.batch_size <= MAX_BATCH_SIZE:
            raise UsageError(f"batch size {self.batch_size} is not between {MIN_BATCH_SIZE} and {MAX_BATCH_SIZE}")
        if not self.flush_interval_s >= 0:  # or it is NaN
            raise UsageError(f"flush interval {self.flush_interval_s} is not a number of seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an ingest is, after a commit: `position` is durable, and `stored` memories are, of this ingest."""

    position: Position
    stored: int
    report: IngestReport
    source_bytes: int
    source_size_bytes: int | None


class Observer:
    """Told of an ingest as it goes; the base class listens to nothing."""

    def started(self, file: str, earlier: Position | None, size_bytes: int | None) -> None:
        """An input has been opened; `earlier` is how far a former ingest came with it."""

    def rejected(self, rejection: Rejection) -> None:
        """A line was not taken."""

    def committed(self, progress: Progress) -> None:
        """A batch is durable."""


def ingest_files(
    pipeline: Pipeline,
    store: EmbeddedStore,
    paths: Sequence[str],
    options: IngestOptions,
    observer: Observer,
    open_store: Callable[[], None] = lambda: None,
    index_meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Takes files in, one after the other. Raises AgentMemError; what was committed before stays.

    `open_store` is called before memories are committed; an input without any leaves no trace in the store.
    The caller's thread embeds, and is the one that the observer is called in: Ctrl-C reaches it at once. Where it waits
    for the model, threads read and commit meanwhile, and `index_meanwhile` is called after each commit.
    """
    with _Beside(pipeline, "read") as reading, _Beside(pipeline, "commit") as committing:
        for path in paths:
            with open_source(path, options.max_expansion) as source:
                earlier = None if source.may_wait else store.position(source.name)
                observer.started(source.name, earlier, source.size_bytes)
                reader = _BatchReader(source, options, pipeline)
                committer = _Committer(
                    committing, pipeline, options, observer, source.size_bytes, open_store, index_meanwhile
                )
                reading.must = reading.must or source.may_wait  # who waits at a pipe neither commits nor tells of it
                with closing(_drawn_ahead(reader.batches(), reading)) as items:
                    try:
                        while (item := committer.tell_until(next(items), reader)) is not None:
                            committer.take(item)
                    finally:
                        source.stop()
                        committer.finish()


@contextmanager
def dry_run_store(beneath: EmbeddedStore, spec: EmbedderSpec) -> Iterator[tuple[EmbeddedStore, Embedder]]:
    """A scratch store over another, and an embedder that does nothing: what an ingest would do, done to neither.

    A text that only memories have which the same ingest changes counts as reused, though its vector would be gone.
    """
    with tempfile.TemporaryDirectory(prefix="agentmem-dry-run-") as scratch:
        store = EmbeddedStore(Path(scratch), beneath)
        try:
            store.open_for_writing(spec.fingerprint())
            yield store, _NoEmbedder(spec)
        finally:
            store.close()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Memories that become durable together, and where in their input that is."""

    memories: list[Memory]
    position: Position
    source_bytes: int


_Done = TypeVar("_Done")
_Item: TypeAlias = _Batch | Rejection


class _BatchReader:
    """Reads one input, and makes batches of its lines."""

    def __init__(self, source: LineSource, options: IngestOptions, pipeline: Pipeline) -> None:
        self._source = source
        self._options = options
        self._pipeline = pipeline
        self._gathering = threading.Lock()  # what is gathered, another thread may take
        self._memories: list[Memory] = []
        self._bytes = 0
        self._last_line = 0
        self._since_s = 0.0  # when the oldest of the memories came

    def batches(self) -> Iterator[_Item]:
        """The input's batches, and between them the lines that are no memories. Raises InputError."""
        start = time.perf_counter()
        for item in self._items():
            self._pipeline.add_to_stage("parse", time.perf_counter() - start)
            yield item
            start = time.perf_counter()

    def _items(self) -> Iterator[_Item]:
        for line in self._source.lines(self._options.max_line_bytes):
            self._pipeline.report.read += 1
            try:
                memory = self._parse(line)
            except InvalidMemoryError as error:
                if self._options.stop_at_rejection:
                    yield self._batch()
                self._last_line = line.number
                yield Rejection(self._source.name, line.number, str(error), line.content[:_SHOWN_RAW_BYTES])
                continue
            full = self._gathered(memory, line)
            if full is not None:
                yield full
        yield self._batch(complete=True)

    def waited_too_long(self, coming: "Future[_Item | None]") -> _Batch | None:
        """For the thread that waits for the next item: what comes before it, if the input is slow to give the rest."""
        if not self._source.may_wait:
            return None
        with self._gathering:
            # Once the next item is there, what is gathered comes after it.
            waited_s = time.monotonic() - self._since_s
            if coming.done() or not self._memories or waited_s < self._options.flush_interval_s:
                return None
            return self._taken(complete=False)

    def _parse(self, line: Line) -> Memory:
        if line.too_long:
            raise InvalidMemoryError(f"line is longer than {self._options.max_line_bytes} bytes")
        return parse_memory(line.content, self._options.text_field, self._options.defaults)

    def _gathered(self, memory: Memory, line: Line) -> _Batch | None:
        """Adds a memory to the others, and takes them where they make a batch."""
        with self._gathering:
            if not self._memories:
                self._since_s = time.monotonic()
            self._memories.append(memory)
            self._bytes += len(line.content)
            self._last_line = line.number
            is_full = len(self._memories) == self._options.batch_size or self._bytes > _BATCH_BYTES
            return self._taken(complete=False) if is_full else None

    def _batch(self, *, complete: bool = False) -> _Batch:
        with self._gathering:
            return self._taken(complete=complete)

    def _taken(self, *, complete: bool) -> _Batch:
        memories, self._memories, self._bytes = self._memories, [], 0
        return _Batch(memories, Position(self._source.name, self._last_line, complete), self._source.position_bytes)


class _Beside:
    """Does one thing after the other: in a thread, once the pipeline waits for its model, or else at once."""

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        self.must = False
        self._pipeline = pipeline
        self._thread = ThreadPoolExecutor(1, f"agentmem-{name}")

    def __enter__(self) -> "_Beside":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    @property
    def in_thread(self) -> bool:
        """Whether the next thing is done in a thread; it stays so, or a later thing might overtake an earlier."""
        self.must = self.must or self._pipeline.waits_for_model
        return self.must

    def submit(self, work: Callable[[], _Done]) -> "Future[_Done]":
        if self.in_thread:
            return self._thread.submit(work)
        future: Future[_Done] = Future()
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - the caller gets it with the result, as from a thread
            future.set_exception(error)
        return future


def _drawn_ahead(items: Iterator[_Item], thread: _Beside) -> "Generator[Future[_Item | None], None, None]":
    """The items, and None at their end, which a thread draws a few ahead."""
    drawn: deque[Future[_Item | None]] = deque()
    try:
        while True:
            while len(drawn) < (_AHEAD if thread.in_thread else 1):
                drawn.append(thread.submit(lambda: next(items, None)))
            yield drawn.popleft()
    finally:
        for future in drawn:
            future.cancel()
        wait(drawn)


@dataclass(frozen=True, slots=True)
class _Commit:
    """A batch on its way to the disk; `done` will say how many memories are stored then, or None if it wasn't tried."""

    batch: _Batch
    done: "Future[int | None]"


class _Committer:
    """Embeds batches in the caller's thread, has another commit them, and tells the observer, in the input's order."""

    def __init__(
        self,
        thread: _Beside,
        pipeline: Pipeline,
        options: IngestOptions,
        observer: Observer,
        source_size_bytes: int | None,
        open_store: Callable[[], None],
        index_meanwhile: Callable[[], None],
    ) -> None:
        self._thread = thread
        self._pipeline = pipeline
        self._options = options
        self._observer = observer
        self._source_size_bytes = source_size_bytes
        self._open_store = open_store
        self._index_meanwhile = index_meanwhile
        self._has_memories = False
        self._waiting: deque[_Commit | Rejection] = deque()
        self._failed = False

    def take(self, item: _Item) -> None:
        """Embeds a batch and hands it on, and tells of what is durable by now. Raises AgentMemError."""
        if isinstance(item, Rejection):
            self._waiting.append(item)
            self._tell(0 if self._options.stop_at_rejection else _AHEAD)
            return
        self._has_memories = self._has_memories or bool(item.memories)
        if not self._has_memories:
            return  # not even how far it was read
        self._open_store()
        ready = self._embed_ahead(item) if self._thread.in_thread else Ready()  # else the commit embeds
        self._waiting.append(_Commit(item, self._thread.submit(lambda: self._commit(item, ready))))
        self._tell(_AHEAD)

    def tell_until(self, coming: "Future[_Item | None]", reader: _BatchReader) -> _Item | None:
        """Waits for what is coming, and commits and tells meanwhile of what can be: an input may be slow."""
        while not coming.done():
            commits = [waiting.done for waiting in self._waiting if isinstance(waiting, _Commit)]
            awaited = cast("list[Future[object]]", [coming, *commits[:1]])
            wait(awaited, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            self._tell(_AHEAD)
            batch = reader.waited_too_long(coming)
            if batch is not None:
                self.take(batch)
        return coming.result()

    def finish(self) -> None:
        """Waits for all that was handed on, and tells of it."""
        self._tell(0)

    def _embed_ahead(self, batch: _Batch) -> Ready:
        before = [waiting.batch for waiting in self._waiting if isinstance(waiting, _Commit)]
        return self._pipeline.embed_ahead(batch.memories, {memory.text for b in before for memory in b.memories})

    def _commit(self, batch: _Batch, ready: Ready) -> int | None:
        if self._failed:
            return None  # nothing may follow a batch that is missing
        try:
            self._pipeline.commit(batch.memories, ready, batch.position)
        except BaseException:
            self._failed = True
            raise
        if self._pipeline.waits_for_model:
            self._index_meanwhile()
        return self._pipeline.report.stored

    def _tell(self, most_waiting: int) -> None:
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, _Commit) and len(self._waiting) <= most_waiting and not first.done.done():
                return
            self._waiting.popleft()
            if isinstance(first, Rejection):
                self._tell_rejection(first)
            else:
                self._tell_commit(first)

    def _tell_commit(self, commit: _Commit) -> None:
        stored, batch = commit.done.result(), commit.batch
        if stored is not None:
            report = self._pipeline.report
            self._observer.committed(
                Progress(batch.position, stored, report, batch.source_bytes, self._source_size_bytes)
            )

    def _tell_rejection(self, rejection: Rejection) -> None:
        report = self._pipeline.report
        report.rejected += 1
        self._observer.rejected(rejection)
        if self._options.stop_at_rejection:
            stored = "would be" if self._options.dry_run else "are"
            raise RejectedLineError(
                f"{rejection.file}:{rejection.line}: {rejection.reason}: stopped there; the {report.stored} "
                f"memories before it {stored} stored"
            )


class _NoEmbedder:
    """Gives every text the same vector; an Embedder."""

    def __init__(self, spec: EmbedderSpec) -> None:
        self.spec = spec

    def embed(self, texts: Sequence[str]) -> Embedded:
        return Embedded(np.ones((len(texts), self.spec.dim), dtype=np.float32), 0, 0, 0, none_cut(len(texts)))

    def embed_query(self, query: str) -> Vectors:
        return np.ones(self.spec.dim, dtype=np.float32)
