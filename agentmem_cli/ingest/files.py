"""The way of a line into the store: read, gathered into a batch, embedded, committed, reported."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import replace
from typing import Protocol

from agentmem_cli.embedding.base import OnShare
from agentmem_cli.errors import AgentMemError, RejectedLineError
from agentmem_cli.ingest.batches import Batch, Batches, Item, Note
from agentmem_cli.ingest.options import IngestOptions, Observer, Progress
from agentmem_cli.ingest.overlap import AHEAD, InOrder, Lane, done, drawn_ahead
from agentmem_cli.ingest.pipeline import Pipeline, Ready
from agentmem_cli.records.lines import open_source
from agentmem_cli.records.memory import Position, Rejection


class Writer(Protocol):
    """Makes batches durable, so that for each id the later batch wins."""

    @property
    def most_under_way(self) -> int:
        """How many batches are worth being under way at a time."""

    def submit(self, batch: Batch, on_share: OnShare | None) -> "Future[int | None]":
        """Begins to make a batch durable. The future has how many memories of this ingest are stored then, or None
        where the batch was given up as another one has failed."""

    def reached(self, position: Position) -> None:
        """All up to this position of an input is durable, and reported."""

    def stop(self) -> None:
        """Gives up what is under way, as the ingest has failed or was interrupted."""


def ingest_files(
    pipeline: Pipeline,
    paths: Sequence[str],
    options: IngestOptions,
    observer: Observer,
    committed: Callable[[], None],
    elsewhere: Writer | None = None,
) -> None:
    """Takes files in, one after the other. Raises AgentMemError; what was committed before stays.

    The caller's thread embeds and calls the observer, so Ctrl-C reaches it at once. Where it waits for the model
    or a server, threads read and commit meanwhile, and `committed` is called after each commit. A writer `elsewhere`
    embeds and commits in place of that. An input without memories leaves no trace in the store.
    """
    with (
        Lane("read", lambda: pipeline.waits) as reading,
        Lane("commit", lambda: pipeline.waits) as committing,
    ):
        writer = elsewhere or _Here(committing, pipeline, committed)
        for path in paths:
            with open_source(path, options.max_expansion) as source:
                earlier = None if source.may_wait else pipeline.store.position(source.name)
                observer.started(source.name, earlier, source.size_bytes)
                if source.may_wait:
                    reading.move_to_thread()  # a thread that waits at a pipe can neither commit nor report
                batches = Batches(source, options, pipeline)
                committer = _Committer(writer, pipeline, options, observer, source.size_bytes)
                with closing(drawn_ahead(iter(batches), reading)) as items:
                    try:
                        while (item := committer.wait_for(next(items), batches)) is not None:
                            committer.take(item)
                    except BaseException:
                        with suppress(AgentMemError):
                            writer.stop()
                        raise
                    finally:
                        source.stop()
                        committer.finish()


class _Here:
    """Embeds batches in the caller's thread, and commits them in its lane; a Writer."""

    def __init__(self, lane: Lane, pipeline: Pipeline, committed: Callable[[], None]) -> None:
        self._lane = lane
        self._pipeline = pipeline
        self._committed = committed
        self._under_way: deque[tuple[Batch, Future[int | None]]] = deque()
        self._failed = False

    @property
    def most_under_way(self) -> int:
        return AHEAD

    def submit(self, batch: Batch, on_share: OnShare | None) -> "Future[int | None]":
        while self._under_way and self._under_way[0][1].done():
            self._under_way.popleft()
        ready = Ready()
        if self._lane.in_thread:
            before = [memory for earlier, _ in self._under_way for memory in earlier.memories]
            ready, on_share = self._pipeline.embed_ahead(batch.memories, before, on_share), None
        future = self._lane.submit(lambda: self._commit(batch, ready, on_share))  # in this thread, it embeds
        self._under_way.append((batch, future))
        return future

    def reached(self, position: Position) -> None:
        return  # it is stored with its batch

    def stop(self) -> None:
        return  # what was handed on is committed

    def _commit(self, batch: Batch, ready: Ready, on_share: OnShare | None) -> int | None:
        if self._failed:
            return None  # nothing may follow a batch that is missing
        try:
            self._pipeline.commit(batch.memories, ready, batch.position, on_share)
        except BaseException:
            self._failed = True
            raise
        if self._pipeline.waits:
            self._committed()
        return self._pipeline.report.stored


