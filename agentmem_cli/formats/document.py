"""What a report consists of, before it is Rich, Markdown or HTML: plain text, which whoever renders it makes inert."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from agentmem_cli.formats.wording import Lang

Mood: TypeAlias = Literal["good", "bad", "unsure"]
Facts: TypeAlias = list[tuple[str, str]]  # what, and how it is; what may be empty


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; the mood is a verdict's."""

    text: str
    strong: bool = False
    mood: Mood | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; numbers stand to the right."""

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
class Document:
    """A report: what it is of, its tables, what they amount to, the doubts about it, and what its words mean.

    `notes` are of what it left out.
    """

    lang: Lang
    title: str
    header: Facts
    tables: list[Table]
    verdicts: list[Table] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    glossary: Facts = field(default_factory=list)
