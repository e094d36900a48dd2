"""How well each mode finds labelled memories, by set and model: nDCG@10 and recall@10 with 95 % intervals.

    python -m tests.perf.ranking_quality MEMORIES.jsonl:QUERIES.jsonl ... [--models minilm,minilm-static] [--floor 0.33]

Ends with what hybrid loses to the better of its halves in the worst case. `--floor` adds what `--min-score` costs: the
recall@10 that it loses, and how many questions of `unanswerable.jsonl`, which no memory answers, still get an answer.
"""

import argparse
import tempfile
from pathlib import Path

from agentmem_cli import AgentMem
from agentmem_cli.search.evaluation import Evaluation
from agentmem_cli.search.query import MODES, Query, Ranking
from agentmem_cli.search.query_file import read_queries

METRICS = ("ndcg@10", "recall@10")
UNANSWERABLE = Path(__file__).with_name("unanswerable.jsonl")


def main() -> None:
    """Ingests, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="MEMORIES:QUERIES")
    parser.add_argument("--models", default="minilm,minilm-static")
    parser.add_argument("--floor", type=float)
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{'set':22} {'model':14} {'mode':7} {'nDCG@10':22} recall@10")
    for name in arguments.sets:
        memories, _, queries = name.partition(":")
        for model in arguments.models.split(","):
            found, answered = _evaluated(memories, queries, model, arguments.floor)
            for mode, evaluation in zip(MODES, found, strict=False):
                figures = "  ".join(_shown(evaluation, metric) for metric in METRICS)
                print(f"{Path(memories).stem:22} {model:14} {mode:7} {figures}", flush=True)
            if arguments.floor is not None:
                lost = found[0].estimates["recall@10"].mean - found[-1].estimates["recall@10"].mean
                print(f"{'':22} {'':14} floor   recall@10 lost {lost:.3f}; unanswerable, answered: {answered}")
            hybrid, *halves = (evaluation.estimates["ndcg@10"].mean for evaluation in found[: len(MODES)])
            worst = max(worst, max(halves) - hybrid)
    print(f"hybrid is {worst:.3f} below its better half at worst")


def _evaluated(memories: str, queries: str, model: str, floor: float | None) -> tuple[list[Evaluation], str]:
    """An evaluation of each mode, and of hybrid with a floor; and how many unanswerable questions get an answer."""
    rankings = [*map(Ranking, MODES), *([] if floor is None else [Ranking(min_score=floor)])]
    labelled = list(read_queries(queries))
    with tempfile.TemporaryDirectory() as folder, AgentMem(folder, model=model) as mem:
        mem.ingest([memories])
        found = mem.evaluate(labelled, rankings)
        if floor is None:
            return found, ""
        scopes = {query.query.filter for query in labelled}
        asked = [Query(query.query.text, scope) for query in read_queries(str(UNANSWERABLE)) for scope in scopes]
        answers = mem.search_many(asked, 1, rankings[-1])
    return found, f"{sum(map(bool, answers))} of {len(asked)}"


def _shown(evaluation: Evaluation, metric: str) -> str:
    estimate = evaluation.estimates[metric]
    return f"{estimate.mean:.3f} ({estimate.interval.low:.3f} to {estimate.interval.high:.3f})"


if __name__ == "__main__":
    main()
