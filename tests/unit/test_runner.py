"""A benchmark run on a fake embedder: its shape, its figures against its samples, and what must stop it."""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from agentmem_cli import __version__
from agentmem_cli.bench import runner
from agentmem_cli.bench.result import BenchResult
from agentmem_cli.bench.runner import BenchOptions, run_bench, run_benches
from agentmem_cli.bench.workload import Workload, make_workload
from agentmem_cli.embedding.base import Embedded, Embedder, Vectors
from agentmem_cli.errors import EmbeddingError, StoreError, UsageError
from tests.fakes import BrokenEmbedder, FakeEmbedder

SIZES = [10, 20, 30]
OPTIONS = BenchOptions(SIZES, compare=12, repeats=3, warmup=1)
SHORT = BenchOptions([20], compare=10, repeats=1, warmup=1)


def ignore(step: str) -> None:
    """Listens to no step."""


def run(embedder: Embedder, workload: Workload, options: BenchOptions = OPTIONS) -> BenchResult:
    return run_bench(embedder, workload, options, ignore)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def workload() -> Workload:
    return make_workload("mixed", 30, 12)


@pytest.fixture(scope="module")
def result(workload: Workload) -> dict[str, Any]:
    """One run, as `bench --json` prints it."""
    printed: dict[str, Any] = orjson.loads(orjson.dumps(run(FakeEmbedder(token_limit=40), workload)))
    return printed


def test_the_json_has_exactly_the_documented_keys(result: dict[str, Any]) -> None:
    assert set(result) == {
        "schema_version", "environment", "config", "batches", "comparison", "targets", "warnings"
    }  # fmt: skip
    assert result["schema_version"] == 1
    assert set(result["environment"]) == {"agentmem", "python", "platform", "cpu", "cores", "versions"}
    batch_keys = {
        "batch_size", "memories", "samples_s", "total_ms", "ms_per_memory", "ops_per_s", "target_ratio", "stages_s"
    }  # fmt: skip
    assert [set(batch) for batch in result["batches"]] == [batch_keys] * 3
    assert set(result["comparison"]) == {"memories", "single", "batch", "speedup", "time_saved_ratio"}
    for mode in ("single", "batch"):
        assert set(result["comparison"][mode]) == {"total_ms", "ops_per_s", "samples_s"}
    assert [set(target) for target in result["targets"]] == [{"name", "target", "actual", "met"}] * 3


def test_the_run_says_where_and_on_what_it_was_measured(result: dict[str, Any], workload: Workload) -> None:
    environment, config = result["environment"], result["config"]
    assert environment["agentmem"] == __version__
    assert environment["cores"] >= 1
    assert environment["cpu"]
    assert {"sqlite", "numpy", "hnswlib", "orjson"} <= set(environment["versions"])
    assert (config["model"], config["model_revision"], config["workload"]) == ("fake", "fake-1", "mixed")
    assert (config["sizes"], config["compare"], config["repeats"], config["warmup"]) == (SIZES, 12, 3, 1)
    embedded = FakeEmbedder(token_limit=40).embed(workload.texts())
    assert config["tokens_per_memory"] == pytest.approx(embedded.tokens / 30)
    assert config["truncated"] == embedded.truncated > 0
    assert config["unknown_token_ratio"] == 0.0


def test_the_figures_of_a_batch_follow_from_its_samples(result: dict[str, Any]) -> None:
    assert [batch["batch_size"] for batch in result["batches"]] == SIZES
    for batch in result["batches"]:
        size, median_s = batch["batch_size"], statistics.median(batch["samples_s"])
        assert batch["memories"] == size
        assert len(batch["samples_s"]) == 3
        assert min(batch["samples_s"]) > 0
        assert batch["total_ms"] == pytest.approx(1000 * median_s)
        assert batch["ms_per_memory"] == pytest.approx(1000 * median_s / size)
        assert batch["ops_per_s"] == pytest.approx(size / median_s)
        assert batch["target_ratio"] == pytest.approx(size / median_s / 5000)
        assert {"parse", "embed", "commit", "index"} <= set(batch["stages_s"])
        assert 0 < sum(batch["stages_s"].values()) <= median_s


def test_the_figures_of_the_comparison_follow_from_its_samples(result: dict[str, Any]) -> None:
    comparison = result["comparison"]
    medians_s = {}
    for mode in ("single", "batch"):
        medians_s[mode] = statistics.median(comparison[mode]["samples_s"])
        assert len(comparison[mode]["samples_s"]) == 3
        assert comparison[mode]["total_ms"] == pytest.approx(1000 * medians_s[mode])
        assert comparison[mode]["ops_per_s"] == pytest.approx(12 / medians_s[mode])
    assert comparison["memories"] == 12
    assert comparison["speedup"] == pytest.approx(medians_s["single"] / medians_s["batch"])
    assert comparison["time_saved_ratio"] == pytest.approx(1 - medians_s["batch"] / medians_s["single"])


def test_the_verdicts_are_on_the_best_batch_and_the_comparison(result: dict[str, Any]) -> None:
    best = max(result["batches"], key=lambda batch: float(batch["ops_per_s"]))
    actual = {target["name"]: target["actual"] for target in result["targets"]}
    assert actual == {
        "ops_per_s": best["ops_per_s"],
        "ms_per_memory": best["ms_per_memory"],
        "speedup": result["comparison"]["speedup"],
    }


def test_every_measurement_embeds_every_memory_anew(workload: Workload) -> None:
    embedder = FakeEmbedder()
    run(embedder, workload, BenchOptions([10, 20], compare=12, repeats=2, warmup=1))
    warm_up, repeat, config = 20 + 10, 10 + 20 + 2 * 12, 30
    assert embedder.texts_embedded == warm_up + 2 * repeat + config


