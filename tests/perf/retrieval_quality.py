"""How well searches find labelled memories, by mode, with 95 % intervals; how long they take alone and in a batch.

    python -m tests.perf.retrieval_quality MEMORIES.jsonl QUERIES.jsonl [--model NAME] [--repeats N]

A line of QUERIES.jsonl has `query`, `relevant` (a list of ids) and, to search one user only, `user_id`.
"""

import argparse
import tempfile
import time

from agentmem_cli import AgentMem
from agentmem_cli.search.evaluation import Evaluation
from agentmem_cli.search.query import MODES, LabelledQuery, Query, Ranking
from agentmem_cli.search.query_file import read_queries
from agentmem_cli.support.statistics import bootstrap_ratio, median


def main() -> None:
    """Ingests, asks and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("memories")
    parser.add_argument("queries")
    parser.add_argument("--model")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    queries = list(read_queries(arguments.queries))
    with tempfile.TemporaryDirectory() as folder, AgentMem(folder, model=arguments.model) as mem:
        report = mem.ingest([arguments.memories])
        print(f"{report.stored} memories, {report.memories_per_s:.0f}/s, {report.rejected} rejected")
        rankings = [Ranking(mode) for mode in MODES]
        for ranking, found in zip(rankings, mem.evaluate(queries, rankings), strict=True):
            print(f"{ranking.mode}: {_shown(found)}")
        for ranking in rankings:
            _time(mem, queries, ranking, arguments.repeats)


def _shown(found: Evaluation) -> str:
    figures = [
        f"{name} {estimate.mean:.3f} ({estimate.interval.low:.3f} to {estimate.interval.high:.3f})"
        for name, estimate in found.estimates.items()
    ]
    return ", ".join(figures)


def _time(mem: AgentMem, queries: list[LabelledQuery], ranking: Ranking, repeats: int) -> None:
    """Asks one by one and all at once, in turn; the queries' embedding is included."""
    asked = [query.query for query in queries]
    mem.search_many(asked, 10, ranking)  # opens the sessions
    one_by_one_ms: list[float] = []
    alone_s, together_s = [], []
    for _ in range(repeats):
        one_by_one_ms += [1000 * _spent_s(mem, [query], ranking) for query in asked]
        alone_s.append(sum(one_by_one_ms[-len(asked) :]) / 1000)
        together_s.append(_spent_s(mem, asked, ranking))
    ratio = bootstrap_ratio(alone_s, together_s, "median", paired=True)
    print(
        f"{ranking.mode}, a search alone: median {median(one_by_one_ms):.1f} ms, worst {max(one_by_one_ms):.1f} ms; "
        f"{len(asked) / median(alone_s):.0f} queries/s one by one, {len(asked) / median(together_s):.0f} at once, "
        f"{median([alone / together for alone, together in zip(alone_s, together_s, strict=True)]):.2f} times "
        f"({ratio.low:.2f} to {ratio.high:.2f}, {repeats} rounds)"
    )


def _spent_s(mem: AgentMem, queries: list[Query], ranking: Ranking) -> float:
    start = time.perf_counter()
    mem.search_many(queries, 10, ranking)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
