"""How fast clients that share one store add memories, one at a time: threads of AgentMem, tasks of AsyncAgentMem.

    python -m tests.perf.clients [--model minilm-static] [--clients 1,4,10,32] [--tasks 32,200] [--adds 2000]
        [--rounds 5] [--folder FOLDER]

Each round takes every number of clients in turn, each with a fresh store in the folder (on the disk that is to be
measured) and `--adds` texts of the benchmark's mixed English in all. Printed are medians of the rounds, and the least
and the most; the last columns compare a run with the first of its round: its rate, and its p99 with the other's p50.
"""

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agentmem_cli import AgentMem, AsyncAgentMem
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.support.statistics import median

WARM_UP = 3


@dataclass(frozen=True)
class Sample:
    """One run: its adds a second, and how long each took."""

    adds_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm-static")
    parser.add_argument("--clients", type=_numbers, default=[1, 4, 10, 32])
    parser.add_argument("--tasks", type=_numbers, default=[32, 200])
    parser.add_argument("--adds", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=None)
    arguments = parser.parse_args()
    embedder = catalog.load(catalog.resolve(ModelChoice(arguments.model)))
    kinds = [("threads", n, _by_threads) for n in arguments.clients] + [
        ("tasks", n, _by_tasks) for n in arguments.tasks
    ]
    needed = arguments.rounds * len(kinds) * (arguments.adds + WARM_UP)
    texts = iter(list(mixed_texts(needed)))
    embedder.embed([next(iter(mixed_texts(1)))] * 500)
    rounds: list[dict[str, Sample]] = []
    for number in range(arguments.rounds):
        samples = {}
        for kind, clients, add_all in kinds:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                share = [[next(texts) for _ in range(arguments.adds // clients)] for _ in range(clients)]
                samples[f"{clients} {kind}"] = _measured(embedder, Path(folder) / "store", share, add_all, texts)
        rounds.append(samples)
        print(f"round {number + 1} done", file=sys.stderr, flush=True)
    first = next(iter(rounds[0]))
    heads = " ".join(f"{f'p{p} ms':>7}" for p in (50, 95, 99))
    print(f"{'clients':12} {'adds/s':>26} {heads}  rate, p99 against {first}")
    for name in rounds[0]:
        own, base = [r[name] for r in rounds], [r[first] for r in rounds]
        rates = [s.adds_per_s for s in own]
        spread = f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        quantiles = [median([getattr(s, f"p{p}_ms") for s in own]) for p in (50, 95, 99)]
        gain = median([s.adds_per_s / b.adds_per_s for s, b in zip(own, base, strict=True)])
        slower = median([s.p99_ms / b.p50_ms for s, b in zip(own, base, strict=True)])
        print(f"{name:12} {spread:>26} " + " ".join(f"{q:7.2f}" for q in quantiles) + f"  {gain:4.2f}x  {slower:4.2f}x")


def _numbers(given: str) -> list[int]:
    return [int(number) for number in given.split(",") if number]


def _measured(
    embedder: Embedder,
    store: Path,
    share: Sequence[Sequence[str]],
    add_all: Callable[[Path, Embedder, Sequence[Sequence[str]]], tuple[float, list[float]]],
    warm_up: Iterator[str],
) -> Sample:
    with AgentMem(store, embedder=embedder, index="off") as mem:
        for _ in range(WARM_UP):
            mem.add(next(warm_up), user_id="3")
    elapsed_s, took_ms = add_all(store, embedder, share)
    with AgentMem(store, embedder=embedder, index="off") as mem:
        assert len(mem) == len(took_ms) + WARM_UP
    p50, p95, p99 = (float(q) for q in np.quantile(took_ms, [0.5, 0.95, 0.99]))
    return Sample(len(took_ms) / elapsed_s, p50, p95, p99)


def _by_threads(store: Path, embedder: Embedder, share: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    took_ms: list[float] = []

    def work(texts: Sequence[str]) -> None:
        for text in texts:
            start = time.perf_counter()
            mem.add(text, user_id="3")
            took_ms.append(1000 * (time.perf_counter() - start))

    with AgentMem(store, embedder=embedder, index="off") as mem:
        mem.open()
        threads = [threading.Thread(target=work, args=(texts,)) for texts in share]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start, took_ms


def _by_tasks(store: Path, embedder: Embedder, share: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    return asyncio.run(_tasks(store, embedder, share))


async def _tasks(store: Path, embedder: Embedder, share: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    took_ms: list[float] = []

    async def work(texts: Sequence[str]) -> None:
        for text in texts:
            start = time.perf_counter()
            await mem.add(text, user_id="3")
            took_ms.append(1000 * (time.perf_counter() - start))

    async with AsyncAgentMem(store, embedder=embedder, index="off") as mem:
        await mem.open()
        start = time.perf_counter()
        await asyncio.gather(*(work(texts) for texts in share))
        return time.perf_counter() - start, took_ms


if __name__ == "__main__":
    main()
