"""`agentmem stats`, `verify`, `index`, `compact` and `reembed`: commands on a whole store."""

from typing import Annotated

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.options import opened_store
from agentmem_cli.cli.output import print_json, print_rich, say
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import UsageError
from agentmem_cli.store import shown_location
from agentmem_cli.support.amounts import counted, sized


def stats(
    store: options.StoreOption = ".agentmem",
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Print what a store holds.

    This is the number of memories by scope and type, the size of each file, the model and the state of the graph.
    """
    with opened_store(store) as mem:
        contents = mem.stats()
    if contents.truncated and not quiet:
        say(
            f"{contents.truncated} of {counted(contents.memories, 'memory')} "
            f"{'is' if contents.truncated == 1 else 'are'} longer than the model reads "
            f"({contents.embedder['token_limit']} tokens): only the beginning is searched by meaning; "
            "ingest with --chunk"
        )
    if json:
        print_json(contents.to_dict())
    else:
        from agentmem_cli.report.store_tables import stats_tables

        print_rich(*stats_tables(contents, shown_location(store)))


def verify(
    store: options.StoreOption = ".agentmem",
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild the graph and the text index, then check again.")
    ] = False,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Check every row, vector and file of a store.

    The exit code is 1 if anything is damaged.
    """
    with opened_store(store, wait_s=wait) as mem:
        if repair:
            mem.open()
        findings = mem.verify()
        if repair and any(finding.repairable for finding in findings):
            mem.repair()
            if not quiet:
                say(f"rebuilt the graph and the text index of {shown_location(store)}")
            findings = mem.verify()
    if json:
        print_json({"ok": not findings, "findings": [finding.to_dict() for finding in findings]})
    elif findings:
        from agentmem_cli.report.store_tables import findings_table

        print_rich(findings_table(findings))
    elif not quiet:
        say(f"store {shown_location(store)} is undamaged")
    if findings:
        raise typer.Exit(1)


def index(
    store: options.StoreOption = ".agentmem",
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Build the graph that speeds up searches of a large store.

    The command ends when the graph is built. Other processes may write meanwhile.
    """
    with opened_store(store) as mem:
        unindexed = mem.build_index()
        contents = mem.stats()
    from agentmem_cli.store.base import MIN_INDEXED  # brings numpy, which no --help waits for

    in_graph = int(contents.graph["vectors"])
    if json:
        print_json({"graph": contents.graph, "unindexed": unindexed, "needed_from": MIN_INDEXED})
    elif quiet:
        pass
    elif not in_graph and contents.vectors < MIN_INDEXED:
        say(
            f"store {shown_location(store)} needs no graph: it has {counted(contents.vectors, 'vector')}, "
            f"and searches scan fewer than {MIN_INDEXED:,} as quickly"
        )
    else:
        newer = f"{counted(unindexed, 'newer vector')} {'is' if unindexed == 1 else 'are'} not in it yet"
        say(f"store {shown_location(store)}: {counted(in_graph, 'vector')} in the graph, {newer}")


def compact(
    store: options.StoreOption = ".agentmem",
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Rewrite a store's files without deleted and replaced texts.

    This needs as much free disk space as the store occupies.
    """
    with opened_store(store, wait_s=wait) as mem:
        before_bytes = mem.stats().total_bytes
        mem.compact()
        after_bytes = mem.stats().total_bytes
    if json:
        print_json({"before_bytes": before_bytes, "after_bytes": after_bytes})
    elif not quiet:
        say(f"compacted {shown_location(store)}: {sized(before_bytes)} before, {sized(after_bytes)} after")


@options.expanded
def reembed(
    *,
    store: options.StoreOption = ".agentmem",
    model: options.ModelOptions,
    on: options.OnOption = None,
    workers: options.WorkersOption = None,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Embed every memory again, with another model.

    The store is then pinned to that model. Searches use the old vectors until all new ones are made. After an
    interruption, the same command continues.
    """
    if not model.names_a_model:
        raise UsageError("reembed needs the new model: give --model, --model-path or --embedder-url")
    done = 0

    def count(texts: int) -> None:
        nonlocal done
        done += texts
        if not quiet:
            say(f"reembed: {counted(done, 'text')} done")

    own = ModelChoice(device=model.device, threads=model.threads)
    with opened_store(store, own, wait_s=wait, quiet=quiet) as mem:
        before = mem.model.name
        mem.reembed(
            model.name,
            model_path=model.path,
            embedder_url=model.url,
            on_progress=count,
            on=on,
            workers=workers,
        )
        after = mem.model.name
    if json:
        print_json({"from": before, "to": after, "embedded": done})
    elif not quiet:
        say(f"store {shown_location(store)} now uses {after} instead of {before}")
