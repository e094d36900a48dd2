"""`bench compare`, `bench ab`, and the bounds of `bench`: made-up results, and installations that only print."""

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from agentmem_cli.bench.ab import IN_TURN, OVER, measuring, this_installation
from agentmem_cli.bench.result import BenchResult
from agentmem_cli.bench.result_file import as_bytes
from tests.bench_results import batch_run, bench_result, comparison, model_result, store_point
from tests.e2e.conftest import MEMORIES, TIMEOUT_S, Cli, assert_inert

RUN = ("bench", "--sizes", "10,20", "--repeats", "1", "--warmup", "0", "--singles", "10", "--workload", MEMORIES)
STATIC_RUN = (*RUN, "--model", "minilm-static")
STEADY = (0.98, 0.99, 1.0, 1.01, 1.02)


def result(factor: float = 1.0, spread: float = 1.0) -> BenchResult:
    """A result whose times are longer by a factor, and wider apart."""
    times = [factor * (1 + spread * (time_s - 1)) for time_s in STEADY]
    model = replace(
        model_result("fake", [batch_run(100, [0.1 * time_s for time_s in times])]),
        comparison=comparison(times, times, 10),
        stores=[store_point(1000)],
    )
    return bench_result(model)


def write(cli: Cli, name: str, content: BenchResult) -> str:
    (cli.folder / name).write_bytes(as_bytes(content))
    return name


class TestBounds:
    def test_figures_that_keep_them_are_shown_with_them(self, static: Cli) -> None:
        (static.folder / "pyproject.toml").write_text("[tool.agentmem.gate]\nmin-ops = 1\nmax-ms = 0.0001\n")
        kept = static(*STATIC_RUN, "--repeats", "5", "--max-ms", "10000", "--min-speedup", "0.001", "--strict")
        assert kept.exit_code == 0, kept.stderr
        lines = kept.stdout.partition("Gate")[2].partition("Warning")[0].splitlines()
        assert [line.split()[-1] for line in lines if "of " in line or "batch " in line] == ["met"] * 3

    def test_a_miss_ends_with_4_and_is_named_after_the_result(self, static: Cli) -> None:
        missed = static(
            *STATIC_RUN, "--repeats", "5", "--min-ops", "1000000", "--json", "--quiet", "--output", "r.json"
        )
        assert missed.exit_code == 4
        (verdict,) = missed.json()["gate"]
        assert (verdict["metric"], verdict["bound"], verdict["outcome"]) == ("ops_per_s", 1_000_000, "missed")
        assert (static.folder / "r.json").exists()
        (line,) = missed.stderr.splitlines()
        assert line.startswith("agentmem: error: gate: ops_per_s of all-MiniLM-L6-v2-static, batch ")
        assert line.endswith("is less than 1,000,000")

    def test_what_is_not_certain_is_said_and_fails_only_if_strict(self, static: Cli) -> None:
        doubt = "is not certain to be at least 1: an interval needs at least 5 repeats"
        passed = static(*STATIC_RUN, "--min-ops", "1", "--quiet", "--junit", "j.xml")
        assert (passed.exit_code, doubt in passed.stderr) == (0, True)
        assert 'skipped="1"' in (static.folder / "j.xml").read_text(encoding="utf-8")
        row = next(line for line in passed.stdout.partition("Gate")[2].splitlines() if "batch " in line)
        assert row.rstrip().endswith("not certain")
        failed = static(*STATIC_RUN, "--min-ops", "1", "--quiet", "--junit", "j.xml", "--strict")
        assert failed.exit_code == 4
        assert failed.stderr.startswith("agentmem: error: gate: ops_per_s of all-MiniLM-L6-v2-static, batch ")
        assert doubt in failed.stderr
        assert 'failures="1"' in (static.folder / "j.xml").read_text(encoding="utf-8")

    def test_with_time_it_repeats_until_a_bound_is_certain(self, static: Cli) -> None:
        decided = static(*STATIC_RUN, "--min-ops", "1", "--max-time", "500", "--strict", "--json", "--quiet")
        assert decided.exit_code == 0, decided.stderr
        assert decided.json()["gate"][0]["outcome"] == "met"
        assert len(decided.json()["models"][0]["batches"][0]["samples"]) == 5

    @pytest.mark.parametrize(
        ("options", "project", "said"),
        [
            (("--min-ops", "0"), "", "--min-ops 0: "),
            (("--max-time", "0"), "", "--max-time 0: "),
            (("--min-recall", "95"), "", "--min-recall 95: "),
            (("--min-recall", "0.9"), "", "give --scale 1000 or more"),
            ((), "[tool.agentmem.gate]\nmin-op = 1\n", "pyproject.toml, [tool.agentmem.gate]: "),
            ((), "[tool.agentmem.gate\n", "pyproject.toml is not TOML"),
        ],
    )
    def test_what_can_not_be_kept_is_refused_before_anything_is_measured(
        self, options: tuple[str, ...], project: str, said: str, agentmem: Cli
    ) -> None:
        if project:
            (agentmem.folder / "pyproject.toml").write_text(project)
        refused = agentmem(*RUN, *options)
        assert (refused.exit_code, said in refused.error()) == (2, True), refused.stderr


