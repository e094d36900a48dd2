"""Reports for Rich. Text from outside is never markup."""

from dataclasses import replace
from typing import Final

from rich.cells import cell_len
from rich.console import RenderableType
from rich.text import Text

from agentmem_cli.bench.gates import GateReport
from agentmem_cli.report import document
from agentmem_cli.report.bench_report import Measured, bench_document
from agentmem_cli.report.gate_report import gate_document
from agentmem_cli.report.tables import inert, plain_table
from agentmem_cli.report.translations import Words
from agentmem_cli.support.safe_text import printable

_TITLE_WIDTH: Final = 60
_ENGLISH: Final = Words()
_STYLES: Final = {"good": "bold green", "bad": "bold red", "unsure": "bold yellow"}


def bench_report(measured: Measured, words: Words = _ENGLISH) -> list[RenderableType]:
    """The report of a benchmark: machine, figures, targets and warnings."""
    return renderables(bench_document(measured, words))


def comparison_report(report: GateReport, words: Words = _ENGLISH) -> list[RenderableType]:
    """The report of a comparison; the command prints other differences on stderr."""
    return renderables(replace(gate_document(report, words), warnings=[]))


def renderables(report: document.Document) -> list[RenderableType]:
    """A report without its title and glossary."""
    words = Words(report.lang)
    return [
        *([_facts(report.header)] if report.header else []),
        *(part for section in report.shown for part in _section(section)),
        *(Text(f"{words('warning')}: {printable(message)}", style="yellow") for message in report.warnings),
        *(Text(printable(note), style="dim") for note in report.notes),
        *(inert(sentence) for sentence in report.conclusion),
    ]


def _section(section: document.Section) -> list[RenderableType]:
    """Tables have titles of their own; sentences have that of their section."""
    heading = [Text(section.title, style="bold")] if section.sentences else []
    sentences = [*heading, *map(inert, section.sentences), *([Text()] if section.sentences else [])]
    return [*sentences, *(part for table in section.tables for part in _table(table))]


def _table(report: document.Table) -> list[RenderableType]:
    table = plain_table(report.title)
    table.min_width = min(cell_len(report.title), _TITLE_WIDTH)  # a narrow table would break its title
    for column in report.columns:
        if column.is_number:
            table.add_column(inert(column.heading), justify="right", no_wrap=True)
        else:
            table.add_column(inert(column.heading), overflow="fold")
    for row in report.rows:
        table.add_row(*(_cell(cell) for cell in row))
    if report.caption:
        table.caption = inert(report.caption)
    return [table, _facts(report.facts)] if report.facts else [table]


def _cell(cell: document.Cell) -> Text:
    strong = "bold" if cell.strong else ""
    return Text(printable(cell.text), style=_STYLES[cell.mood] if cell.mood else strong)


def _facts(facts: document.Facts) -> Text:
    return Text("\n".join(printable(f"{what}: {how}" if what else how) for what, how in facts))
