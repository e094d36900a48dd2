"""A report as Markdown with GitHub's tables."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from agentmem_cli.report.document import Cell, Document, Facts, Table
from agentmem_cli.report.translations import Words
from agentmem_cli.support.safe_text import printable

_MEANT_AS_TEXT: Final = re.compile(r"[\\`*_\[\]|~$&]|<(?=[A-Za-z/!?])")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;"}  # not all renderers accept a backslash before these
_OPENS_A_BLOCK: Final = re.compile(r"^(\d*)([#>+=-]|(?<=\d)[.)])")


def markdown(document: Document) -> str:
    """The whole report; text from outside is escaped."""
    words = Words(document.lang)
    parts = [f"# {_inert(document.title)}", _lines(document.header)]
    for section in document.shown:
        parts += [f"## {_inert(section.title)}", *map(_paragraph, section.sentences), *map(_table, section.tables)]
    if document.warnings:
        parts.append(f"## {words('warnings')}")
        parts += [f"> ⚠️ {_inert(message)}" for message in document.warnings]
    parts += [_paragraph(text) for text in (*document.notes, *document.conclusion)]
    if document.glossary:
        parts.append(f"## {words('glossary')}")
        parts.append("\n".join(f"- **{_inert(what)}**: {_inert(how)}" for what, how in document.glossary))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> str:
    rows = [_row([_inert(column.heading) for column in table.columns]), _ruler(table), *_rows(table)]
    parts = [f"### {_inert(table.title)}", "\n".join(rows), _lines(table.facts), _paragraph(table.caption)]
    return "\n\n".join(part for part in parts if part)


def _ruler(table: Table) -> str:
    return _row(["---:" if column.is_number else "---" for column in table.columns])


def _rows(table: Table) -> Iterator[str]:
    return (_row([_cell(cell) for cell in row]) for row in table.rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return f"**{_inert(cell.text)}**" if cell.strong and cell.text else _inert(cell.text)


def _lines(facts: Facts) -> str:
    return "  \n".join(f"**{_inert(what)}**: {_inert(how)}" if what else _paragraph(how) for what, how in facts)


def _paragraph(text: str) -> str:
    """As `_inert` for a text at the start of a line, where it could be a heading, a quotation or a list item."""
    return _OPENS_A_BLOCK.sub(r"\1\\\2", _inert(text.strip()))


def _inert(text: str) -> str:
    """The text on one line, with Markdown's markup escaped."""
    return _MEANT_AS_TEXT.sub(lambda match: _ENTITIES.get(match.group()) or f"\\{match.group()}", printable(text))
