"""`agentmem search --queries`: a file of questions -> a line of JSON each, as they are answered."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from agentmem_cli.cli.output import advice_line, print_jsonl, say
from agentmem_cli.errors import RejectedLineError
from agentmem_cli.records.lines import STDIN

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem
    from agentmem_cli.records.memory import SearchFilter
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
