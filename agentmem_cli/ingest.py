"""The pipeline: lines -> memories -> batches -> vectors -> durable commits, with a report of what became of each."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from agentmem_cli.embedding.base import Embedded, Embedder, EmbedderSpec, Vectors, embed_checked, is_unit
from agentmem_cli.errors import InvalidMemoryError, RejectedLineError, UsageError
from agentmem_cli.jsonl import parse_memory
from agentmem_cli.lines import MAX_EXPANSION, MAX_LINE_BYTES, STDIN, Line, LineSource, open_source
from agentmem_cli.memory import IngestReport, Memory, Position, Rejection, Scope
from agentmem_cli.store.embedded import EmbeddedStore

MIN_BATCH_SIZE: Final = 10
MAX_BATCH_SIZE: Final = 1000
_BATCH_BYTES: Final = 32_000_000  # a batch of very long memories is committed before it is full
_SHOWN_RAW_BYTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to take inputs in. Raises UsageError for a batch size outside 10 to 1000."""

    batch_size: int = MAX_BATCH_SIZE
    text_field: str = "text"
    defaults: Scope = field(default_factory=Scope)
    stop_at_rejection: bool = False
    dry_run: bool = False
    max_line_bytes: int = MAX_LINE_BYTES
    max_expansion: int = MAX_EXPANSION

    def __post_init__(self) -> None:
        if not MIN_BATCH_SIZE <= self.batch_size <= MAX_BATCH_SIZE:
            raise UsageError(f"batch size {self.batch_size} is not between {MIN_BATCH_SIZE} and {MAX_BATCH_SIZE}")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an ingest is, right after a commit; `position` is durable."""

    position: Position
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


class Pipeline:
    """Takes memories into one store, batch by batch, and keeps the report; loads the embedder when a text needs it."""

    def __init__(
        self,
        store: EmbeddedStore,
        spec: EmbedderSpec,
        load_embedder: Callable[[], Embedder],
        kept_dims: int | None = None,
    ) -> None:
        """A dry run keeps one of a vector's dims, since nobody will search for it."""
        self.report = IngestReport()
        self._kept_dims = kept_dims
        self._store = store
        self._spec = spec
        self._load_embedder = load_embedder

    def write(self, memories: Sequence[Memory], position: Position | None = None) -> None:
        """Makes a batch durable: when this returns, it is. Raises StoreError, ModelError.

        Where it raises, nothing of the batch is stored, but for one case: after a failed fsync nobody can tell, and the
        batch may be found later, whole.
        """
        with self.stage("plan"):
            plan = self._store.plan(memories)
        given = self._given_vectors(memories)
        embedded = self._embed([text for text in plan.new_texts if text not in given])
        vectors = _in_order(plan.new_texts, given, embedded)
        with self.stage("commit"):
            self._store.commit(plan, vectors[:, : self._kept_dims], position)
        self.report.added += plan.added
        self.report.updated += plan.updated
        self.report.unchanged += plan.unchanged
        self.report.embedded += len(embedded)
        self.report.reused += plan.added + plan.updated - len(embedded)

    def _embed(self, texts: list[str]) -> Vectors:
        if not texts:
            return np.empty((0, self._spec.dim), dtype=np.float32)
        with self.stage("load"):
            embedder = self._load_embedder()
        with self.stage("embed"):
            embedded = embed_checked(embedder, texts)
        self.report.tokens += embedded.tokens
        self.report.special_tokens += embedded.special_tokens
        self.report.unknown_tokens += embedded.unknown_tokens
        self.report.truncated += embedded.truncated
        return embedded.vectors

    def _given_vectors(self, memories: Sequence[Memory]) -> dict[str, Vectors]:
        """The vectors that came with memories and are of this embedder, by text; damaged ones are made anew."""
        spec, given = self._spec, {}
        for memory in memories:
            vector = memory.vector
            if vector is not None and vector.revision == spec.revision and len(vector.float32) == 4 * spec.dim:
                row = np.frombuffer(vector.float32, dtype=np.float32)
                if is_unit(row):
                    given[memory.text] = row
        return given

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to a stage of the report."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add_to_stage(name, time.perf_counter() - start)

    def add_to_stage(self, name: str, spent_s: float) -> None:
        """Adds time to a stage of the report."""
        self.report.stages_s[name] = self.report.stages_s.get(name, 0.0) + spent_s


