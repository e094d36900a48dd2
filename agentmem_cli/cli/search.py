"""`agentmem search`: the memories that answer a query, or each query of a file."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentmem_cli.cli import filter_options, options
from agentmem_cli.cli.options import opened_store
from agentmem_cli.cli.output import advice_line, print_json, print_jsonl, print_lines, print_rich, say
from agentmem_cli.errors import RejectedLineError, UsageError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.lines import STDIN
from agentmem_cli.search.query import LabelledQuery, Query, Ranking
from agentmem_cli.store import shown_location
from agentmem_cli.support.amounts import counted

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem

_QUERIES_AT_ONCE: Final = 256


@options.expanded
def search(
    *,
    query: Annotated[str | None, typer.Argument(help="What to search for.", metavar="QUERY")] = None,
    limit: options.LimitOption = 10,
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Answer each line of a JSONL file (- is standard input) with a line of JSON. A line has query and, to "
            "override an option, agent_id, user_id, run_id and memory_type.",
        ),
    ] = None,
    store: options.StoreOption = ".agentmem",
    filter: filter_options.FilterOptions,
    ranking: filter_options.RankingOptions,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each score is made of.")] = False,
    model: options.ModelOptions,
    json: options.JsonOption = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON object per line.")] = False,
    ids: Annotated[bool, typer.Option("--ids", help="Print only the ids, one per line.")] = False,
    quiet: options.QuietOption = False,
) -> None:
    """Find the memories that answer QUERY best.

    Searches compare meaning and words. Filters apply first: the best memories are chosen among those that match.
    """
    _check_output(queries is not None, json=json, jsonl=jsonl, ids=ids)
    if (query is None) == (queries is None):
        raise UsageError("give either a QUERY or a file of them (--queries FILE)")
    with opened_store(store, model, quiet=quiet) as mem:
        if queries is not None:
            _answer_file(mem, queries, limit, filter, ranking, explain=explain, quiet=quiet)
            return
        hits = mem.search_many([Query(query or "", filter)], limit, ranking)[0]
        memories = len(mem)
        advice = mem.advice([query]) if memories and query and ranking.mode != "words" and not quiet else None
    if advice is not None:
        say(advice_line(advice, "the query", store))
    if json:
        print_json([hit.to_dict(explain=explain) for hit in hits])
    elif jsonl:
        print_jsonl(hit.to_dict(explain=explain) for hit in hits)
    elif ids:
        print_lines(hit.id for hit in hits)
    elif hits:
        from agentmem_cli.report.store_tables import hits_table

        print_rich(hits_table(hits, limit, memories, explain=explain))
    if not hits and not quiet:
        say(_why_none(memories, store, ranking))


def _check_output(of_file: bool, *, json: bool, jsonl: bool, ids: bool) -> None:
    if json + jsonl + ids > 1:
        raise UsageError("give one of --json, --jsonl and --ids")
    if of_file and (json or ids):
        raise UsageError(f"--queries prints a line of JSON for each query: leave out {'--json' if json else '--ids'}")


def _why_none(memories: int, store: str, ranking: Ranking) -> str:
    if not memories:
        return (
            f"store {shown_location(store)} is empty: add memories with 'agentmem ingest FILE' or 'agentmem add TEXT'"
        )
    if memories == 1:
        return f"the only memory of store {shown_location(store)} does not match"
    conditions = ["has a word of the query"] if ranking.mode == "words" else []
    conditions += [] if ranking.min_score is None else [f"scores {ranking.min_score} or more"]
    return f"none of the {memories:,} memories {' and '.join([*conditions, 'matches the filters'])}"


def _answer_file(
    mem: "AgentMem", file: str, k: int, filter: SearchFilter, ranking: Ranking, *, explain: bool, quiet: bool
) -> None:
    """Prints the k best hits of each query of a file, in the order of the file.

    Raises RejectedLineError at a bad line, after the answers to the lines before it.
    """
    from agentmem_cli.search.query_file import read_queries

    if file == STDIN and sys.stdin is not None and sys.stdin.isatty():
        say("reading queries from standard input, one a line; end with Ctrl-D")
    answered = 0
    for batch in _batches(read_queries(file, filter)):
        asked = [labelled.query for labelled in batch]
        if not answered and ranking.mode != "words" and not quiet:
            advice = mem.advice([query.text for query in asked])
            if advice is not None:
                of_these = f"those of the first {counted(len(asked), 'query')} that are not in Latin letters alone"
                say(advice_line(advice, of_these, mem.location))
        print_jsonl(
            {"query": query.text, "hits": [hit.to_dict(explain=explain) for hit in hits]}
            for query, hits in zip(asked, mem.search_many(asked, k, ranking), strict=True)
        )
        sys.stdout.flush()
        answered += len(batch)
    if not answered and not quiet:
        say(f"{file} has no queries")


def _batches(queries: Iterator[LabelledQuery]) -> Iterator[list[LabelledQuery]]:
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
