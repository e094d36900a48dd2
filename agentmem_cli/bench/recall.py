"""Recall against latency: searches of a store's graph with several values of ef."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from agentmem_cli.api import AgentMem
from agentmem_cli.bench.measure import NEIGHBOURS, collect_garbage, exact_tenth, near_enough, rotated
from agentmem_cli.bench.result import EfRun
from agentmem_cli.embedding.base import Embedder, Vectors, embed_queries_checked
from agentmem_cli.errors import StoreError
from agentmem_cli.search.query import Mode, Ranking
from agentmem_cli.search.retrieve import pool
from agentmem_cli.store import open_store
from agentmem_cli.store.base import Upkeep

_MODES: Final[tuple[Mode, ...]] = ("hybrid", "meaning")


def searches_by_ef(
    embedder: Embedder, store: str, queries: Sequence[str], efs: Sequence[int], rounds: int
) -> list[EfRun]:
    """The searches of each ef, and of those that agentmem uses, ascending; in turn within each round.

    Raises StoreError if the store has no graph that reaches 10 vectors.
    """
    vectors = embed_queries_checked(embedder, queries)
    with AgentMem(store, embedder=embedder, create=False, index="off") as mem:
        memories, tenth = len(mem), exact_tenth(mem, vectors)
    opened = open_store(store, create=False)
    assert isinstance(opened, Upkeep)
    used = {mode: opened.index_ef(pool(NEIGHBOURS, Ranking(mode))) for mode in _MODES}
    found: dict[int, list[Sequence[float]]] = {}
    searches_s: dict[int, list[float]] = {ef: [] for ef in sorted({*efs, *used.values()})}
    try:
        for turn in range(rounds + 1):  # the first is a warm-up
            collect_garbage()
            for ef in rotated(list(searches_s), turn):
                timed = list(_searched(opened, vectors, ef))
                found[ef] = [scores for scores, _ in timed]
                if turn:
                    searches_s[ef] += [spent_s for _, spent_s in timed]
    finally:
        opened.close()
    return [
        EfRun(ef, memories, [mode for mode in _MODES if used[mode] == ef], near_enough(found[ef], tenth), spent_s)
        for ef, spent_s in searches_s.items()
    ]


def _searched(store: Upkeep, queries: Vectors, ef: int) -> Iterator[tuple[Sequence[float], float]]:
    """The cosines that each query (n, dim) found, and the duration of its search."""
    for query in queries:
        start = time.perf_counter()
        found = store.nearest_in_index(query, NEIGHBOURS, ef)
        spent_s = time.perf_counter() - start
        if found is None:
            raise StoreError(f"benchmark: the graph does not reach {NEIGHBOURS} vectors")
        yield found.tolist(), spent_s
