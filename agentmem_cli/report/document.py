"""The content of a report as plain text; the renderers for Rich, Markdown and HTML escape it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from agentmem_cli.report.translations import Lang, Words
from agentmem_cli.support.statistics import Interval

Mood: TypeAlias = Literal["good", "bad", "unsure"]
Facts: TypeAlias = list[tuple[str, str]]  # what, and how it is; what may be empty


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; the mood is that of a verdict."""

    text: str
    strong: bool = False
    mood: Mood | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """The heading of a column; columns of numbers are right-aligned."""

    heading: str
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table, its rows as long as its columns; `facts` are lines below it, the caption says how to read it."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    caption: str = ""
    facts: Facts = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: sentences, and tables after them. On a page, one that `leads` comes before the plots."""

    title: str
    tables: list[Table] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    leads: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A report: what it is of, its sections, the doubts about it, and what its words mean.

    Sections without content are left out. `notes` are of what it left out; the `conclusion` says what to do.
    """

    lang: Lang
    title: str
    header: Facts
    sections: list[Section]
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    glossary: Facts = field(default_factory=list)
    conclusion: list[str] = field(default_factory=list)

    @property
    def shown(self) -> list[Section]:
        """The sections that have something to show."""
        return [section for section in self.sections if section.tables or section.sentences]


NONE: Final = "-"
Row: TypeAlias = Sequence[str | Cell]


def table(
    words: Words,
    name: str,
    title: str,
    texts: Sequence[str],
    numbers: Sequence[str],
    rows: Sequence[Row],
    *,
    caption: str = "",
    facts: Facts | None = None,
) -> Table:
    """A table whose columns are those of texts, then those of numbers, as far as the language has a heading for them.

    The headings are said under `name` and the column's own name.
    """
    headings = [words(f"{name}.{column}") for column in (*texts, *numbers)]
    columns = [Column(heading, index >= len(texts)) for index, heading in enumerate(headings) if heading]
    cells = [
        [Cell(cell) if isinstance(cell, str) else cell for cell, heading in zip(row, headings, strict=True) if heading]
        for row in rows
    ]
    shown = [(what, how) for what, how in facts or [] if what]
    return Table(title, columns, cells, caption, shown)


def or_none(form: str, value: float | None) -> str:
    """A number, or a dash if it is missing."""
    return NONE if value is None else f"{value:{form}}"


def interval_text(words: Words, interval: Interval | None, form: str) -> str:
    """The bounds of an interval, or a dash."""
    return NONE if interval is None else words("interval", f"{interval.low:{form}}", f"{interval.high:{form}}")
