"""`agentmem get`, `list`, `history`, `delete` and `export`."""

import sys
from contextlib import nullcontext
from typing import Annotated, Final

import orjson
import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.options import opened_store
from agentmem_cli.cli.output import INCOMPLETE, print_json, print_rich, say
from agentmem_cli.cli.output_file import Output
from agentmem_cli.errors import AgentMemError, StoreDamagedError, UsageError
from agentmem_cli.records.jsonl import dump_event, dump_memory
from agentmem_cli.report.store_tables import history_table, memories_table, memory_table
from agentmem_cli.support.safe_text import inert_json

_NAMED: Final = 20  # damaged memories that an export reports by id
IdArgument = Annotated[str, typer.Argument(help="A memory's id.", metavar="ID")]


def get(identity: IdArgument, store: options.StoreOption = ".agentmem", json: options.JsonOption = False) -> None:
    """Print one memory."""
    with opened_store(store) as mem:
        memory = mem.get(identity)
    if memory is None:
        raise AgentMemError(f"no memory {identity} in store {store}")
    if json:
        print_json(dump_memory(memory))
    else:
        print_rich(memory_table(memory))


@options.expanded
def list_memories(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The maximum number of memories to print.")] = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="The number of newest memories to skip.")] = 0,
    store: options.StoreOption = ".agentmem",
    filter: options.FilterOptions,
    json: options.JsonOption = False,
) -> None:
    """List memories, newest first, one page at a time."""
    with opened_store(store) as mem:
        memories = mem.page_matching(filter, limit, offset)
    if json:
        print_json([dump_memory(memory) for memory in memories])
    elif memories:
        print_rich(memories_table(memories, offset))
    else:
        say("no memory matches" if offset == 0 else f"no memory matches after the first {offset}")


def history(identity: IdArgument, store: options.StoreOption = ".agentmem", json: options.JsonOption = False) -> None:
    """Print the history of a memory, oldest event first."""
    with opened_store(store) as mem:
        events = mem.history(identity)
    if not events:
        raise AgentMemError(f"no memory {identity} in the history of store {store}")
    if json:
        print_json([dump_event(event) for event in events])
    else:
        print_rich(history_table(events))


@options.expanded
def delete(
    *,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of memories to delete.", metavar="ID...")] = None,
    store: options.StoreOption = ".agentmem",
    filter: options.FilterOptions,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
) -> None:
    """Delete memories by id, or all memories that match filters.

    The history keeps their ids and events, not their texts. 'agentmem compact' then removes the texts from the files.
    """
    if bool(ids) == bool(filter):
        raise UsageError("give either at least one id or at least one filter (--user-id, --where, ...)")
    with opened_store(store, wait_s=wait) as mem:
        targets = ids or mem.ids_matching(filter)
        if targets and not yes:
            _ask(len(targets), store)
        deleted = mem.delete(*targets) if targets else 0
    if json:
        print_json({"deleted": deleted, "not_found": len(set(targets)) - deleted})
    else:
        say(f"deleted {deleted} of {len(set(targets))} memories from {store}")
    if ids and deleted < len(set(targets)):
        raise typer.Exit(1)


def export(
    store: options.StoreOption = ".agentmem",
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
) -> None:
    """Write every memory as JSONL, which 'agentmem ingest' reads.

    With --output, the file is replaced once the export is complete. If a memory is damaged, the old file stays and the
    exit code is 1.
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
            for memory in mem.export(vectors=vectors, on_damaged=damaged.append if skip_damaged else None):
                stream.write(f"{inert_json(orjson.dumps(dump_memory(memory)).decode())}\n".encode())
                memories += 1
        except StoreDamagedError as error:
            if skip_damaged:
                raise
            raise StoreDamagedError(f"{error}; --skip-damaged exports the others") from error
    if json:
        print(inert_json(orjson.dumps({"exported": memories, "damaged": damaged}).decode()), file=sys.stderr)
    else:
        _say_damaged(damaged)
        if output is not None:
            say(f"wrote {memories} memories to {output}")
    if damaged:
        raise typer.Exit(INCOMPLETE)


def _say_damaged(damaged: list[str]) -> None:
    for identity in damaged[:_NAMED]:
        say(f"left out: memory {identity} is damaged")
    if len(damaged) > _NAMED:
        say(f"left out: {len(damaged) - _NAMED} more damaged memories")


def _ask(memories: int, store: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"this would delete {memories} memories: add --yes to confirm")
    if not typer.confirm(f"Delete {memories} memories from {store}?", err=True):
        raise typer.Exit(1)
