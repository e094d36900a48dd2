"""`agentmem bench` measures, prints and writes what it measured, and refuses what it can't measure before it begins."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentmem_cli.bench.result_file import read_result
from tests.e2e.conftest import EXAMPLES, MEMORIES, TIMEOUT_S, Cli, Result, assert_inert

RUN = ("bench", "--sizes", "10,20", "--repeats", "1", "--warmup", "0", "--singles", "10")
STATIC_RUN = (*RUN, "--model", "minilm-static")


@dataclass(frozen=True)
class Run:
    """A benchmark of the phase4 strings, and where it ran."""

    cli: Cli
    result: Result
    measured: dict[str, Any]

    @property
    def model(self) -> dict[str, Any]:
        """What was measured of its only model."""
        (model,) = self.measured["models"]
        found: dict[str, Any] = model
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One short benchmark, printed as JSON and written to a file."""
    cli = Cli(tmp_path_factory.mktemp("bench"))
    result = cli.process(*RUN, "--json", "--output", "bench.json")
    assert result.exit_code == 0, result.stderr
    return Run(cli, result, result.json())


def test_the_result_has_the_keys_that_readers_count_on(run: Run) -> None:
    assert list(run.measured) == [
        "schema_version",
        "complete",
        "started_at",
        "environment",
        "config",
        "workload",
        "machine",
        "models",
        "warnings",
    ]
    assert (run.measured["schema_version"], run.measured["complete"]) == (1, True)
    assert set(run.measured["environment"]) >= {"agentmem", "python", "platform", "cpu", "cores", "versions"}
    assert set(run.measured["environment"]["versions"]) >= {"fastembed", "onnxruntime", "numpy", "hnswlib", "sqlite"}
    assert set(run.model) == {
        "model",
        "batches",
        "comparison",
        "cold_start",
        "stores",
        "likeness",
        "remedies",
        "retrieval",
        "clients",
        "processes",
        "ef",
        "workers",
        "figures",
    }


def test_the_result_says_what_was_asked_for(run: Run) -> None:
    config = run.measured["config"]
    assert run.model["model"]["name"] == "all-MiniLM-L6-v2"
    assert run.measured["workload"]["name"] == "phase4"
    assert (config["sizes"], config["singles"]) == ([10, 20], 10)
    assert (config["repeats"], config["warmup"], config["device"]) == (1, 0, "cpu")
    assert [batch["batch_size"] for batch in run.model["batches"]] == [10, 20]


def test_figures_follow_from_the_samples(run: Run) -> None:
    for batch, figures in zip(run.model["batches"], run.model["figures"]["batches"], strict=True):
        (sample,) = batch["samples"]
        assert figures["total_ms"] == pytest.approx(1000 * sample["total_s"])
        assert figures["ops_per_s"] == pytest.approx(batch["batch_size"] / sample["total_s"])
        assert figures["total_ms_interval"] is None
    comparison = run.model["comparison"]
    (single,), (batch,) = comparison["single"], comparison["batch"]
    assert run.model["figures"]["comparison"]["speedup"] == pytest.approx(single["total_s"] / batch["total_s"])


def test_every_target_has_a_verdict_of_which_one_repeat_is_not_certain(run: Run) -> None:
    figures = run.model["figures"]
    targets = {target["name"]: target for target in figures["targets"]}
    assert set(targets) == {"ops_per_s", "ms_per_memory", "speedup"}
    assert targets["ops_per_s"]["actual"] == max(batch["ops_per_s"] for batch in figures["batches"])
    assert {(target["outcome"], target["interval"]) for target in targets.values()} == {("inconclusive", None)}


def test_stages_are_those_of_the_ingest_and_no_longer_than_it(run: Run) -> None:
    (sample,) = run.model["batches"][-1]["samples"]
    assert set(sample["stages_s"]) >= {"parse", "plan", "tokenize", "embed", "commit"}
    assert all(spent_s >= 0 for spent_s in sample["stages_s"].values())
    assert sum(sample["stages_s"].values()) <= sample["total_s"]