class TestCompare:
    @pytest.mark.parametrize(
        ("new", "options", "exit_code", "outcome"),
        [
            (result(), (), 0, "ok"),
            (result(1.3), (), 4, "regressed"),
            (result(1.3), ("--max-regression", "40%"), 0, "ok"),
            (result(0.7), (), 0, "improved"),
            (result(1.1, 20), (), 0, "inconclusive"),
            (result(1.1, 20), ("--strict",), 4, "inconclusive"),
        ],
    )
    def test_an_outcome_has_its_exit_code(
        self, new: BenchResult, options: tuple[str, ...], exit_code: int, outcome: str, agentmem: Cli
    ) -> None:
        files = write(agentmem, "base.json", result()), write(agentmem, "new.json", new)
        compared = agentmem("bench", "compare", *files, *options, "--json", "--output", "verdicts.json")
        assert compared.exit_code == exit_code, compared.stderr
        report = compared.json()
        assert {v["metric"]: v["outcome"] for v in report["verdicts"]}["ops_per_s"] == outcome
        assert json.loads((agentmem.folder / "verdicts.json").read_bytes()) == report
        named = "not certain" if outcome == "inconclusive" else outcome
        assert (f"ops_per_s batch 100 of fake {named}: " in compared.stderr) == (exit_code == 4)

    def test_a_table_names_what_was_compared(self, agentmem: Cli) -> None:
        files = write(agentmem, "base.json", result()), write(agentmem, "new.json", result(1.3))
        shown = agentmem("bench", "compare", *files)
        assert_inert(shown.stdout)
        rows = {line.split("  ")[0].strip(): line.split()[-1] for line in shown.stdout.splitlines() if line.strip()}
        assert rows["ops/s, batch 100"] == rows["one add, ms, of 10"] == "regressed"
        assert rows["bytes each, of 1,000"] == "ok"

    def test_results_that_are_no_measure_of_each_other_need_force(self, agentmem: Cli) -> None:
        elsewhere = replace(result(), environment=replace(result().environment, cpu="B CPU"))
        files = write(agentmem, "base.json", result()), write(agentmem, "new.json", elsewhere)
        refused = agentmem("bench", "compare", *files)
        assert (refused.exit_code, "cpu: A CPU against B CPU (--force" in refused.error()) == (2, True)
        forced = agentmem("bench", "compare", *files, "--force", "--json")
        assert forced.exit_code == 0
        assert forced.stderr == "agentmem: warning: not the same: cpu: A CPU against B CPU\n"

    def test_phases_of_other_machines_are_explained_and_not_refused(self, agentmem: Cli) -> None:
        elsewhere = replace(result(), environment=replace(result().environment, cpu="B CPU"))
        files = write(agentmem, "base.json", result()), write(agentmem, "new.json", elsewhere)
        named = (*files, "--phase-names", "Phase 1, Phase 4")
        assert agentmem("bench", "compare", *named).exit_code == 2
        shown = agentmem("bench", "compare", *named, "--force")
        assert (shown.exit_code, shown.stderr) == (0, "")
        assert "- CPU: Phase 1 has A CPU, Phase 4 has B CPU" in shown.stdout
        report = agentmem("bench", "compare", *named, "--force", "--json").json()
        assert [(found["metric"], found["memories"]) for found in report["phases"]] == [
            ("batch", 100),
            ("single", 10),
            ("speedup", 10),
        ]

    @pytest.mark.parametrize("names", ["Phase 1", "a,b,c", "a,", "a,a"])
    def test_names_that_are_not_two_are_a_usage_error(self, names: str, agentmem: Cli) -> None:
        refused = agentmem("bench", "compare", "a.json", "b.json", "--phase-names", names)
        assert (refused.exit_code, "give two different names" in refused.error()) == (2, True)

    def test_a_size_that_the_new_result_lacks_is_said_and_fails_if_strict(self, agentmem: Cli) -> None:
        base = replace(result(), models=[replace(result().models[0], stores=[])])  # which leaves nothing not certain
        more = replace(base.models[0], batches=[*base.models[0].batches, batch_run(500, [0.5 * s for s in STEADY])])
        files = write(agentmem, "base.json", replace(base, models=[more])), write(agentmem, "new.json", base)
        passed = agentmem("bench", "compare", *files)
        lacks = "new.json lacks ops_per_s batch 500 (fake), which base.json has"
        assert (passed.exit_code, passed.stderr) == (0, f"agentmem: warning: {lacks}\n")
        assert "Not compared: ops_per_s batch 500 (fake), which only base.json has" in passed.stdout
        failed = agentmem("bench", "compare", *files, "--strict")
        assert (failed.exit_code, f"gate: {lacks}" in failed.stderr) == (4, True)
        more_of_it = agentmem("bench", "compare", *reversed(files), "--strict")
        assert (more_of_it.exit_code, more_of_it.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "No such file"),
            (b"", "is not JSON"),
            (b'{"schema_version": 99}', "use a newer agentmem"),
            (orjson.dumps(bench_result(model_result("fake", [batch_run(100, [0.0])]))), "ops_per_s batch 100"),
            (as_bytes(replace(result(), models=[])), "models: "),
        ],
    )
    def test_a_file_that_is_no_result_is_a_usage_error(self, content: bytes | None, said: str, agentmem: Cli) -> None:
        base = write(agentmem, "base.json", result())
        if content is not None:
            (agentmem.folder / "new.json").write_bytes(content)
        refused = agentmem("bench", "compare", base, "new.json")
        assert (refused.exit_code, said in refused.error()) == (2, True), refused.stderr

    def test_results_with_nothing_in_common_are_a_usage_error(self, agentmem: Cli) -> None:
        bare = bench_result(replace(model_result("fake", [batch_run(10, [0.1])]), comparison=None, stores=[]))
        files = write(agentmem, "base.json", result()), write(agentmem, "new.json", bare)
        refused = agentmem("bench", "compare", *files)
        assert (refused.exit_code, "no figure in common" in refused.error()) == (2, True)

    @pytest.mark.parametrize("share", ["10", "nan", ""])
    def test_a_regression_that_is_no_share_is_a_usage_error(self, share: str, agentmem: Cli) -> None:
        refused = agentmem("bench", "compare", "a.json", "b.json", "--max-regression", share)
        assert (refused.exit_code, "--max-regression" in refused.error()) == (2, True)

    def test_options_of_bench_before_it_are_refused(self, agentmem: Cli) -> None:
        refused = agentmem("bench", "--sizes", "10", "compare", "a.json", "b.json")
        assert (refused.exit_code, "--sizes is an option of bench" in refused.error()) == (2, True)


