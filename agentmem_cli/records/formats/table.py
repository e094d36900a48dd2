"""CSV and TSV: a header with the names of the columns, and a row for each memory."""

import csv
from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson

from agentmem_cli.errors import InputError
from agentmem_cli.records.formats.format import line_of
from agentmem_cli.records.keys import TEXT_KEYS, TIME_KEYS
from agentmem_cli.records.lines import BOM, Line, LineSource
from agentmem_cli.records.values import JsonValue, shown

_TIME_COLUMNS: Final = ("created_at", *TIME_KEYS)


def table_lines(source: LineSource, delimiter: str, text_field: str | None, max_line_bytes: int) -> Iterator[Line]:
    """The rows of a table as lines of JSONL, numbered by the line on which each begins.

    Raises InputError for a table that can't be read on: without a header, not UTF-8, or with a row that does not end.
    """
    rows = _Rows(source, delimiter, max_line_bytes)
    header = next(rows, None)
    if header is None:
        return
    if header.fault:
        raise InputError(f"{source.name}: line {header.number}: {header.fault}: write the table again")
    columns = [name.strip() for name in header.cells]
    text_columns = _text_columns(source.name, columns, text_field)
    for row in rows:
        if row.fault:
            yield Line(row.number, row.raw, fault=row.fault)
        elif len(row.cells) != len(columns):
            fault = f"the row has {len(row.cells)} cells, and the header {len(columns)}"
            yield Line(row.number, row.raw, fault=fault)
        else:
            cells = zip(columns, row.cells, strict=True)
            fields = {name: _typed(name, cell) for name, cell in cells if name and cell}
            if text_columns.isdisjoint(fields):
                yield Line(row.number, row.raw, fault="text is empty")
            else:
                yield line_of(row.number, fields, max_line_bytes)


class _Row(NamedTuple):
    """The cells of a row, or the fault for which it has none."""

    number: int
    cells: list[str]
    fault: str
    raw: bytes


class _Rows(Iterator[_Row]):
    """Iterates over the rows of a table within bounded memory."""

    def __init__(self, source: LineSource, delimiter: str, max_row_bytes: int) -> None:
        self._name = source.name
        self._max_row_bytes = max_row_bytes
        self._texts = _lines_with_ends(source, max_row_bytes)
        self._reader = csv.reader(self._counted(), delimiter=delimiter, strict=True)
        self._pieces: list[str] = []  # of the row that is being read
        self._chars = 0
        self._lines = 0

    def __next__(self) -> _Row:
        while True:
            number, fault, cells = self._lines + 1, "", list[str]()
            self._pieces, self._chars = [], 0
            limit = csv.field_size_limit(self._max_row_bytes)
            try:
                cells = next(self._reader)
            except csv.Error as error:
                fault = f"not a row of a table: {error}"
            finally:
                csv.field_size_limit(limit)
            if cells or fault:
                return _Row(number, cells, fault, "".join(self._pieces).encode())

    def _counted(self) -> Iterator[str]:
        for text in self._texts:
            self._lines += 1
            self._pieces.append(text)
            self._chars += len(text)
            if self._chars > self._max_row_bytes:
                raise InputError(
                    f"{self._name}: the row that begins before line {self._lines} is longer than {self._max_row_bytes} "
                    "bytes: a quote may not be closed; else raise --max-line-bytes"
                )
            yield text


def _lines_with_ends(source: LineSource, max_line_bytes: int) -> Iterator[str]:
    """The lines of a text with their ends."""
    number, held = 1, bytearray()
    for block in source.blocks():
        *ended, rest = block.split(b"\n")
        for piece in ended:
            held += piece
            yield _text(source.name, number, held) + "\n"
            number += 1
            held.clear()
        held += rest
        if len(held) > max_line_bytes + len(BOM):
            raise InputError(
                f"{source.name}: line {number} is longer than {max_line_bytes} bytes: raise --max-line-bytes"
            )
    if held:
        yield _text(source.name, number, held)


def _text(name: str, number: int, line: bytearray) -> str:
    if number == 1:
        line = line.removeprefix(BOM)
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: invalid UTF-8 at byte {error.start + 1} of line {number}: save the table as UTF-8"
        ) from error
    if "\0" in text:
        raise InputError(f"{name}: line {number} has a NUL byte: save the table as text in UTF-8")
    return text


def _text_columns(name: str, columns: list[str], text_field: str | None) -> set[str]:
    """The columns that can hold a text. Raises InputError where there are none."""
    named = ", ".join(shown(column) for column in columns)
    double = next((column for column in columns if column and columns.count(column) > 1), None)
    if double is not None:
        raise InputError(f"{name}: two columns are called {shown(double)}: rename one")
    found = set(columns) & set(TEXT_KEYS if text_field is None else (text_field,))
    if not found:
        raise InputError(
            f"{name}: a table with the columns {named}, and none is {shown(text_field or 'text')}: "
            "--text-field COLUMN names the one with the text"
        )
    return found


def _typed(column: str, cell: str) -> JsonValue:
    """The value of a cell: numbers where memories have them, and an object as metadata."""
    if column == "importance" or column in _TIME_COLUMNS:
        try:
            return float(cell)
        except ValueError:
            return cell
    if column == "metadata":
        try:
            value: JsonValue = orjson.loads(cell)
        except orjson.JSONDecodeError:
            return cell
        return value
    return cell
