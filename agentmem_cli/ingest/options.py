"""How inputs are taken in, and the observer that is called meanwhile."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agentmem_cli.errors import UsageError
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.formats.names import FormatName
from agentmem_cli.records.formats.reading import Reading
from agentmem_cli.records.keys import Keys
from agentmem_cli.records.lines import MAX_EXPANSION, MAX_LINE_BYTES
from agentmem_cli.records.memory import MEMORY_TYPES, Position, Rejection, Scope
from agentmem_cli.records.times import MAX_TTL_S
from agentmem_cli.records.values import check_type, check_whole, shown

MIN_BATCH_SIZE: Final = 10
MAX_BATCH_SIZE: Final = 1000
_ON_RAY: Final = re.compile(r"ray(:(//)?[^\s:/@]+:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class RayPlace:
    """A Ray cluster: its address, or None for this machine or what RAY_ADDRESS names; and how many workers to start
    there, by default one per CPU."""

    address: str | None
    workers: int | None

    @classmethod
    def of(cls, on: str | None, workers: int | None) -> "RayPlace | None":
        """The place that `ray`, `ray://HOST:PORT` (its client's server) or `ray:HOST:PORT` names; None for None.

        Raises UsageError.
        """
        if on is None:
            if workers is not None:
                raise UsageError("workers are for an ingest on a Ray cluster: give --on ray too")
            return None
        check_type("on", on, str, "'ray'")
        if not _ON_RAY.fullmatch(on):
            raise UsageError(f"--on {shown(on)}: write ray, ray://HOST:PORT or ray:HOST:PORT")
        if workers is not None:
            check_whole("workers", workers, 1)
        return cls(on if on.startswith("ray://") else on[4:] or None, workers)


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to take inputs in. Raises UsageError for a batch size outside 10 to 1000, or a negative interval.

    A batch is committed when it is full. Where the input is a pipe, a terminal or a device, it is also committed when
    its oldest memory has waited for `flush_interval_s`; 0 commits each memory as it comes.

    A memory whose id is stored updates that one: a field that its line leaves out keeps its value, null empties a
    field, and with `replace` the line is the whole record. With `chunk`, memories that are longer than the model reads
    (or than 512 tokens, where it reads more) are split into overlapping chunks of `chunk_tokens` tokens, 128 by
    default; this includes memories that are stored already. A dry run does not foresee that.

    A memory whose line says nothing about `expires_at` expires `ttl_s` seconds after it is read.

    Without a `format`, the first bytes of an input decide what it is. `text_field` is the key of the text, or a path of
    keys with dots; by default it is the first that there is of text, memory, content, message and body. Of chats,
    messages of the roles in `include` (system, tool) are taken too. `type_map` maps other names of memory types to
    those that agentmem has, and importance is divided by `importance_scale`.

    With `on`, `workers` on a Ray cluster embed and write (see `RayPlace`): for a store in PostgreSQL. Batches are then
    committed in any order, but for those with the same ids.
    """

    batch_size: int = MAX_BATCH_SIZE
    flush_interval_s: float = 1.0
    text_field: str | None = None
    defaults: Scope = field(default_factory=Scope)
    stop_at_rejection: bool = False
    replace: bool = False
    chunk: bool = False
    chunk_tokens: int | None = None
    ttl_s: float | None = None
    dry_run: bool = False
    wait_index: bool = False
    max_line_bytes: int = MAX_LINE_BYTES
    max_expansion: int = MAX_EXPANSION
    format: FormatName | None = None
    include: frozenset[str] = frozenset()
    type_map: Mapping[str, str] = field(default_factory=dict)
    importance_scale: float = 1.0
    on: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if not MIN_BATCH_SIZE <= self.batch_size <= MAX_BATCH_SIZE:
            raise UsageError(f"batch size {self.batch_size} is not between {MIN_BATCH_SIZE} and {MAX_BATCH_SIZE}")
        if not self.flush_interval_s >= 0:  # or it is NaN
            raise UsageError(f"flush interval {self.flush_interval_s} is not a number of seconds, 0 or more")
        if self.ttl_s is not None and not 0 < self.ttl_s <= MAX_TTL_S:
            raise UsageError(f"ttl {self.ttl_s} s is not between 0 and {MAX_TTL_S:.0f} s")
        if not self.importance_scale > 0:
            raise UsageError(f"importance scale {self.importance_scale} is not a number above 0")
        unknown = next((name for name in self.type_map.values() if name not in MEMORY_TYPES), None)
        if unknown is not None:
            raise UsageError(f"type map: {unknown} is not a memory type: it is one of {', '.join(MEMORY_TYPES)}")
        reading_of(self)
        RayPlace.of(self.on, self.workers)


def reading_of(options: IngestOptions) -> Reading:
    """How an input is read. Raises UsageError."""
    names_runs = options.defaults.run_id is None
    return Reading(options.format, options.text_field, options.include, names_runs, options.max_line_bytes)


def keys_of(options: IngestOptions) -> Keys:
    """How its keys are read."""
    types = {name.lower(): known for name, known in options.type_map.items()}
    return Keys(options.text_field, options.defaults, types, options.importance_scale)


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of an ingest after a commit: `position` is durable, and so are `stored` memories of this ingest."""

    position: Position
    stored: int
    report: IngestReport
    source_bytes: int
    source_size_bytes: int | None


class Observer:
    """Called during an ingest, in the caller's thread; the base class does nothing.

    `embedding` is called only where `watches_embedding` is true, and the model runs in this process and is not static.
    """

    watches_embedding: bool = False

    def started(self, file: str, earlier: Position | None, size_bytes: int | None) -> None:
        """An input has been opened; `earlier` is how far a former ingest came with it."""

    def rejected(self, rejection: Rejection) -> None:
        """A line was rejected."""

    def noted(self, text: str, *, warning: bool) -> None:
        """What an input was taken for, or a warning about it."""

    def embedding(self, source_bytes: int) -> None:
        """So many bytes of the input are embedded, though not durable yet."""

    def committed(self, progress: Progress) -> None:
        """A batch is durable."""
