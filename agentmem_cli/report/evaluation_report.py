"""The report of an evaluation, as a document, as JSON and as files: how well searches answer labelled queries, and what
to do about it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from agentmem_cli.bench.verdict import LEAST_SAMPLES, Verdict
from agentmem_cli.report.document import Cell, Column, Document, Section, Table
from agentmem_cli.report.export import verdict_file
from agentmem_cli.report.gate_report import bounds_table
from agentmem_cli.report.translations import Words
from agentmem_cli.search.evaluation import (
    DEPTH,
    METRICS,
    Comparison,
    Difference,
    Estimate,
    Evaluation,
    JudgedQuery,
    Run,
    by_label,
    compare,
)

_ENGLISH: Final = Words()
_NAMES: Final = {"mrr": "MRR", "ndcg@10": "nDCG@10"}
_SHOWN: Final = ("recall@10", "ndcg@10")  # of the metrics, where not all fit; JSON has all
_SHOWN_IDS: Final = 3
_SHOWN_CHARS: Final = 120


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The runs of the first store, then those of another one; their comparisons, and the verdicts on bounds.

    `groups` are the figures by the value of the label `by`, for each run. `advice` says what to do. `worst` is the
    number of worst queries to list.
    """

    runs: Sequence[Run]
    comparisons: Sequence[Comparison]
    verdicts: Sequence[Verdict]
    by: str | None
    groups: Mapping[str, Sequence[Evaluation]]
    advice: Sequence[str]
    worst: int

    @classmethod
    def of(
        cls,
        runs: Sequence[Run],
        comparisons: Sequence[Comparison],
        verdicts: Sequence[Verdict] = (),
        *,
        by: str | None = None,
        worst: int = 0,
    ) -> "Evaluated":
        """Breaks the figures down by a label of the queries, and finds out what to do. Raises UsageError."""
        broken_down = [] if by is None else [by_label(run.evaluation, by) for run in runs]
        values = broken_down[0] if broken_down else {}
        groups = {value: [groups[value] for groups in broken_down] for value in values}
        return cls(runs, comparisons, verdicts, by, groups, advice(runs), worst)

    @property
    def warnings(self) -> list[str]:
        """What limits the meaning of the figures, one sentence each."""
        found = (f"{run.store}: {warning}" for run in self.runs for warning in run.evaluation.warnings)
        return list(dict.fromkeys(found))


def evaluation_document(evaluated: Evaluated) -> Document:
    """The figures of each store, the differences between runs, the worst queries of the first run, and what to do."""
    runs = evaluated.runs
    stores = dict.fromkeys(run.store for run in runs)
    tables = [_figures_table([run for run in runs if run.store == store]) for store in stores]
    if evaluated.by is not None:
        tables.append(_groups_table(evaluated, evaluated.by))
    if evaluated.comparisons:
        tables.append(_differences_table(evaluated.comparisons))
    if evaluated.worst:
        tables.append(_worst_table(runs[0].evaluation.worst(evaluated.worst), runs[0].mode))
    bounds = [bounds_table(evaluated.verdicts, _ENGLISH)] if evaluated.verdicts else []
    return Document(
        lang="en",
        title=f"Evaluation: {len(runs[0].evaluation.judged):,} queries",
        header=[],
        sections=[
            Section(_ENGLISH("results"), tables),
            Section(_ENGLISH("targets"), bounds, leads=True),
        ],
        warnings=evaluated.warnings,
        conclusion=[*evaluated.advice],
    )


def evaluation_as_file(evaluated: Evaluated, name: str) -> bytes:
    """The report in the format of this file name, which must be one of those for verdicts."""
    return verdict_file(name, lambda: evaluation_json(evaluated), lambda: evaluation_document(evaluated))


def evaluation_json(evaluated: Evaluated) -> dict[str, object]:
    """The report as a JSON object, with every figure of every query."""
    runs = evaluated.runs
    fields: dict[str, object] = {
        "queries": len(runs[0].evaluation.judged),
        "unlabelled": runs[0].evaluation.unlabelled,
        "warnings": evaluated.warnings,
        "runs": [{**_name(run), **run.evaluation.to_dict()} for run in runs],
        "comparisons": [
            {"run": _name(pair.run), "base": _name(pair.base), "metrics": _differences(pair.differences)}
            for pair in evaluated.comparisons
        ],
        "advice": evaluated.advice,
    }
    if evaluated.by is not None:
        fields["by"] = {
            "key": evaluated.by,
            "groups": [
                {
                    "value": value,
                    "queries": len(found[0].judged),
                    "runs": [
                        {**_name(run), "metrics": {name: mean.to_dict() for name, mean in of_run.estimates.items()}}
                        for run, of_run in zip(runs, found, strict=True)
                    ],
                }
                for value, found in evaluated.groups.items()
            ],
        }
    if evaluated.verdicts:
        fields["gate"] = [asdict(verdict) for verdict in evaluated.verdicts]
    return fields


def _figures_table(runs: Sequence[Run]) -> Table:
    """The runs of one store, one column each."""
    first = runs[0]
    return Table(
        f"{len(first.evaluation.judged):,} queries · {first.store} · {first.model}",
        [Column("", is_number=False), *(Column(run.mode) for run in runs)],
        [[Cell(_shown(name)), *(_estimate(run.evaluation.estimates[name]) for run in runs)] for name in METRICS],
        f"means and their 95 % intervals (bootstrap); MRR is of the first {DEPTH}",
    )


def _groups_table(evaluated: Evaluated, by: str) -> Table:
    """Two rows for each value, one of each shown metric, and a column for each run."""
    rows = []
    for value, found in evaluated.groups.items():
        queries = len(found[0].judged)
        for metric, of_value, count in zip(_SHOWN, (value, ""), (f"{queries:,}", ""), strict=True):
            estimates = [_estimate(evaluation.estimates[metric], queries) for evaluation in found]
            rows.append([Cell(of_value), Cell(_shown(metric)), Cell(count), *estimates])
    stores = len({run.store for run in evaluated.runs})
    names = [run.mode if stores == 1 else f"{run.mode}: {run.store}" for run in evaluated.runs]
    return Table(
        f"By {by}",
        [Column(by, is_number=False), Column("", is_number=False), Column("queries"), *map(Column, names)],
        rows,
        f"groups of fewer than {LEAST_SAMPLES} queries have no interval",
    )


def _estimate(estimate: Estimate, queries: int = LEAST_SAMPLES) -> Cell:
    if queries < LEAST_SAMPLES:
        return Cell(f"{estimate.mean:.3f}")
    return Cell(f"{estimate.mean:.3f} {estimate.interval.low:.3f}-{estimate.interval.high:.3f}")


def _differences_table(compared: Sequence[Comparison]) -> Table:
    rows = [
        [
            Cell(_compared(comparison) if metric == _SHOWN[0] else ""),
            Cell(_shown(metric)),
            Cell(f"{found.mean:+.3f}", strong=found.is_clear),
            Cell(f"{found.interval.low:+.3f} to {found.interval.high:+.3f}"),
            *(Cell(f"{count:,}") for count in (found.wins, found.losses, found.ties)),
        ]
        for comparison in compared
        for metric, found in ((metric, comparison.differences[metric]) for metric in _SHOWN)
    ]
    numbers = ("mean", "95 % interval", "wins", "losses", "ties")
    return Table(
        "Differences, query by query",
        [Column("", is_number=False), Column("", is_number=False), *map(Column, numbers)],
        rows,
        "bold where 0 is outside the interval (paired bootstrap)",
    )


def _compared(comparison: Comparison) -> str:
    run, base = comparison.run, comparison.base
    if run.store == base.store:
        return f"{run.mode} - {base.mode}"
    return f"{run.mode}: {run.store} - {base.store}"


def _worst_table(worst: Sequence[JudgedQuery], name: str) -> Table:
    rows = []
    for judged in worst:
        query, first = judged.query, judged.first
        wanted = ", ".join(query.relevant[:_SHOWN_IDS]) + (", ..." if len(query.relevant) > _SHOWN_IDS else "")
        rows.append(
            [
                Cell(f"{_cut(query.query.text)} ({wanted})"),
                Cell(f"{judged.figures['ndcg@10']:.3f}"),
                Cell("-" if judged.first_rank is None else str(judged.first_rank)),
                Cell("nothing" if first is None else f"{_cut(first.text)} ({first.id})"),
            ]
        )
    return Table(
        f"The worst queries ({name})",
        [
            Column("query (relevant)", is_number=False),
            Column("nDCG@10"),
            Column("first at"),
            Column("what came first", is_number=False),
        ],
        rows,
        f"first at: the rank of the first relevant memory; - is not among the first {DEPTH}",
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _shown(metric: str) -> str:
    return _NAMES.get(metric, metric)


def _name(run: Run) -> dict[str, str]:
    return {"store": run.store, "model": run.model, "mode": run.mode}


def _differences(by_metric: Mapping[str, Difference]) -> dict[str, object]:
    return {
        name: {
            "mean": difference.mean,
            **asdict(difference.interval),
            "wins": difference.wins,
            "losses": difference.losses,
            "ties": difference.ties,
        }
        for name, difference in by_metric.items()
    }


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
