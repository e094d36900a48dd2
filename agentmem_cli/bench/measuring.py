"""What is timed: the real ingest, bytes to durable and searchable, into a fresh store, in one batch or one by one."""

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from agentmem_cli.api import AgentMem
from agentmem_cli.bench.result import AddSample, IngestSample, TokenCounts
from agentmem_cli.embedding.base import Embedder, Vectors
from agentmem_cli.errors import StoreError
from agentmem_cli.ingest.files import MIN_BATCH_SIZE, IngestOptions
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.memory import IngestReport


def ingest_batch(embedder: Embedder, lines: Sequence[bytes], folder: Path) -> tuple[IngestSample, TokenCounts]:
    """Ingests lines as one batch. Raises StoreError where what was timed did not happen, and ModelError."""
    with fresh_store(embedder, folder) as mem:
        return _ingest(mem, lines)


def ingest_and_read(
    embedder: Embedder, lines: Sequence[bytes], folder: Path
) -> tuple[IngestSample, TokenCounts, Vectors]:
    """The same, and the vectors (n, dim) float32 that the store has then, in the order of the lines."""
    with fresh_store(embedder, folder) as mem:
        sample, counts = _ingest(mem, lines)
        rows = [memory.vector.float32 for memory in mem.export(vectors=True) if memory.vector is not None]
        return sample, counts, np.frombuffer(b"".join(rows), dtype=np.float32).reshape(len(rows), -1)


def add_one_by_one(embedder: Embedder, lines: Sequence[bytes], folder: Path) -> AddSample:
    """Adds each line by itself, and waits until it is durable. Raises like `ingest_batch`."""
    latencies_s = []
    with fresh_store(embedder, folder) as mem:
        with undisturbed():
            begin = end = time.perf_counter()
            for line in lines:
                start = end
                mem.add_batch([parse_memory(line)])
                end = time.perf_counter()
                latencies_s.append(end - start)
        check_searchable(mem, lines[-1], len(lines))
        return AddSample(end - begin, latencies_s)


@contextmanager
def fresh_store(embedder: Embedder, folder: Path) -> Iterator[AgentMem]:
    """A store of its own in a folder, open for writing, whose graph nobody builds unless it is asked for.

    It is removed afterwards; what an interruption leaves of it goes with the folder.
    """
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        AgentMem(Path(own) / "store", embedder=embedder, index="off") as mem,
    ):
        mem.open()
        yield mem


@contextmanager
def undisturbed() -> Iterator[None]:
    """Garbage is collected before, and not meanwhile: else what one measurement leaves is paid for by another."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def check_searchable(mem: AgentMem, last: bytes, memories: int) -> None:
    """What was timed must have happened: all memories are there, and a search finds the last."""
    text = parse_memory(last).text
    if len(mem) != memories or text not in {hit.text for hit in mem.search(text, k=10, mode="vector")}:
        raise StoreError(f"benchmark: {len(mem)} of {memories} memories are in the store, or the last is not found")


def token_counts(report: IngestReport) -> TokenCounts:
    """What the tokenizer made of the texts of an ingest."""
    return TokenCounts(
        texts=report.embedded,
        tokens=report.tokens,
        special_tokens=report.special_tokens,
        unknown_tokens=report.unknown_tokens,
        truncated=report.truncated,
    )


def _ingest(mem: AgentMem, lines: Sequence[bytes]) -> tuple[IngestSample, TokenCounts]:
    path = mem.path.parent / "workload.jsonl"
    path.write_bytes(b"\n".join(lines))
    with undisturbed():
        report = mem.ingest([str(path)], IngestOptions(batch_size=max(len(lines), MIN_BATCH_SIZE)))
    check_searchable(mem, lines[-1], len(lines))
    return IngestSample(report.elapsed_s, report.stages_s), token_counts(report)
