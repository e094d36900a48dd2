"""`agentmem --help` knows each command without loading it."""

import inspect

import pytest
import typer

from agentmem_cli.cli.main import COMMANDS, loaded


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_is_what_its_own_help_begins_with(name: str) -> None:
    command = loaded(name)
    if isinstance(command, typer.Typer):
        assert command.registered_callback is not None
        assert command.registered_callback.callback is not None
        command = command.registered_callback.callback
    first, _, _ = (inspect.getdoc(command) or "").partition("\n\n")
    assert first == COMMANDS[name][1]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_fits_on_a_line_of_80_characters(name: str) -> None:
    assert len(COMMANDS[name][1]) <= 62  # beside the indented names of the commands
