"""Remedies for a slow ingest: what each is predicted to bring, and what it brought when it was tried.

A prediction is made before the trial, from the stages of the run and the ceilings of this machine alone. The trials run
in turn with their base within each round, on texts of their own, so a ratio is of measurements of the same minute.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from agentmem_cli.bench.bottleneck import PARTS, Bottleneck, Cost
from agentmem_cli.bench.clients import add_at_once
from agentmem_cli.bench.figures import BatchFigures, Figures, figures_of
from agentmem_cli.bench.measure import add_one_by_one, check_searchable, collect_garbage, ingest_batch
from agentmem_cli.bench.place import Place
from agentmem_cli.bench.result import BenchResult, ModelResult, Remedy
from agentmem_cli.bench.waiting_server import Waiting, waiting_server
from agentmem_cli.bench.workload import Workload, repeated
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import DeviceError
from agentmem_cli.ingest.options import MIN_BATCH_SIZE
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.support.machine import usable_cores
from agentmem_cli.support.statistics import median

ROUNDS: Final = 5
_LONGEST_MS: Final = 600.0  # of a trial of the base
_CLIENTS: Final = 32
_ADDS_A_CLIENT: Final = 2
_LARGER: Final = 10  # times the smallest batch
_FIRST_TURN: Final = 500  # the run itself has the turns before it
_COMPARED_TEXTS: Final = 200
_OF_TEXT: Final = 0.4  # of a commit: words and vectors, kept once for each text; as '--advise --workload mixed' shows

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
    result: BenchResult,
    choice: ModelChoice,
    workload: Workload,
    place: Place,
    on_step: Callable[[str], None],
    server_latency_ms: float,
) -> BenchResult:
    """The result of one model with the remedies for it; one is a server that answers after `server_latency_ms`.

    Raises AgentMemError.
    """
    measured = result.models[0]
    figures = figures_of(result, measured)
    if figures.bottleneck is None:
        return result
    on_step("loading the models to try")
    trials = _Trials(measured, figures, choice, workload, place)
    with waiting_server(server_latency_ms / 1000, trials.dim) as server:
        trials.plan_for_server(server)
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
        self, measured: ModelResult, figures: Figures, choice: ModelChoice, workload: Workload, place: Place
    ) -> None:
        self.arms: dict[str, Arm] = {}
        self.planned: list[_Trial] = []
        self._measured = measured
        self._workload = workload
        self._place = place
        self._choice = choice
        self._embedder = catalog.load(catalog.resolve(choice), choice)
        self._base = _affordable(figures.batches)
        self._size = self._base.batch_size
        self._embedding_ms = sum(self._base.stages_ms.get(stage, 0.0) for stage in PARTS["embedding"])
        self._plan_for_model()
        if figures.bottleneck is not None:
            self._plan_for_small_batches(figures.bottleneck)

    def _plan_for_model(self) -> None:
        """What makes embedding cheaper."""
        self.arms["base"] = self._batches(self._embedder)
        if self._embedder.spec.name == catalog.DEFAULT_MODEL and self._choice.device == "cpu":
            from agentmem_cli.embedding.minilm_onnx import product_rates

            cores = usable_cores()
            rates = product_rates(cores)
            int8 = _loaded(catalog.INT8_ALIAS)
            products = self._products_ratio(rates.fp32)
            faster = 1 - products * (1 - rates.fp32 / rates.int8)
            self._try("int8", "", self._batches(int8), faster, self._cosine(int8))
            self._try("static", "", self._batches(_loaded(catalog.STATIC_ALIAS)), 0)
            if cores > 1 and self._choice.threads is None:
                one = catalog.load(self._embedder.spec, replace(self._choice, threads=1))
                self._try("threads", f"{cores} → 1", self._batches(one), rates.fp32 / product_rates(1).fp32)
        if self._choice.device == "cpu":
            with suppress(DeviceError):  # no GPU, or a model that doesn't run on one
                on_gpu = catalog.load(self._embedder.spec, replace(self._choice, device="cuda"))
                self._try("gpu", "", self._batches(on_gpu), 0)
        if not self._workload.repeats_ratio:
            self._plan_for_repeats()

    def _plan_for_repeats(self) -> None:
        """What is done once for each text, and not for each memory: embedding, words and vectors."""
        self.arms["no repeats"] = self._repeating(0)  # with ids, as the others have
        saved_ms = self._embedding_ms + _OF_TEXT * self._base.stages_ms.get("commit", 0.0)
        for share in (0.5, 0.9):
            arm = f"repeats {share:.0%}"
            self.arms[arm] = self._repeating(share)
            speedup = self._base.total_ms / (self._base.total_ms - share * saved_ms)
            self.planned.append(_Trial("repeats", f"{share:.0%}", "no repeats", arm, speedup))

    @property
    def dim(self) -> int:
        """The dimensions of the model's vectors."""
        return self._embedder.spec.dim

    def plan_for_server(self, server: Waiting) -> None:
        """Plans embedding by this server."""
        if self._embedding_ms and not self._choice.url:
            ratio = 1000 * server.embedding_s(self._size) / self._embedding_ms
            self._try("server", f"{1000 * server.latency_s:g}", self._batches(server.embedder), ratio)

    def _products_ratio(self, flop_per_s: float) -> float:
        """The share of the time of embedding that matrix products take at this rate."""
        counts = next(run.counts for run in self._measured.batches if run.batch_size == self._size)
        products_ms = 1000 * counts.tokens * (self._measured.model.flop_per_token or 0) / flop_per_s
        return min(1.0, products_ms / self._embedding_ms) if self._embedding_ms else 0.0

    def _plan_for_small_batches(self, bottleneck: Bottleneck) -> None:
        """What larger batches, and clients that add at once, do for small ones."""
        cost, single_ms = bottleneck.cost, self._single_ms(bottleneck)
        larger = _LARGER * MIN_BATCH_SIZE
        if len(self._workload.batch_lines) >= larger:
            self.arms["batches of 10"] = lambda turn: self._added_s(larger, MIN_BATCH_SIZE, turn)
            open_cost = Cost(max(0.0, single_ms - cost.each_ms), cost.each_ms)  # the batches share a store
            speedup = _LARGER * open_cost.of(MIN_BATCH_SIZE) / open_cost.of(larger)
            self.arms["a batch of 100"] = lambda turn: self._added_s(larger, larger, turn)
            self.planned.append(
                _Trial("larger", f"{MIN_BATCH_SIZE} → {larger}", "batches of 10", "a batch of 100", speedup)
            )
        adds = _CLIENTS * _ADDS_A_CLIENT
        if len(self._workload.batch_lines) >= adds:
            self.arms["one client"] = lambda turn: self._one_by_one_s(adds, turn)
            self.arms["32 clients"] = lambda turn: self._by_clients_s(adds, turn)
            speedup = _CLIENTS * single_ms / cost.of(_CLIENTS)
            self.planned.append(_Trial("clients", str(_CLIENTS), "one client", "32 clients", speedup))

    def _single_ms(self, bottleneck: Bottleneck) -> float:
        """The time of an add by itself; the run's are of shorter texts, so the tokens that these lack are added."""
        compared, counts = self._measured.comparison, self._measured.batches[-1].counts
        if compared is None or bottleneck.single_ms is None or not counts.tokens:
            return bottleneck.cost.of(1)
        tokens_ratio = compared.counts.tokens / compared.counts.texts / (counts.tokens / counts.texts)
        return bottleneck.single_ms + bottleneck.costs["embedding"].each_ms * max(0.0, 1 - tokens_ratio)

    def _try(self, name: str, at: str, arm: Arm, embedding_ratio: float, cosine: float | None = None) -> None:
        """Plans a remedy that changes the time of embedding, to this share of it, and nothing else."""
        label = f"{name} {at}".strip()
        self.arms[label] = arm
        predicted_ms = self._base.total_ms - self._embedding_ms * (1 - embedding_ratio)
        self.planned.append(_Trial(name, at, "base", label, self._base.total_ms / predicted_ms, cosine))

    def _cosine(self, other: Embedder) -> float:
        """The median cosine of this model's vectors and another's, of some texts."""
        texts = [parse_memory(line).text for line in self._workload.batch(min(self._size, _COMPARED_TEXTS), 0)]
        rows = self._embedder.embed(texts).vectors * other.embed(texts).vectors
        return median(rows.sum(axis=1).tolist())

    # Arms

    def _batches(self, embedder: Embedder) -> Arm:
        embedder.embed([parse_memory(line).text for line in self._workload.batch(self._size, 0)])  # a warm-up
        return lambda turn: ingest_batch(embedder, self._workload.batch(self._size, turn), self._place)[0].total_s

    def _repeating(self, share: float) -> Arm:
        """Ingests memories of which this share has the text of another one; the store embeds a text once."""

        def arm(turn: int) -> float:
            lines = repeated(self._workload.batch(self._size, turn), share)
            return ingest_batch(self._embedder, lines, self._place)[0].total_s

        return arm

    def _added_s(self, memories: int, size: int, turn: int) -> float:
        """Adds memories in batches of a size."""
        lines = self._workload.batch(memories, turn)
        batches = [[parse_memory(line) for line in part] for part in _parts(lines, size)]
        with self._place.fresh_store(self._embedder) as mem:
            collect_garbage()
            start = time.perf_counter()
            for batch in batches:
                mem.add_batch(batch)
            spent_s = time.perf_counter() - start
            check_searchable(mem, lines[-1], memories)
        return spent_s

    def _one_by_one_s(self, memories: int, turn: int) -> float:
        return add_one_by_one(self._embedder, self._workload.batch(memories, turn), self._place).total_s

    def _by_clients_s(self, memories: int, turn: int) -> float:
        return add_at_once(self._embedder, self._workload.batch(memories, turn), _CLIENTS, self._place).total_s


def _affordable(batches: Sequence[BatchFigures]) -> BatchFigures:
    """The largest batch whose trials are short, or else the smallest."""
    short = [batch for batch in batches if batch.total_ms <= _LONGEST_MS]
    if short:
        return max(short, key=lambda batch: batch.batch_size)
    return min(batches, key=lambda batch: batch.batch_size)


def _loaded(alias: str) -> Embedder:
    choice = ModelChoice(alias)
    return catalog.load(catalog.resolve(choice), choice)


def _parts(lines: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (lines[start : start + size] for start in range(0, len(lines), size))
