"""How tables are built from figures: what they all write alike."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from agentmem_cli.formats.document import Cell, Column, Facts, Table
from agentmem_cli.formats.wording import Words
from agentmem_cli.support.statistics import Interval

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
    """A number, or a dash where there is none."""
    return NONE if value is None else f"{value:{form}}"


def interval_text(words: Words, interval: Interval | None, form: str) -> str:
    """From its least to its most, or a dash."""
    return NONE if interval is None else words("interval", f"{interval.low:{form}}", f"{interval.high:{form}}")
