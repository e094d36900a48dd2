"""Whether `agentmem bench ab` may be left on: it must not fire for the project against itself, and must for a slowdown.

    python -m tests.perf.gate_trials [--same 20] [--slowed 10] [--slowdown 0.2] [--rounds 7] [--results trials.jsonl]

A trial is one `bench ab` of this installation against itself; in every third one, more or less, the head is slowed
down by AGENTMEM_TEST_SLOWDOWN so much that a batch takes a fifth longer in all (adds one by one, which are commits more
than all else, take a little longer than that). Each trial is a line of --results; a run that was stopped goes on where
it was. Wanted: of 20 that are the same at most 1 fires, of 10 slowed ones at least 9 do; it ends with code 1 otherwise.
On two cores a trial takes a minute and a half.
"""

import argparse
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from agentmem_cli.bench.result_file import read_result
from agentmem_cli.support.failpoints import SLOWDOWN_VARIABLE
from agentmem_cli.support.statistics import median

AGENTMEM = Path(sysconfig.get_path("scripts")) / "agentmem"
MEASURED = ("--sizes", "1000", "--singles", "50", "--repeats", "9", "--workload", "mixed", "--model", "minilm-static")
SLOWED_STAGES = ("tokenize", "embed", "commit")
FIRED = 4


def main() -> None:
    """Runs the trials that are not in the file yet, and prints what all of them say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--same", type=int, default=20)
    parser.add_argument("--slowed", type=int, default=10)
    parser.add_argument("--slowdown", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--results", type=Path, default=Path("gate-trials.jsonl"))
    arguments = parser.parse_args()
    done = _read(arguments.results)
    wanted = {"same": arguments.same, "slowed": arguments.slowed}
    left = {kind: max(0, count - len(_of(done, kind))) for kind, count in wanted.items()}
    with tempfile.TemporaryDirectory() as folder:
        share = _stage_share(arguments.slowdown) if left["slowed"] else 0.0
        for kind in _order(left):
            trial = {"kind": kind, **_trial(_head(Path(folder), share if kind == "slowed" else 0.0), arguments.rounds)}
            done.append(trial)
            with arguments.results.open("ab") as file:
                file.write(orjson.dumps(trial) + b"\n")
            print(f"{kind:6} {'fired' if trial['fired'] else 'quiet'}  {trial['said']}", flush=True)
    fired = {kind: sum(bool(trial["fired"]) for trial in _of(done, kind)) for kind in wanted}
    for kind in wanted:
        trials = _of(done, kind)
        by_rate = sum(bool(trial["by_throughput"]) for trial in trials)
        print(f"{kind}: {fired[kind]} of {len(trials)} fired, {by_rate} by the throughput of batches; {_rates(trials)}")
    sys.exit(fired["same"] > 0.05 * arguments.same or fired["slowed"] < 0.9 * arguments.slowed)


def _read(results: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in results.read_bytes().splitlines()] if results.exists() else []


def _of(trials: Sequence[dict[str, object]], kind: str) -> list[dict[str, object]]:
    return [trial for trial in trials if trial["kind"] == kind]


def _order(left: dict[str, int]) -> Iterator[str]:
    """The kinds in turn, as evenly as may be, so that a change of the machine falls on both."""
    places = [((at + 0.5) / count, kind) for kind, count in left.items() for at in range(count)]
    return (kind for _, kind in sorted(places))


def _stage_share(slowdown: float) -> float:
    """By which share the stages that can be slowed down must be, for the whole to take so much longer."""
    printed = subprocess.check_output([AGENTMEM, "bench", "--json", "--quiet", *MEASURED])
    samples = read_result(printed, "bench").models[0].batches[0].samples
    part = median([sum(sample.stages_s[stage] for stage in SLOWED_STAGES) / sample.total_s for sample in samples])
    print(
        f"stages that can be slowed down take {part:.0%} of a batch: by {slowdown / part:.0%} for {slowdown:.0%} in all"
    )
    return slowdown / part


def _head(folder: Path, share: float) -> Path:
    """This installation, slowed down."""
    head = folder / "agentmem"
    head.write_text(f'#!/bin/sh\n{SLOWDOWN_VARIABLE}={share} exec {shlex.quote(str(AGENTMEM))} "$@"\n')
    head.chmod(0o755)
    return head


def _trial(head: Path, rounds: int) -> dict[str, object]:
    sides = ("--base", str(AGENTMEM), "--head", str(head))
    command = [str(AGENTMEM), "bench", "ab", *sides, "--rounds", str(rounds), *MEASURED]
    done = subprocess.run([*command, "--json", "--quiet"], stdout=subprocess.PIPE)
    if done.returncode not in (0, FIRED):
        sys.exit(done.returncode)
    verdicts = orjson.loads(done.stdout)["verdicts"]
    return {
        "fired": done.returncode == FIRED,
        "by_throughput": any(v["outcome"] == "regressed" for v in verdicts if v["metric"] == "ops_per_s"),
        "said": "; ".join(f"{verdict['metric']} {_sure(verdict)} {verdict['outcome']}" for verdict in verdicts),
        "verdicts": verdicts,
    }


def _rates(trials: Sequence[dict[str, Any]]) -> str:
    """The ratios of throughput that trials found, and how sure of them they were."""
    found = [v for trial in trials for v in trial["verdicts"] if v["metric"] == "ops_per_s"]
    if not found:
        return "no ratio"
    ratios = [verdict["figure"] for verdict in found]
    halves = [(verdict["interval"]["high"] - verdict["interval"]["low"]) / 2 for verdict in found]
    return f"its ratio {min(ratios):.3f} to {max(ratios):.3f}, half its interval {median(halves):.1%} in the median"


def _sure(verdict: dict[str, dict[str, float]]) -> str:
    return f"{verdict['figure']:.3f} ({verdict['interval']['low']:.3f}-{verdict['interval']['high']:.3f})"


if __name__ == "__main__":
    main()
