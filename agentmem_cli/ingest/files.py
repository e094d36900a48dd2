"""The way of a line into the store: read, gathered into a batch, embedded, committed, reported."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing

from agentmem_cli.embedding.base import OnShare
from agentmem_cli.errors import RejectedLineError
from agentmem_cli.ingest.batches import Batch, Batches, Item, Note
from agentmem_cli.ingest.options import IngestOptions, Observer, Progress
from agentmem_cli.ingest.overlap import AHEAD, InOrder, Lane, done, drawn_ahead
from agentmem_cli.ingest.pipeline import Pipeline, Ready
from agentmem_cli.records.lines import open_source
from agentmem_cli.records.memory import Rejection


def ingest_files(
    pipeline: Pipeline, paths: Sequence[str], options: IngestOptions, observer: Observer, committed: Callable[[], None]
) -> None:
    """Takes files in, one after the other. Raises AgentMemError; what was committed before stays.

    The caller's thread embeds and calls the observer, so Ctrl-C reaches it at once. Where it waits for the model
    or a server, threads read and commit meanwhile, and `committed` is called after each commit. An input without
    memories leaves no trace in the store.
    """
    with (
        Lane("read", lambda: pipeline.waits) as reading,
        Lane("commit", lambda: pipeline.waits) as committing,
    ):
        for path in paths:
            with open_source(path, options.max_expansion) as source:
                earlier = None if source.may_wait else pipeline.store.position(source.name)
                observer.started(source.name, earlier, source.size_bytes)
                if source.may_wait:
                    reading.move_to_thread()  # a thread that waits at a pipe can neither commit nor report
                batches = Batches(source, options, pipeline)
                committer = _Committer(committing, pipeline, options, observer, source.size_bytes, committed)
                with closing(drawn_ahead(iter(batches), reading)) as items:
                    try:
                        while (item := committer.wait_for(next(items), batches)) is not None:
                            committer.take(item)
                    finally:
                        source.stop()
                        committer.finish()


class _Committer:
    """Embeds batches in the caller's thread, commits them in its lane, and calls the observer in the input's order."""

    def __init__(
        self,
        lane: Lane,
        pipeline: Pipeline,
        options: IngestOptions,
        observer: Observer,
        source_size_bytes: int | None,
        committed: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._pipeline = pipeline
        self._options = options
        self._observer = observer
        self._source_size_bytes = source_size_bytes
        self._committed = committed
        self._has_memories = False
        self._under_way: deque[Batch] = deque()  # batches that are embedded or being committed
        self._in_order = InOrder()
        self._taken_bytes = 0
        self._failed = False

    def take(self, item: Item) -> None:
        """Embeds a batch, hands it on, and reports what is durable by now. Raises AgentMemError."""
        if isinstance(item, Rejection):
            self._in_order.add(done(item), self._report_rejection)
            self._in_order.pass_on(0 if self._options.stop_at_rejection else AHEAD)
            return
        if isinstance(item, Note):
            self._in_order.add(done(item), lambda note: self._observer.noted(note.text, warning=note.warning))
            self._in_order.pass_on()
            return
        self._has_memories = self._has_memories or bool(item.memories)
        if not self._has_memories:
            return  # not even the position is stored
        self._pipeline.open_for_writing()
        ready, on_share = Ready(), self._on_share_of(item)
        if self._lane.in_thread:
            before = [memory for batch in self._under_way for memory in batch.memories]
            ready, on_share = self._pipeline.embed_ahead(item.memories, before, on_share), None
        self._under_way.append(item)  # in this thread, the commit embeds
        self._in_order.add(self._lane.submit(lambda: self._commit(item, ready, on_share)), self._report_commit)
        self._in_order.pass_on()

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

    def _commit(self, batch: Batch, ready: Ready, on_share: OnShare | None) -> int | None:
        """How many memories are stored then, or None where the commit was not tried."""
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

    def _report_commit(self, stored: int | None) -> None:
        batch = self._under_way.popleft()
        if stored is not None:
            report = self._pipeline.report
            self._observer.committed(
                Progress(batch.position, stored, report, batch.source_bytes, self._source_size_bytes)
            )

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