class _Committer:
    """Hands batches to a writer, and calls the observer in the input's order."""

    def __init__(
        self,
        writer: Writer,
        pipeline: Pipeline,
        options: IngestOptions,
        observer: Observer,
        source_size_bytes: int | None,
    ) -> None:
        self._writer = writer
        self._pipeline = pipeline
        self._options = options
        self._observer = observer
        self._source_size_bytes = source_size_bytes
        self._has_memories = False
        self._under_way: deque[Batch] = deque()  # batches that were handed on and are not reported
        self._in_order = InOrder()
        self._taken_bytes = 0
        self._latest: Progress | None = None
        self._is_whole = True  # so far, no batch was given up

    def take(self, item: Item) -> None:
        """Hands a batch on, and reports what is durable by now. Raises AgentMemError."""
        if isinstance(item, Rejection):
            self._in_order.add(done(item), self._report_rejection)
            self._in_order.pass_on(0 if self._options.stop_at_rejection else self._writer.most_under_way)
            return
        if isinstance(item, Note):
            self._in_order.add(done(item), lambda note: self._observer.noted(note.text, warning=note.warning))
            self._in_order.pass_on(self._writer.most_under_way)
            return
        self._has_memories = self._has_memories or bool(item.memories)
        if not self._has_memories:
            return  # not even the position is stored
        self._pipeline.open_for_writing()
        future = self._writer.submit(item, self._on_share_of(item))
        self._under_way.append(item)
        self._in_order.add(future, self._report_commit)
        self._in_order.pass_on(self._writer.most_under_way)

    def _on_share_of(self, batch: Batch) -> OnShare | None:
        """Tells the observer how much of the input is embedded, where it watches that."""
        first, self._taken_bytes = self._taken_bytes, batch.source_bytes
        if not self._observer.watches_embedding:
            return None
        return lambda share: self._observer.embedding(first + int(share * (batch.source_bytes - first)))

    def wait_for(self, coming: "Future[Item | None]", batches: Batches) -> Item | None:
        """Waits for the next item. Meanwhile it reports, and commits what a slow input has given so far."""
        while not coming.done():
            self._in_order.wait_for(coming)
            batch = batches.waited_too_long(coming)
            if batch is not None:
                self.take(batch)
        return coming.result()

    def finish(self) -> None:
        """Waits for all that was handed on, and reports it."""
        self._in_order.pass_on(0)
        if self._latest is not None and self._latest.stored != self._pipeline.report.stored:
            self._observer.committed(replace(self._latest, stored=self._pipeline.report.stored))

    def _report_commit(self, stored: int | None) -> None:
        batch = self._under_way.popleft()
        self._is_whole = self._is_whole and stored is not None
        if stored is None or not self._is_whole:
            return
        if self._latest is not None:
            stored = max(stored, self._latest.stored)  # a later batch may have been done first
        self._latest = Progress(
            batch.position, stored, self._pipeline.report, batch.source_bytes, self._source_size_bytes
        )
        self._observer.committed(self._latest)
        self._writer.reached(batch.position)

    def _report_rejection(self, rejection: Rejection) -> None:
        report = self._pipeline.report
        report.rejected += 1
        self._observer.rejected(rejection)
        if self._options.stop_at_rejection:
            stored = "would be" if self._options.dry_run else "are"
            raise RejectedLineError(
                f"{rejection.place}: {rejection.reason}: stopped there; the {report.stored} "
                f"memories before it {stored} stored"
            )
