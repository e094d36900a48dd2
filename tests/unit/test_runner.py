"""A benchmark run on a fake embedder: what is measured, in which order, and what must stop it."""

import gc
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from agentmem_cli import __version__
from agentmem_cli.bench import machine, runner
from agentmem_cli.bench.growth import grow_here
from agentmem_cli.bench.result import BenchResult, CallsSample, IngestSample, TokenCounts
from agentmem_cli.bench.runner import Bench, Subject
from agentmem_cli.bench.workload import BenchOptions, Workload, make_workload
from agentmem_cli.embedding.base import Embedded, Embedder, EmbedderSpec, Vectors
from agentmem_cli.errors import EmbeddingError, StoreError, UsageError
from agentmem_cli.records.jsonl import parse_memory
from tests.fakes import BrokenEmbedder, FakeEmbedder

SIZES = [10, 20, 30]
OPTIONS = BenchOptions(SIZES, singles=12, repeats=3, warmup=0, threads=2)
SHORT = BenchOptions([20], singles=10, repeats=1, warmup=0)


def subject(embedder: Embedder) -> Subject:
    """A model that is measured in this process alone."""
    return Subject(lambda: embedder, partial(grow_here, lambda: embedder))


def run(embedder: Embedder, workload: Workload, options: BenchOptions = OPTIONS) -> BenchResult:
    return Bench([subject(embedder)], workload, options).run()


@pytest.fixture(scope="module", autouse=True)
def quick_machine() -> Iterator[None]:
    """A machine whose own measures take no time; a collection takes long in a process that has all tests loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "sgemm_flop_per_s", lambda: 1e11)
        patch.setattr(machine, "fsync_times_s", lambda folder: [0.001] * 20)
        patch.setattr(machine, "load_average", lambda: 0.0)
        patch.setattr(gc, "collect", lambda: 0)
        yield


@pytest.fixture(scope="module")
def workload() -> Workload:
    made = make_workload("mixed", 30, 12)
    return replace(made, queries=made.queries[:3])


@pytest.fixture(scope="module")
def result(workload: Workload) -> BenchResult:
    """The result of one whole run."""
    return run(FakeEmbedder(token_limit=40), workload)


def test_the_run_says_where_and_on_what_it_was_measured(result: BenchResult) -> None:
    environment, config, facts = result.environment, result.config, result.workload
    assert (result.complete, result.schema_version, environment.agentmem) == (True, 1, __version__)
    assert environment.cores >= 1
    assert environment.cpu
    assert {"sqlite", "numpy", "hnswlib", "orjson"} <= set(environment.versions)
    assert (config.sizes, config.singles, config.repeats, config.warmup) == (SIZES, 12, 3, 0)
    assert (config.threads, config.device) == (2, "cpu")
    assert (facts.name, facts.memories, len(facts.sha256)) == ("mixed", 30, 64)
    (model,) = result.models
    assert (model.model.name, model.model.revision, model.model.dim) == ("fake", "fake-1", 32)
    assert len(result.machine.sgemm_flop_per_s) == len(result.machine.fsync_s) == 3


def test_a_sample_of_every_repeat_is_kept_with_its_stages(result: BenchResult, workload: Workload) -> None:
    (model,) = result.models
    assert [found.batch_size for found in model.batches] == SIZES
    for found in model.batches:
        assert len(found.samples) == 3
        for sample in found.samples:
            assert {"parse", "plan", "embed", "commit"} <= set(sample.stages_s)
            assert 0 < sum(sample.stages_s.values()) <= sample.total_s
    turn = [parse_memory(line).text for line in workload.batch(30, 0)]
    embedded = FakeEmbedder(token_limit=40).embed(turn)
    assert model.batches[-1].counts == TokenCounts(30, embedded.tokens, 0, 0, embedded.truncated)


def test_every_single_add_has_its_own_latency(result: BenchResult) -> None:
    comparison = result.models[0].comparison
    assert comparison is not None
    assert (comparison.memories, len(comparison.single), len(comparison.batch)) == (12, 3, 3)
    for sample in comparison.single:
        assert len(sample.latencies_s) == 12
        assert sum(sample.latencies_s) == pytest.approx(sample.total_s)


def test_each_model_fills_a_store_after_the_rest(result: BenchResult) -> None:
    (model,) = result.models
    assert [store.memories for store in model.stores] == [30]
    assert model.cold_start is not None
    assert model.cold_start.memories == 10


def test_every_measurement_embeds_every_memory_again(workload: Workload) -> None:
    embedder = FakeEmbedder()
    run(embedder, workload, BenchOptions([10, 20], singles=12, repeats=2, warmup=0))
    repeat, growth = 10 + 20 + 2 * 12, 10 + 20
    assert embedder.texts_embedded == 2 * repeat + growth


@pytest.mark.parametrize(("warmup", "seconds", "batches"), [(0, 9.0, 0), (1, 9.0, 3), (2, 9.0, 6), (1, 0.0, 1)])
def test_a_warm_up_goes_on_for_so_many_memories_or_so_long(
    warmup: int, seconds: float, batches: int, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "WARMUP_MEMORIES", 50)
    monkeypatch.setattr(runner, "WARMUP_S", seconds)
    embedder = FakeEmbedder()
    Bench(without_growth(embedder), workload, BenchOptions([20], singles=10, repeats=1, warmup=warmup)).run()
    assert embedder.texts_embedded == batches * 20 + warmup * 10 + 20 + 2 * 10


class Notices(FakeEmbedder):
    """Notices what it reads, and whether garbage is collected in the meantime."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []
        self.collects: list[bool] = []

    def embed(self, texts: Sequence[str]) -> Embedded:
        self.read += texts
        self.collects.append(gc.isenabled())
        return super().embed(texts)

    def embed_query(self, query: str) -> Vectors:
        vector: Vectors = super().embed([query]).vectors[0]
        return vector


