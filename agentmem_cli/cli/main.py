"""The command line: its commands, and how an error becomes one line and an exit code."""

import os
import signal
import sys
from types import FrameType

import typer
from typer.exceptions import Abort, TyperException

from agentmem_cli.cli import bench, ingest, memories, models, search, store
from agentmem_cli.cli.eval import evaluate
from agentmem_cli.cli.guide import guide
from agentmem_cli.cli.output import INTERRUPTED, TERMINATED, Terminated, say
from agentmem_cli.errors import AgentMemError

app = typer.Typer(
    name="agentmem",
    help="AI agents' memories in a local, crash-safe, searchable store, with measured speed and quality.",
    epilog="Exit codes: 0 done; 1 error; 2 usage; 3 done, but lines were rejected or damaged memories left out; "
    "4 a gate failed; 5 store in use; 130 interrupted; 143 terminated. Add --debug to any command to see the traceback "
    "of an error.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # half the start-up time, and no markup in what a user gave
)
app.command("ingest")(ingest.ingest)
app.command("search")(search.search)
app.command("get")(memories.get)
app.command("list")(memories.list_memories)
app.command("history")(memories.history)
app.command("delete")(memories.delete)
app.command("export")(memories.export)
app.command("stats")(store.stats)
app.command("verify")(store.verify)
app.command("index")(store.index)
app.command("compact")(store.compact)
app.command("reembed")(store.reembed)
app.command("eval")(evaluate)
app.command("guide")(guide)
app.add_typer(bench.app, name="bench")
app.add_typer(models.app, name="models")


def _show_version(wanted: bool) -> None:
    if wanted:
        from agentmem_cli._version import __version__

        typer.echo(f"agentmem {__version__} (distribution agentmem-cli {__version__})")
        raise typer.Exit


@app.callback()
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
        code = app(arguments or ["--help"], prog_name="agentmem", standalone_mode=False)
        sys.stdout.flush()
    except AgentMemError as error:
        return _failed(str(error), error.exit_code, debug)
    except TyperException as error:
        return _failed(f"{error.format_message()} (see 'agentmem --help')", error.exit_code, debug)
    except (OSError, SystemExit) as error:
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


def _output_failed(error: OSError | SystemExit, debug: bool) -> int:
    """Typer and Rich turn a broken pipe into SystemExit: what lies behind it tells."""
    cause = error.__context__ if isinstance(error, SystemExit) else error
    if not isinstance(cause, OSError):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
    if isinstance(cause, BrokenPipeError):
        return 0  # the reader of our output has seen enough, as `| head` does
    return _failed(f"the output can't be written: {cause.strerror}", 1, debug)


def _open_closed_streams() -> None:
    """A process may be started with a standard stream closed: what is printed there is lost, and that is all."""
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
