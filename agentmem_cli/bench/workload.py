"""What a benchmark measures: its options, and its texts, which are short strings, mixed English texts or a file."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson

from agentmem_cli.bench.measure import Labelled
from agentmem_cli.bench.result import WorkloadFacts
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.ingest.options import MAX_BATCH_SIZE, MIN_BATCH_SIZE, RayPlace
from agentmem_cli.records.jsonl import parse_memory, parse_object
from agentmem_cli.records.lines import Line, open_source
from agentmem_cli.records.memory import Memory
from agentmem_cli.store.base import MIN_INDEXED
from agentmem_cli.support.safe_text import printable

MAX_SCALE: Final = 10_000_000
MAX_CLIENTS: Final = 256
MIN_EF: Final = 10  # as many as are searched for
MAX_EF: Final = 10_000
ADDS: Final = 400  # of a round of clients: half a second of one with the static model, and seconds with others
SEARCHES: Final = 100
_CALLS_A_CLIENT: Final = 4


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure. Raises UsageError for sizes that are not possible.

    `scale` lists the sizes that a store grows to; by default that is the size of the largest batch. `labelled` names
    the queries that measure the quality of searches. `threads` and `device` are only recorded in the result: the
    embedders have their own. With `max_time_s`, there are more repeats while these can decide something, as long as all
    repeats together take no more seconds than that.

    `clients` are the numbers of threads that add and search at once, `processes` is the number of processes that search
    while one adds, and `ef` are the values to search the graph with; all use a store of the last of `store_sizes`.

    `store` is the URL of a database for the stores, in place of a temporary folder. Then `workers` are the numbers of
    workers on the Ray cluster `on` that take in as many memories as the last of `store_sizes`.
    """

    sizes: Sequence[int]
    singles: int = 100
    repeats: int = 5
    warmup: int = 1
    scale: Sequence[int] = ()
    threads: int | None = None
    device: str = "cpu"
    labelled: Labelled | None = None
    max_time_s: float | None = None
    clients: Sequence[int] = ()
    processes: int = 0
    ef: Sequence[int] = ()
    store: str | None = None
    on: str | None = None
    workers: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not self.sizes:
            raise UsageError("--sizes is empty: give batch sizes such as 10,50,100,500,1000")
        for size in (*self.sizes, self.singles):
            if not MIN_BATCH_SIZE <= size <= MAX_BATCH_SIZE:
                raise UsageError(f"size {size} is not between {MIN_BATCH_SIZE} and {MAX_BATCH_SIZE}")
        if len(set(self.sizes)) != len(self.sizes):
            raise UsageError("--sizes names a size twice")
        if self.repeats < 1 or self.warmup < 0:
            raise UsageError("--repeats must be at least 1 and --warmup at least 0")
        if self.max_time_s is not None and not 0 < self.max_time_s < math.inf:
            raise UsageError(f"--max-time {self.max_time_s:g}: give a number of seconds above 0")
        for size in self.scale:
            if not MIN_BATCH_SIZE <= size <= MAX_SCALE:
                raise UsageError(f"--scale: {size} memories is not between {MIN_BATCH_SIZE} and {MAX_SCALE:,}")
        if any(size >= larger for size, larger in zip(self.scale, self.scale[1:], strict=False)):
            raise UsageError("--scale: give ascending sizes, such as 1000,10000,100000")
        self._check_concurrent()
        self._check_workers()

    def _check_workers(self) -> None:
        if (self.on is None) != (not self.workers):
            raise UsageError("--on and --workers go together: give --on ray --workers 1,2, for example")
        if self.on is not None and self.store is None:
            raise UsageError(
                "--on needs a store that many workers can write to: give --store postgresql://USER@HOST/DB"
            )
        for count in self.workers:
            RayPlace.of(self.on, count)
        if len(set(self.workers)) != len(self.workers):
            raise UsageError("--workers names a number twice")

    def _check_concurrent(self) -> None:
        if any(not 1 <= count <= MAX_CLIENTS for count in self.clients):
            raise UsageError(f"--clients: give numbers of threads from 1 to {MAX_CLIENTS}, such as 1,4,10,32")
        if len(set(self.clients)) != len(self.clients):
            raise UsageError("--clients names a number twice")
        if not 0 <= self.processes <= MAX_CLIENTS:
            raise UsageError(f"--processes {self.processes}: give a number of processes from 1 to {MAX_CLIENTS}")
        if any(not MIN_EF <= ef <= MAX_EF for ef in self.ef):
            raise UsageError(f"--ef: give values from {MIN_EF} to {MAX_EF:,}, such as 16,32,64,128,256")
        if len(set(self.ef)) != len(self.ef):
            raise UsageError("--ef names a value twice")
        if self.ef and self.store is not None:
            raise UsageError("--ef is about the graph of a store in a folder: leave out --store, or --ef")
        if self.ef and self.store_sizes[-1] < MIN_INDEXED:
            raise UsageError(f"--ef needs a store with a graph: give --scale {MIN_INDEXED} or more")

    @property
    def store_sizes(self) -> list[int]:
        """The sizes that a store is grown to."""
        return list(self.scale) or [max(self.sizes)]

    @property
    def memories(self) -> int:
        """How many memories the workload must have."""
        return max(*self.sizes, *self.store_sizes, self.adds if self.clients else 0)

    @property
    def adds(self) -> int:
        """How many memories the clients of a round add, in all."""
        return max(ADDS, _CALLS_A_CLIENT * max(self.clients, default=1))

    @property
    def searches(self) -> int:
        """How many searches the clients of a round make, in all."""
        return max(SEARCHES, _CALLS_A_CLIENT * max(self.clients, default=1))

    @property
    def needs_store(self) -> bool:
        """Whether the store that was grown is used afterwards."""
        return bool(self.clients or self.processes or self.ef)


