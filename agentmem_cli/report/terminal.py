"""Reports for Rich. Text from outside is never markup."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
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
    return [Fitted(report), _facts(report.facts)] if report.facts else [Fitted(report)]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table that fits the width of the console and has nothing cut off.

    If it is too wide, first headings break into lines, then texts, then numbers at their spaces. A table that is too
    wide even so is a list, with a line for each cell.
    """

    table: document.Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the table for the width of the console."""
        shown, room = self.table, options.max_width
        widths = _widths(shown, room - _EDGES - _GAP * (len(shown.columns) - 1))
        yield _listed(shown) if widths is None else _laid_out(shown, widths, room)


_EDGES: Final = 2  # the blanks of the box at the left and at the right
_GAP: Final = 3
_LONG_WORD: Final = 24  # longer ones, such as paths, are folded before numbers break
_LEAST_TEXT: Final = 10


def _widths(table: document.Table, room: int) -> list[int] | None:
    """The widths of the columns, in all no more than `room`; None if that is too little."""
    columns = list(enumerate(table.columns))
    cells = [[printable(row[index].text) for row in table.rows] for index, _ in columns]
    headings = [printable(column.heading) for column in table.columns]
    widest = [max((cell_len(text) for text in column), default=0) for column in cells]
    words = [_longest_word([heading, *column]) for heading, column in zip(headings, cells, strict=True)]
    widths = [max(cell_len(heading), width) for heading, width in zip(headings, widest, strict=True)]
    steps = (
        [max(_longest_word([headings[i]]), widest[i]) if column.is_number else widths[i] for i, column in columns],
        [0 if column.is_number else min(words[i], _LONG_WORD) for i, column in columns],
        words,
        [words[i] if column.is_number else min(words[i], _LEAST_TEXT) for i, column in columns],
    )
    for step in steps:
        while sum(widths) > room:
            index = max(range(len(widths)), key=lambda i: (widths[i] > step[i] > 0, widths[i]))
            if not widths[index] > step[index] > 0:
                break
            widths[index] -= 1
    return widths if sum(widths) <= room else None


def _longest_word(texts: Sequence[str]) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=1)


def _laid_out(shown: document.Table, widths: Sequence[int], room: int) -> Table:
    table = plain_table(shown.title)
    table.min_width = min(cell_len(shown.title), _TITLE_WIDTH, room)  # a narrow table would break its title
    for column, width in zip(shown.columns, widths, strict=True):
        justify: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(inert(column.heading), justify=justify, width=width, overflow="fold")
    for row in shown.rows:
        table.add_row(*(_cell(cell) for cell in row))
    if shown.caption:
        table.caption = inert(shown.caption)
    return table


def _listed(shown: document.Table) -> Text:
    headings = [f"{column.heading}: " if column.heading else "" for column in shown.columns]
    rows = [
        Text("\n").join(
            Text.assemble(printable(heading), _cell(cell)) for heading, cell in zip(headings, row, strict=True)
        )
        for row in shown.rows
    ]
    title, caption = Text(printable(shown.title), style="bold"), [inert(shown.caption)] if shown.caption else []
    return Text("\n\n").join([title, *rows, *caption])


def _cell(cell: document.Cell) -> Text:
    strong = "bold" if cell.strong else ""
    return Text(printable(cell.text), style=_STYLES[cell.mood] if cell.mood else strong)


def _facts(facts: document.Facts) -> Text:
    return Text("\n".join(printable(f"{what}: {how}" if what else how) for what, how in facts))