def test_no_store_is_left_behind(workload: Workload, temporary_folder: Path) -> None:
    run(FakeEmbedder(), workload, SHORT)
    with pytest.raises(EmbeddingError):
        run(FailsLater(30), workload, SHORT)
    assert list(temporary_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda vectors: vectors * np.float32("nan"), "NaN or infinity"),
        (np.zeros_like, "zero vector"),
        (lambda vectors: vectors[:-1], "shape"),
        (lambda vectors: vectors[:, :-1], "shape"),
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


@pytest.mark.parametrize("after", [0, 20, 30, 55, 70])
def test_an_embedder_that_fails_in_the_middle_stops_the_run(after: int, workload: Workload) -> None:
    with pytest.raises(EmbeddingError, match="the model is gone"):
        run(FailsLater(after), workload, SHORT)


class SearchesElsewhere(FakeEmbedder):
    """Its queries are as far as can be from the text they repeat."""

    def embed_query(self, query: str) -> Vectors:
        return -super().embed_query(query)


def test_a_run_whose_memories_can_not_be_found_again_is_no_result(workload: Workload) -> None:
    with pytest.raises(StoreError, match=r"benchmark: .* the last is not found"):
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
        {"sizes": [10], "compare": 9},
        {"sizes": [10], "compare": 1001},
        {"sizes": [10], "repeats": 0},
        {"sizes": [10], "warmup": -1},
    ],
)
def test_sizes_that_no_batch_can_have_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^(--)?(sizes?|repeats) "):
        BenchOptions(**options)


def test_a_user_is_warned_of_unknown_words_cut_texts_and_few_repeats() -> None:
    lines = [orjson.dumps({"text": f"zz{number} zzz {'long ' * 2 * (number % 2)}"}) for number in range(10)]
    options = BenchOptions([10], compare=10, repeats=2, warmup=0)
    result = run(FakeEmbedder(token_limit=3), Workload("own", lines, lines), options)
    assert result.config.unknown_token_ratio == 0.8
    assert [warning.split(":")[0] for warning in result.warnings][:3] == [
        "80% of the workload's tokens are unknown to fake",
        "5 texts are longer than fake reads, and were cut",
        "2 repeats say little of the spread",
    ]


def script(monkeypatch: pytest.MonkeyPatch, batch_s: Sequence[float], single_s: Sequence[float]) -> None:
    """Measurements that take no time, and report these."""
    batches: Iterator[float] = iter(batch_s)
    singles: Iterator[float] = iter(single_s)

    def ingest_batch(*_: object) -> tuple[float, dict[str, float]]:
        total_s = next(batches)
        return total_s, {"embed": total_s / 2}

    monkeypatch.setattr(runner, "_ingest_batch", ingest_batch)
    monkeypatch.setattr(runner, "_add_one_by_one", lambda *_: (next(singles), {}))


def test_known_times_give_the_known_figures(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, [0.002, 0.001, 0.009, 0.004, 0.003, 0.001], [0.012, 0.020, 0.010])
    result = run(FakeEmbedder(), workload, BenchOptions([10], compare=12, repeats=3, warmup=0))
    (batch,) = result.batches
    assert batch.samples_s == [0.002, 0.009, 0.003]
    assert batch.total_ms == pytest.approx(3.0)
    assert batch.ops_per_s == pytest.approx(3333.33, abs=0.01)
    assert batch.target_ratio == pytest.approx(0.6667, abs=0.0001)
    assert batch.stages_s == {"embed": 0.0015}
    assert result.comparison.batch.samples_s == [0.001, 0.004, 0.001]
    assert result.comparison.single.total_ms == pytest.approx(12.0)
    assert result.comparison.speedup == pytest.approx(12.0)
    assert result.comparison.time_saved_ratio == pytest.approx(11 / 12)
    assert [target.met for target in result.targets] == [False, True, True]


def test_each_repeat_begins_with_another_size(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, [0.1] * 20, [0.1] * 20)
    steps: list[str] = []
    run_bench(FakeEmbedder(), workload, OPTIONS, steps.append)
    assert steps[0] == "fake: warm-up"
    assert [step.rpartition(" ")[2] for step in steps if "batch of" in step] == [
        "10", "20", "30", "20", "30", "10", "30", "10", "20"
    ]  # fmt: skip


def test_models_are_measured_in_turn_and_another_is_first_in_each_repeat(workload: Workload) -> None:
    steps: list[str] = []
    options = BenchOptions([10], compare=10, repeats=3, warmup=0)
    results = run_benches([FakeEmbedder("a"), FakeEmbedder("b")], workload, options, steps.append)
    assert [step[0] for step in steps if "batch of" in step] == ["a", "b", "b", "a", "a", "b"]
    assert [result.config.model for result in results] == ["a", "b"]
    assert all(len(result.batches[0].samples_s) == 3 for result in results)


@pytest.mark.parametrize(("slowest_s", "noisy"), [(0.625, False), (0.626, True)])
def test_samples_that_are_far_apart_make_a_noisy_run(
    slowest_s: float, noisy: bool, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [0.5, 0.5, 0.5, 0.5, slowest_s, 0.5], [0.5] * 3)
    result = run(FakeEmbedder(token_limit=1000), workload, BenchOptions([10], compare=12, repeats=3, warmup=0))
    expected = ["noisy run: the samples of batch size 10 are more than 25% apart"] if noisy else []
    assert result.warnings == expected
