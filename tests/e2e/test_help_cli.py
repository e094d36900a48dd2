"""Help in panels, errors that name the right help, and completion in a shell."""

import os
import re
import shlex
import subprocess
import sys
from typing import Final

import pytest

from agentmem_cli.cli import help
from agentmem_cli.cli.main import COMMANDS
from tests.e2e.conftest import TIMEOUT_S, Cli

_COMMANDS: Final = [*((name,) for name in COMMANDS), ("bench", "compare"), ("bench", "ab"), ("bench", "show")]


@pytest.mark.parametrize("command", [(), *_COMMANDS], ids=" ".join)
def test_the_short_option_shows_the_same_help(agentmem: Cli, command: tuple[str, ...]) -> None:
    short, long = agentmem(*command, "-h"), agentmem(*command, "--help")
    assert (short.exit_code, short.stderr) == (0, "")
    assert short.stdout == long.stdout
    assert "-h, --help" in short.stdout


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_every_option_is_in_a_panel_and_all_commands_can_be_quiet(agentmem: Cli, command: tuple[str, ...]) -> None:
    shown = agentmem(*command, "--help").stdout
    others = shown.partition(f"\n{help.OTHERS}:\n")[2].partition("\nCommands:")[0]
    assert re.findall(r"^  (-\S+)", others, re.MULTILINE) == ["-h,"]
    assert "-q, --quiet" in shown


def test_the_panels_of_a_search_come_in_order_with_defaults(agentmem: Cli) -> None:
    shown = agentmem("search", "-h").stdout
    titles = [line.removesuffix(":") for line in shown.splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert titles == ["Arguments", "Input", "Scope and filters", "Ranking", "Store", "Model", "Output", "Options"]
    assert "default: .agentmem" in " ".join(shown.split())
    assert "[default: 10; x>=1]" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serach", "x"), "No such command 'serach'. Did you mean 'search'? (see 'agentmem --help')"),
        (
            ("search", "x", "--usr-id", "y"),
            "No such option: --usr-id. Did you mean --user-id? (see 'agentmem search --help')",
        ),
        (("search", "x", "--frobnicate"), "No such option: --frobnicate (see 'agentmem search --help')"),
        (("list", "--limit"), "Option '--limit' requires an argument. (see 'agentmem list --help')"),
        (
            ("search", "x", "--device", "y"),
            "Invalid value for '--device': 'y' is not one of 'cpu', 'cuda'. (see 'agentmem search --help')",
        ),
        (("bench", "comapre"), "No such command 'comapre'. Did you mean 'compare'? (see 'agentmem bench --help')"),
        (("bench", "compare", "a.json"), "Missing argument 'NEW'. (see 'agentmem bench compare --help')"),
        (
            ("--store", "x", "search", "tea"),
            "--store is no option of agentmem itself: put it after the command, as in 'agentmem search --store'",
        ),
    ],
)
def test_an_error_names_what_is_like_it_and_the_help_of_its_command(
    agentmem: Cli, arguments: tuple[str, ...], said: str
) -> None:
    result = agentmem(*arguments)
    assert (result.exit_code, result.error()) == (2, said)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("agentmem se", ["search"]),
        ("agentmem search --us", ["--user-id"]),
        ("agentmem search --mode ", ["hybrid", "meaning", "words"]),
        ("agentmem bench com", ["compare"]),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_options_and_their_values(
    agentmem: Cli, shell: str, words: str, completed: list[str]
) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))} if shell == "bash" else {}
    asked |= {"_TYPER_COMPLETE_ARGS": words, "_AGENTMEM_COMPLETE": f"complete_{shell}"}
    result = agentmem(variables=asked)
    assert (result.exit_code, result.stderr) == (0, "")
    assert all(word in result.stdout for word in completed)
    assert "ingest" not in result.stdout


def test_completion_is_installed_for_the_shell_that_asks(agentmem: Cli) -> None:
    home = agentmem.folder / "home"
    home.mkdir()
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -m agentmem_cli --install-completion; exit $?"],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete_bash" in (home / ".bash_completions" / "agentmem.sh").read_text(encoding="utf-8")
