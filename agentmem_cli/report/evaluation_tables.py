"""How well searches answer labelled queries, as tables for Rich."""

from collections.abc import Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from agentmem_cli.report.tables import inert, plain_table, with_id
from agentmem_cli.search.evaluation import DEPTH, METRICS, Comparison, Estimate, JudgedQuery, Run

_NAMES: Final = {"mrr": "MRR", "ndcg@10": "nDCG@10"}
_COMPARED: Final = ("recall@10", "ndcg@10")  # of the metrics; --json has all
_SHOWN_IDS: Final = 3
_SHOWN_CHARS: Final = 120
_TITLE_WIDTH: Final = 60


def evaluation_report(runs: Sequence[Run], compared: Sequence[Comparison], worst: int) -> list[RenderableType]:
    """The figures of each store, the differences between runs, and the worst queries of the first run."""
    stores = dict.fromkeys(run.store for run in runs)
    tables = [_figures_table([run for run in runs if run.store == store]) for store in stores]
    if compared:
        tables.append(_differences_table(compared))
    if worst:
        tables.append(_worst_table(runs[0].evaluation.worst(worst), runs[0].mode))
    return list(tables)


def _figures_table(runs: Sequence[Run]) -> Table:
    """The runs of one store, one column each."""
    first = runs[0]
    table = plain_table(f"{len(first.evaluation.judged):,} queries · {first.store} · {first.model}")
    table.min_width = _TITLE_WIDTH
    table.add_column("")
    for run in runs:
        table.add_column(run.mode, justify="right")
    for metric in METRICS:
        table.add_row(_NAMES.get(metric, metric), *(_estimate(run.evaluation.estimates[metric]) for run in runs))
    table.caption = f"means and their 95 % intervals (bootstrap); MRR is of the first {DEPTH}"
    return table


def _estimate(estimate: Estimate) -> Text:
    interval = f" {estimate.interval.low:.3f}-{estimate.interval.high:.3f}"
    return Text.assemble((f"{estimate.mean:.3f}", "bold"), (interval, "dim"))


def _differences_table(compared: Sequence[Comparison]) -> Table:
    table = plain_table("Differences, query by query")
    table.add_column("", overflow="fold")
    table.add_column("")
    for heading in ("mean", "95 % interval", "wins", "losses", "ties"):
        table.add_column(heading, justify="right", no_wrap=True)
    for comparison in compared:
        for metric in _COMPARED:
            found = comparison.differences[metric]
            table.add_row(
                inert(_compared(comparison)) if metric == _COMPARED[0] else "",
                _NAMES.get(metric, metric),
                Text(f"{found.mean:+.3f}", style="bold" if found.is_clear else ""),
                f"{found.interval.low:+.3f} to {found.interval.high:+.3f}",
                f"{found.wins:,}",
                f"{found.losses:,}",
                f"{found.ties:,}",
            )
    table.caption = "bold where 0 is outside the interval (paired bootstrap)"
    return table


def _compared(comparison: Comparison) -> str:
    run, base = comparison.run, comparison.base
    if run.store == base.store:
        return f"{run.mode} - {base.mode}"
    return f"{run.mode}: {run.store} - {base.store}"


def _worst_table(worst: Sequence[JudgedQuery], name: str) -> Table:
    table = plain_table(f"The worst queries ({name})")
    table.add_column("query, and what should come", overflow="fold", ratio=1)
    table.add_column("nDCG@10", justify="right")
    table.add_column("first at", justify="right")
    table.add_column("what came first", overflow="fold", ratio=1)
    for judged in worst:
        query, first = judged.query, judged.first
        wanted = ", ".join(query.relevant[:_SHOWN_IDS]) + (", ..." if len(query.relevant) > _SHOWN_IDS else "")
        table.add_row(
            with_id(_cut(query.query.text), wanted),
            f"{judged.figures['ndcg@10']:.3f}",
            "-" if judged.first_rank is None else str(judged.first_rank),
            "nothing" if first is None else with_id(_cut(first.text), first.id),
        )
    table.caption = f"first at: the rank of the first relevant memory; - is not among the first {DEPTH}"
    return table


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
