"""What an evaluation amounts to, in sentences that say what to do."""

import math
from collections.abc import Sequence
from typing import Final

from agentmem_cli.search.evaluation import Difference, Run, compare

_METRIC: Final = "ndcg@10"
_NAME: Final = "nDCG@10"
_NEGLIGIBLE: Final = 0.005
_LEAST_QUERIES: Final = 5  # with fewer, no interval can be trusted
_DEFAULT_MODE: Final = "hybrid"


def advice(runs: Sequence[Run]) -> list[str]:
    """Which mode to use and, where a second store was asked, which store; empty for a single run.

    Stores are compared in the mode that is best in the first of them. Only what is better by more than chance is
    recommended: the 95 % interval of the paired difference in nDCG@10 excludes 0.
    """
    own = [run for run in runs if run.store == runs[0].store]
    others = [run for run in runs if run.store != runs[0].store]
    if len(runs) == 1:
        return []
    queries = len(runs[0].evaluation.judged)
    if queries < _LEAST_QUERIES:
        return [f"{queries} queries are too few to compare anything: label {_LEAST_QUERIES} or more."]
    best = max(own, key=_mean)
    found = _on_modes(best, [run for run in own if run is not best]) if len(own) > 1 else []
    return found + [_on_stores(best, other) for other in others if other.mode == best.mode]


def _on_modes(best: Run, rest: Sequence[Run]) -> list[str]:
    differences = [(run.mode, _difference(best, run)) for run in rest]
    worse = [(mode, difference) for mode, difference in differences if difference.is_clear]
    close = [(mode, difference) for mode, difference in differences if not difference.is_clear]
    beaten = " and ".join(f"{mode} by {_written(difference)}" for mode, difference in worse)
    if not close:
        return [f"Use --mode {best.mode}: its {_NAME} is better than that of {beaten}, by more than chance."]
    contenders = [best.mode, *(mode for mode, _ in close)]
    kept = _DEFAULT_MODE if _DEFAULT_MODE in contenders else best.mode
    sentences = [
        f"Not certain: {best.mode} is better than {mode} by {_written(difference)} in {_NAME}, which may be chance; "
        f"{_to_decide(difference)}."
        for mode, difference in close
    ]
    sure = f"; {best.mode} is better than {beaten}, by more than chance" if worse else ""
    return [*sentences, f"Until then, use --mode {kept}{sure}."]


def _on_stores(one: Run, other: Run) -> str:
    first, second = (one, other) if _mean(one) >= _mean(other) else (other, one)
    difference = _difference(first, second)
    names = f"{first.store} ({first.model})", f"{second.store} ({second.model})"
    better = f"better than that of {names[1]} by {_written(difference)}"
    if difference.is_clear:
        return f"Use {names[0]}: in {one.mode} mode, its {_NAME} is {better}, by more than chance."
    return (
        f"Not certain: in {one.mode} mode, the {_NAME} of {names[0]} is {better}, which may be chance; "
        f"{_to_decide(difference)}."
    )


def _to_decide(difference: Difference) -> str:
    if abs(difference.mean) < _NEGLIGIBLE:
        return "a difference as small as that hardly matters"
    more = difference.queries_to_show() - difference.queries
    return (
        f"if the difference is as large as measured, some {_rounded(more)} more queries would show it in 4 of 5 cases"
    )


def _rounded(count: int) -> str:
    """A count with two digits that mean something."""
    scale = 10 ** max(0, math.floor(math.log10(max(count, 1))) - 1)
    return f"{max(1, math.ceil(count / scale)) * scale:,}"


def _written(difference: Difference) -> str:
    interval = difference.interval
    return f"{difference.mean:.3f} (95 %: {interval.low:.3f} to {interval.high:.3f})"


def _difference(one: Run, other: Run) -> Difference:
    return compare(one.evaluation, other.evaluation)[_METRIC]


def _mean(run: Run) -> float:
    return run.evaluation.estimates[_METRIC].mean