@dataclass(frozen=True)
class Installations:
    """Two that print results made beforehand, one a run, and keep a log of who was run with what, and where."""

    cli: Cli

    def make(self, side: str, results: Sequence[BenchResult], last_words: str = "") -> str:
        """A program that prints one result after the other; then it says last words and fails."""
        folder = self.cli.folder / side
        (folder / "bin").mkdir(parents=True)
        for number, printed in enumerate(results, 1):
            (folder / f"{number}.json").write_bytes(as_bytes(printed))
        self._write(
            folder,
            f'echo "{side} $PWD ${{PYTHONPATH-no-path}} $*" >> {self.cli.folder}/log\n'
            f"n=$(grep -c '^{side} ' {self.cli.folder}/log)\n"
            f"[ -e {folder}/$n.json ] && exec cat {folder}/$n.json\n"
            f"printf 'a line before\\n{last_words}' >&2; exit 1\n",
        )
        return side

    def make_stepwise(self, side: str, steps: int) -> str:
        """A program that waits for its turn before each step, notes the step, and prints a result."""
        folder = self.cli.folder / side
        (folder / "bin").mkdir(parents=True)
        (folder / "result.json").write_bytes(as_bytes(result()))
        self._write(
            folder,
            f"for step in $(seq {steps}); do printf '%s' '{OVER.decode()}'; read go || exit 1\n"
            f"echo {side} $step >> {self.cli.folder}/log; done\nexec cat {folder}/result.json\n",
        )
        return side

    def make_waiting(self, side: str) -> str:
        """A program that starts another, and waits for it."""
        folder = self.cli.folder / side
        (folder / "bin").mkdir(parents=True)
        self._write(
            folder, f"sleep 600 & echo $$ $! $TMPDIR > {folder}/pids.new; mv {folder}/pids.new {folder}/pids\nwait\n"
        )
        return side

    @property
    def log(self) -> list[list[str]]:
        """Side, folder, and PYTHONPATH with arguments of each run."""
        return [line.split(" ", 2) for line in (self.cli.folder / "log").read_text().splitlines()]

    def _write(self, folder: Path, script: str) -> None:
        (folder / "bin" / "agentmem").write_text(f"#!/bin/sh\n{script}")
        (folder / "bin" / "agentmem").chmod(0o755)


