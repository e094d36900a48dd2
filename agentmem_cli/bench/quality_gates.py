"""Gates on the quality of searches: bounds on metrics, and on what is lost against another store.

A bound is missed only if the whole 95 % interval is beyond it, met if no part of it is, and inconclusive otherwise.
"""

from collections.abc import Mapping

from agentmem_cli.bench.gates import LEAST_SAMPLES
from agentmem_cli.bench.verdict import Outcome, Verdict
from agentmem_cli.search.evaluation import Comparison, Run
from agentmem_cli.support.statistics import Interval

LOSS_METRIC = "ndcg@10"


def check_bounds(run: Run, bounds: Mapping[str, float]) -> list[Verdict]:
    """A verdict for each bound, by metric, on the figures of a run."""
    verdicts = []
    for metric, bound in bounds.items():
        estimate = run.evaluation.estimates[metric]
        interval = estimate.interval if len(run.evaluation.judged) >= LEAST_SAMPLES else None
        outcome = _outcome(interval, bound, higher_is_better=True)
        verdicts.append(Verdict(run.model, metric, run.mode, estimate.mean, bound, interval, outcome, True))
    return verdicts


def check_loss(comparison: Comparison, max_loss: float) -> Verdict:
    """A verdict on how much lower nDCG@10 is in the base of a comparison than in the other run, query by query."""
    base, other, lost = comparison.base, comparison.run, comparison.differences[LOSS_METRIC]
    interval = lost.interval if lost.queries >= LEAST_SAMPLES else None
    outcome = _outcome(interval, max_loss, higher_is_better=False)
    at = f"{base.mode}, lost against {other.store}"
    return Verdict(base.model, LOSS_METRIC, at, lost.mean, max_loss, interval, outcome, False)


def _outcome(interval: Interval | None, bound: float, *, higher_is_better: bool) -> Outcome:
    if interval is None:
        return "inconclusive"
    worst, best = (interval.low, interval.high) if higher_is_better else (-interval.high, -interval.low)
    limit = bound if higher_is_better else -bound
    if best < limit:
        return "missed"
    return "met" if worst >= limit else "inconclusive"
