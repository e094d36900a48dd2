"""`agentmem stats`, `verify`, `compact` and `reembed`: a store as a whole."""

from dataclasses import asdict
from typing import Annotated

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.options import existing_store
from agentmem_cli.cli.output import print_json, print_rich, say
from agentmem_cli.errors import UsageError


def stats(store: options.StoreOption = ".agentmem", json: options.JsonOption = False) -> None:
    """Print what a store holds: counts by scope and type, bytes by file, the model, the state of the graph."""
    from agentmem_cli.api import AgentMem

    with AgentMem(store, create=False) as mem:
        found = mem.stats()
    if found.truncated:
        say(
            f"{found.truncated} of {found.memories} memories {'is' if found.truncated == 1 else 'are'} longer than the "
            f"model reads ({found.embedder['token_limit']} tokens): only the beginning is searched by meaning; ingest "
            "with --chunk"
        )
    if json:
        print_json({**asdict(found), "total_bytes": found.total_bytes})
    else:
        from agentmem_cli.report.store_tables import stats_tables

        print_rich(*stats_tables(found, store))


def verify(
    store: options.StoreOption = ".agentmem",
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild what is derived, and check again.")] = False,
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
) -> None:
    """Check every row, vector and file of a store against what was stored. Exits with 1 where something is wrong."""
    from agentmem_cli.api import AgentMem

    with AgentMem(store, create=False, wait_s=wait) as mem:
        if repair:
            mem.open()
        findings = mem.verify()
        if repair and any(finding.repairable for finding in findings):
            mem.repair()
            say(f"rebuilt what is derived in {store}")
            findings = mem.verify()
    if json:
        print_json({"ok": not findings, "findings": [asdict(finding) for finding in findings]})
    elif findings:
        from agentmem_cli.report.store_tables import findings_table

        print_rich(findings_table(findings))
    else:
        say(f"store {store} is whole")
    if findings:
        raise typer.Exit(1)


def index(store: options.StoreOption = ".agentmem", json: options.JsonOption = False) -> None:
    """Build the graph that makes searches of a large store quick, and wait for it. Needs no lock."""
    from agentmem_cli.api import AgentMem

    with AgentMem(store, create=False) as mem:
        unindexed = mem.build_index()
        found = mem.stats().graph
    if json:
        print_json({"graph": found, "unindexed": unindexed})
    else:
        say(f"store {store}: {found['vectors']} vectors in the graph, {unindexed} newer ones are scanned")


def compact(
    store: options.StoreOption = ".agentmem", wait: options.WaitOption = 0, json: options.JsonOption = False
) -> None:
    """Rewrite a store's files without what was deleted or replaced. Needs as much free disk again."""
    from agentmem_cli.api import AgentMem

    with AgentMem(store, create=False, wait_s=wait) as mem:
        before_bytes = mem.stats().total_bytes
        mem.compact()
        after_bytes = mem.stats().total_bytes
    if json:
        print_json({"before_bytes": before_bytes, "after_bytes": after_bytes})
    else:
        say(f"compacted {store}: {before_bytes:,} bytes before, {after_bytes:,} after")


def reembed(
    store: options.StoreOption = ".agentmem",
    model: options.ModelOption = None,
    model_path: options.ModelPathOption = None,
    embedder_url: options.EmbedderUrlOption = None,
    threads: options.ThreadsOption = None,
    device: options.DeviceOption = "cpu",
    wait: options.WaitOption = 0,
    json: options.JsonOption = False,
) -> None:
    """Give every memory a vector of another model, and pin the store to it.

    The old vectors stay in use until all new ones are made. Cut off, the same command goes on from there.
    """
    if (model, model_path, embedder_url) == (None, None, None):
        raise UsageError("reembed needs --model, --model-path or --embedder-url: the model to change to")
    done = 0

    def count(texts: int) -> None:
        nonlocal done
        done += texts
        say(f"reembed: {done} texts are durable")

    with existing_store(store, threads=threads, device=device, wait_s=wait) as mem:
        before = mem.model.name
        mem.reembed(model, model_path=model_path, embedder_url=embedder_url, on_progress=count)
        after = mem.model.name
    if json:
        print_json({"from": before, "to": after, "embedded": done})
    else:
        say(f"store {store} now holds vectors of {after} instead of {before}")