def test_garbage_is_collected_while_something_is_timed_as_it_is_in_any_ingest(workload: Workload) -> None:
    embedder = Notices()
    Bench(without_growth(embedder), workload, SHORT).run()
    assert embedder.collects == [True] * (2 + 10)


@pytest.mark.parametrize("warm_up_s", [0.0, 9.0])
def test_no_text_is_measured_that_the_model_has_read_before_and_all_models_get_the_same(
    warm_up_s: float, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "WARMUP_MEMORIES", 200)
    monkeypatch.setattr(runner, "WARMUP_S", warm_up_s)
    first, second = Notices(), Notices()
    options = BenchOptions([10, 20], singles=12, repeats=3, warmup=1)
    Bench(without_growth(first, second), workload, options).run()
    measured = 3 * (10 + 20 + 2 * 12)
    for embedder in (first, second):
        assert len(set(embedder.read)) == len(embedder.read) > measured
    assert sorted(first.read[-measured:]) == sorted(second.read[-measured:])


def test_no_store_is_left_behind(workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run(FakeEmbedder(), workload, SHORT)
    with pytest.raises(EmbeddingError):
        run(FailsLater(30), workload, SHORT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda vectors: vectors * np.float32("nan"), "NaN or infinity"),
        (lambda vectors: vectors[:-1], "shape"),
    ],
)
def test_an_embedder_whose_vectors_can_not_be_stored_stops_the_run(
    damage: Callable[[Vectors], Vectors], reason: str, workload: Workload
) -> None:
    with pytest.raises(EmbeddingError, match=reason):
        run(BrokenEmbedder(damage), workload, SHORT)


