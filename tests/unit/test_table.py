"""CSV and TSV as spreadsheets and databases write them, and damaged."""

import csv
import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmem_cli.errors import InputError
from agentmem_cli.records.formats.names import FormatName
from agentmem_cli.records.formats.reading import Reading, memory_lines
from agentmem_cli.records.formats.sniff import Kind
from agentmem_cli.records.lines import LineSource
from agentmem_cli.records.memory import Scope
from tests.inputs import Taken, taken


def table(path: Path, *rows: list[object], delimiter: str = ",") -> Path:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def of_text(path: Path, content: str | bytes, format: FormatName | None = None) -> Taken:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return taken(path, format)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_row_is_a_memory_with_its_columns_as_fields(delimiter: str, tmp_path: Path) -> None:
    header: list[object] = ["id", "text", "user", "memory_type", "importance", "timestamp", "metadata", "mood"]
    row: list[object] = [7, 'Tea, "green";\nand\thot | cold', "maya", "Core", 0.5, 1714557600, '{"n": 1}', ""]
    found = taken(table(tmp_path / "t.csv", header, row, [8, "b", *[""] * 6], delimiter=delimiter))
    assert found.rejected == []
    first, second = found.memories
    assert (first.id, first.text) == ("7", row[1])
    assert (first.scope, first.importance) == (Scope(user_id="maya", memory_type="core"), 0.5)
    assert first.created_at is not None
    assert (first.created_at.isoformat(), first.metadata) == ("2024-05-01T10:00:00+00:00", {"n": 1})
    assert (second.id, second.scope, second.importance, second.metadata) == ("8", Scope(), None, {})


def test_a_table_of_one_column_is_read_when_it_is_asked_for_or_its_column_is_known(tmp_path: Path) -> None:
    assert of_text(tmp_path / "t.csv", "text\na\n\nb\n").texts == ["a", "b"]
    assert of_text(tmp_path / "t.csv", "text\na\n\nb\n", "csv").texts == ["a", "b"]
    assert taken(table(tmp_path / "u.csv", ["note"], ["a"]), "csv", "note").texts == ["a"]


def test_a_table_without_a_text_is_one_line_with_its_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["id", "note"], *([number, "x"] for number in range(50)))
    with pytest.raises(InputError) as caught:
        taken(path)
    assert str(caught.value) == (
        f'{path}: a table with the columns "id", "note", and none is "text": '
        "--text-field COLUMN names the one with the text"
    )
    assert len(taken(path, text_field="note").memories) == 50


@pytest.mark.parametrize(
    ("content", "texts", "rejected"),
    [
        ("text,n\na,1\nb\nc,3,4\nd,4\n", ["a", "d"], {3: "the row has 1 cells, and the header 2", 4: "has 3 cells"}),
        ('text,n\na,1\n"b"x,2\nc,3\n', ["a", "c"], {3: "not a row of a table: ',' expected"}),
        ('text,n\na,1\n"b\n,2\n', ["a"], {3: "not a row of a table: unexpected end of data"}),
        ('text,n\n"a\n\nb",1\n ,2\nc,3\n', ["a\n\nb", "c"], {5: "text is empty"}),
        ("id,content,user\n1,a,x\n2,,x\n3,b,x\n", ["a", "b"], {3: "text is empty"}),
        ("text,importance\na,high\nb,7\nc,1\n", ["c"], {2: "must be a number", 3: "--importance-scale 10"}),
        ("text,metadata\na,[1]\nb,{}\n", ["b"], {2: "metadata must be an object"}),
        (f"text,metadata\na,{'[' * 500}{']' * 500}\nb,{{}}\n", ["b"], {2: "nested too deep"}),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_the_others_are_read(
    content: str, texts: list[str], rejected: dict[int, str], tmp_path: Path
) -> None:
    found = of_text(tmp_path / "t.csv", content)
    assert found.texts == texts
    assert [number for number, _ in found.rejected] == list(rejected)
    for (_, reason), expected in zip(found.rejected, rejected.values(), strict=True):
        assert expected in reason


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"text,n\na,1\ncaf\xe9,2\n", "invalid UTF-8 at byte 4 of line 3: save the table as UTF-8"),
        (b"text,n\na,1\nb\0,2\n", "line 3 has a NUL byte"),
        (b"text,text\na,b\n", 'two columns are called "text": rename one'),
    ],
)
def test_a_table_that_can_not_be_read_on_is_one_line(content: bytes, error: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.csv: ") as caught:
        of_text(tmp_path / "t.csv", content, "csv")
    assert error in str(caught.value)


class _Endless:
    """A pipe that gives a beginning, and then the same again and again: 800 kB of it."""

    def __init__(self, beginning: bytes, again: bytes) -> None:
        self._pieces: Iterator[bytes] = iter([beginning, *(again * (100_000 // len(again)) for _ in range(8))])

    def read(self, size: int) -> bytes:
        return next(self._pieces, b"")

    def read1(self, size: int) -> bytes:
        return next(self._pieces, b"")


@pytest.mark.parametrize(
    ("start", "again"),
    [(b"", b"x"), (b'"', b"x\n"), (b"", b'"\n",'), (b'"', b"\n")],
    ids=["a line", "a cell", "cells", "lines of a cell"],
)
def test_a_row_that_does_not_end_is_not_held(start: bytes, again: bytes) -> None:
    source = LineSource("t.csv", _Endless(b"text,n\n" + start, again), None, 200)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"t\.csv: .*is longer than 100000 bytes"):
            list(memory_lines(source, Kind("table"), Reading("csv", max_line_bytes=100_000)))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5_000_000


def test_the_limit_of_others_who_read_tables_stays_as_it_was(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    assert [len(text) for text in taken(table(tmp_path / "t.csv", ["text"], ["x" * 500_000])).texts] == [500_000]
    assert csv.field_size_limit() == before