def _in_order(texts: Sequence[str], given: Mapping[str, Vectors], embedded: Vectors) -> Vectors:
    """The vectors (n, dim) of texts, from those that were given and, in order, those that were embedded."""
    if not given:
        return embedded
    rest = iter(embedded)
    return np.stack([given[text] if text in given else next(rest) for text in texts]) if texts else embedded


def ingest_files(
    pipeline: Pipeline, store: EmbeddedStore, paths: Sequence[str], options: IngestOptions, observer: Observer
) -> None:
    """Takes files in, one after the other, and refreshes the graph once at the end. Raises AgentMemError."""
    for path in paths:
        with open_source(path, options.max_expansion) as source:
            earlier = None if path == STDIN else store.position(source.name)
            observer.started(source.name, earlier, source.size_bytes)
            _SourceRun(pipeline, source, options, observer).run()
    if not options.dry_run:
        with pipeline.stage("index"):
            store.refresh_graph()


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


class _SourceRun:
    """One input on its way through the pipeline."""

    def __init__(self, pipeline: Pipeline, source: LineSource, options: IngestOptions, observer: Observer) -> None:
        self._pipeline = pipeline
        self._source = source
        self._options = options
        self._observer = observer
        self._batch: list[Memory] = []
        self._batch_bytes = 0
        self._batch_start = time.perf_counter()

    def run(self) -> None:
        report, options, last_line = self._pipeline.report, self._options, 0
        for line in self._source.lines(options.max_line_bytes):
            report.read += 1
            last_line = line.number
            try:
                memory = self._parse(line)
            except InvalidMemoryError as error:
                self._reject(line, str(error))
                continue
            self._batch.append(memory)
            self._batch_bytes += len(line.content)
            if len(self._batch) == options.batch_size or self._batch_bytes > _BATCH_BYTES:
                self._commit(Position(self._source.name, line.number))
        self._commit(Position(self._source.name, last_line, complete=True))

    def _parse(self, line: Line) -> Memory:
        if line.too_long:
            raise InvalidMemoryError(f"line is longer than {self._options.max_line_bytes} bytes")
        return parse_memory(line.content, self._options.text_field, self._options.defaults)

    def _reject(self, line: Line, reason: str) -> None:
        rejection = Rejection(self._source.name, line.number, reason, line.content[:_SHOWN_RAW_BYTES])
        self._pipeline.report.rejected += 1
        if self._options.stop_at_rejection:
            self._commit(Position(self._source.name, line.number - 1))
            self._observer.rejected(rejection)
            stored = "would be" if self._options.dry_run else "are"
            raise RejectedLineError(
                f"{rejection.file}:{rejection.line}: {reason}: stopped there; the {self._pipeline.report.stored} "
                f"memories before it {stored} stored"
            )
        self._observer.rejected(rejection)

    def _commit(self, position: Position) -> None:
        pipeline = self._pipeline
        pipeline.add_to_stage("parse", time.perf_counter() - self._batch_start)
        pipeline.write(self._batch, position)
        self._batch, self._batch_bytes = [], 0
        self._observer.committed(
            Progress(position, pipeline.report, self._source.position_bytes, self._source.size_bytes)
        )
        self._batch_start = time.perf_counter()


class _NoEmbedder:
    """Gives every text the same vector; an Embedder."""

    def __init__(self, spec: EmbedderSpec) -> None:
        self.spec = spec

    def embed(self, texts: Sequence[str]) -> Embedded:
        return Embedded(np.ones((len(texts), self.spec.dim), dtype=np.float32), 0, 0, 0, 0)

    def embed_query(self, query: str) -> Vectors:
        return np.ones(self.spec.dim, dtype=np.float32)