PHASE4: Final = "phase4"
MIXED: Final = "mixed"
_QUERIES: Final = 100
_QUERY_SEED: Final = 1_000_003  # added to the seed of the memories, so that few queries equal a memory


@dataclass(frozen=True, slots=True)
class Workload:
    """Lines of JSONL, without line breaks.

    `batch_lines` are ingested in batches, `compare_lines` one by one and in one batch. `queries` are searched for.
    `duplicates` is the number of lines that were left out because they repeat a text or an id.

    A tokenizer may be faster with texts that it has seen. Each measurement is therefore a turn with texts of its own,
    which are as long as those of every other turn; a store that grows has the lines as they are. `repeats_ratio` is the
    share of the memories of a turn that have the text of another one.
    """

    name: str
    batch_lines: Sequence[bytes]
    compare_lines: Sequence[bytes]
    queries: Sequence[str] = ()
    duplicates: int = 0
    repeats_ratio: float = 0.0

    def texts(self) -> list[str]:
        """The texts of the batches."""
        return [parse_memory(line).text for line in self.batch_lines]

    def batch(self, size: int, turn: int) -> list[bytes]:
        """The lines of a batch in a turn, which is a number from 0 on."""
        return self._with_repeats([_of_turn(line, turn) for line in self.batch_lines[:size]])

    def compared(self, size: int, turn: int) -> list[bytes]:
        """As `batch`, for the comparison."""
        return self._with_repeats([_of_turn(line, turn) for line in self.compare_lines[:size]])

    def _with_repeats(self, lines: list[bytes]) -> list[bytes]:
        return repeated(lines, self.repeats_ratio) if self.repeats_ratio else lines

    def facts(self) -> WorkloadFacts:
        """The workload's entry in a result; the checksum includes the lines of one turn, from which the others follow.

        Equal checksums mean that equal turns have equal texts.
        """
        digest = hashlib.sha256()
        turn = self.batch(len(self.batch_lines), 0), self.compared(len(self.compare_lines), 0)
        for line in (*self.batch_lines, b"", *self.compare_lines, b"", *turn[0], b"", *turn[1]):
            digest.update(line + b"\n")
        return WorkloadFacts(
            printable(self.name), len(self.batch_lines), digest.hexdigest(), self.duplicates, self.repeats_ratio
        )


