"""The measurements: ingests into fresh stores, in one batch or one by one, and checks that they succeeded."""

import gc
import itertools
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.api import AgentMem
from agentmem_cli.bench.place import Place
from agentmem_cli.bench.result import CallsSample, IngestSample, Likeness, Retrieval, TokenCounts
from agentmem_cli.embedding.base import Embedder, Vectors, embed_queries_checked
from agentmem_cli.errors import StoreError, UsageError
from agentmem_cli.ingest.options import MIN_BATCH_SIZE, IngestOptions
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.search.evaluation import METRICS
from agentmem_cli.search.query import Mode, Ranking
from agentmem_cli.search.query_file import read_queries

Item = TypeVar("Item")


def ingest_batch(embedder: Embedder, lines: Sequence[bytes], place: Place) -> tuple[IngestSample, TokenCounts]:
    """Ingests lines as one batch. Raises StoreError if the memories are not in the store afterwards, and ModelError."""
    with place.fresh_store(embedder) as mem:
        return _ingest(mem, lines, place.folder)


def ingest_and_read(
    embedder: Embedder, lines: Sequence[bytes], place: Place
) -> tuple[IngestSample, TokenCounts, Vectors]:
    """As `ingest_batch`, and returns the stored vectors (n, dim) float32 in the order of the lines."""
    with place.fresh_store(embedder) as mem:
        sample, counts = _ingest(mem, lines, place.folder)
        rows = [memory.vector.float32 for memory in mem.export(vectors=True) if memory.vector is not None]
        return sample, counts, np.frombuffer(b"".join(rows), dtype=np.float32).reshape(len(rows), -1)


def add_one_by_one(embedder: Embedder, lines: Sequence[bytes], place: Place) -> CallsSample:
    """Adds lines one by one, each durably. Raises like `ingest_batch`."""
    latencies_s = []
    with place.fresh_store(embedder) as mem:
        collect_garbage()
        begin = end = time.perf_counter()
        for line in lines:
            start = end
            mem.add_batch([parse_memory(line)])
            end = time.perf_counter()
            latencies_s.append(end - start)
        check_searchable(mem, lines[-1], len(lines))
        return CallsSample(end - begin, latencies_s)


def rotated(items: Sequence[Item], by: int) -> list[Item]:
    """The items, rotated so that the one at `by` (modulo their number) comes first."""
    by %= len(items)
    return [*items[by:], *items[:by]]


def collect_garbage() -> None:
    """Collects the garbage of former measurements; during a measurement, collection runs as it does in any ingest."""
    with _signals_wait():
        gc.collect()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Handles SIGINT and SIGTERM at its end: Python drops an exception that a handler raises in a finalizer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def check_searchable(mem: AgentMem, last: bytes, memories: int) -> None:
    """Raises StoreError unless all memories are in the store and a search finds the last one."""
    text = parse_memory(last).text
    if len(mem) != memories or text not in {hit.text for hit in mem.search(text, k=10, mode="meaning")}:
        raise StoreError(
            f"benchmark: {len(mem)} of {memories} memories are in the store, or a search misses the last one"
        )


def token_counts(report: IngestReport) -> TokenCounts:
    """The token counts of an ingest."""
    return TokenCounts(
        texts=report.embedded,
        tokens=report.tokens,
        special_tokens=report.special_tokens,
        unknown_tokens=report.unknown_tokens,
        truncated=report.truncated,
    )


def _ingest(mem: AgentMem, lines: Sequence[bytes], folder: Path) -> tuple[IngestSample, TokenCounts]:
    path = folder / "workload.jsonl"
    path.write_bytes(b"\n".join(lines))
    collect_garbage()
    cpu_s = time.process_time()
    report = mem.ingest([str(path)], IngestOptions(batch_size=max(len(lines), MIN_BATCH_SIZE)))
    cpu_s = time.process_time() - cpu_s
    check_searchable(mem, lines[-1], len(lines))
    return IngestSample(report.elapsed_s, report.stages_s, cpu_s), token_counts(report)


