"""The command line: its commands, and how an error becomes one line and an exit code."""

import os
import signal
import sys
from types import FrameType

import typer
from typer.exceptions import Abort, TyperException

from agentmem_cli.cli import bench, ingest, memories, models, search, store
from agentmem_cli.cli.output import INTERRUPTED, TERMINATED, Terminated, say
from agentmem_cli.errors import AgentMemError

app = typer.Typer(
    name="agentmem",
    help="AI agents' memories in a local, crash-safe, searchable store, and honest figures of how fast that was.",
    epilog="Exit codes: 0 done; 1 error; 2 usage; 3 some lines rejected; 4 a gate failed; 5 store in use; "
    "130 interrupted; 143 terminated. Add --debug to any command to see the traceback of an error.",
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
app.command("compact")(store.compact)
app.command("reembed")(store.reembed)
app.command("bench")(bench.bench)
app.command("models")(models.models)


@app.callback()
def _global_options(version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> None:
    if version:
        from agentmem_cli import __version__

        typer.echo(f"agentmem {__version__}")
        raise typer.Exit


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; an error is one line on stderr."""
    debug = _take_debug(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(arguments, prog_name="agentmem", standalone_mode=False)
        sys.stdout.flush()
    except AgentMemError as error:
        return _failed(str(error), error.exit_code, debug)
    except TyperException as error:
        return _failed(f"{error.format_message()} (see 'agentmem --help')", error.exit_code, debug)
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does: that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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


def _take_debug(arguments: list[str]) -> bool:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if "--debug" not in arguments[:end]:
        return False
    arguments.remove("--debug")
    return True


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated
