"""The quality of searches over labelled queries: figures with intervals, and comparisons."""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from agentmem_cli.errors import UsageError
from agentmem_cli.records.memory import Hit
from agentmem_cli.records.values import JsonValue, shown
from agentmem_cli.search.query import LabelledQuery, Mode, Query
from agentmem_cli.support.statistics import Interval, Samples, bootstrap_intervals

Ranked: TypeAlias = Sequence[tuple[str, float]]  # ids with their scores


class _Ties(NamedTuple):
    """Hits with one score: the number of hits before them, their own number, and how many of them are relevant."""

    before: int
    size: int
    relevant: int


def recall_at(k: int, ranked: Ranked, relevant: Collection[str]) -> float:
    """The share of the relevant ids that are among the first k."""
    distinct = _checked(relevant)
    return sum(share for _, share in _relevance(k, ranked, distinct)) / len(distinct)


def ndcg_at(k: int, ranked: Ranked, relevant: Collection[str]) -> float:
    """Normalised discounted cumulative gain of the first k, each relevant id a gain of 1 (Järvelin, Kekäläinen 2002).

    The discount of rank r, counted from 1, is 1 / log2(r + 1).
    """
    distinct = _checked(relevant)
    gain = sum(share * _discount(rank) for rank, share in _relevance(k, ranked, distinct))
    return gain / sum(_discount(rank) for rank in range(1, min(k, len(distinct)) + 1))


def reciprocal_rank_at(k: int, ranked: Ranked, relevant: Collection[str]) -> float:
    """1 / the rank of the first relevant id, counted from 1, or 0 where it is not among the first k."""
    for ties in _ties(ranked, _checked(relevant)):
        if ties.relevant:
            ranks = range(1, min(ties.size, k - ties.before) + 1)
            return sum(_first_at(rank, ties) / (ties.before + rank) for rank in ranks)
    return 0.0


def first_rank(ranked: Ranked, relevant: Collection[str]) -> int | None:
    """The rank of the first relevant id, counted from 1, with ties its last possible rank; None for no relevant id."""
    for ties in _ties(ranked, _checked(relevant)):
        if ties.relevant:
            return ties.before + ties.size - ties.relevant + 1
    return None


def _relevance(k: int, ranked: Ranked, relevant: set[str]) -> Iterator[tuple[int, float]]:
    """The ranks among the first k that may be relevant, and how likely they are."""
    for ties in _ties(ranked, relevant):
        if ties.relevant:
            for rank in range(ties.before + 1, min(ties.before + ties.size, k) + 1):
                yield rank, ties.relevant / ties.size


def _ties(ranked: Ranked, relevant: set[str]) -> Iterator[_Ties]:
    before = 0
    for _, group in groupby(ranked, key=lambda hit: hit[1]):
        ids = [identity for identity, _ in group]
        yield _Ties(before, len(ids), len(relevant.intersection(ids)))
        before += len(ids)


def _first_at(rank: int, ties: _Ties) -> float:
    """The probability that the first relevant of these hits, in random order, has this rank among them."""
    return math.comb(ties.size - rank, ties.relevant - 1) / math.comb(ties.size, ties.relevant)


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def _checked(relevant: Collection[str]) -> set[str]:
    if not relevant:
        raise ValueError("no id is relevant: such a query can't be judged")
    return set(relevant)


