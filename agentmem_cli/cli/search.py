"""`agentmem search`: a question, or a file of them -> the memories that answer it best."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.options import existing_store, filter_of
from agentmem_cli.cli.output import advice_line, print_json, print_jsonl, print_rich, say
from agentmem_cli.errors import RejectedLineError, UsageError
from agentmem_cli.records.lines import STDIN

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem
    from agentmem_cli.records.filter import SearchFilter
    from agentmem_cli.search.query import LabelledQuery, Ranking


_QUERIES_AT_ONCE: Final = 256


def answer_file(
    mem: "AgentMem", file: str, k: int, wanted: "SearchFilter", ranking: "Ranking", *, explain: bool
) -> None:
    """Prints the k best hits of each query of a file, in their order, and holds only so many at once.

    Raises RejectedLineError at a bad line, after the answers of those before it.
    """
    from agentmem_cli.records.jsonl import dump_hit
    from agentmem_cli.search.query import read_queries

    if file == STDIN and sys.stdin is not None and sys.stdin.isatty():
        say("reading queries from standard input, one a line; end with Ctrl-D")
    answered = 0
    for batch in _batches(read_queries(file, wanted)):
        asked = [labelled.query for labelled in batch]
        if not answered and ranking.mode != "text":
            advice = mem.advice([query.text for query in asked])
            if advice is not None:
                say(advice_line(advice, "the first queries", str(mem.path)))
        print_jsonl(
            {"query": query.text, "hits": [dump_hit(hit, explain=explain) for hit in hits]}
            for query, hits in zip(asked, mem.search_many(asked, k, ranking), strict=True)
        )
        sys.stdout.flush()
        answered += len(batch)
    if not answered:
        say(f"{file} has no queries")


def _batches(queries: "Iterator[LabelledQuery]") -> "Iterator[list[LabelledQuery]]":
    batch: list[LabelledQuery] = []
    try:
        for query in queries:
            batch.append(query)
            if len(batch) == _QUERIES_AT_ONCE:
                yield batch
                batch = []
    except RejectedLineError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


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
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    mode: options.ModeOption = "hybrid",
    context: options.ContextOption = 0,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each score is made of.")] = False,
    dedupe: options.DedupeOption = False,
    recency_half_life: options.HalfLifeOption = None,
    importance_weight: options.ImportanceOption = 0.0,
    neighbour_share: options.NeighbourShareOption = 0.2,
    model: options.ModelOption = None,
    model_path: options.ModelPathOption = None,
    embedder_url: options.EmbedderUrlOption = None,
    threads: options.ThreadsOption = None,
    device: options.DeviceOption = "cpu",
    json: options.JsonOption = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON object a line.")] = False,
) -> None:
    """Find the memories that answer QUERY best, by meaning and by words. Filters apply before the best are taken."""
    if json and jsonl:
        raise UsageError("give either --json or --jsonl")
    if (query is None) == (queries is None):
        raise UsageError("give either a QUERY or a file of them (--queries FILE)")
    if queries is not None and json:
        raise UsageError("--queries prints a line of JSON for each query: leave out --json")
    from agentmem_cli.records.jsonl import dump_hit
    from agentmem_cli.search.query import Query

    ranking = options.ranking(mode, neighbour_share, recency_half_life, importance_weight, dedupe, context)
    wanted = filter_of(agent_id, user_id, run_id, memory_type, where, since, until)
    with existing_store(store, model, model_path, embedder_url, threads, device) as mem:
        if queries is not None:
            answer_file(mem, queries, k, wanted, ranking, explain=explain)
            return
        hits = mem.search_many([Query(query or "", wanted)], k, ranking)[0]
        memories = len(mem)
        advice = mem.advice([query]) if memories and query and mode != "text" else None
    if advice is not None:
        say(advice_line(advice, "the query", store))
    if json:
        print_json([dump_hit(hit, explain=explain) for hit in hits])
    elif jsonl:
        print_jsonl(dump_hit(hit, explain=explain) for hit in hits)
    elif hits:
        from agentmem_cli.report.store_tables import hits_table

        print_rich(hits_table(hits, k, memories, explain=explain))
    if not hits:
        words = "has a word of the query and " if mode == "text" else ""
        say(f"none of the {memories} memories {words}matches the filters" if memories else f"store {store} is empty")
