"""`agentmem add` and `update`: one memory, with its fields as options."""

import sys
from typing import Annotated, Final, TypeAlias

import typer

from agentmem_cli.cli import filter_options, options
from agentmem_cli.cli.options import Group, opened_store
from agentmem_cli.cli.output import advice_line, print_json, print_lines, say
from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.records.jsonl import CLEARABLE, cleared, parse_object
from agentmem_cli.records.lines import MAX_LINE_BYTES, STDIN
from agentmem_cli.records.memory import Scope
from agentmem_cli.records.times import expiry
from agentmem_cli.store import shown_location

_CLEARABLE: Final = ", ".join(sorted(CLEARABLE))


def _fields(
    importance: Annotated[
        float | None, typer.Option("--importance", help="How important it is, 0 to 1, for --importance-weight.")
    ] = None,
    created_at: Annotated[
        str | None, typer.Option("--created-at", metavar="TIME", help="When it was made; by default now.")
    ] = None,
    speaker: Annotated[str | None, typer.Option("--speaker", help="Who said it.")] = None,
    metadata: Annotated[
        str | None, typer.Option("--metadata", metavar="JSON", help='A JSON object, such as \'{"topic": "food"}\'.')
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="TIME", help="From then on nothing finds it.")
    ] = None,
    ttl: options.TtlOption = None,
) -> dict[str, object]:
    """The given fields, by the keys of a JSONL line."""
    try:
        fields = {
            "importance": importance,
            "created_at": created_at,
            "speaker": speaker,
            "metadata": None if metadata is None else parse_object(metadata.encode(errors="surrogateescape")),
            "expires_at": expiry(expires_at, ttl),
        }
    except InvalidMemoryError as error:
        raise UsageError(f"--metadata: {error}") from error
    return {name: value for name, value in fields.items() if value is not None}


_FieldOptions: TypeAlias = Annotated[dict[str, object], Group(_fields)]
_ChunkOption: TypeAlias = Annotated[
    bool, typer.Option("--chunk", help="Split a text that is longer than the model reads into overlapping chunks.")
]


@options.expanded
def add(
    *,
    text: Annotated[str, typer.Argument(help="What to remember; - is standard input.", metavar="TEXT")],
    identity: Annotated[
        str | None, typer.Option("--id", help="Its id; by default one that is derived from the content.")
    ] = None,
    scope: filter_options.ScopeOptions,
    fields: _FieldOptions,
    chunk: _ChunkOption = False,
    store: options.StoreOption = ".agentmem",
    model: options.ModelOptions,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Add one memory, and print its id.

    If the id is stored, that memory is updated: fields that are not given keep their value.
    """
    given = {"text": _text(text), **_scope_fields(scope), **fields, **({} if identity is None else {"id": identity})}
    with opened_store(store, model, create=True, wait_s=wait, quiet=quiet) as mem:
        try:
            result = mem.add_batch([given], chunk=chunk)
        except InvalidMemoryError as error:
            raise UsageError(str(error)) from error
        advice = None if quiet else mem.advice([str(given["text"])])
    if advice is not None:
        say(advice_line(advice, "this text", store))
    if json:
        outcome = "added" if result.added else "updated" if result.updated else "unchanged"
        print_json({"id": result.ids[0], "outcome": outcome})
    else:
        print_lines(result.ids)


@options.expanded
def update(
    *,
    identity: Annotated[str, typer.Argument(help="A memory's id.", metavar="ID")],
    text: Annotated[str | None, typer.Option("--text", help="The new text; - is standard input.")] = None,
    scope: filter_options.ScopeOptions,
    fields: _FieldOptions,
    clear: Annotated[
        list[str] | None,
        typer.Option("--clear", metavar="FIELD", help=f"Empty a field: {_CLEARABLE}. Repeat for more."),
    ] = None,
    chunk: _ChunkOption = False,
    store: options.StoreOption = ".agentmem",
    model: options.ModelOptions,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Change fields of one memory.

    Fields that are not given keep their value; metadata counts as one field. An expired memory comes back if it gets a
    later expiry, or --clear expires_at.
    """
    given = {**_scope_fields(scope), **fields, **({} if text is None else {"text": _text(text)})}
    with opened_store(store, model, wait_s=wait, quiet=quiet) as mem:
        try:
            memory = mem.update_fields(identity, {**cleared(clear or [], given), **given}, chunk=chunk)
        except InvalidMemoryError as error:
            raise UsageError(str(error)) from error
    if json:
        print_json(memory.to_dict())
    elif not quiet:
        say(f"updated memory {identity} in {shown_location(store)}")


def _scope_fields(scope: Scope) -> dict[str, object]:
    names = ("agent_id", "user_id", "run_id", "memory_type")
    return {name: value for name in names if (value := getattr(scope, name)) is not None}


def _text(given: str) -> str:
    """A text, or that of standard input for `-`. Raises UsageError."""
    if given != STDIN:
        return given
    if sys.stdin is not None and sys.stdin.isatty():
        say("reading the text from standard input; end with Ctrl-D")
    content = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_LINE_BYTES + 1)
    if len(content) > MAX_LINE_BYTES:
        raise UsageError(f"the text on standard input is longer than {MAX_LINE_BYTES:,} bytes: split it")
    try:
        return content.decode().strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"the text on standard input has invalid UTF-8 at byte {error.start + 1}") from error
