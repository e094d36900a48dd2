"""`agentmem search`: a question, or a file of them -> the memories that answer it best."""

from typing import Annotated

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.conditions import parse_conditions
from agentmem_cli.cli.making import making_view
from agentmem_cli.cli.many import answer_file
from agentmem_cli.cli.output import print_json, print_jsonl, print_rich, say
from agentmem_cli.errors import UsageError


def search(
    query: Annotated[str | None, typer.Argument(help="What to search for.", metavar="QUERY")] = None,
    k: Annotated[int, typer.Option("-k", "--limit", min=1, help="How many memories to print at most.")] = 10,
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Answer every line of a JSONL file (- is standard input): query, and agent_id, user_id, run_id, "
            "memory_type where they aren't as the options say. Prints a line of JSON each, in their order.",
        ),
    ] = None,
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
    if (query is None) == (queries is None):
        raise UsageError("give either a QUERY or a file of them (--queries FILE)")
    if queries is not None and json:
        raise UsageError("--queries prints a line of JSON for each query: leave out --json")
    from agentmem_cli.api import AgentMem
    from agentmem_cli.jsonl import dump_hit
    from agentmem_cli.memory import SearchFilter
    from agentmem_cli.ranking import Query

    wanted = SearchFilter.of(agent_id, user_id, run_id, memory_type, parse_conditions(where))
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
        if queries is not None:
            answer_file(mem, queries, k, wanted)
            return
        hits = mem.search_many([Query(query or "", wanted)], k)[0]
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