class FailsLater(FakeEmbedder):
    """Embeds so many texts, and then nothing more."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def embed(self, texts: Sequence[str]) -> Embedded:
        if self.texts_embedded >= self._after:
            raise EmbeddingError("the model is gone")
        return super().embed(texts)


@pytest.mark.parametrize("after", [0, 20, 40])
def test_an_embedder_that_fails_in_the_middle_stops_the_run(after: int, workload: Workload) -> None:
    with pytest.raises(EmbeddingError, match="the model is gone"):
        run(FailsLater(after), workload, SHORT)


@pytest.mark.parametrize(("after", "batches", "compared"), [(0, [], False), (21, [20], False), (45, [20], True)])
def test_what_was_measured_before_a_failure_is_still_a_result(
    after: int, batches: list[int], compared: bool, workload: Workload
) -> None:
    bench = Bench([subject(FailsLater(after))], workload, BenchOptions([20], singles=10, repeats=2, warmup=0))
    with pytest.raises(EmbeddingError):
        bench.run()
    result = bench.result()
    (model,) = result.models
    assert (result.complete, bench.has_samples) == (False, bool(batches))
    assert [found.batch_size for found in model.batches] == batches
    assert (model.comparison is not None) is compared


class SearchesElsewhere(FakeEmbedder):
    """Its queries are as far as can be from the text they repeat."""

    def embed_query(self, query: str) -> Vectors:
        return -super().embed_query(query)


def test_a_run_whose_memories_can_not_be_found_again_is_no_result(workload: Workload) -> None:
    with pytest.raises(StoreError, match=r"benchmark: .* a search misses the last one"):
        run(SearchesElsewhere(), workload, SHORT)


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": []},
        {"sizes": [9]},
        {"sizes": [10, 1001]},
        {"sizes": [10, 0]},
        {"sizes": [10, -10]},
        {"sizes": [10, 50, 10]},
        {"sizes": [10], "singles": 9},
        {"sizes": [10], "singles": 1001},
        {"sizes": [10], "repeats": 0},
        {"sizes": [10], "warmup": -1},
        {"sizes": [10], "max_time_s": 0.0},
        {"sizes": [10], "max_time_s": float("nan")},
        {"sizes": [10], "scale": [9]},
        {"sizes": [10], "scale": [10_000_001]},
        {"sizes": [10], "scale": [1000, 1000]},
        {"sizes": [10], "scale": [1000, 100]},
    ],
)
def test_sizes_that_no_batch_or_store_can_have_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^(--)?(sizes?|repeats|scale|max-time)[ :]"):
        BenchOptions(**options)


def test_a_user_is_warned_of_unknown_words_cut_texts_and_few_repeats() -> None:
    lines = [orjson.dumps({"text": f"zz{number} zzz {'long ' * 2 * (number % 2)}"}) for number in range(10)]
    options = BenchOptions([10], singles=10, repeats=2, warmup=0)
    result = run(FakeEmbedder(token_limit=3), Workload("own", lines, lines, ["zz1"]), options)
    kinds = [warning.kind for warning in result.warnings]
    assert kinds[:3] == ["few-samples", "unknown-tokens", "truncated"]


def script(monkeypatch: pytest.MonkeyPatch, batch_s: Sequence[float], single_s: Sequence[float]) -> None:
    """Measurements that take no time, and report these."""
    batches: Iterator[float] = iter(batch_s)
    singles: Iterator[float] = iter(single_s)
    counts = TokenCounts(10, 100, 20, 0, 0)

    def ingest_batch(*_: object) -> tuple[IngestSample, TokenCounts]:
        total_s = next(batches)
        return IngestSample(total_s, {"embed": total_s / 2}), counts

    vectors = np.eye(10, dtype=np.float32)
    monkeypatch.setattr(runner, "ingest_batch", ingest_batch)
    monkeypatch.setattr(runner, "ingest_and_read", lambda *_: (*ingest_batch(), vectors))
    monkeypatch.setattr(runner, "add_one_by_one", lambda *_: CallsSample(next(singles), []))


def without_growth(*embedders: Embedder) -> list[Subject]:
    return [Subject(lambda embedder=embedder: embedder, lambda growth: iter(())) for embedder in embedders]  # type: ignore[misc]


def test_samples_are_kept_in_the_order_of_the_repeats(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, [0.002, 0.001, 0.009, 0.004, 0.003, 0.001], [0.012, 0.020, 0.010])
    options = BenchOptions([10], singles=12, repeats=3, warmup=0)
    (model,) = Bench(without_growth(FakeEmbedder()), workload, options).run().models
    assert [sample.total_s for sample in model.batches[0].samples] == [0.002, 0.009, 0.003]
    assert model.comparison is not None
    assert [sample.total_s for sample in model.comparison.batch] == [0.001, 0.004, 0.001]
    assert [sample.total_s for sample in model.comparison.single] == [0.012, 0.020, 0.010]


def test_each_repeat_begins_with_another_size(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, [0.1] * 20, [0.1] * 20)
    steps: list[str] = []
    Bench(without_growth(FakeEmbedder()), workload, OPTIONS, steps.append).run()
    assert steps[:2] == ["loading the model", "fake: warm-up"]
    assert [step.rpartition(" ")[2] for step in steps if "batch of" in step] == [
        "10", "20", "30", "20", "30", "10", "30", "10", "20"
    ]  # fmt: skip


@pytest.mark.parametrize(("time_s", "repeats"), [(None, 2), (1e-6, 2), (1000.0, 5)])
def test_repeats_go_on_while_they_can_decide_something_and_there_is_time(
    time_s: float | None, repeats: int, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [0.1] * 10, [0.1] * 5)
    options = BenchOptions([10], singles=12, repeats=2, warmup=0, max_time_s=time_s)
    seen: list[int] = []

    def is_decided(result: BenchResult) -> bool:
        seen.append(result.repeats)
        return result.repeats == 5

    result = Bench(without_growth(FakeEmbedder()), workload, options, is_decided=is_decided).run()
    assert (result.repeats, result.config.repeats, result.config.max_time_s) == (repeats, 2, time_s)
    assert len(result.machine.sgemm_flop_per_s) == repeats
    assert seen == ([2, 3, 4, 5] if repeats == 5 else [])


def test_models_are_measured_in_turn_and_another_is_first_in_each_repeat(workload: Workload) -> None:
    steps: list[str] = []
    options = BenchOptions([10], singles=10, repeats=3, warmup=0)
    subjects = without_growth(FakeEmbedder("a"), FakeEmbedder("b"))
    result = Bench(subjects, workload, options, steps.append).run()
    assert [step[0] for step in steps if "batch of" in step] == ["a", "b", "b", "a", "a", "b"]
    assert [model.model.name for model in result.models] == ["a", "b"]
    assert all(len(model.batches[0].samples) == 3 for model in result.models)


class Int8(FakeEmbedder):
    """The fake as another precision of it, all but alike."""

    def __init__(self, dim: int = 32) -> None:
        super().__init__("fake", dim)
        self.spec = EmbedderSpec(f"int8-{dim}", "r", dim, 16, "sum", "int8")


def test_models_are_held_against_the_first_of_full_precision(workload: Workload) -> None:
    subjects = without_growth(Int8(), FakeEmbedder(), Int8(16))
    options = BenchOptions([30], singles=10, repeats=1, warmup=0)
    alike, reference, narrow = Bench(subjects, workload, options).run().models
    assert reference.likeness is None
    assert alike.likeness is not None
    assert narrow.likeness is not None
    assert alike.likeness.reference == narrow.likeness.reference == "fake"
    assert len(alike.likeness.cosines) == 30
    assert narrow.likeness.cosines == []
    assert len(narrow.likeness.shared_neighbours) == 30


def test_one_model_alone_is_held_against_nothing(workload: Workload) -> None:
    (model,) = Bench(without_growth(FakeEmbedder()), workload, SHORT).run().models
    assert model.likeness is None
