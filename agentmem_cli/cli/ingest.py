"""`agentmem ingest`: JSONL files -> the store."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from agentmem_cli.cli import options
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
from agentmem_cli.cli.progress import making_view
from agentmem_cli.errors import UsageError


def ingest(
    files: Annotated[
        list[str], typer.Argument(help="JSONL files, plain or gzip; - is standard input.", metavar="FILE...")
    ],
    store: options.StoreOption = ".agentmem",
    model: options.ModelOption = None,
    model_path: options.ModelPathOption = None,
    embedder_url: options.EmbedderUrlOption = None,
    threads: options.ThreadsOption = None,
    device: options.DeviceOption = "cpu",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=10, max=1000, help="Memories in one durable commit.")
    ] = 1000,
    flush_interval: Annotated[
        float,
        typer.Option(
            "--flush-interval",
            metavar="SECONDS",
            min=0,
            help="From a pipe, commit a batch when its oldest line has waited this long; 0 commits at once.",
        ),
    ] = 1.0,
    text_field: Annotated[str, typer.Option("--text-field", help="The key that holds a memory's text.")] = "text",
    agent_id: options.AgentOption = None,
    user_id: options.UserOption = None,
    run_id: options.RunOption = None,
    memory_type: options.TypeOption = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="A line is the whole memory: what it leaves out is emptied, not kept."),
    ] = False,
    on_error: Annotated[
        Literal["skip", "fail"], typer.Option("--on-error", help="Skip bad lines, or stop at the first.")
    ] = "skip",
    rejects: Annotated[
        str | None, typer.Option("--rejects", metavar="FILE", help="Write rejected lines here, as JSONL with reasons.")
    ] = None,
    max_line_bytes: Annotated[
        int, typer.Option("--max-line-bytes", min=1, help="A longer line is rejected.")
    ] = 1_000_000,
    max_expansion: Annotated[
        int, typer.Option("--max-expansion", min=1, help="Most times its own size that a gzip file may expand to.")
    ] = 200,
    chunk: Annotated[
        bool,
        typer.Option("--chunk", help="Split memories that are longer than the model reads into overlapping chunks."),
    ] = False,
    chunk_tokens: Annotated[
        int | None,
        typer.Option("--chunk-tokens", metavar="N", help="Split them into chunks of N tokens rather than 128."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be done, and store nothing.")] = False,
    wait_index: Annotated[bool, typer.Option("--wait-index", help="Wait until the graph is built, too.")] = False,
    wait: options.WaitOption = 0,
    progress: Annotated[
        Literal["auto", "jsonl", "none"],
        typer.Option("--progress", help="auto: a bar, or a line now and then; jsonl: one object a durable commit."),
    ] = "auto",
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Take memories in, one a line: text, and optionally id, agent_id, user_id, run_id, memory_type, importance,
    created_at and metadata. Ingesting a file twice changes nothing the second time. A line whose id is stored updates
    that memory: fields that it leaves out keep their value, null empties one; metadata is one field.

    A missing scope is filled from --agent-id, --user-id, --run-id and --memory-type.
    """
    from agentmem_cli.api import AgentMem
    from agentmem_cli.cli.ingest_progress import IngestObserver, view_for
    from agentmem_cli.cli.output_file import Output
    from agentmem_cli.ingest.options import IngestOptions
    from agentmem_cli.ingest.report import dump_report

    _check_files(files)
    rejects_file = None
    if rejects is not None:
        inputs = [*files, *([] if model_path is None else [model_path])]
        rejects_file = Output(rejects, "--rejects", inputs, store)
        rejects_file.check()
    ingest_options = IngestOptions(
        batch_size=batch_size,
        flush_interval_s=flush_interval,
        text_field=text_field,
        defaults=options.scope(agent_id, user_id, run_id, memory_type),
        stop_at_rejection=on_error == "fail",
        replace=replace,
        chunk=chunk or chunk_tokens is not None,
        chunk_tokens=chunk_tokens,
        dry_run=dry_run,
        wait_index=wait_index,
        max_line_bytes=max_line_bytes,
        max_expansion=max_expansion,
    )
    with (
        making_view(quiet or progress == "none") as on_progress,
        AgentMem(
            store,
            model=model,
            model_path=model_path,
            embedder_url=embedder_url,
            threads=threads,
            device=device,
            wait_s=wait,
            on_model_progress=on_progress,
        ) as mem,
        view_for("none" if quiet and progress == "auto" else progress) as view,
        IngestObserver(view, rejects_file, quiet or on_error == "fail") as observer,  # then the error names the line
    ):
        try:
            report = mem.ingest(files, ingest_options, observer)
        except (KeyboardInterrupt, Terminated) as stop:
            say(f"stopped: {observer.stored} memories are stored; run the same command again to go on")
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
            f"{report.unindexed} vectors are durable and scanned by searches; the graph that makes these quicker is "
            f"being built in the background ('agentmem index --store {store}' waits for it)"
        )
    if json:
        print_json({**dump_report(report), "better_model": None if advice is None else advice.better})
    elif not quiet:
        from agentmem_cli.report.store_tables import ingest_table

        print_rich(ingest_table(report, store, used.name, dry_run))
    if report.rejected:
        raise typer.Exit(INCOMPLETE)


def _check_files(files: list[str]) -> None:
    """All files are looked at before the first is taken in: a slip in the last name costs nothing."""
    if files.count("-") > 1:
        raise UsageError("standard input (-) can be read once only")
    if "-" in files and sys.stdin is not None and sys.stdin.isatty():
        say("reading memories from standard input, one a line; end with Ctrl-D")
    for file in files:
        if file != "-" and not Path(file).exists():
            raise UsageError(f"{file}: no such file")
        if Path(file).is_dir():
            raise UsageError(f"{file} is a folder: give the files in it")
