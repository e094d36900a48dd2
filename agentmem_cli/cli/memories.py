"""`agentmem get`, `list`, `history`, `delete` and `export`: single memories, and all of them."""

import sys
from contextlib import nullcontext
from typing import Annotated, Final

import orjson
import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.options import filter_of
from agentmem_cli.cli.output import INCOMPLETE, print_json, print_rich, say
from agentmem_cli.errors import AgentMemError, StoreDamagedError, UsageError
from agentmem_cli.support.safe_text import inert_json

_NAMED: Final = 20  # damaged memories that an export names
IdArgument = Annotated[str, typer.Argument(help="A memory's id.", metavar="ID")]


def get(identity: IdArgument, store: options.StoreOption = ".agentmem", json: options.JsonOption = False) -> None:
    """Print one memory."""
    from agentmem_cli.api import AgentMem
    from agentmem_cli.records.jsonl import dump_memory

    with AgentMem(store, create=False) as mem:
        memory = mem.get(identity)
    if memory is None:
        raise AgentMemError(f"no memory {identity} in store {store}")
    if json:
        print_json(dump_memory(memory))
    else:
        from agentmem_cli.report.store_tables import memory_table

        print_rich(memory_table(memory))


def list_memories(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many memories to print.")] = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="How many of the newest to skip.")] = 0,
    store: options.StoreOption = ".agentmem",
    agent_id: options.AgentOption = None,
    user_id: options.UserOption = None,
    run_id: options.RunOption = None,
    memory_type: options.TypeOption = None,
    where: options.WhereOption = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    json: options.JsonOption = False,
) -> None:
    """List memories that match, newest first, a page at a time."""
    from agentmem_cli.api import AgentMem
    from agentmem_cli.records.jsonl import dump_memory

    wanted = filter_of(agent_id, user_id, run_id, memory_type, where, since, until)
    with AgentMem(store, create=False) as mem:
        memories = mem.page_matching(wanted, limit, offset)
    if json:
        print_json([dump_memory(memory) for memory in memories])
    elif memories:
        from agentmem_cli.report.store_tables import memories_table

        print_rich(memories_table(memories, offset))
    else:
        say("no memory matches" if offset == 0 else f"no memory matches after the first {offset}")


def history(identity: IdArgument, store: options.StoreOption = ".agentmem", json: options.JsonOption = False) -> None:
    """Print what happened to a memory, oldest first."""
    from agentmem_cli.api import AgentMem
    from agentmem_cli.records.jsonl import dump_event

    with AgentMem(store, create=False) as mem:
        events = mem.history(identity)
    if not events:
        raise AgentMemError(f"no memory {identity} was ever in store {store}")
    if json:
        print_json([dump_event(event) for event in events])
    else:
        from agentmem_cli.report.store_tables import history_table

        print_rich(history_table(events))


def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of memories to remove.", metavar="ID...")] = None,
    store: options.StoreOption = ".agentmem",
    agent_id: options.AgentOption = None,
    user_id: options.UserOption = None,
    run_id: options.RunOption = None,
    memory_type: options.TypeOption = None,
    where: options.WhereOption = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
) -> None:
    """Remove memories by id, or all that match filters: their texts go, the history keeps that they were there.

    After 'agentmem compact' the texts are gone from the files too.
    """
    from agentmem_cli.api import AgentMem

    wanted = filter_of(agent_id, user_id, run_id, memory_type, where, since, until)
    if bool(ids) == bool(wanted):
        raise UsageError("give either at least one id or at least one filter (--user-id, --where, ...)")
    with AgentMem(store, create=False, wait_s=wait) as mem:
        doomed = ids or mem.ids_matching(wanted)
        if doomed and not yes:
            _ask(len(doomed), store)
        deleted = mem.delete(*doomed) if doomed else 0
    if json:
        print_json({"deleted": deleted, "not_found": len(set(doomed)) - deleted})
    else:
        say(f"deleted {deleted} of {len(set(doomed))} memories from {store}")
    if ids and deleted < len(set(doomed)):
        raise typer.Exit(1)


def export(
    store: options.StoreOption = ".agentmem",
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output."),
    ] = None,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Add the vectors, so that ingesting elsewhere needs no embedding.")
    ] = False,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out damaged memories and name them (exit code 3).")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print how much was written, as JSON, on stderr.")] = False,
) -> None:
    """Write every memory as JSONL, which 'agentmem ingest' takes back.

    A file is replaced when all is written: if a memory is damaged, it stays as it was, and the exit code is 1.
    """
    from agentmem_cli.api import AgentMem
    from agentmem_cli.cli.output_file import Output
    from agentmem_cli.records.jsonl import dump_memory

    file = None if output is None else Output(output, store=store)
    if file is not None:
        file.check()
    memories, damaged = 0, list[str]()
    with (
        AgentMem(store, create=False) as mem,
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
        _say_missing(damaged)
        if output is not None:
            say(f"wrote {memories} memories to {output}")
    if damaged:
        raise typer.Exit(INCOMPLETE)


def _say_missing(damaged: list[str]) -> None:
    for identity in damaged[:_NAMED]:
        say(f"left out: memory {identity} is damaged")
    if len(damaged) > _NAMED:
        say(f"left out: {len(damaged) - _NAMED} more damaged memories")


def _ask(memories: int, store: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"this would remove {memories} memories: add --yes to do it from a script")
    if not typer.confirm(f"Remove {memories} memories from {store}?", err=True):
        raise typer.Exit(1)
