"""Whether a store in PostgreSQL answers labelled queries as a store in a folder does: ids, their order, and scores.

    python -m tests.perf.postgres_parity MEMORIES.jsonl:QUERIES.jsonl ... [--models minilm-static] [--url postgresql://...]

Each query is asked in each mode with its own filter, and without one. Two answers are the same where the ids are in the
same order; those whose scores differ by less than 0.000001 may change places. Without a URL, the server is that of the
tests. Ends with exit code 1 where an answer differs.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agentmem_cli import AgentMem, Hit
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.search.query import MODES, Query, Ranking
from agentmem_cli.search.query_file import read_queries
from tests.perf.postgres_store import server_url

_K = 10
_EQUAL = 1e-6


def main() -> None:
    """Ingests each set into both stores, asks both, and prints what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="MEMORIES:QUERIES")
    parser.add_argument("--models", default="minilm-static")
    parser.add_argument("--url")
    arguments = parser.parse_args()
    differing = 0
    print(f"{'set':22} {'model':14} {'mode':8} {'answers':>8} {'same':>6} {'ties':>6}  largest difference of scores")
    for name in arguments.sets:
        memories, _, queries = name.partition(":")
        for model in arguments.models.split(","):
            differing += _compared(memories, queries, model, arguments.url)
    sys.exit(1 if differing else 0)


def _compared(memories: str, queries: str, model: str, url: str | None) -> int:
    """Prints a line for each mode, and returns how many answers differ."""
    own = [labelled.query for labelled in read_queries(queries)]
    asked = [*own, *(Query(query.text, SearchFilter()) for query in own)]
    differing = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        server_url(url) as location,
        AgentMem(folder, model=model) as here,
        AgentMem(location, embedder=here.load()) as there,
    ):
        here.ingest([memories])
        there.ingest([memories])
        for mode in MODES:
            pairs = list(zip(*(mem.search_many(asked, _K, Ranking(mode)) for mem in (here, there)), strict=True))
            same = sum(_ids(one) == _ids(other) for one, other in pairs)
            alike = sum(_is_same(one, other) for one, other in pairs)
            apart = max((abs(a.score - b.score) for one, other in pairs for a, b in zip(one, other)), default=0.0)  # noqa: B905
            differing += len(pairs) - alike
            figures = f"{len(pairs):8,} {same:6,} {alike - same:6,}  {apart:.2e}"
            print(f"{Path(memories).stem:22} {model:14} {mode:8} {figures}", flush=True)
    return differing


def _ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def _is_same(one: Sequence[Hit], other: Sequence[Hit]) -> bool:
    """Whether all scores are equal, place by place: ids may differ where others have the same score."""
    return len(one) == len(other) and all(abs(a.score - b.score) < _EQUAL for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
