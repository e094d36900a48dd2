"""What a large store costs: bytes a vector, time to open, to search, to verify; with a model that costs nothing.

    python -m tests.perf.store_scale [--memories 100000] [--dim 256]

Texts are the benchmark's mixed English, as long as conversation turns; vectors are sums of random word vectors, so the
store is measured and not the model. Takes about two minutes for 100,000 memories on two cores.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agentmem_cli import AgentMem
from agentmem_cli.support.statistics import median
from tests.fakes import FakeEmbedder
from tests.perf.texts import write_texts


def main() -> None:
    """Builds the store, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    arguments = parser.parse_args()
    embedder = FakeEmbedder(dim=arguments.dim)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder / "memories.jsonl", arguments.memories)
        with _timed("ingest, graph included"), AgentMem(folder / "store", embedder=embedder, index="wait") as mem:
            report = mem.ingest([str(folder / "memories.jsonl")])
        print(f"  stages: {', '.join(f'{stage} {spent_s:.2f} s' for stage, spent_s in report.stages_s.items())}")
        with _timed("ingest again, nothing new"), AgentMem(folder / "store", embedder=embedder) as mem:
            mem.ingest([str(folder / "memories.jsonl")])
        with AgentMem(folder / "store", embedder=embedder) as mem:
            stats = mem.stats()
        vector_bytes = 4 * arguments.dim * stats.vectors
        print(f"bytes: {stats.total_bytes:,} = {stats.total_bytes / vector_bytes:.2f} times the vectors' own")
        for file, size_bytes in stats.bytes_by_file.items():
            print(f"  {file}: {size_bytes:,} = {size_bytes / vector_bytes:.2f}")
        print(f"open and search once: {_median_ms(lambda: _open_and_search(folder, embedder)):.0f} ms")
        with AgentMem(folder / "store", embedder=embedder) as mem:
            mem.search("warm up")
            print(f"a search: {_median_ms(lambda: mem.search('a walk with Ana in Lisbon'), 50):.2f} ms")
            print(f"  within one user: {_median_ms(lambda: mem.search('a walk with Ana', user_id='3'), 20):.1f} ms")
        with _timed("verify"), AgentMem(folder / "store", embedder=embedder) as mem:
            print(f"  findings: {len(mem.verify())}")


def _open_and_search(folder: Path, embedder: FakeEmbedder) -> None:
    with AgentMem(folder / "store", embedder=embedder, create=False) as mem:
        mem.search("what did Marco say about the concert?")


def _median_ms(action: Callable[[], object], repeats: int = 9) -> float:
    samples_ms = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        samples_ms.append(1000 * (time.perf_counter() - start))
    return median(samples_ms)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main()
