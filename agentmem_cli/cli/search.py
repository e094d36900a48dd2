"""`agentmem search`: a question -> the memories nearest to it."""

from typing import Annotated

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.conditions import parse_conditions
from agentmem_cli.cli.making import making_view
from agentmem_cli.cli.output import advice_line, print_json, print_jsonl, print_rich, say
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
        hits = mem.search(
            query,
            k,
            agent_id=agent_id,
            user_id=user_id,
            run_id=run_id,
            memory_type=memory_type,
            where=parse_conditions(where),
        )
        memories = len(mem)
        advice = mem.advice([query]) if memories else None
    if advice is not None:
        say(advice_line(advice, "the query", store))
    if json:
        print_json([dump_hit(hit) for hit in hits])
    elif jsonl:
        print_jsonl(dump_hit(hit) for hit in hits)
    elif hits:
        from agentmem_cli.report import hits_table

        print_rich(hits_table(hits, k, memories))
    if not hits:
        say(f"store {store} is empty" if not memories else f"none of the {memories} memories matches the filters")