NEIGHBOURS: Final = 10
_EQUAL: Final = 1e-5  # smaller differences of scores are rounding errors of float32
_PAGE_ROWS: Final = 10_000


def graph_found(mem: AgentMem, embedder: Embedder, queries: Sequence[str]) -> list[int]:
    """For each query, how many of its 10 nearest vectors a vector search found: see `near_enough`."""
    vectors = embed_queries_checked(embedder, queries)
    found = [[hit.score for hit in mem.search(query, NEIGHBOURS, mode="meaning")] for query in queries]
    return near_enough(found, exact_tenth(mem, vectors))


def near_enough(found: Iterable[Sequence[float]], tenth: Sequence[float]) -> list[int]:
    """For each query, how many of the cosines found are no less than the tenth of an exact scan.

    So ties do not matter (the threshold of ann-benchmarks: Aumüller, Bernhardsson, Faithfull 2018).
    """
    return [sum(score >= least - _EQUAL for score in scores) for scores, least in zip(found, tenth, strict=True)]


def exact_tenth(mem: AgentMem, queries: Vectors) -> list[float]:
    """The tenth highest cosine of each query (n, dim), by an exact scan; the store must hold at least 10 memories."""
    tenth: list[float] = _exact_scores(mem, queries)[:, -1].tolist()
    return tenth


def likeness(vectors: Vectors, reference: Vectors, reference_name: str) -> Likeness:
    """The similarity of the vectors (n, dim) of two models for the same n > 1 texts."""
    cosines = [] if vectors.shape != reference.shape else np.einsum("ij,ij->i", vectors, reference).tolist()
    near, near_by_reference = _neighbours(vectors), _neighbours(reference)
    shared = [len(set(a) & set(b)) for a, b in zip(near.tolist(), near_by_reference.tolist(), strict=True)]
    return Likeness(reference_name, cosines, shared)


def _exact_scores(mem: AgentMem, queries: Vectors) -> NDArray[np.float32]:
    """The 10 highest cosines of each query (n, 10), highest first, by an exact scan."""
    best = np.full((len(queries), NEIGHBOURS), -2.0, dtype=np.float32)
    memories = mem.export(vectors=True)
    while page := list(itertools.islice(memories, _PAGE_ROWS)):
        raw = b"".join(memory.vector.float32 for memory in page if memory.vector is not None)
        scores = queries @ np.frombuffer(raw, dtype=np.float32).reshape(len(page), -1).T
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :NEIGHBOURS]
    return best


def _neighbours(vectors: Vectors) -> NDArray[np.int64]:
    """The 10 nearest other rows of each row (n, 10)."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    count = min(NEIGHBOURS, len(vectors) - 1)
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]


_MODES: Final[tuple[Mode, ...]] = ("hybrid", "meaning")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file of memories, and a file of queries with relevant ids of these memories."""

    memories_file: str
    queries_file: str


def labelled(memories_file: str, queries_file: str) -> Labelled:
    """Checks the queries. Raises UsageError if none has relevant ids, and InputError."""
    if queries_file == "-":
        raise UsageError("--queries -: the queries are read once per model: give a file")
    if not any(query.relevant for query in read_queries(queries_file)):
        raise UsageError(f'--queries {queries_file}: no query has relevant ids: add them as "relevant"')
    return Labelled(memories_file, queries_file)


def retrieval(embedder: Embedder, files: Labelled, place: Place) -> Iterator[Retrieval]:
    """Ingests the file of memories and evaluates the queries in each mode."""
    queries = list(read_queries(files.queries_file))
    with place.fresh_store(embedder) as mem:
        mem.ingest([files.memories_file])
        mem.build_index()
        evaluations = mem.evaluate(queries, [Ranking(mode) for mode in _MODES])
    for mode, evaluation in zip(_MODES, evaluations, strict=True):
        yield Retrieval(
            mode=mode,
            figures={name: [judged.figures[name] for judged in evaluation.judged] for name in METRICS},
            unlabelled=evaluation.unlabelled,
            missing=len(evaluation.missing),
        )