def test_a_process_of_its_own_tells_the_cold_start_and_the_store(run: Run) -> None:
    assert all(run.model["cold_start"][part] > 0 for part in ("process_s", "load_s", "first_batch_s"))
    (store,) = run.model["stores"]
    assert (store["memories"], len(store["searches_s"]), store["index_s"]) == (20, 100, None)
    assert store["bytes"] > 20 * 384 * 4
    assert store["peak_resident_bytes"] > 20_000_000


def test_doubts_about_a_run_are_in_its_result(run: Run) -> None:
    doubts = {warning["kind"]: warning for warning in run.measured["warnings"]}
    assert doubts["few-samples"]["data"] == {"repeats": 1}
    assert "of the workload's tokens are unknown to all-MiniLM-L6-v2" in doubts["unknown-tokens"]["message"]
    assert doubts["unknown-tokens"]["data"]["unknown_token_ratio"] > 0.5


def test_the_written_result_is_the_printed_one(run: Run) -> None:
    assert json.loads((run.cli.folder / "bench.json").read_text(encoding="utf-8")) == run.measured


def test_a_run_leaves_no_store_and_no_temporary_files(run: Run) -> None:
    assert [path.name for path in run.cli.folder.rglob("*") if path.is_file()] == ["bench.json"]
    assert list(run.cli.temporary.iterdir()) == []


def test_a_table_is_printed_where_no_json_is_asked_for(static: Cli) -> None:
    result = static(*STATIC_RUN, "--workload", MEMORIES)
    assert result.exit_code == 0
    assert_inert(result.stdout)
    for heading in ("Batches", "Single against batch: 10 memories each", "Targets"):
        assert heading in result.stdout
    measured_sizes = [line.split()[0] for line in result.stdout.splitlines() if line.split()[:1] in (["10"], ["20"])]
    assert measured_sizes == ["10", "20"] * 2  # of batches, and of their stages


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sizes", "5"), "size 5 is not between 10 and 1000"),
        (("--sizes", "abc"), "--sizes abc: "),
        (("--sizes", "20,20"), "--sizes names a size twice"),
        (("--repeats", "0"), "--repeats must be at least 1"),
        (("--workload", "missing.jsonl"), "--workload missing.jsonl: "),
        (("--workload", str(MEMORIES)), "has 357 distinct texts, but 1000 are needed: use smaller --sizes"),
        (("--sizes", "10", "--singles", "10", "--workload", str(EXAMPLES / "bad_lines.jsonl")), ":2: not JSON: "),
        (("--scale", "5"), "--scale: 5 memories is not between 10 and 10,000,000"),
        (("--scale", "100,50"), "--scale: give ascending sizes"),
        (("--scale", "400", "--sizes", "10", "--workload", str(MEMORIES)), "400 are needed"),
        (("--queries", str(EXAMPLES / "queries.jsonl")), "--queries needs memories with ids"),
        (("--workload", str(MEMORIES), "--queries", "-"), "--queries -: "),
        (("--clients", "1,4", "--models", "minilm"), "--clients is about one model: give --model in place of --models"),
        (("--processes", "2", "--models", "minilm"), "--processes is about one model"),
        (("--ef", "16", "--models", "minilm"), "--ef is about one model"),
        (("--ef", "16", "--sizes", "10"), "--ef needs a store with a graph"),
        (("--clients", "4;8"), "--clients 4;8: "),
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
    assert [model["model"]["name"] for model in models] == ["all-MiniLM-L6-v2", "all-MiniLM-L6-v2-int8"]
    assert models[1]["likeness"]["reference"] == "all-MiniLM-L6-v2"
    assert min(models[1]["likeness"]["cosines"]) > 0.9
    assert all([batch["batch_size"] for batch in model["batches"]] == [10, 20] for model in models)


