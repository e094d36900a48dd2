"""Remedies for a slow ingest: what each is predicted to bring, and what it brought when it was tried.

A prediction is made before the trial, from the stages of the run and the ceilings of this machine alone. The trials run
in turn with their base within each round, on texts of their own, so a ratio is of measurements of the same minute.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

from agentmem_cli.bench.bottleneck import Bottleneck
from agentmem_cli.bench.figures import figures_of
from agentmem_cli.bench.measure import add_one_by_one, check_searchable, collect_garbage, fresh_store, ingest_batch
from agentmem_cli.bench.result import BenchResult, ModelResult, Remedy
from agentmem_cli.bench.workload import Workload
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.ingest.options import MAX_BATCH_SIZE, MIN_BATCH_SIZE
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.support.machine import usable_cores
from agentmem_cli.support.statistics import median

if TYPE_CHECKING:
    from agentmem_cli.embedding.minilm_onnx import ProductRates

ROUNDS: Final = 5
_LONGEST_MS: Final = 500.0  # of a trial of the base: so many memories are tried at once
_CLIENTS: Final = 32
_ADDS_A_CLIENT: Final = 2
_LARGER: Final = 10  # times the smallest batch
_FIRST_TURN: Final = 500  # the run itself has the turns before it
_COMPARED_TEXTS: Final = 200

Arm: TypeAlias = Callable[[int], float]  # one trial with the texts of a turn: its duration in seconds


@dataclass(frozen=True, slots=True)
class _Trial:
    """A remedy, the arm that it is tried against, and how much faster it is predicted to be."""

    name: str
    at: str
    base: str
    arm: str
    predicted_speedup: float
    cosine: float | None = None


def advised(
    result: BenchResult, choice: ModelChoice, workload: Workload, folder: Path, on_step: Callable[[str], None]
) -> BenchResult:
    """The result of one model with the remedies for it. Raises AgentMemError."""
    measured = result.models[0]
    bottleneck = figures_of(result, measured).bottleneck
    if bottleneck is None:
        return result
    on_step("loading the models to try")
    trials = _Trials(measured, bottleneck, choice, workload, folder)
    samples = _in_turn(trials.arms, on_step)
    remedies = [
        Remedy(trial.name, trial.at, trial.predicted_speedup, samples[trial.base], samples[trial.arm], trial.cosine)
        for trial in trials.planned
    ]
    return replace(result, models=[replace(measured, remedies=remedies)])


def _in_turn(arms: dict[str, Arm], on_step: Callable[[str], None]) -> dict[str, list[float]]:
    """The samples of each arm; each round starts with another one."""
    samples: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for turn in range(ROUNDS):
        first = turn % len(names)
        for place, name in enumerate(names[first:] + names[:first]):
            on_step(f"remedies: round {turn + 1} of {ROUNDS}: {name}")
            samples[name].append(arms[name](_FIRST_TURN + turn * len(names) + place))
    return samples


class _Trials:
    """The arms to run, by name, and the remedies that they try."""

    def __init__(
        self, measured: ModelResult, bottleneck: Bottleneck, choice: ModelChoice, workload: Workload, folder: Path
    ) -> None:
        self.arms: dict[str, Arm] = {}
        self.planned: list[_Trial] = []
        self._cost = bottleneck.cost
        self._embedding = bottleneck.costs["embedding"]
        self._workload = workload
        self._folder = folder
        spec = catalog.resolve(choice)
        self._embedder = catalog.load(spec, choice)
        self._choice = choice
        self._size = self._affordable(len(workload.batch_lines))
        self._plan(measured)

    def _affordable(self, most: int) -> int:
        """The largest batch of round size whose trial is short, of those that there are texts for."""
        sizes = [size for size in (10, 20, 50, 100, 200, 500, MAX_BATCH_SIZE) if size <= most]
        return max((size for size in sizes if self._cost.of(size) <= _LONGEST_MS), default=sizes[0])

    def _plan(self, measured: ModelResult) -> None:
        size, name = self._size, self._embedder.spec.name
        self.arms["base"] = self._batches(self._embedder)
        if name == catalog.DEFAULT_MODEL and self._choice.device == "cpu" and self._choice.path is None:
            from agentmem_cli.embedding.minilm_onnx import product_rates

            rates = product_rates(usable_cores())
            self._plan_models(measured, rates)
            if usable_cores() > 1 and self._choice.threads is None:
                alone = product_rates(1)
                slower = self._without_embedding_ms(size) + self._embedding.of(size) * rates.fp32 / alone.fp32
                one = catalog.load(self._embedder.spec, replace(self._choice, threads=1))
                self._try("threads", f"{usable_cores()} → 1", self._batches(one), slower)
        for share in (0.5, 0.9):
            left = self._without_embedding_ms(size) + self._embedding.of(size * (1 - share))
            self._try("repeats", f"{share:.0%}", self._repeating(share), left)
        self._plan_small_batches()

    def _plan_models(self, measured: ModelResult, rates: "ProductRates") -> None:
        """The same model in int8, and the static model made from it."""
        size, storage_ms, embedding_ms = (
            self._size,
            self._without_embedding_ms(self._size),
            self._embedding.of(self._size),
        )
        counts, flop = measured.batches[-1].counts, measured.model.flop_per_token or 0
        products_ms = 1000 * size * counts.tokens / max(counts.texts, 1) * flop / rates.fp32
        products_ms = min(products_ms, embedding_ms)
        int8_ms = storage_ms + embedding_ms - products_ms * (1 - rates.fp32 / rates.int8)
        int8 = _loaded(catalog.INT8_ALIAS)
        self._try("int8", "", self._batches(int8), int8_ms, self._cosine(int8))
        self._try("static", "", self._batches(_loaded(catalog.STATIC_ALIAS)), storage_ms)

    def _plan_small_batches(self) -> None:
        """What larger batches, and clients that add at once, do for small ones."""
        larger = _LARGER * MIN_BATCH_SIZE
        if len(self._workload.batch_lines) >= larger:
            self.arms["batches of 10"] = lambda turn: self._added_s(larger, MIN_BATCH_SIZE, turn)
            speedup = _LARGER * self._cost.of(MIN_BATCH_SIZE) / self._cost.of(larger)
            self.arms["a batch of 100"] = lambda turn: self._added_s(larger, larger, turn)
            self.planned.append(
                _Trial("larger", f"{MIN_BATCH_SIZE} → {larger}", "batches of 10", "a batch of 100", speedup)
            )
        adds = _CLIENTS * _ADDS_A_CLIENT
        if len(self._workload.batch_lines) >= adds:
            self.arms["one client"] = lambda turn: self._one_by_one_s(adds, turn)
            self.arms["32 clients"] = lambda turn: self._by_clients_s(adds, turn)
            speedup = _CLIENTS * self._cost.of(1) / self._cost.of(_CLIENTS)
            self.planned.append(_Trial("clients", str(_CLIENTS), "one client", "32 clients", speedup))

    def _try(self, name: str, at: str, arm: Arm, predicted_ms: float, cosine: float | None = None) -> None:
        label = f"{name} {at}".strip()
        self.arms[label] = arm
        self.planned.append(_Trial(name, at, "base", label, self._cost.of(self._size) / predicted_ms, cosine))

    def _without_embedding_ms(self, size: int) -> float:
        return self._cost.of(size) - self._embedding.of(size)

    def _cosine(self, other: Embedder) -> float:
        """The median cosine of this model's vectors and another's, of some texts."""
        texts = [parse_memory(line).text for line in self._workload.batch(min(self._size, _COMPARED_TEXTS), 0)]
        rows = self._embedder.embed(texts).vectors * other.embed(texts).vectors
        return median(rows.sum(axis=1).tolist())

    # Arms

    def _batches(self, embedder: Embedder) -> Arm:
        embedder.embed([parse_memory(line).text for line in self._workload.batch(self._size, 0)])  # a warm-up
        return lambda turn: ingest_batch(embedder, self._workload.batch(self._size, turn), self._folder)[0].total_s

    def _repeating(self, share: float) -> Arm:
        """Ingests memories of which this share has the text of another one; the store embeds a text once."""
        distinct = max(1, round(self._size * (1 - share)))

        def arm(turn: int) -> float:
            lines = repeated(self._workload.batch(self._size, turn), distinct)
            return ingest_batch(self._embedder, lines, self._folder)[0].total_s

        return arm

    def _added_s(self, memories: int, size: int, turn: int) -> float:
        """Adds memories in batches of a size."""
        lines = self._workload.batch(memories, turn)
        batches = [[parse_memory(line) for line in part] for part in _parts(lines, size)]
        with fresh_store(self._embedder, self._folder) as mem:
            collect_garbage()
            start = time.perf_counter()
            for batch in batches:
                mem.add_batch(batch)
            spent_s = time.perf_counter() - start
            check_searchable(mem, lines[-1], memories)
        return spent_s

    def _one_by_one_s(self, memories: int, turn: int) -> float:
        return add_one_by_one(self._embedder, self._workload.batch(memories, turn), self._folder).total_s

    def _by_clients_s(self, memories: int, turn: int) -> float:
        """Adds memories from several threads at once, one by one in each."""
        lines = self._workload.batch(memories, turn)
        ready = threading.Barrier(_CLIENTS + 1)
        with fresh_store(self._embedder, self._folder) as mem, ThreadPoolExecutor(_CLIENTS) as pool:

            def client(part: Sequence[bytes]) -> None:
                ready.wait()
                for line in part:
                    mem.add_batch([parse_memory(line)])

            clients = [pool.submit(client, part) for part in _parts(lines, _ADDS_A_CLIENT)]
            collect_garbage()
            ready.wait()
            start = time.perf_counter()
            for done in clients:
                done.result()
            spent_s = time.perf_counter() - start
            check_searchable(mem, lines[-1], memories)
        return spent_s


def repeated(lines: Sequence[bytes], distinct: int) -> list[bytes]:
    """As many memories as lines, each with an id, but with only so many texts: those of the first lines, in turn."""
    texts = [parse_memory(line).text for line in lines[:distinct]]
    last = parse_memory(lines[distinct - 1]).text
    rows = [orjson.dumps({"id": f"m{i}", "text": texts[i % distinct]}) for i in range(len(lines) - 1)]
    return [*rows, orjson.dumps({"id": f"m{len(lines) - 1}", "text": last})]


def _loaded(alias: str) -> Embedder:
    choice = ModelChoice(alias)
    return catalog.load(catalog.resolve(choice), choice)


def _parts(lines: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (lines[start : start + size] for start in range(0, len(lines), size))
