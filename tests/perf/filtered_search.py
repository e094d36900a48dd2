"""Filtered vector search in a store of 100,000 memories: what it finds of what an exact scan finds, and its time.

    python -m tests.perf.filtered_search [--memories 100000] [--queries 200]

Texts are the benchmark's mixed English, embedded by the static model (which the first run makes, in a minute or two).
Filters of four shares of the memories, each drawn at random, taken from those nearest in content to one text, or from
those farthest from it, so that most queries are far from all that matches. `first` is the time to find out which
memories match; it is kept until something is committed. The query's embedding is not in the times.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from agentmem_cli import AgentMem, Memory, Scope
from agentmem_cli.embedding.base import Embedder, Vectors
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.store.embedded.filters import Selection
from agentmem_cli.store.embedded.snapshot import is_walk_shorter, matching_ids, nearest_vectors
from tests.stores import embedded

SHARES: Final = (0.001, 0.01, 0.1, 0.5)
K: Final = 10
_BATCH: Final = 10_000


def main() -> None:
    """Builds the store, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    arguments = parser.parse_args()
    texts = mixed_texts(arguments.memories + arguments.queries)
    memories, queries = texts[: arguments.memories], texts[arguments.memories :]
    with (
        tempfile.TemporaryDirectory() as folder,
        AgentMem(Path(folder) / "s", model="minilm-static", index="off") as mem,
    ):
        embedder = mem.load()
        vectors = _embed(embedder, memories)
        for start in range(0, len(memories), _BATCH):
            mem.add_batch(_memories(memories, vectors, start))
        mem.build_index()
        print(f"{'filter':24} {'matches':>7} {'way':6} {'recall':>6} {'p50 ms':>7} {'p99 ms':>7} {'first ms':>8}")
        for name, filter_of in _FILTERS.items():
            for share in SHARES:
                _measure(mem, f"{name} {share:.1%}", filter_of(share), _embed(embedder, queries), vectors)


def _random_scope(share: float) -> SearchFilter:
    return SearchFilter.of(user_id=f"share {share}")


_FILTERS: Final[dict[str, Callable[[float], SearchFilter]]] = {
    "user": _random_scope,
    "random": lambda share: SearchFilter.of(where={"draw": {"<": share}}),
    "nearest to a text": lambda share: SearchFilter.of(where={"rank": {"<": share}}),
    "farthest from it": lambda share: SearchFilter.of(where={"rank": {">=": 1 - share}}),
}


def _embed(embedder: Embedder, texts: list[str]) -> Vectors:
    parts = [embedder.embed(texts[start : start + _BATCH]).vectors for start in range(0, len(texts), _BATCH)]
    return np.concatenate(parts)


def _memories(texts: list[str], vectors: Vectors, start: int) -> Iterator[Memory]:
    """A batch of memories, each with a random number, and with its rank by nearness to the first text, in [0, 1)."""
    ranks = np.argsort(np.argsort(-(vectors @ vectors[0]))) / len(texts)
    draws = random.Random(start)
    for i, text in enumerate(texts[start : start + _BATCH], start):
        user = draws.choices([f"share {share}" for share in SHARES] + ["other"], [*SHARES, 1 - sum(SHARES)])[0]
        yield Memory(text, str(i), Scope(user_id=user), metadata={"draw": draws.random(), "rank": float(ranks[i])})


def _measure(mem: AgentMem, name: str, wanted: SearchFilter, queries: Vectors, vectors: Vectors) -> None:
    reader = embedded(mem).reader()
    assert reader is not None
    graph = embedded(mem).graph.current(reader)
    assert graph is not None
    start = time.perf_counter()
    matching = matching_ids(reader, Selection(wanted))
    first_ms = 1000 * (time.perf_counter() - start)
    assert matching is not None
    found, samples_ms = 0, []
    for query in queries:
        start = time.perf_counter()
        matching = matching_ids(reader, Selection(wanted))
        assert matching is not None
        labels, _ = nearest_vectors(reader, graph, query, K, matching)
        samples_ms.append(1000 * (time.perf_counter() - start))
        exact = np.sort(vectors[matching - 1] @ query)[::-1][:K]
        found += int(np.sum(vectors[labels - 1] @ query >= exact[-1] - 1e-6))  # equals count alike
    way = "graph" if is_walk_shorter(len(matching), len(graph)) else "exact"
    p50_ms, p99_ms = np.quantile(samples_ms, [0.5, 0.99])
    recall = found / (K * len(queries))
    print(f"{name:24} {len(matching):7} {way:6} {recall:6.3f} {p50_ms:7.2f} {p99_ms:7.2f} {first_ms:8.1f}", flush=True)


if __name__ == "__main__":
    main()
