"""How well searches find labelled memories: recall@10, nDCG@10, and how long a search takes.

    python -m tests.perf.retrieval_quality MEMORIES.jsonl QUERIES.jsonl [--model minilm-int8]

A line of QUERIES.jsonl has `query`, `relevant` (a list of ids) and, to search one user only, `user_id`.
"""

import argparse
import tempfile
import time
from pathlib import Path

import orjson

from agentmem_cli import AgentMem
from agentmem_cli.bench.stats import median
from agentmem_cli.search.metrics import ndcg_at, recall_at


def main() -> None:
    """Ingests, asks and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("memories")
    parser.add_argument("queries")
    parser.add_argument("--model")
    arguments = parser.parse_args()
    queries = [orjson.loads(line) for line in Path(arguments.queries).read_bytes().splitlines()]
    recalls, ndcgs, took_ms = [], [], []
    with tempfile.TemporaryDirectory() as folder, AgentMem(folder, model=arguments.model) as mem:
        report = mem.ingest([arguments.memories])
        print(f"{report.stored} memories, {report.memories_per_s:.0f}/s, {report.rejected} rejected")
        for query in queries:
            start = time.perf_counter()
            hits = mem.search(query["query"], 10, user_id=query.get("user_id"))
            took_ms.append(1000 * (time.perf_counter() - start))
            ranked = [hit.id for hit in hits]
            recalls.append(recall_at(10, ranked, query["relevant"]))
            ndcgs.append(ndcg_at(10, ranked, query["relevant"]))
    print(f"{len(queries)} queries: nDCG@10 {sum(ndcgs) / len(ndcgs):.3f}, recall@10 {sum(recalls) / len(recalls):.3f}")
    print(f"a search, the query's embedding included: median {median(took_ms):.1f} ms, worst {max(took_ms):.1f} ms")


if __name__ == "__main__":
    main()
