"""`agentmem search`: a question -> the memories nearest to it."""

from typing import Annotated

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.conditions import filter_of
from agentmem_cli.cli.making import making_view
from agentmem_cli.cli.output import print_json, print_jsonl, print_rich, say
from agentmem_cli.errors import UsageError


def search(
    query: Annotated[str, typer.Argument(help="What to search for.", metavar="QUERY")],
    k: Annotated[int, typer.Option("-k", "--limit", min=1, help="How many memories to print at most.")] = 10,
    store: options.StoreOption = ".agentmem",
    agent_id: options.AgentOption = None,
    user_id: options.UserOption = None,
    run_id: options.RunOption = None,
    memory_type: options.TypeOption = None,
    where: options.WhereOption = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    model: options.ModelOption = None,
    model_path: options.ModelPathOption = None,
    embedder_url: options.EmbedderUrlOption = None,
    threads: options.ThreadsOption = None,
    device: options.DeviceOption = "cpu",
    json: options.JsonOption = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON object a line.")] = False,
) -> None:
    """Find the memories nearest in meaning to QUERY. Filters apply before the nearest are taken."""
    if json and jsonl:
        raise UsageError("--json and --jsonl are two formats: give one of them")
    from agentmem_cli.api import AgentMem
    from agentmem_cli.jsonl import dump_hit
    from agentmem_cli.ranking import Query

    wanted = filter_of(agent_id, user_id, run_id, memory_type, where, since, until)
    with (
        making_view() as on_progress,
        AgentMem(
            store,
            model=model,
            model_path=model_path,
            embedder_url=embedder_url,
            create=False,
            threads=threads,
            device=device,
            on_model_progress=on_progress,
        ) as mem,
    ):
        hits = mem.search_many([Query(query, wanted)], k)[0]
        memories = len(mem)
    if json:
        print_json([dump_hit(hit) for hit in hits])
    elif jsonl:
        print_jsonl(dump_hit(hit) for hit in hits)
    elif hits:
        from agentmem_cli.report import hits_table

        print_rich(hits_table(hits, k, memories))
    if not hits:
        say(f"store {store} is empty" if not memories else f"none of the {memories} memories matches the filters")