@pytest.mark.parametrize(
    "arguments", [("--models", "minilm,minilm"), ("--models", "minilm,"), ("--models", "minilm", "--model", "minilm")]
)
def test_models_that_are_no_list_of_different_ones_are_a_usage_error(arguments: tuple[str, ...], agentmem: Cli) -> None:
    result = agentmem(*RUN, *arguments)
    assert (result.exit_code, "--models" in result.error()) == (2, True)


def test_a_slowdown_for_tests_is_said_aloud_and_refused_where_it_is_none(static: Cli) -> None:
    slowed = static(*STATIC_RUN, "--json", variables={"AGENTMEM_TEST_SLOWDOWN": "0.5"})
    assert "AGENTMEM_TEST_SLOWDOWN slows this run down by 50%" in [w["message"] for w in slowed.json()["warnings"]]
    refused = static(*STATIC_RUN, variables={"AGENTMEM_TEST_SLOWDOWN": "a bit"})
    assert (refused.exit_code, "AGENTMEM_TEST_SLOWDOWN is a bit" in refused.error()) == (2, True)


def test_a_store_grows_to_the_sizes_that_are_asked_for(static: Cli) -> None:
    result = static(*STATIC_RUN, "--scale", "15,40", "--json")
    (model,) = result.json()["models"]
    assert [(store["memories"], store["added"]) for store in model["stores"]] == [(15, 15), (40, 25)]


@pytest.mark.parametrize(("sent", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_what_it_has_measured(sent: signal.Signals, exit_code: int, static: Cli) -> None:
    process = static.start(*STATIC_RUN, "--repeats", "1000", "--output", "r.json", "--quiet")
    stores: set[Path] = set()

    def has_repeated() -> bool:
        stores.update(static.temporary.glob("agentmem-bench-*/*/store"))
        return len(stores) > 4  # a repeat measures two sizes, one by one, and one batch: each in a store of its own

    _wait_for(process, has_repeated)
    process.send_signal(sent)
    assert process.wait(TIMEOUT_S) == exit_code
    assert process.stderr is not None
    assert process.stderr.read() == b""
    result = read_result((static.folder / "r.json").read_bytes(), "r.json")
    assert result.complete is False
    assert len(result.models[0].batches[0].samples) >= 1
    assert list(static.temporary.iterdir()) == []


def test_a_run_that_is_interrupted_before_it_has_measured_anything_leaves_a_former_result_alone(static: Cli) -> None:
    (static.folder / "r.json").write_text("a former result")
    process = static.start("bench", "--model", "minilm-static", "--warmup", "100", "--output", "r.json")
    _wait_for(process, lambda: list(static.temporary.glob("agentmem-bench-*/*/store/memories.db")))
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 130
    assert (static.folder / "r.json").read_text() == "a former result"


def test_labelled_queries_are_asked_of_all_memories_of_the_file(static: Cli) -> None:
    result = static(*STATIC_RUN, "--workload", MEMORIES, "--queries", EXAMPLES / "queries.jsonl", "--json")
    (model,) = result.json()["models"]
    assert [found["mode"] for found in model["retrieval"]] == ["hybrid", "meaning"]
    for found, least in zip(model["figures"]["retrieval"], (0.5, 0.1), strict=True):  # by chance it would be 0.03
        assert found["queries"] == 40
        assert found["metrics"]["recall@10"]["mean"] > least


def test_a_run_that_is_interrupted_while_a_store_grows_leaves_its_result_and_nothing_else(agentmem: Cli) -> None:
    process = agentmem.start(*RUN, "--scale", "1000", "--output", "r.json", "--quiet")
    folder = agentmem.temporary
    _wait_for(process, lambda: [*folder.glob("*/up-to-1000.jsonl")] and [*folder.glob("*/*/store/memories.db")])
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 130
    result = read_result((agentmem.folder / "r.json").read_bytes(), "r.json")
    assert (result.complete, len(result.models[0].batches), result.models[0].stores) == (False, 2, [])
    assert list(agentmem.temporary.iterdir()) == []


def _wait_for(process: "subprocess.Popen[bytes]", happened: Callable[[], object]) -> None:
    while not happened():
        assert process.poll() is None
        time.sleep(0.01)
