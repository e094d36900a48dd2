"""A report and its plots as one self-contained HTML file, built as a tree so that text is never markup."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from agentmem_cli.report.document import Cell, Document, Facts, Section, Table
from agentmem_cli.report.plots import Plot
from agentmem_cli.report.translations import Words
from agentmem_cli.support.safe_text import printable

_STYLE: Final = "page.css"


def html(document: Document, plots: Sequence[Plot]) -> str:
    """The whole page; light or dark, as the reader's system prefers."""
    words = Words(document.lang)
    root = Element("html", lang="zh-Hans" if document.lang == "zh" else "en")
    head = SubElement(root, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    SubElement(head, "meta", name="color-scheme", content="light dark")
    _text(head, "title", document.title)
    SubElement(head, "style").text = files(__package__).joinpath(_STYLE).read_text(encoding="utf-8")
    main = SubElement(SubElement(root, "body"), "main")
    _text(main, "h1", document.title)
    _facts(main, document.header, "header")
    for sentence in document.conclusion:
        _text(main, "p", sentence)
    _warnings(main, document.warnings, words)
    for section in document.shown:
        if section.leads:
            _section(main, section)
    if plots:
        _text(main, "h2", words("plots"))
        grid = SubElement(main, "div", {"class": "plots"})
        for plot in plots:
            _plot(grid, plot)
    for section in document.shown:
        if not section.leads:
            _section(main, section)
    for note in document.notes:
        _text(main, "p", note, "caption")
    if document.glossary:
        _text(main, "h2", words("glossary"))
        _facts(main, document.glossary, "glossary")
    return f"<!DOCTYPE html>\n{tostring(root, encoding='unicode', method='html')}\n"


def _text(parent: Element, tag: str, text: str, of_class: str = "") -> Element:
    element = SubElement(parent, tag, {"class": of_class} if of_class else {})
    element.text = printable(text)
    return element


def _facts(parent: Element, facts: Facts, of_class: str) -> None:
    rows = SubElement(parent, "dl", {"class": of_class})
    for what, how in facts:
        _text(rows, "dt", what)
        _text(rows, "dd", how)


def _section(parent: Element, section: Section) -> None:
    _text(parent, "h2", section.title)
    for sentence in section.sentences:
        _text(parent, "p", sentence)
    for table in section.tables:
        _table(parent, table)


def _warnings(parent: Element, messages: Sequence[str], words: Words) -> None:
    if messages:
        box = SubElement(parent, "aside")
        _text(box, "h2", words("warnings"))
        rows = SubElement(box, "ul")
        for message in messages:
            _text(rows, "li", message)


def _plot(parent: Element, plot: Plot) -> None:
    figure = SubElement(parent, "figure", {"class": "wide"} if plot.is_wide else {})
    _text(figure, "h3", plot.title)
    if plot.legend:
        legend = SubElement(figure, "p", {"class": "legend"})
        for series, sign, name in plot.legend:
            entry = SubElement(legend, "span")
            _text(entry, "i", sign, f"s{series}").tail = f" {printable(name)}"
    figure.append(plot.svg)
    _text(figure, "figcaption", plot.note)


def _table(parent: Element, table: Table) -> None:
    section = SubElement(parent, "section")
    _text(section, "h3", table.title)
    frame = SubElement(section, "div", {"class": "scroll"})
    rows = SubElement(frame, "table")
    heading = SubElement(SubElement(rows, "thead"), "tr")
    for column in table.columns:
        _text(heading, "th", column.heading, "number" if column.is_number else "")
    body = SubElement(rows, "tbody")
    for row in table.rows:
        line = SubElement(body, "tr")
        for cell, column in zip(row, table.columns, strict=True):
            _cell(line, cell, column.is_number)
    if table.facts:
        _facts(section, table.facts, "below")
    if table.caption:
        _text(section, "p", table.caption, "caption")


def _cell(parent: Element, cell: Cell, is_number: bool) -> None:
    classes = [name for name in ("number" if is_number else "", "strong" if cell.strong else "", cell.mood) if name]
    _text(parent, "td", cell.text, " ".join(classes))
