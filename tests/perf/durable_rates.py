"""How fast memories become durable, then indexed, and how fast they are found, with a model that costs little.

    python -m tests.perf.durable_rates [--model minilm-static] [--memories 100000] [--repeats 5]

Texts are the benchmark's mixed English. Each repeat ingests them into a fresh store (batches of 1,000; the graph is
built in the background meanwhile), and ends when the graph is published; then come, in the same store, the same file
again, single adds, searches against an exact scan, and whole `agentmem search` processes.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson

from agentmem_cli import AgentMem
from agentmem_cli.bench.measure import NEIGHBOURS, graph_found
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.ingest.options import Observer, Progress
from agentmem_cli.store.embedded.store import EmbeddedStore
from agentmem_cli.support.statistics import median

QUERIES = 500
ADDS = 1000
K = 10


class _Clock(Observer):
    """When each batch became durable."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.at_s: list[float] = []

    def committed(self, progress: Progress) -> None:
        self.at_s.append(time.perf_counter() - self.start)

    def last_tenth_against_first(self) -> float:
        tenth = max(len(self.at_s) // 10, 1)
        return self.at_s[tenth - 1] / (self.at_s[-1] - self.at_s[-1 - tenth])


def main() -> None:
    """Measures and prints: the median of the repeats, and the least and the most."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm-static")
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    embedder = catalog.load(catalog.resolve(ModelChoice(arguments.model)))
    embedder.embed(["it is loaded, and warm"] * 200)
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "memories.jsonl"
        # In a process of its own: making texts takes memory, and this one's is measured.
        subprocess.run([sys.executable, "-m", "tests.perf.texts", str(file), str(arguments.memories)], check=True)
        for repeat in range(arguments.repeats):
            for what, figure in _measure(embedder, file, Path(name) / f"store-{repeat}", arguments.memories).items():
                figures.setdefault(what, []).append(figure)
            print(f"repeat {repeat + 1} done", file=sys.stderr, flush=True)
    for what, samples in figures.items():
        print(f"{what:58} {median(samples):10,.2f}   ({min(samples):,.2f} to {max(samples):,.2f})")
    print(f"{'peak resident memory of this process, MB':58} {_peak_mb():10,.0f}")


def _measure(embedder: Embedder, file: Path, store: Path, memories: int) -> dict[str, float]:
    clock = _Clock()
    with AgentMem(store, embedder=embedder) as mem:
        report = mem.ingest([str(file)], observer=clock)
        durable_s = time.perf_counter() - clock.start
    published_s = _wait_for_graph(store, clock.start)
    with AgentMem(store, embedder=embedder, index="off") as mem:
        again_s = _seconds(lambda: mem.ingest([str(file)]))
        found = _searches(mem, embedder, texts_of(file, QUERIES))
    cold_ms = _cold_search_ms(store)
    with AgentMem(store, embedder=embedder, index="off") as mem:
        add_ms = 1000 * _seconds(lambda: _add_one_by_one(mem)) / ADDS
    return {
        "durable, memories/s": report.added / durable_s,
        "durable, ms a memory": 1000 * durable_s / report.added,
        "in the published graph, memories/s": report.added / published_s,
        "the last tenth's rate against the first's": clock.last_tenth_against_first(),
        "again, lines/s": memories / again_s,
        "a single durable add, ms": add_ms,
        "batches of 1,000 against single adds": add_ms / (1000 * durable_s / report.added),
        **found,
        "a whole 'agentmem search' process, ms": cold_ms,
    }


def _wait_for_graph(store: Path, start: float) -> float:
    with closing(EmbeddedStore(store)) as watched:  # cheap to ask: the builder is to have the processor
        while watched.unindexed():
            time.sleep(0.05)
    return time.perf_counter() - start


def _add_one_by_one(mem: AgentMem) -> None:
    for i in range(ADDS):
        mem.add(f"A memory that is added by itself, number {i} of them.", user_id="3")


def _searches(mem: AgentMem, embedder: Embedder, texts: Sequence[str]) -> dict[str, float]:
    """Searches for parts of texts, one at a time, and how many of the nearest are found."""
    mem.build_index()
    queries = [" ".join(text.split()[2:9]) or text for text in texts]
    mem.search("warm up", mode="meaning")
    samples_ms = []
    for query in queries:
        start = time.perf_counter()
        mem.search(query, K, mode="meaning")
        samples_ms.append(1000 * (time.perf_counter() - start))
    recall = sum(graph_found(mem, embedder, queries)) / (NEIGHBOURS * len(queries))
    p50, p99 = np.quantile(samples_ms, [0.5, 0.99])
    return {
        "a search, p50 ms": float(p50),
        "a search, p99 ms": float(p99),
        f"recall@{NEIGHBOURS} against exact": recall,
    }


def _cold_search_ms(store: Path) -> float:
    command = [sys.executable, "-m", "agentmem_cli", "search", "a walk with Ana in Lisbon", "--store", str(store)]
    return 1000 * _seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ))


def texts_of(file: Path, count: int) -> list[str]:
    """Texts of so many memories of a file, evenly spaced."""
    lines = file.read_bytes().splitlines()
    return [orjson.loads(line)["text"] for line in lines[:: max(len(lines) // count, 1)][:count]]


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1000


if __name__ == "__main__":
    main()
