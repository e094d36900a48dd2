"""The report of a gate: bounds, or one result compared with another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentmem_cli.bench.gates import GateReport
from agentmem_cli.bench.verdict import Outcome, Verdict
from agentmem_cli.report.document import NONE, Cell, Column, Document, Mood, Row, Section, Table, interval_text, table
from agentmem_cli.report.translations import Words
from agentmem_cli.search import evaluation

MOODS: Final[dict[Outcome, Mood]] = {
    "met": "good",
    "ok": "good",
    "improved": "good",
    "inconclusive": "unsure",
    "missed": "bad",
    "regressed": "bad",
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """How a metric's figures are written, and what one of the shown units is of those that are measured."""

    form: str
    unit: float = 1.0

    def write(self, figure: float) -> str:
        return f"{figure / self.unit:{self.form}}"


METRICS: Final = {
    "ops_per_s": _Shown(",.0f"),
    "ms_per_memory": _Shown(".3f"),
    "speedup": _Shown(".2f"),
    "recall": _Shown(".4f"),
    "add_ms": _Shown(",.3f"),
    "search_ms": _Shown(",.3f"),
    "peak_resident_bytes": _Shown(",.1f", 1e6),
    "bytes_per_memory": _Shown(",.0f"),
    **{name: _Shown(".3f") for name in evaluation.METRICS},
}


def gate_document(report: GateReport, words: Words) -> Document:
    """The report of a comparison, in one language."""
    sides = ((words("gate.base"), report.base), (words("gate.new"), report.new))
    return Document(
        lang=words.lang,
        title=words("gate.title", report.new.name, report.base.name),
        header=[(what, f"{side.name} (agentmem {side.agentmem})") for what, side in sides],
        sections=[
            *([_phases(report, words)] if report.phases else []),
            Section(words("results"), [_against_base(report, words)] if report.verdicts else []),
        ],
        warnings=[] if report.phases else [words("gate.differs", str(difference)) for difference in report.differences],
        notes=[
            words("gate.unmatched", key, side.name)
            for side, keys in ((report.base, report.missing), (report.new, report.added))
            for key in keys
        ],
    )


def _phases(report: GateReport, words: Words) -> Section:
    """Two phases side by side, and what may explain their differences."""
    base, new = report.base.name, report.new.name
    models = list(dict.fromkeys(figure.model for figure in report.phases))
    tables = [_phase_table(report, model, len(models) > 1, words) for model in models]
    reasons = [
        words("phases.reason", words(f"condition.{found.condition}"), base, found.base, new, found.new)
        for found in report.differences
    ]
    last = tables[-1]
    tables[-1] = replace(last, facts=[("", words("phases.why")), *(("", f"- {reason}") for reason in reasons)])
    if not reasons:
        tables[-1] = replace(last, facts=[("", words("phases.alike"))])
    return Section(words("phases.title", base), tables)


def _phase_table(report: GateReport, model: str, is_named: bool, words: Words) -> Table:
    rows = []
    for figure in (figure for figure in report.phases if figure.model == model):
        form, unit = (".2f", "x") if figure.metric == "speedup" else (",.2f", " ops/s")
        sides = [NONE if side is None else f"{side:{form}}{unit}" for side in (figure.base, figure.new)]
        ratio = NONE if figure.base is None or figure.new is None else f"{figure.new / figure.base:.2f}x"
        what = words(f"phases.{figure.metric}", figure.memories)
        rows.append([Cell(what), *map(Cell, sides), Cell(ratio, strong=True)])
    title = words("phases.title", report.base.name) + (f": {model}" if is_named else "")
    numbers = (report.base.name, report.new.name, words("gate.ratio"))
    return Table(title, [Column(words("phases.what"), is_number=False), *map(Column, numbers)], rows)


def bounds_table(verdicts: Sequence[Verdict], words: Words) -> Table:
    """The table of bounds and measured figures."""
    rows: list[Row] = []
    for verdict in verdicts:
        shown, interval = METRICS[verdict.metric], interval_text(words, verdict.interval, METRICS[verdict.metric].form)
        bound = f"{'>=' if verdict.higher_is_better else '<='} {verdict.bound:,.12g}"
        rows.append(
            [*_what(verdicts, verdict, words), shown.write(verdict.figure), interval, bound, _end(verdict, words)]
        )
    columns = ("figure", "interval", "bound", "verdict")
    return table(words, "gate", words("gate.bounds"), _whats(verdicts), columns, rows)


def _against_base(report: GateReport, words: Words) -> Table:
    verdicts, lost = report.verdicts, report.max_regression
    rows: list[Row] = []
    for verdict in verdicts:
        shown = METRICS[verdict.metric]
        sides = [NONE if side is None else shown.write(side) for side in (verdict.base, verdict.new)]
        ratio = [f"{verdict.figure:.3f}", interval_text(words, verdict.interval, ".3f")]
        rows.append([*_what(verdicts, verdict, words), *sides, *ratio, _end(verdict, words)])
    how, turns = words("gate.results"), ""
    if report.rounds is not None:
        how, turns = words("gate.rounds", report.rounds), words("gate.turns")
    return table(
        words,
        "gate",
        words("gate.verdicts", how),
        _whats(verdicts),
        ("base", "new", "ratio", "interval", "verdict"),
        rows,
        caption=words("gate.caption", 1 - lost, 1 + lost) + turns,
    )


def _whats(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The cells that name the subject of a verdict."""
    return ("model", "metric") if len({verdict.model for verdict in verdicts}) > 1 else ("metric",)


def _what(verdicts: Sequence[Verdict], verdict: Verdict, words: Words) -> list[str]:
    metric = ", ".join(filter(None, [words(f"metric.{verdict.metric}"), verdict.at]))
    return [verdict.model, metric][-len(_whats(verdicts)) :]


def _end(verdict: Verdict, words: Words) -> Cell:
    return Cell(words(f"outcome.{verdict.outcome}"), mood=MOODS[verdict.outcome])
