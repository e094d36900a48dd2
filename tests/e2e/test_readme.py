"""What the README and the guides show is what their commands print; only figures of time may differ."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from agentmem_cli.support.machine import usable_cores
from tests.e2e.conftest import Cli

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDES = ROOT / "agentmem_cli" / "guides"
PAGES = [README, *sorted(GUIDES.glob("*.md"))]
FIGURE = re.compile(r"\d[\d,.]*")
VERDICT = "met|missed|not certain|excellent|good|fair|poor"
INGEST = "agentmem ingest examples/memories.jsonl"
SHORT_RUN = " --sizes 10,11 --repeats 5 --warmup 0"  # fewer repeats have no intervals
ONE_TABLE = " --singles 10 --model minilm-static"  # which does not name the model
ALL_TABLES = " --singles 20 --scale 1000"  # enough single adds for each quantile, and a graph


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """The blocks of a language in a page, each with the word after the language, if there is one."""
    found: list[tuple[str, str]] = re.findall(
        rf"^```{language}(?: (\w+))?\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return found


@dataclass(frozen=True)
class Ingested:
    """A folder with the examples, ingested, as a reader of the guides has it, and what the ingest printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """The folder; the README begins with its ingest."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    return Ingested(folder, _run(INGEST, folder))


@pytest.fixture
def workplace(ingested: Ingested, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(ingested.folder, tmp_path / "workplace", symlinks=True)
    return tmp_path / "workplace"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=lambda page: page.stem)
def test_the_console_sessions_print_what_the_page_says(
    workplace: Path, ingested: Ingested, static_models: Path, page: Path
) -> None:
    for kind, block in blocks(page, "console"):
        assert kind in ("", "figures", "measured")
        for command, expected in _steps(block):
            if command == INGEST:
                printed = ingested.printed
            elif kind == "measured":
                printed = _run(
                    _shortened(command),
                    workplace,
                    AGENTMEM_THREADS=str(usable_cores()),  # a benchmark sets what it finds against all cores
                    FASTEMBED_CACHE_PATH=str(static_models),
                )
            else:
                printed = _run(command, workplace)
            if kind:
                assert _without_figures(printed) == _without_figures(expected), command
            else:
                assert FIGURE.sub("#", printed) == FIGURE.sub("#", expected), command
                assert _figures(printed) == pytest.approx(_figures(expected), abs=0.005), command


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_the_python_examples_run(workplace: Path, page: Path) -> None:
    for _, example in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=workplace, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / target).exists(), target


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
        assert re.search(rf"^\| {code} \|", README.read_text(encoding="utf-8"), re.MULTILINE), code


def _shortened(command: str) -> str:
    bench, pipe, rest = command.partition(" | ")
    return bench + SHORT_RUN + (ONE_TABLE if pipe else ALL_TABLES) + pipe + rest


def _steps(block: str) -> list[tuple[str, str]]:
    steps = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (step.partition("\n") for step in steps)]


def _run(command: str, folder: Path, **variables: str) -> str:
    """What a command prints, without blank lines; a shell runs what needs one."""
    variables = {"COLUMNS": "80", **variables}
    if not set(command) & set("|>&"):
        done = Cli(folder)(*shlex.split(command)[1:], variables=variables)
        printed = done.stderr + done.stdout
    else:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        printed = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env={**os.environ, "AGENTMEM_THREADS": "1", "PATH": path, **variables},  # tests run in a process a core
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        ).stdout
    return "".join(f"{line.rstrip()}\n" for line in printed.splitlines() if line.strip())


def _without_figures(text: str) -> list[str]:
    """The words of a report: no figures, no machine, no ends of lines, one of rows that are alike, and nothing that
    depends on the figures: what limits it, verdicts, and the warnings that a short run adds."""
    text = re.sub(
        r"^What limits it\n.*?(?=^Targets)", "", text.partition("\nWarning")[0], flags=re.DOTALL | re.MULTILINE
    )
    lines = text[text.find("Batches:") :].splitlines() if "Batches:" in text else text.splitlines()
    words = [re.sub(rf"[\s─]+|\b({VERDICT})\b", " ", FIGURE.sub("#", line)) for line in lines]
    said = [line for line in (" ".join(line.split()) for line in words) if not line.startswith("agentmem: ")]
    return " ".join(line for line, _ in groupby(said)).split()


def _figures(text: str) -> list[float]:
    return [float(figure.replace(",", "").rstrip(".")) for figure in FIGURE.findall(text) if figure.count(".") <= 1]