DEPTH: Final = 20  # hits that are looked at
METRICS: Final[Mapping[str, Callable[[Ranked, Collection[str]], float]]] = {
    **{f"recall@{k}": partial(recall_at, k) for k in (1, 5, 10, DEPTH)},
    "mrr": partial(reciprocal_rank_at, DEPTH),
    "ndcg@10": partial(ndcg_at, 10),
}
Answer: TypeAlias = Callable[[Sequence[Query], int], Sequence[Sequence[Hit]]]  # queries and k -> the hits of each
_QUERIES_AT_ONCE: Final = 256
_MOST_TIED: Final = 2_000
_SHOWN_IDS: Final = 3
_SAME: Final = 1e-9  # an average over orders is a sum of floats
_POWER: Final = (1.96 + 0.84) / 1.96  # quantiles of the normal distribution for 95 % confidence and a power of 80 %
MOST_GROUPS: Final = 100  # of queries, by a label
_NO_LABEL: Final = "-"
_SHOWN_LABELS: Final = 10


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query, its figure in each of METRICS, the rank of the first relevant id (see `metrics.first_rank`; None where
    none was found) and the hit that came first."""

    query: LabelledQuery
    figures: Mapping[str, float]
    first_rank: int | None
    first: Hit | None

    def to_dict(self) -> dict[str, JsonValue]:
        """The query with its figures as a JSON object; of the first hit its id, score and text."""
        scope = {name: value for name, value in asdict(self.query.query.filter.scope).items() if value is not None}
        first = self.first
        return {
            "query": self.query.query.text,
            **scope,
            "relevant": list(self.query.relevant),
            **self.figures,
            "first_relevant_rank": self.first_rank,
            "first_hit": None if first is None else {"id": first.id, "score": first.score, "text": first.text},
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean over queries, and its 95 % interval."""

    mean: float
    interval: Interval

    def to_dict(self) -> dict[str, JsonValue]:
        """The mean and the bounds of its interval as a JSON object."""
        return {"mean": self.mean, **asdict(self.interval)}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of labelled queries, in their order, and the estimates of METRICS.

    `unlabelled` queries had no relevant ids and were left out. `missing` are relevant ids that the store doesn't hold;
    they count as not found.
    """

    judged: tuple[JudgedQuery, ...]
    estimates: Mapping[str, Estimate]
    unlabelled: int = 0
    missing: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What limits the meaning of the figures, one sentence each."""
        found = []
        if self.unlabelled:
            found.append(f"{self.unlabelled} queries have no relevant ids, and were left out")
        if self.missing:
            shown = ", ".join(self.missing[:_SHOWN_IDS]) + (", ..." if len(self.missing) > _SHOWN_IDS else "")
            found.append(f"{len(self.missing)} relevant ids are not in the store, and count as not found: {shown}")
        return found

    def worst(self, count: int) -> list[JudgedQuery]:
        """The queries with the lowest nDCG@10, among equals those whose answer came last; in their order."""

        def badness(judged: JudgedQuery) -> tuple[float, float]:
            return judged.figures["ndcg@10"], -(judged.first_rank or math.inf)

        return sorted(self.judged, key=badness)[:count]

    def to_dict(self) -> dict[str, JsonValue]:
        """The evaluation as a JSON object, with every figure of every query."""
        return {
            "unlabelled": self.unlabelled,
            "missing": list(self.missing),
            "metrics": {name: estimate.to_dict() for name, estimate in self.estimates.items()},
            "per_query": [judged.to_dict() for judged in self.judged],
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher a metric is than another run's, query by query: the mean, its 95 % interval (paired bootstrap),
    and the numbers of queries in which it is higher, lower and equal."""

    mean: float
    interval: Interval
    wins: int
    losses: int
    ties: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return not self.interval.low <= 0 <= self.interval.high

    @property
    def queries(self) -> int:
        """The number of queries."""
        return self.wins + self.losses + self.ties

    def queries_to_show(self) -> int:
        """How many queries would show a difference as large as this mean in 4 of 5 cases. Raises ValueError for 0.

        The interval shrinks with the root of the number of queries. It has to exclude 0 by the margin of that power.
        """
        if not self.mean:
            raise ValueError("no number of queries shows that there is no difference")
        half = (self.interval.high - self.interval.low) / 2
        return math.ceil(self.queries * (half / abs(self.mean) * _POWER) ** 2)


@dataclass(frozen=True, slots=True)
class Run:
    """An evaluation and its name."""

    store: str
    model: str
    mode: Mode
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run, the run that it is compared with, and their differences in each of METRICS."""

    run: Run
    base: Run
    differences: Mapping[str, Difference]


def evaluate(queries: Sequence[LabelledQuery], answer: Answer, missing: Sequence[str] = ()) -> Evaluation:
    """Runs every query that has relevant ids, and judges the results. `missing` ids are known not to be stored.

    Raises UsageError where no query has any.
    """
    labelled = [query for query in queries if query.relevant]
    if not labelled:
        raise UsageError("no query has relevant ids: there is nothing to evaluate")
    judged: list[JudgedQuery] = []
    for start in range(0, len(labelled), _QUERIES_AT_ONCE):
        part = labelled[start : start + _QUERIES_AT_ONCE]
        judged += map(_judged, part, _ask([query.query for query in part], answer))
    return Evaluation(tuple(judged), _estimates(judged), len(queries) - len(labelled), tuple(missing))


def compare(evaluation: Evaluation, base: Evaluation) -> dict[str, Difference]:
    """The differences between two evaluations of the same queries, by metric. Raises ValueError."""
    if [judged.query for judged in evaluation.judged] != [judged.query for judged in base.judged]:
        raise ValueError("evaluations of different queries can't be compared")
    differences = _rows(evaluation.judged) - _rows(base.judged)
    return {
        name: Difference(
            mean=float(column.mean()),
            interval=interval,
            wins=int((column > _SAME).sum()),
            losses=int((column < -_SAME).sum()),
            ties=int((abs(column) <= _SAME).sum()),
        )
        for name, column, interval in zip(METRICS, differences.T, bootstrap_intervals(differences, "mean"), strict=True)
    }


def by_label(evaluation: Evaluation, key: str) -> dict[str, Evaluation]:
    """The queries by the value of one of their labels, numbers in order before words; "-" is for those without it.

    Raises UsageError where no query has the label, or if it has more than MOST_GROUPS values.
    """
    groups: dict[str, list[JudgedQuery]] = {}
    for judged in evaluation.judged:
        groups.setdefault(_label(judged.query.labels.get(key)), []).append(judged)
    if set(groups) == {_NO_LABEL}:
        known = sorted({label for judged in evaluation.judged for label in judged.query.labels})
        others = ", ".join(map(shown, known[:_SHOWN_LABELS])) + (", ..." if len(known) > _SHOWN_LABELS else "")
        raise UsageError(f"no query has {shown(key)}: the queries have {others or 'no other keys'}")
    if len(groups) > MOST_GROUPS:
        raise UsageError(f"{shown(key)} has {len(groups)} values: give a key with {MOST_GROUPS} or fewer")
    ordered = sorted(groups, key=_place)
    return {label: Evaluation(tuple(groups[label]), _estimates(groups[label])) for label in ordered}


def _place(label: str) -> tuple[bool, bool, int, str]:
    is_number = label.isdecimal()
    return label == _NO_LABEL, not is_number, len(label) if is_number else 0, label


def _label(value: JsonValue) -> str:
    if value is None:
        return _NO_LABEL
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _ask(queries: Sequence[Query], answer: Answer) -> list[Sequence[Hit]]:
    """The first DEPTH hits of each query, and those after them that have the score of the last."""
    found: list[Sequence[Hit]] = [()] * len(queries)
    waiting, k = list(range(len(queries))), DEPTH + 1
    while waiting and k <= _MOST_TIED:
        for i, hits in zip(waiting, answer([queries[i] for i in waiting], k), strict=True):
            found[i] = hits
        waiting = [i for i in waiting if len(found[i]) == k and found[i][-1].score == found[i][DEPTH - 1].score]
        k *= 4
    return found


def _judged(query: LabelledQuery, hits: Sequence[Hit]) -> JudgedQuery:
    ranked = [(hit.id, hit.score) for hit in hits]
    return JudgedQuery(
        query=query,
        figures={name: metric(ranked, query.relevant) for name, metric in METRICS.items()},
        first_rank=first_rank(ranked, query.relevant),
        first=hits[0] if hits else None,
    )


def _estimates(judged: Sequence[JudgedQuery]) -> dict[str, Estimate]:
    rows = _rows(judged)
    means, intervals = rows.mean(axis=0).tolist(), bootstrap_intervals(rows, "mean")
    return {name: Estimate(mean, interval) for name, mean, interval in zip(METRICS, means, intervals, strict=True)}


def _rows(judged: Sequence[JudgedQuery]) -> Samples:
    """The figures, (queries, metrics)."""
    return np.array([[query.figures[name] for name in METRICS] for query in judged], dtype=np.float64)
