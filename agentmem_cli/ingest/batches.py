"""Lines -> memories -> batches: what is committed together, and when."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Final, TypeAlias

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.ingest.options import IngestOptions, keys_of, reading_of
from agentmem_cli.ingest.pipeline import Pipeline
from agentmem_cli.records.formats.reading import kind_of_source, memory_lines
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.lines import Line, LineSource
from agentmem_cli.records.memory import Memory, Position, Rejection

_BATCH_BYTES: Final = 16_000_000  # a batch of very long memories is committed before it is full
_SHOWN_RAW_BYTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Memories that become durable together, and how far in their input they reach."""

    memories: list[Memory]
    position: Position
    source_bytes: int


@dataclass(frozen=True, slots=True)
class Note:
    """What a user is told of an input; a `warning`, or what it was taken for."""

    text: str
    warning: bool = False


Item: TypeAlias = Batch | Rejection | Note


class Batches:
    """The lines of one input as batches, and between them the lines that were rejected and notes."""

    def __init__(self, source: LineSource, options: IngestOptions, pipeline: Pipeline) -> None:
        self._source = source
        self._options = options
        self._pipeline = pipeline
        self._keys = keys_of(options)
        self._gathering = threading.Lock()  # another thread may take what is gathered
        self._memories: list[Memory] = []
        self._bytes = 0
        self._last_line = 0
        self._since_s = 0.0  # when the oldest of the memories came

    def __iter__(self) -> Iterator[Item]:
        """Raises InputError."""
        start = time.perf_counter()
        for item in self._items():
            self._pipeline.add_to_stage("parse", time.perf_counter() - start)
            yield item
            start = time.perf_counter()

    def _items(self) -> Iterator[Item]:
        reading, read_before = reading_of(self._options), self._pipeline.report.read
        kind = kind_of_source(self._source, reading)
        said = None if kind.said is None else Note(f"{self._source.name}: read as {kind.said}")
        for line in memory_lines(self._source, kind, reading):
            if said is not None:  # not before: what can't be read has an error alone
                yield said
                said = None
            self._pipeline.report.read += 1
            try:
                memory = self._parse(line, kind.unit)
            except InvalidMemoryError as error:
                if self._options.stop_at_rejection:
                    yield self._taken(complete=False)
                self._last_line = line.number
                yield Rejection(self._source.name, line.number, str(error), line.content[:_SHOWN_RAW_BYTES], kind.unit)
                continue
            batch = self._gather(memory, line)
            if batch is not None:
                yield batch
        if self._pipeline.report.read == read_before:
            yield Note(f"{self._source.name}: there are no memories in it", warning=True)
        yield self._taken(complete=True)

    def _parse(self, line: Line, unit: str) -> Memory:
        if line.fault:
            raise InvalidMemoryError(line.fault)
        if line.too_long:
            raise InvalidMemoryError(f"{unit} is longer than {self._options.max_line_bytes} bytes")
        memory = parse_memory(line.content, self._keys)
        ttl_s = self._options.ttl_s
        if ttl_s is None or memory.expires_at is not None or "expires_at" in memory.clears:
            return memory
        return replace(memory, expires_at=datetime.now(timezone.utc) + timedelta(seconds=ttl_s))

    def _gather(self, memory: Memory, line: Line) -> Batch | None:
        """Adds a memory to the others, and takes them where they make a batch."""
        with self._gathering:
            if not self._memories:
                self._since_s = time.monotonic()
            self._memories.append(memory)
            self._bytes += len(line.content)
            self._last_line = line.number
            is_full = len(self._memories) == self._options.batch_size or self._bytes > _BATCH_BYTES
            return self._take(complete=False) if is_full else None

    def _taken(self, *, complete: bool) -> Batch:
        with self._gathering:
            return self._take(complete=complete)

    def _take(self, *, complete: bool) -> Batch:
        memories, self._memories, self._bytes = self._memories, [], 0
        return Batch(memories, Position(self._source.name, self._last_line, complete), self._source.position_bytes)

    def waited_too_long(self, coming: "Future[Item | None]") -> Batch | None:
        """For the thread that waits for the next item: what was gathered before it, where the input is slow."""
        if not self._source.may_wait:
            return None
        with self._gathering:
            # Once the next item is there, it holds what was gathered.
            waited_s = time.monotonic() - self._since_s
            if coming.done() or not self._memories or waited_s < self._options.flush_interval_s:
                return None
            return self._take(complete=False)
