"""What a gate says -> what Rich prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from agentmem_cli.bench.comparing import GateReport
from agentmem_cli.bench.gate import Verdict
from agentmem_cli.printable import printable
from agentmem_cli.stats import Interval
from agentmem_cli.tables import inert, plain_table

_NONE: Final = "-"
STYLES: Final = {
    "met": "bold green",
    "missed": "bold red",
    "ok": "green",
    "improved": "bold green",
    "inconclusive": "yellow",
    "regressed": "bold red",
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a metric is called, what one of its units is of those that are measured, and how a figure is written."""

    name: str
    form: str
    unit: float = 1.0

    def write(self, figure: float) -> str:
        return f"{figure / self.unit:{self.form}}"


METRICS: Final = {
    "ops_per_s": _Shown("ops/s", ",.0f"),
    "ms_per_memory": _Shown("ms/memory", ".3f"),
    "speedup": _Shown("speed-up, x", ".2f"),
    "recall": _Shown("recall@10", ".4f"),
    "add_ms": _Shown("one add, ms", ",.3f"),
    "search_ms": _Shown("search, ms", ",.3f"),
    "peak_resident_bytes": _Shown("peak MB", ",.1f", 1e6),
    "bytes_per_memory": _Shown("bytes each", ",.0f"),
}


def bounds_table(verdicts: Sequence[Verdict]) -> Table:
    """Figures against absolute bounds."""
    table = _table("Gate", verdicts, ("measured", "95 %", "bound"))
    for verdict in verdicts:
        shown = METRICS[verdict.metric]
        bound = f"{'>=' if verdict.higher_is_better else '<='} {verdict.bound:,g}"
        _add(table, verdicts, verdict, shown.write(verdict.figure), _interval(verdict.interval, shown.form), bound)
    return table


def comparison_report(report: GateReport) -> list[RenderableType]:
    """Figures against those of a base."""
    verdicts, lost = report.verdicts, report.max_regression
    how = "two results" if report.rounds is None else f"{report.rounds} rounds, the two in turn"
    head = (
        f"base {printable(report.base.name)} (agentmem {report.base.agentmem})\n"
        f"new  {printable(report.new.name)} (agentmem {report.new.agentmem})"
    )
    table = _table(f"New against base: {how}", verdicts, ("base", "new", "ratio", "95 %"))
    for verdict in verdicts:
        shown = METRICS[verdict.metric]
        sides = [_NONE if side is None else shown.write(side) for side in (verdict.base, verdict.new)]
        _add(table, verdicts, verdict, *sides, f"{verdict.figure:.3f}", _interval(verdict.interval, ".3f"))
    table.caption = (
        f"medians; regressed: the ratio's whole interval is below {1 - lost:.4g} (ops/s) or above {1 + lost:.4g} (the "
        "rest); inconclusive: a part of it is, or there are too few samples for one"
    )
    unmatched = [Text(f"Not compared: {printable(line)}", style="dim") for line in report.unmatched]
    return [Text(head), table, *unmatched]


def _table(title: str, verdicts: Sequence[Verdict], headings: Sequence[str]) -> Table:
    table = plain_table(title)
    if _has_models(verdicts):
        table.add_column("model", overflow="fold")
    table.add_column("metric", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    return table


def _add(table: Table, verdicts: Sequence[Verdict], verdict: Verdict, *cells: str) -> None:
    model = [inert(verdict.model)] if _has_models(verdicts) else []
    name = f"{METRICS[verdict.metric].name}, {verdict.at}"
    table.add_row(*model, name, *cells, Text(verdict.outcome, style=STYLES[verdict.outcome]))


def _has_models(verdicts: Sequence[Verdict]) -> bool:
    return len({verdict.model for verdict in verdicts}) > 1


def _interval(interval: Interval | None, form: str) -> str:
    return _NONE if interval is None else f"{interval.low:{form}}-{interval.high:{form}}"
