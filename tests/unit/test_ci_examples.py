"""The examples for CI are what their tools take, and call the commands with options that these have."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from agentmem_cli.cli.bench import app

EXAMPLES = Path(__file__).parents[2] / "examples" / "ci"
SCRIPT = EXAMPLES / "bench-gate.sh"
WORKFLOW = EXAMPLES / "agentmem-bench.yml"


def workflow_steps() -> list[dict[str, str]]:
    steps: list[dict[str, str]] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["bench"]["steps"]
    return steps


def shell_code() -> list[str]:
    return [SCRIPT.read_text(encoding="utf-8"), *(step["run"] for step in workflow_steps() if "run" in step)]


def test_each_step_of_the_workflow_runs_or_uses_something() -> None:
    assert all(("run" in step) != ("uses" in step) for step in workflow_steps())
    on = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))[True]  # what YAML 1.1 makes of `on`
    assert "pull_request" in on


@pytest.mark.parametrize("code", shell_code(), ids=lambda code: code.splitlines()[0][:40])
def test_their_shell_is_shell(code: str) -> None:
    done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("code", shell_code(), ids=lambda code: code.splitlines()[0][:40])
def test_their_commands_have_the_options_that_they_are_given(code: str) -> None:
    group = get_command(app)
    whole_lines = re.sub(r"\\\n\s*", "", code)
    for call in re.findall(r'bin/agentmem"? bench (.*)', whole_lines):
        command = group.commands["ab"] if call.startswith("ab ") else group  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", call)) <= known


def test_both_judge_base_against_head() -> None:
    assert all(any("bench ab" in code for code in codes) for codes in (shell_code()[:1], shell_code()[1:]))
