"""What the README shows is what its commands print; only figures of time may differ."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```console(?: (\w+))?\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"\d[\d,.]*")
SHORT_RUN = " --repeats 3 --warmup 0"  # fewer have no intervals


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def test_the_console_sessions_print_what_the_readme_says(workplace: Path) -> None:
    """In the order of the README, since a search needs the ingest above it."""
    assert {kind for kind, _ in BLOCKS} == {"", "figures", "measured"}
    for kind, block in BLOCKS:
        for command, expected in _steps(block):
            printed = _run(command + (SHORT_RUN if kind == "measured" else ""), workplace)
            if kind:
                assert _without_figures(printed) == _without_figures(expected), command
            else:
                assert FIGURE.sub("#", printed) == FIGURE.sub("#", expected), command
                assert _figures(printed) == pytest.approx(_figures(expected), abs=0.005), command


def test_the_python_example_runs(workplace: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", example], cwd=workplace, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Maya is allergic to cashews." in done.stdout


def test_the_example_script_runs() -> None:
    script = ROOT / "examples" / "quickstart.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "update: " in done.stdout


def test_each_exit_code_of_the_errors_is_in_the_readme() -> None:
    from agentmem_cli import errors
    from agentmem_cli.cli.output import INCOMPLETE, INTERRUPTED, TERMINATED

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.AgentMemError)}
    for code in codes | {0, INCOMPLETE, INTERRUPTED, TERMINATED}:
        assert re.search(rf"^\| {code} \|", README, re.MULTILINE), code


def _steps(block: str) -> list[tuple[str, str]]:
    steps = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (step.partition("\n") for step in steps)]


def _run(command: str, folder: Path) -> str:
    environment = {**os.environ, "COLUMNS": "80", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines() if line.strip())


def _without_figures(text: str) -> list[str]:
    """The words of a report: no figures, no machine, no warnings that a short run adds."""
    text = text.partition("\nWarning")[0]
    lines = text[text.find("Batches:") :].splitlines() if "Batches:" in text else text.splitlines()
    words = [re.sub(r"[\s─]+|\b(met|missed)\b", " ", FIGURE.sub("#", line)) for line in lines]
    said = [" ".join(line.split()) for line in words]
    said = [line.replace("% of targ…", "% of target") for line in said]  # where a slow machine's intervals are wide
    return [line for line in said if line and not line.startswith("agentmem: ")]


def _figures(text: str) -> list[float]:
    return [float(figure.replace(",", "").rstrip(".")) for figure in FIGURE.findall(text) if figure.count(".") <= 1]
