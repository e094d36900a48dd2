"""The command line: its commands, and the exit codes of errors."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import FrameType
from typing import Final

import typer
from typer.exceptions import Abort, TyperException

from agentmem_cli._version import __version__
from agentmem_cli.cli.help import Command, Group
from agentmem_cli.cli.output import INTERRUPTED, TERMINATED, Terminated, say
from agentmem_cli.errors import AgentMemError

# Each command: its module and function (or Typer app), and the first sentence of its docstring. A module is imported
# only when its command is called, so that `agentmem --help` needs Typer alone.
COMMANDS: Final = {
    "ingest": ("ingest:ingest", "Ingest memories from JSONL, JSON, CSV, chats and exports."),
    "add": ("add:add", "Add one memory, and print its id."),
    "update": ("add:update", "Change fields of one memory."),
    "search": ("search:search", "Find the memories that answer QUERY best."),
    "get": ("memories:get", "Print one memory."),
    "list": ("memories:list_memories", "List memories, newest first, one page at a time."),
    "history": ("memories:history", "Print the history of a memory, oldest event first."),
    "delete": ("memories:delete", "Delete memories by id, or all memories that match filters."),
    "export": ("memories:export", "Write all memories, or those that match filters, as JSONL."),
    "stats": ("store:stats", "Print what a store holds."),
    "verify": ("store:verify", "Check every row, vector and file of a store."),
    "index": ("store:index", "Build the graph that speeds up searches of a large store."),
    "compact": ("store:compact", "Rewrite a store's files without deleted and replaced texts."),
    "reembed": ("store:reembed", "Embed every memory again, with another model."),
    "eval": ("eval:evaluate", "Measure the quality of searches with labelled queries."),
    "mcp": ("mcp:mcp", "Serve a store to AI agents, as an MCP server."),
    "guide": ("guide:guide", "Show a guide, or list the guides."),
    "bench": ("bench:app", "Measure how fast memories are ingested."),
    "models": ("models:app", "List the embedding models."),
}


def loaded(name: str) -> Callable[..., None] | typer.Typer:
    """The function or Typer app of a command."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    command: Callable[..., None] | typer.Typer = getattr(import_module(f"agentmem_cli.cli.{module}"), attribute)
    return command


def _app(arguments: list[str]) -> typer.Typer:
    """The command line for these arguments, with only the called command loaded."""
    called = next((word for word in _completed_words() or arguments if not word.startswith("-")), None)
    app = typer.Typer(
        name="agentmem",
        cls=Group,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="AI agents' memories in a local, crash-safe, searchable store, with measured speed and quality.",
        epilog="Exit codes: 0 done; 1 error; 2 usage; 3 done, but lines were rejected or damaged memories left out; "
        "4 a gate failed; 5 store in use; 130 interrupted; 143 terminated. Add --debug to any command to see the "
        "traceback of an error.",
        no_args_is_help=True,
        # Typer 0.29 imports pydantic, 0.1 s, to find that these are not among options that come before a command.
        add_help_option=arguments[:1] != [called],
        add_completion=arguments[:1] != [called],
        rich_markup_mode=None,  # halves the start-up time, and texts of users are not markup
    )
    app.callback()(_global_options)
    for name, (_, summary) in COMMANDS.items():
        command = loaded(name) if name == called else _not_loaded
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=Command, help=summary if command is _not_loaded else None)(command)
    return app


def _completed_words() -> list[str]:
    """The words that a shell asks to complete, without the first: in bash, and in the other shells."""
    if "_AGENTMEM_COMPLETE" not in os.environ:
        return []
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()[1:]


def _not_loaded() -> None:
    raise AssertionError("only the called command runs")


def _show_version(is_given: bool) -> None:
    if is_given:
        typer.echo(f"agentmem {__version__} (distribution agentmem-cli {__version__})")
        raise typer.Exit


def _global_options(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
    ),
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; an error is one line on stderr."""
    debug = _take_debug(arguments)
    _open_closed_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _app(arguments)(arguments or ["--help"], prog_name="agentmem", standalone_mode=False)
        sys.stdout.flush()
    except AgentMemError as error:
        return _failed(str(error), error.exit_code, debug)
    except TyperException as error:
        return _failed(_usage_message(error, arguments), error.exit_code, debug)
    except SystemExit as error:  # Typer and Rich end so after a broken pipe, and Typer after a completion
        if isinstance(error.__context__, OSError):
            return _output_failed(error.__context__, debug)
        return error.code if isinstance(error.code, int) else 0
    except OSError as error:
        return _output_failed(error, debug)
    except Terminated:
        return TERMINATED
    except (Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a traceback unasked
        return _failed(
            f"internal error: {type(error).__name__}: {error} (please report it; --debug shows more)", 1, debug
        )
    return code if isinstance(code, int) else 0


def _failed(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    say(f"error: {message}")
    return exit_code


def _usage_message(error: TyperException, arguments: Sequence[str]) -> str:
    """What is wrong, what is like it, and the help that says more."""
    context = getattr(error, "ctx", None)
    command = next((name for name in arguments if name in COMMANDS), None)
    option = getattr(error, "option_name", None)
    if context is not None:
        asked = str(context.command_path)
    else:  # as for an option without its value
        asked = "agentmem" if command is None else f"agentmem {command}"
    if not isinstance(option, str) or not hasattr(error, "possibilities"):
        message = error.format_message().replace("Value error, ", "", 1)  # which pydantic begins with
        return f"{message} (see '{asked} --help')"
    if asked == "agentmem" and command is not None:
        return (
            f"{option} is no option of agentmem itself: put it after the command, as in 'agentmem {command} {option}'"
        )
    similar = get_close_matches(option, error.possibilities or (), 1)
    return f"No such option: {option}{f'. Did you mean {similar[0]}?' if similar else ''} (see '{asked} --help')"


def _output_failed(error: OSError, debug: bool) -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards what is still buffered
    if isinstance(error, BrokenPipeError):
        return 0  # the reader has closed the pipe, as `head` does
    return _failed(f"the output can't be written: {error.strerror}", 1, debug)


def _open_closed_streams() -> None:
    """Replaces standard streams that were closed when the process was started by /dev/null."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123


def _take_debug(arguments: list[str]) -> bool:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if "--debug" not in arguments[:end]:
        return False
    arguments.remove("--debug")
    return True


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated
