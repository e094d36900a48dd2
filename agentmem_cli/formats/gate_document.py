"""What a gate says -> the report of it: bounds that were set, or one result against another."""

from collections.abc import Sequence

from agentmem_cli.bench.comparing import GateReport
from agentmem_cli.bench.gate import Outcome, Verdict
from agentmem_cli.formats.building import NONE, Row, interval_text, or_none, table
from agentmem_cli.formats.document import Cell, Document, Mood, Table
from agentmem_cli.formats.wording import Words

_MOODS: dict[Outcome, Mood] = {
    "met": "good",
    "ok": "good",
    "improved": "good",
    "inconclusive": "unsure",
    "missed": "bad",
    "regressed": "bad",
}


def gate_document(report: GateReport, words: Words) -> Document:
    """The report of a comparison, in the words of a language."""
    rounds = "" if report.rounds is None else str(report.rounds)
    header = [
        (words("gate.base"), f"{report.base.name} · agentmem {report.base.agentmem}"),
        (words("gate.new"), f"{report.new.name} · agentmem {report.new.agentmem}"),
        (words("gate.bound"), words("gate.may_lose", report.max_regression)),
        (words("gate.rounds"), rounds),
    ]
    return Document(
        lang=words.lang,
        title=words("gate.title", report.new.name, report.base.name),
        header=[(what, how) for what, how in header if how],
        tables=[],
        verdicts=[_against_base(report.verdicts, words)],
        warnings=[words("gate.differs", difference) for difference in report.differences],
    )


def bounds_table(verdicts: Sequence[Verdict], words: Words) -> Table:
    """What was measured against bounds that were set."""
    rows: list[Row] = [
        [
            verdict.model,
            _metric(verdict),
            f"{verdict.figure:,.4g}",
            interval_text(words, verdict.interval, ",.4g"),
            f"{'>=' if verdict.higher_is_better else '<='} {verdict.bound:,.4g}",
            _outcome(verdict, words),
        ]
        for verdict in verdicts
    ]
    columns = ("figure", "interval", "bound", "verdict")
    return table(words, "gate", words("gate.bounds"), ("model", "metric"), columns, rows)


def _against_base(verdicts: Sequence[Verdict], words: Words) -> Table:
    rows: list[Row] = [
        [
            verdict.model,
            _metric(verdict),
            or_none(",.4g", verdict.base),
            or_none(",.4g", verdict.new),
            f"{verdict.figure:.3f}",
            interval_text(words, verdict.interval, ".3f"),
            _outcome(verdict, words),
        ]
        for verdict in verdicts
    ]
    columns = ("base", "new", "ratio", "interval", "verdict")
    return table(words, "gate", words("gate.verdicts"), ("model", "metric"), columns, rows)


def _metric(verdict: Verdict) -> str:
    return f"{verdict.metric}, {verdict.at}" if verdict.at else verdict.metric or NONE


def _outcome(verdict: Verdict, words: Words) -> Cell:
    return Cell(words(f"outcome.{verdict.outcome}"), mood=_MOODS[verdict.outcome])
