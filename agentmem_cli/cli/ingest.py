"""`agentmem ingest`: files of memories into a store."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from agentmem_cli.cli import filter_options, options
from agentmem_cli.cli.options import opened_store
from agentmem_cli.cli.output import (
    INCOMPLETE,
    INTERRUPTED,
    TERMINATED,
    Terminated,
    advice_line,
    print_json,
    print_rich,
    say,
)
from agentmem_cli.cli.output_file import Output
from agentmem_cli.errors import UsageError
from agentmem_cli.records.formats.names import FORMAT_NAMES, FormatName
from agentmem_cli.records.times import parse_ttl
from agentmem_cli.store import shown_location


@options.expanded
def ingest(
    *,
    files: Annotated[
        list[str],
        typer.Argument(
            help="JSONL, JSON, CSV or Parquet files, chats and exports, compressed or not; - is standard input.",
            metavar="FILE...",
        ),
    ],
    format: Annotated[
        FormatName | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"What FILE is: {', '.join(FORMAT_NAMES[:-1])} or {FORMAT_NAMES[-1]}; by default, its first bytes "
            "tell. See 'agentmem guide ingesting'.",
        ),
    ] = None,
    store: options.StoreOption = ".agentmem",
    model: options.ModelOptions,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=10, max=1000, help="Memories per durable commit.")
    ] = 1000,
    flush_interval: Annotated[
        float,
        typer.Option(
            "--flush-interval",
            metavar="SECONDS",
            min=0,
            help="From a pipe, commit a batch when its oldest line is this old; 0 commits at once.",
        ),
    ] = 1.0,
    text_field: Annotated[
        str | None,
        typer.Option(
            "--text-field",
            metavar="KEY",
            help="The key that holds a memory's text; a.b is b in a. By default text, else memory, content, message or "
            "body.",
        ),
    ] = None,
    include: Annotated[
        str | None,
        typer.Option(
            "--include", metavar="ROLES", help="Also take these messages of chats: system, tool or system,tool."
        ),
    ] = None,
    type_map: Annotated[
        list[str] | None,
        typer.Option(
            "--type-map",
            metavar="NAME=TYPE",
            help="Read memory_type NAME as TYPE: preference=semantic. Repeat for more.",
        ),
    ] = None,
    importance_scale: Annotated[
        float,
        typer.Option("--importance-scale", metavar="N", help="Importance is 0 to N in the files; it is divided by N."),
    ] = 1.0,
    scope: filter_options.ScopeOptions,
    ttl: options.TtlOption = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace stored memories: fields that a line leaves out are cleared, not kept."),
    ] = False,
    on_error: Annotated[
        Literal["skip", "fail"], typer.Option("--on-error", help="Skip bad lines, or stop at the first.")
    ] = "skip",
    rejects: Annotated[
        str | None,
        typer.Option("--rejects", metavar="FILE", help="Write rejected lines to FILE, as JSONL with reasons."),
    ] = None,
    max_line_bytes: Annotated[int, typer.Option("--max-line-bytes", min=1, help="Reject longer lines.")] = 1_000_000,
    max_expansion: Annotated[
        int,
        typer.Option(
            "--max-expansion", min=1, help="Stop when a compressed file expands to more than this many times its size."
        ),
    ] = 200,
    chunk: Annotated[
        bool,
        typer.Option("--chunk", help="Split memories that are longer than the model reads into overlapping chunks."),
    ] = False,
    chunk_tokens: Annotated[
        int | None,
        typer.Option("--chunk-tokens", metavar="N", help="Like --chunk, with chunks of N tokens instead of 128."),
    ] = None,
    on: options.OnOption = None,
    workers: options.WorkersOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what an ingest would do, and store nothing.")
    ] = False,
    wait_index: Annotated[bool, typer.Option("--wait-index", help="Also wait until the graph is built.")] = False,
    wait: options.WaitOption = 0,
    progress: Annotated[
        Literal["auto", "jsonl", "none"],
        typer.Option("--progress", help="auto: a bar on a terminal, lines elsewhere; jsonl: one object per commit."),
    ] = "auto",
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Ingest memories from JSONL, JSON, CSV, chats and exports.

    The first bytes of a file tell what it is, and --format says it instead. In JSONL, a line is an object with text
    and, optionally, id, agent_id, user_id, run_id, memory_type, importance, created_at and metadata. --agent-id,
    --user-id, --run-id and --memory-type apply to memories without that field.

    Ingesting a file twice changes nothing the second time. A line whose id is stored updates that memory: fields that
    the line leaves out keep their value, and null clears a field. Metadata counts as one field.
    """
    from agentmem_cli.cli.ingest_progress import IngestObserver, view_for
    from agentmem_cli.ingest.options import IngestOptions

    _check_files(files)
    rejects_file = None
    if rejects is not None:
        inputs = [*files, *([] if model.path is None else [model.path])]
        rejects_file = Output(rejects, "--rejects", inputs, store)
        rejects_file.check()
    ingest_options = IngestOptions(
        batch_size=batch_size,
        flush_interval_s=flush_interval,
        text_field=text_field,
        defaults=scope,
        stop_at_rejection=on_error == "fail",
        replace=replace,
        chunk=chunk or chunk_tokens is not None,
        chunk_tokens=chunk_tokens,
        ttl_s=None if ttl is None else parse_ttl("--ttl", ttl).total_seconds(),
        dry_run=dry_run,
        wait_index=wait_index,
        max_line_bytes=max_line_bytes,
        max_expansion=max_expansion,
        format=format,
        include=frozenset(role.strip() for role in include.split(",")) if include else frozenset(),
        type_map=dict(map(_type_mapping, type_map or [])),
        importance_scale=importance_scale,
        on=on,
        workers=workers,
    )
    with (
        opened_store(store, model, create=True, wait_s=wait, quiet=quiet or progress == "none") as mem,
        view_for("none" if quiet and progress == "auto" else progress) as view,
        IngestObserver(view, rejects_file, quiet=quiet, names_rejected=on_error == "skip") as observer,
    ):
        try:
            report = mem.ingest(files, ingest_options, observer)
        except (KeyboardInterrupt, Terminated) as stop:
            say(f"stopped: {observer.stored} memories are stored; run the same command again to continue")
            raise typer.Exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from stop
        used = mem.model
    advice = report.advice(used.name)
    if advice is not None and not quiet:
        say(advice_line(advice, "these texts", store))
    if report.truncated and not quiet:
        say(
            f"warning: {report.truncated} of {report.stored} memories {'is' if report.truncated == 1 else 'are'} "
            f"longer than {used.name} reads ({used.token_limit} tokens): only the beginning is searched by meaning; "
            "--chunk splits them"
        )
    if report.indexing and not quiet:
        say(
            f"{report.unindexed} vectors are stored but not yet in the graph: it is being built in the background "
            f"('agentmem index --store {shown_location(store)}' waits for it), and until then searches scan them"
        )
    if json:
        better = {} if dry_run else {"better_model": None if advice is None else advice.better}
        print_json({**report.to_dict(dry_run=dry_run), **better})
    elif not quiet:
        from agentmem_cli.report.store_tables import ingest_table

        print_rich(ingest_table(report, shown_location(store), used.name, dry_run))
    if report.rejected:
        raise typer.Exit(INCOMPLETE)


def _type_mapping(argument: str) -> tuple[str, str]:
    name, equals, known = argument.partition("=")
    if not (name and equals and known):
        raise UsageError(f"--type-map {argument}: write it as NAME=TYPE, such as preference=semantic")
    return name, known.lower()


def _check_files(files: list[str]) -> None:
    """Checks all files before the first is read: a typo in the last name costs nothing. Raises UsageError."""
    if files.count("-") > 1:
        raise UsageError("standard input (-) can be read only once")
    if "-" in files and sys.stdin is not None and sys.stdin.isatty():
        say("reading memories from standard input, one a line; end with Ctrl-D")
    for file in files:
        if file != "-" and not Path(file).exists():
            raise UsageError(f"{file}: no such file")
        if Path(file, "memories.db").is_file():
            raise UsageError(f"{file} is an agentmem store: 'agentmem export --store {file}' writes its memories")
        if Path(file).is_dir():
            raise UsageError(f"{file} is a folder: give the files in it")