def make_workload(name: str, memories: int, singles: int, seed: int = 0, repeats_ratio: float = 0.0) -> Workload:
    """The workload of this name or JSONL file: `memories` lines for the batches and `singles` for the comparison.

    Raises UsageError if a file has too few distinct lines: a store would reuse the vectors of repeated texts. With
    `repeats_ratio` it does so on purpose, for this share of the memories of a batch.
    """
    if not 0 <= repeats_ratio < 1:
        raise UsageError(f"--repeats-of-text {repeats_ratio:g}: give a share of at least 0 and below 1, such as 0.5")
    return replace(_distinct(name, memories, singles, seed), repeats_ratio=repeats_ratio)


def _distinct(name: str, memories: int, singles: int, seed: int) -> Workload:
    if name == PHASE4:
        short = [f"批量测试记忆 #{i}" for i in range(max(singles, _QUERIES))]
        return Workload(
            name,
            [_line(f"批量测试记忆 #{i} - 这是一条测试数据，用于验证批量添加性能") for i in range(memories)],
            [_line(text) for text in short[:singles]],
            short[:_QUERIES],
        )
    count = max(memories, singles)
    if name == MIXED:
        lines, duplicates = [_line(text) for text in mixed_texts(count, seed)], 0
        queries = mixed_texts(_QUERIES, seed + _QUERY_SEED)
    else:
        lines, duplicates = _distinct_lines(name, count)
        queries = [parse_memory(line).text for line in lines[:: -(-len(lines) // _QUERIES)]]
    return Workload(name, lines[:memories], lines[:singles], queries, duplicates)


def repeated(lines: Sequence[bytes], share: float) -> list[bytes]:
    """The lines, each with an id; this share of them gets the text of another, the same for all texts.

    The last one gets the text of the last distinct line.
    """
    distinct = max(1, round(len(lines) * (1 - share)))
    texts = [parse_memory(line).text for line in lines[:distinct]]
    return [
        orjson.dumps({**parse_object(line), "id": f"m{place}", "text": texts[(place - len(lines)) % distinct]})
        for place, line in enumerate(lines)
    ]


_FIRST_TURN: Final = 100  # the first 900 turns have three digits, which most vocabularies have as one token


def asked(queries: Sequence[str], turn: int) -> Iterator[str]:
    """Queries of a turn, without end; no text is asked twice."""
    for lap in itertools.count():
        for query in queries:
            yield f"{query} {_FIRST_TURN + turn} {lap}"


def _of_turn(line: bytes, turn: int) -> bytes:
    """The line with the number of the turn at the end of its text."""
    fields = parse_object(line)
    return orjson.dumps({**fields, "text": f"{fields['text']} {_FIRST_TURN + turn}"})


def _line(text: str) -> bytes:
    return orjson.dumps({"text": text})


def _distinct_lines(path: str, count: int) -> tuple[list[bytes], int]:
    """The first `count` lines with distinct texts and ids, and the number of lines left out between them."""
    if not Path(path).is_file():
        raise UsageError(f"--workload {path}: no such file; give {PHASE4}, {MIXED} or a JSONL file")
    by_text: dict[str, bytes] = {}
    ids: set[str] = set()
    lines = 0
    with open_source(path) as source:
        for line in source.lines():
            memory = _clean_memory(path, line)
            lines += 1
            if memory.id not in ids:
                ids.add(memory.id)
                by_text.setdefault(memory.text, line.content)
            if len(by_text) == count:
                return list(by_text.values()), lines - count
    raise UsageError(
        f"--workload {path} has {len(by_text)} distinct texts, but {count} are needed: use smaller --sizes or --scale"
    )


def _clean_memory(path: str, line: Line) -> Memory:
    try:
        if line.too_long:
            raise InvalidMemoryError("line is too long")
        return parse_memory(line.content)
    except InvalidMemoryError as error:
        raise UsageError(f"--workload {path}:{line.number}: {error}: correct or remove this line") from error
