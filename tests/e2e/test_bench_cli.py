"""`agentmem bench` measures, prints and writes what it measured, and refuses what it can't measure before it begins."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import EXAMPLES, MEMORIES, Cli, Result, assert_inert

RUN = ("bench", "--sizes", "10,20", "--repeats", "1", "--warmup", "0", "--compare", "10")


@dataclass(frozen=True)
class Run:
    """A benchmark of the phase4 strings, and where it ran."""

    cli: Cli
    result: Result
    measured: dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One short benchmark, printed as JSON and written to a file."""
    cli = Cli(tmp_path_factory.mktemp("bench"))
    result = cli(*RUN, "--json", "--output", "bench.json")
    assert result.exit_code == 0, result.stderr
    return Run(cli, result, result.json())


def test_the_result_has_the_keys_that_readers_count_on(run: Run) -> None:
    assert list(run.measured) == [
        "environment",
        "config",
        "batches",
        "comparison",
        "targets",
        "warnings",
        "schema_version",
    ]
    assert run.measured["schema_version"] == 1
    assert set(run.measured["environment"]) >= {"agentmem", "python", "platform", "cpu", "cores", "versions"}
    assert set(run.measured["environment"]["versions"]) >= {"fastembed", "onnxruntime", "numpy", "hnswlib", "sqlite"}
    batch_keys = {"batch_size", "memories", "samples_s", "total_ms", "ms_per_memory", "ops_per_s", "target_ratio"}
    assert all(set(batch) >= {*batch_keys, "stages_s"} for batch in run.measured["batches"])
    assert set(run.measured["comparison"]) >= {"memories", "single", "batch", "speedup", "time_saved_ratio"}


def test_the_result_says_what_was_asked_for(run: Run) -> None:
    config = run.measured["config"]
    assert config["model"] == "all-MiniLM-L6-v2"
    assert (config["workload"], config["sizes"], config["compare"]) == ("phase4", [10, 20], 10)
    assert (config["repeats"], config["warmup"]) == (1, 0)
    assert [batch["batch_size"] for batch in run.measured["batches"]] == [10, 20]


def test_figures_follow_from_the_samples(run: Run) -> None:
    for batch in run.measured["batches"]:
        (sample_s,) = batch["samples_s"]
        assert batch["total_ms"] == pytest.approx(1000 * sample_s)
        assert batch["ms_per_memory"] == pytest.approx(1000 * sample_s / batch["memories"])
        assert batch["ops_per_s"] == pytest.approx(batch["memories"] / sample_s)
        assert batch["target_ratio"] == pytest.approx(batch["ops_per_s"] / 5000)
    comparison = run.measured["comparison"]
    (single_s,), (batch_s,) = comparison["single"]["samples_s"], comparison["batch"]["samples_s"]
    assert comparison["speedup"] == pytest.approx(single_s / batch_s)
    assert comparison["time_saved_ratio"] == pytest.approx(1 - batch_s / single_s)


def test_every_target_has_a_true_verdict(run: Run) -> None:
    targets = {target["name"]: target for target in run.measured["targets"]}
    assert set(targets) == {"ops_per_s", "ms_per_memory", "speedup"}
    assert targets["ops_per_s"]["actual"] == max(batch["ops_per_s"] for batch in run.measured["batches"])
    for target in targets.values():
        lower_is_better = target["name"] == "ms_per_memory"
        reached = target["actual"] < target["target"] if lower_is_better else target["actual"] >= target["target"]
        assert target["met"] is reached


def test_stages_add_up_to_the_sample_they_are_of(run: Run) -> None:
    def unexplained(measured: dict[str, Any]) -> float:
        batch = measured["batches"][-1]
        total_ms: float = batch["total_ms"]
        explained_ms: float = 1000 * sum(batch["stages_s"].values())
        return abs(total_ms - explained_ms) / total_ms

    assert unexplained(run.measured) <= 0.1 or unexplained(run.cli(*RUN, "--json").json()) <= 0.1


def test_doubts_about_a_run_are_in_its_result(run: Run) -> None:
    unknown, few_repeats = run.measured["warnings"][:2]
    assert "of the workload's tokens are unknown to all-MiniLM-L6-v2" in unknown
    assert run.measured["config"]["unknown_token_ratio"] > 0.5
    assert "repeats" in few_repeats


def test_the_written_result_is_the_printed_one(run: Run) -> None:
    assert json.loads((run.cli.folder / "bench.json").read_text(encoding="utf-8")) == run.measured


def test_a_run_leaves_no_store_and_no_temporary_files(run: Run) -> None:
    assert [path.name for path in run.cli.folder.rglob("*") if path.is_file()] == ["bench.json"]
    assert list(run.cli.temporary.iterdir()) == []


def test_a_table_is_printed_where_no_json_is_asked_for(agentmem: Cli) -> None:
    result = agentmem(*RUN, "--workload", MEMORIES)
    assert result.exit_code == 0
    assert_inert(result.stdout)
    for heading in ("Batches", "Single against batch: the same 10 memories", "Targets"):
        assert heading in result.stdout
    measured_sizes = [line.split()[0] for line in result.stdout.splitlines() if line.split()[:1] in (["10"], ["20"])]
    assert measured_sizes == ["10", "20"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sizes", "5"), "size 5 is not between 10 and 1000"),
        (("--sizes", "10,2000"), "size 2000 is not between 10 and 1000"),
        (("--sizes", "abc"), "--sizes abc: "),
        (("--sizes", ""), "--sizes"),
        (("--sizes", "20,20"), "--sizes names a size twice"),
        (("--compare", "9"), "size 9 is not between 10 and 1000"),
        (("--repeats", "0"), "--repeats must be at least 1"),
        (("--warmup", "-1"), "--warmup at least 0"),
        (("--workload", "missing.jsonl"), "--workload missing.jsonl: "),
        (("--workload", str(MEMORIES)), "has 357 distinct texts, 1000 are needed: use smaller --sizes"),
        (("--sizes", "10", "--compare", "10", "--workload", str(EXAMPLES / "bad_lines.jsonl")), ":2: not JSON: "),
        (("--output", "no-such-folder/bench.json"), "--output no-such-folder/bench.json: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and len(value) == 2 else "",
)
def test_what_can_not_be_measured_is_a_usage_error(options: tuple[str, ...], said: str, agentmem: Cli) -> None:
    result = agentmem("bench", *options)
    assert result.exit_code == 2
    assert said in result.error()


def test_several_models_are_measured_side_by_side(agentmem: Cli) -> None:
    result = agentmem(*RUN, "--models", "minilm,minilm-int8", "--json", "--quiet")
    assert result.exit_code == 0
    models = result.json()["models"]
    assert [model["config"]["model"] for model in models] == ["all-MiniLM-L6-v2", "all-MiniLM-L6-v2-int8"]
    assert all([batch["batch_size"] for batch in model["batches"]] == [10, 20] for model in models)


@pytest.mark.parametrize(
    "arguments", [("--models", "minilm,minilm"), ("--models", "minilm,"), ("--models", "minilm", "--model", "minilm")]
)
def test_models_that_are_no_list_of_different_ones_are_a_usage_error(arguments: tuple[str, ...], agentmem: Cli) -> None:
    result = agentmem(*RUN, *arguments)
    assert (result.exit_code, "--models" in result.error()) == (2, True)
