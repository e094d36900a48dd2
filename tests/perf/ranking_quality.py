"""How well each mode finds labelled memories, by set and model: nDCG@10 and recall@10 with 95 % intervals.

    python -m tests.perf.ranking_quality MEMORIES.jsonl:QUERIES.jsonl ... [--models minilm,minilm-static]

Ends with what hybrid loses to the better of its halves in the worst case.
"""

import argparse
import tempfile
from pathlib import Path

from agentmem_cli import AgentMem
from agentmem_cli.search.evaluation import Evaluation
from agentmem_cli.search.query import MODES, Ranking, read_queries

METRICS = ("ndcg@10", "recall@10")


def main() -> None:
    """Ingests, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="MEMORIES:QUERIES")
    parser.add_argument("--models", default="minilm,minilm-static")
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{'set':22} {'model':14} {'mode':7} {'nDCG@10':22} recall@10")
    for name in arguments.sets:
        memories, _, queries = name.partition(":")
        for model in arguments.models.split(","):
            found = _evaluated(memories, queries, model)
            for mode, evaluation in zip(MODES, found, strict=True):
                figures = "  ".join(_shown(evaluation, metric) for metric in METRICS)
                print(f"{Path(memories).stem:22} {model:14} {mode:7} {figures}", flush=True)
            hybrid, *halves = (evaluation.estimates["ndcg@10"].mean for evaluation in found)
            worst = max(worst, max(halves) - hybrid)
    print(f"hybrid is {worst:.3f} below its better half at worst")


def _evaluated(memories: str, queries: str, model: str) -> list[Evaluation]:
    with tempfile.TemporaryDirectory() as folder, AgentMem(folder, model=model) as mem:
        mem.ingest([memories])
        return mem.evaluate(list(read_queries(queries)), [Ranking(mode) for mode in MODES])


def _shown(evaluation: Evaluation, metric: str) -> str:
    estimate = evaluation.estimates[metric]
    return f"{estimate.mean:.3f} ({estimate.interval.low:.3f} to {estimate.interval.high:.3f})"


if __name__ == "__main__":
    main()
