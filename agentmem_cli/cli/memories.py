"""`agentmem get`, `list`, `history`, `delete` and `export`."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from agentmem_cli.cli import filter_options, options
from agentmem_cli.cli.options import opened_store
from agentmem_cli.cli.output import INCOMPLETE, print_json, print_rich, say
from agentmem_cli.cli.output_file import Output
from agentmem_cli.errors import MemoryNotFoundError, StoreDamagedError, UsageError
from agentmem_cli.store import shown_location
from agentmem_cli.support.amounts import counted
from agentmem_cli.support.safe_text import inert_json

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem

_NAMED: Final = 20  # damaged memories that an export reports by id
IdArgument = Annotated[str, typer.Argument(help="A memory's id.", metavar="ID")]


def get(
    identity: IdArgument,
    store: options.StoreOption = ".agentmem",
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Print one memory."""
    with opened_store(store) as mem:
        memory = mem.get(identity)
        events = [] if memory is not None else mem.history(identity)
    if events and events[-1].event == "expire":
        raise MemoryNotFoundError(
            f"memory {identity} in store {shown_location(store)} expired at {events[-1].at.isoformat()}"
        )
    if memory is None:
        raise MemoryNotFoundError(f"no memory {identity} in store {shown_location(store)}")
    if json:
        print_json(memory.to_dict())
    else:
        from agentmem_cli.report.store_tables import memory_table

        print_rich(memory_table(memory))


@options.expanded
def list_memories(
    *,
    limit: options.LimitOption = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="The number of newest memories to skip.")] = 0,
    store: options.StoreOption = ".agentmem",
    filter: filter_options.FilterOptions,
    expired: filter_options.ExpiredOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """List memories, newest first, one page at a time."""
    with opened_store(store) as mem:
        memories = mem.page_matching(replace(filter, expired=expired), limit, offset)
    if json:
        print_json([memory.to_dict() for memory in memories])
    elif memories:
        from agentmem_cli.report.store_tables import memories_table

        print_rich(memories_table(memories, offset))
    elif not quiet:
        say("no memory matches" if offset == 0 else f"no memory matches after the first {offset}")


def history(
    identity: IdArgument,
    store: options.StoreOption = ".agentmem",
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Print the history of a memory, oldest event first."""
    with opened_store(store) as mem:
        events = mem.history(identity)
    if not events:
        raise MemoryNotFoundError(f"no memory {identity} in the history of store {shown_location(store)}")
    if json:
        print_json([event.to_dict() for event in events])
    else:
        from agentmem_cli.report.store_tables import history_table

        print_rich(history_table(events))


@options.expanded
def delete(
    *,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of memories to delete.", metavar="ID...")] = None,
    store: options.StoreOption = ".agentmem",
    filter: filter_options.FilterOptions,
    expired: filter_options.ExpiredOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Delete memories by id, or all memories that match filters.

    Filters match expired memories too; --expired matches only these. The history keeps the ids and events of what was
    deleted, not the texts. 'agentmem compact' then removes the texts from the files.
    """
    filter = replace(filter, expired=expired)
    if bool(ids) == bool(filter):
        raise UsageError("give either at least one id or at least one filter (--user-id, --where, --expired, ...)")
    with opened_store(store, wait_s=wait) as mem:
        targets = list(dict.fromkeys(ids or mem.ids_matching(filter.with_expired())))
        if dry_run:
            _print_targets([i for i in targets if _is_stored(mem, i)] if ids else targets, store, json=json)
            return
        if targets and not yes:
            _ask(len(targets), store)
        deleted = mem.delete(*targets) if targets else 0
    if json:
        print_json({"deleted": deleted, "not_found": len(targets) - deleted})
    elif not quiet or deleted < len(targets):
        say(f"deleted {deleted:,} of {counted(len(targets), 'memory')} from {shown_location(store)}")
    if ids and deleted < len(targets):
        raise typer.Exit(1)


@options.expanded
def export(
    *,
    store: options.StoreOption = ".agentmem",
    filter: filter_options.FilterOptions,
    expired: filter_options.ExpiredOption = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output."),
    ] = None,
    vectors: Annotated[
        bool,
        typer.Option("--vectors", help="Include vectors, so that ingesting the file elsewhere needs no embedding."),
    ] = False,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out damaged memories and report them (exit code 3).")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON on stderr.")] = False,
    quiet: options.QuietOption = False,
) -> None:
    """Write all memories, or those that match filters, as JSONL.

    'agentmem ingest' reads it. With --output, the file is replaced once the export is complete. If a memory is damaged,
    the old file stays and the exit code is 1.
    """
    file = None if output is None else Output(output, store=store)
    if file is not None:
        file.check()
    memories, damaged = 0, list[str]()
    with (
        opened_store(store) as mem,
        nullcontext(sys.stdout.buffer) if file is None else file.opened() as stream,
    ):
        try:
            for memory in mem.export_matching(
                replace(filter, expired=expired), vectors=vectors, on_damaged=damaged.append if skip_damaged else None
            ):
                stream.write(f"{inert_json(orjson.dumps(memory.to_dict()).decode())}\n".encode())
                memories += 1
        except StoreDamagedError as error:
            if skip_damaged:
                raise
            raise StoreDamagedError(f"{error}; --skip-damaged exports the others") from error
    if json:
        print(inert_json(orjson.dumps({"exported": memories, "damaged": damaged}).decode()), file=sys.stderr)
    else:
        _say_damaged(damaged)
        if output is not None and not quiet:
            say(f"wrote {counted(memories, 'memory')} to {output}")
    if damaged:
        raise typer.Exit(INCOMPLETE)


def _say_damaged(damaged: list[str]) -> None:
    for identity in damaged[:_NAMED]:
        say(f"left out: memory {identity} is damaged")
    if len(damaged) > _NAMED:
        say(f"left out: {counted(len(damaged) - _NAMED, 'more damaged memory')}")


def _print_targets(ids: list[str], store: str, *, json: bool) -> None:
    if json:
        print_json({"would_delete": len(ids), "ids": ids})
    else:
        say(f"would delete {counted(len(ids), 'memory')} from {shown_location(store)}")


def _is_stored(mem: "AgentMem", identity: str) -> bool:
    events = mem.history(identity)
    return bool(events) and events[-1].event != "delete"


def _ask(memories: int, store: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"this would delete {counted(memories, 'memory')}: add --yes to confirm")
    if not typer.confirm(f"Delete {counted(memories, 'memory')} from {shown_location(store)}?", err=True):
        raise typer.Exit(1)
