"""`agentmem stats`, `verify`, `index`, `compact` and `reembed`: commands on a whole store."""

from dataclasses import asdict
from typing import Annotated

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.options import opened_store
from agentmem_cli.cli.output import print_json, print_rich, say
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import UsageError
from agentmem_cli.report.store_tables import findings_table, stats_tables


def stats(store: options.StoreOption = ".agentmem", json: options.JsonOption = False) -> None:
    """Print what a store holds.

    This is the number of memories by scope and type, the size of each file, the model and the state of the graph.
    """
    with opened_store(store) as mem:
        contents = mem.stats()
    if contents.truncated:
        say(
            f"{contents.truncated} of {contents.memories} memories {'is' if contents.truncated == 1 else 'are'} longer "
            f"than the model reads ({contents.embedder['token_limit']} tokens): only the beginning is searched by "
            "meaning; ingest with --chunk"
        )
    if json:
        print_json({**asdict(contents), "total_bytes": contents.total_bytes})
    else:
        print_rich(*stats_tables(contents, store))


def verify(
    store: options.StoreOption = ".agentmem",
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild the graph and the text index, then check again.")
    ] = False,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
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
            say(f"rebuilt the graph and the text index of {store}")
            findings = mem.verify()
    if json:
        print_json({"ok": not findings, "findings": [asdict(finding) for finding in findings]})
    elif findings:
        print_rich(findings_table(findings))
    else:
        say(f"store {store} is undamaged")
    if findings:
        raise typer.Exit(1)


def index(store: options.StoreOption = ".agentmem", json: options.JsonOption = False) -> None:
    """Build the graph that speeds up searches of a large store.

    The command ends when the graph is built. Other processes may write meanwhile.
    """
    with opened_store(store) as mem:
        unindexed = mem.build_index()
        graph = mem.stats().graph
    if json:
        print_json({"graph": graph, "unindexed": unindexed})
    else:
        say(f"store {store}: {graph['vectors']} vectors in the graph, {unindexed} newer vectors are not in it yet")


def compact(
    store: options.StoreOption = ".agentmem", wait: options.WaitOption = 0, json: options.JsonOption = False
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
    else:
        say(f"compacted {store}: {before_bytes:,} bytes before, {after_bytes:,} after")


@options.expanded
def reembed(
    *,
    store: options.StoreOption = ".agentmem",
    model: options.ModelOptions,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
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
        say(f"reembed: {done} texts done")

    with opened_store(store, ModelChoice(device=model.device, threads=model.threads), wait_s=wait) as mem:
        before = mem.model.name
        mem.reembed(model.name, model_path=model.path, embedder_url=model.url, on_progress=count)
        after = mem.model.name
    if json:
        print_json({"from": before, "to": after, "embedded": done})
    else:
        say(f"store {store} now uses {after} instead of {before}")
