"""The examples for CI are what their tools take, and call the commands with options that these have."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.main import get_command

from agentmem_cli.cli.bench import app
from agentmem_cli.cli.main import loaded

EXAMPLES = Path(__file__).parents[2] / "examples" / "ci"
SCRIPT = EXAMPLES / "bench-gate.sh"
WORKFLOWS = (EXAMPLES / "agentmem-bench.yml", EXAMPLES / "agentmem-eval.yml")


def workflow_steps(workflow: Path) -> list[dict[str, str]]:
    (job,) = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    steps: list[dict[str, str]] = job["steps"]
    return steps


def shell_code() -> list[str]:
    steps = [step for workflow in WORKFLOWS for step in workflow_steps(workflow)]
    return [SCRIPT.read_text(encoding="utf-8"), *(step["run"] for step in steps if "run" in step)]


def calls(code: str) -> list[str]:
    """The arguments of each call of agentmem."""
    whole_lines = re.sub(r"\\\n\s*", "", code)
    return re.findall(r'(?:^|bin/)agentmem"? ((?:bench|ingest|eval) .*)', whole_lines, re.MULTILINE)


def options_of(call: str) -> set[str]:
    """The options of the command that a call of agentmem runs."""
    name, second, *_ = call.split()
    if name == "bench":
        group: Any = get_command(app)
        command = group.commands["ab"] if second == "ab" else group
    else:
        single, function = typer.Typer(), loaded(name)
        assert not isinstance(function, typer.Typer)
        single.command()(function)
        command = get_command(single)
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_each_step_of_a_workflow_runs_or_uses_something(workflow: Path) -> None:
    assert all(("run" in step) != ("uses" in step) for step in workflow_steps(workflow))
    on = yaml.safe_load(workflow.read_text(encoding="utf-8"))[True]  # what YAML 1.1 makes of `on`
    assert "pull_request" in on


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_a_kept_wheel_of_hnswlib_runs_on_the_cpu_of_the_next_runner(workflow: Path) -> None:
    (job,) = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    assert job["env"]["HNSWLIB_NO_NATIVE"] == "1"


@pytest.mark.parametrize("code", shell_code(), ids=lambda code: code.splitlines()[0][:40])
def test_their_shell_is_shell(code: str) -> None:
    done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("code", shell_code(), ids=lambda code: code.splitlines()[0][:40])
def test_their_commands_have_the_options_that_they_are_given(code: str) -> None:
    for call in calls(code):
        assert set(re.findall(r"--[a-z-]+", call)) <= options_of(call), call


def test_they_judge_speed_against_the_base_and_quality_against_bounds() -> None:
    script, *steps = ([call.split(" --")[0] for call in calls(code)] for code in shell_code())
    assert "bench ab" in script
    assert {"bench ab", "ingest memories.jsonl", "eval queries.jsonl"} <= {call for step in steps for call in step}