@pytest.fixture
def installations(agentmem: Cli) -> Installations:
    """None yet, in an empty folder."""
    return Installations(agentmem)


NOISE = (1.0, 3.0, 0.5, 2.0, 1.5, 0.8, 1.1)


class TestAb:
    @pytest.mark.parametrize(
        ("factor", "exit_code", "outcome"), [(1.0, 0, "ok"), (1.3, 4, "regressed"), (0.7, 0, "improved")]
    )
    def test_pairs_are_judged_however_much_the_machine_varies(
        self, factor: float, exit_code: int, outcome: str, installations: Installations
    ) -> None:
        base = installations.make("base", [result(noise) for noise in NOISE])
        head = installations.make("head", [result(noise * factor) for noise in NOISE])
        judged = installations.cli("bench", "ab", "--base", base, "--head", head, "--json", "--quiet")
        assert judged.exit_code == exit_code, judged.stderr
        report = judged.json()
        assert (report["rounds"], report["base"]["name"], report["new"]["name"]) == (7, "base", "head")
        found = {verdict["metric"]: verdict for verdict in report["verdicts"]}
        assert (found["ops_per_s"]["outcome"], found["add_ms"]["outcome"]) == (outcome, outcome)
        assert found["ops_per_s"]["figure"] == pytest.approx(1 / factor)
        assert found["ops_per_s"]["base_samples"] == pytest.approx([1000 / noise for noise in NOISE])

    def test_whoever_begins_changes_and_each_runs_alike_in_a_folder_of_its_own(
        self, installations: Installations
    ) -> None:
        base = installations.make("base", [result()] * 6)
        head = installations.make("head", [result()] * 6)
        (installations.cli.folder / "own.jsonl").write_text("")
        options = ("--rounds", "6", "--sizes", "10,20", "--model", "m", "--threads", "1", "--workload", "own.jsonl")
        judged = installations.cli("bench", "ab", "--base", f"{base}/bin/agentmem", "--head", head, *options)
        assert judged.exit_code == 0, judged.stderr
        log = installations.log
        assert [side for side, _, _ in log] == ["base", "head", "head", "base"] * 3
        assert len({folder for _, folder, _ in log}) == 12
        workload = installations.cli.folder / "own.jsonl"
        told = f"--sizes 10,20 --singles 50 --repeats 9 --workload {workload} --device cpu --model m --threads 1"
        assert {arguments for _, _, arguments in log} == {f"no-path bench --json --quiet {told}"}
        assert list(installations.cli.temporary.iterdir()) == []

    def test_they_take_turns_at_every_step(self, installations: Installations) -> None:
        base, head = installations.make_stepwise("base", 3), installations.make_stepwise("head", 4)
        judged = installations.cli("bench", "ab", "--base", base, "--head", head, "--rounds", "6", "--quiet")
        assert judged.exit_code == 0, judged.stderr
        steps = (installations.cli.folder / "log").read_text().splitlines()
        one = ["base 1", "head 1", "base 2", "head 2", "base 3", "head 3", "head 4"]
        other = ["head 1", "base 1", "head 2", "base 2", "head 3", "base 3", "head 4"]
        assert steps == (one + other) * 3

    def test_agentmem_waits_for_its_turn_before_every_step(
        self, static_models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(static_models))
        options = ("--sizes", "10,20", "--singles", "10", "--repeats", "1", "--warmup", "0", "--model", "minilm-static")
        with measuring(this_installation(), options) as side:
            turns = 1
            while side.go_on():
                turns += 1
        assert side.result.complete
        # loading, warm-up; the machine, two sizes, single and batch; cold start, growth, 10 times 10 searches; the end
        assert turns == 2 + 5 + 2 + 10 + 1

    def test_a_process_to_which_nobody_gives_turns_ends(self, agentmem: Cli) -> None:
        ended = agentmem(*RUN, variables={IN_TURN: "1"})
        assert (ended.exit_code, ended.stdout) == (1, OVER.decode())
        reason = "is set, but standard input is closed: only 'agentmem bench ab' sets it"
        assert ended.stderr == f"agentmem: error: {IN_TURN} {reason}\n"

    def test_one_that_fails_is_named_with_its_last_words_and_what_was_done_is_kept(
        self, installations: Installations
    ) -> None:
        base = installations.make("base", [result()] * 7)
        head = installations.make("head", [result()] * 2, "agentmem: error: the disk is full")
        failed = installations.cli("bench", "ab", "--base", base, "--head", head, "--quiet", "--output", "v.json")
        assert failed.exit_code == 1
        assert failed.error() == "head can't be measured: the disk is full"
        kept = json.loads((installations.cli.folder / "v.json").read_bytes())
        assert (kept["rounds"], {verdict["outcome"] for verdict in kept["verdicts"]}) == (2, {"inconclusive"})

    @pytest.mark.parametrize(("printed", "said"), [("nonsense", "is not JSON"), ("{}", "has no schema_version")])
    def test_one_that_prints_no_result_is_named(self, printed: str, said: str, installations: Installations) -> None:
        base = installations.make("base", [result()] * 7)
        (installations.cli.folder / base / "1.json").write_text(printed)
        failed = installations.cli("bench", "ab", "--base", base, "--quiet")
        assert failed.exit_code == 1
        assert failed.error().startswith("base can't be measured: what it printed ")
        assert said in failed.stderr

    @pytest.mark.parametrize(("sent", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_when_it_is_interrupted_nothing_goes_on_or_stays(
        self, sent: signal.Signals, exit_code: int, installations: Installations
    ) -> None:
        base = installations.make_waiting("base")
        process = installations.cli.start("bench", "ab", "--base", base, "--quiet")
        pids = installations.cli.folder / base / "pids"
        while not pids.exists():
            assert process.poll() is None
            time.sleep(0.01)
        parent, child, folder = pids.read_text().split()
        assert Path(folder).is_dir()
        process.send_signal(sent)
        assert process.wait(TIMEOUT_S) == exit_code
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert not any(runs(int(pid)) for pid in (parent, child))
        assert list(installations.cli.temporary.iterdir()) == []

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--base", "nowhere"), "nowhere is not an executable"),
            (("--base", "plain"), "plain is not an executable"),
            (("--base", "/bin/true", "--head", "nowhere"), "nowhere is not an executable"),
            (("--base", "/bin/true", "--rounds", "5"), "--rounds must be at least 6"),
            (("--base", "/bin/true", "--output", "no/v.json"), "--output no/v.json: "),
        ],
    )
    def test_what_can_not_be_run_is_a_usage_error(self, options: tuple[str, ...], said: str, agentmem: Cli) -> None:
        (agentmem.folder / "plain").write_text("")
        refused = agentmem("bench", "ab", *options)
        assert (refused.exit_code, said in refused.error()) == (2, True), refused.stderr

    def test_this_agentmem_is_the_head_and_another_does_not_load_its_modules(
        self, installations: Installations
    ) -> None:
        base = installations.make("base", [result()])
        elsewhere = {"PYTHONPATH": str(installations.cli.folder)}
        failed = installations.cli("bench", "ab", "--base", base, "--sizes", "5", "--quiet", variables=elsewhere)
        assert failed.error().endswith(" can't be measured: size 5 is not between 10 and 1000")
        ((_, _, arguments),) = installations.log
        assert arguments.startswith("no-path bench")


def runs(pid: int) -> bool:
    """Whether a process is there, and has not ended: a container may have nobody who reaps orphans."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
