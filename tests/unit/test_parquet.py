"""Parquet files, row group by row group, and what is said of those that can't be read."""

import sys
import tracemalloc
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from io import BufferedReader, BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentmem_cli.errors import InputError
from agentmem_cli.records.formats.reading import Reading, memory_lines
from agentmem_cli.records.formats.sniff import Kind
from agentmem_cli.records.lines import LineSource
from agentmem_cli.records.memory import Scope
from tests.inputs import taken

TEN = datetime(2024, 5, 1, 10, tzinfo=timezone.utc)


def written(path: Path, columns: dict[str, list[object]], group_rows: int = 1000) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=group_rows)
    return path


def test_a_row_is_a_memory_with_its_columns_as_fields(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        "id": [7, 8],
        "memory": ["tea", "kale"],
        "user_id": ["maya", None],
        "created_at": [TEN, None],
        "importance": [0.5, None],
        "metadata": [{"topic": "food", "tags": ["a"]}, None],
        "day": [date(2024, 5, 1), None],
        "price": [Decimal("1.50"), None],
        "raw": [b"\xff", None],
        "lasted": [timedelta(seconds=3), None],
    }
    found = taken(written(tmp_path / "m.parquet", columns))
    assert found.rejected == []
    first, second = found.memories
    assert (first.id, first.text, first.scope) == ("7", "tea", Scope(user_id="maya"))
    assert (first.created_at, first.importance) == (TEN, 0.5)
    kept = {"day": "2024-05-01", "price": "1.50", "raw": "\\xff", "lasted": "0:00:03"}
    assert first.metadata == {"topic": "food", "tags": ["a"], **kept}
    assert (second.text, second.scope, second.metadata, second.clears) == ("kale", Scope(), {}, frozenset())


def test_rows_are_numbered_through_all_row_groups(tmp_path: Path) -> None:
    texts: list[object] = [f"text {number}" for number in range(1_000)]
    texts[700] = None
    found = taken(written(tmp_path / "m.parquet", {"text": texts, "n": [1] * 1_000}, group_rows=300))
    assert len(found.memories) == 999
    assert found.rejected == [(701, 'no "text": its keys are "n"; name the one with the text, as in --text-field KEY')]


def test_a_file_of_many_row_groups_takes_the_memory_of_one(tmp_path: Path) -> None:
    written(tmp_path / "m.parquet", {"text": [f"{number} " + "x" * 1_000 for number in range(20_000)]}, 500)
    before = pa.total_allocated_bytes()
    most = 0
    with (tmp_path / "m.parquet").open("rb") as file:
        source = LineSource("m.parquet", file, (tmp_path / "m.parquet").stat().st_size, 200)
        tracemalloc.start()
        try:
            for line in memory_lines(source, Kind("parquet"), Reading()):
                most = max(most, pa.total_allocated_bytes() - before) if line.number % 400 == 0 else most
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert 0 < most < 5_000_000
    assert peak_bytes < 5_000_000


@pytest.mark.parametrize("damage", ["cut", "changed", "no footer"])
def test_a_damaged_file_is_one_line(damage: str, tmp_path: Path) -> None:
    path = written(tmp_path / "m.parquet", {"text": [f"text {number}" for number in range(1_000)]})
    content = path.read_bytes()
    path.write_bytes(
        {"cut": content[:-100], "changed": content[:50] + bytes(400) + content[450:], "no footer": b"PAR1" * 20}[damage]
    )
    with pytest.raises(InputError, match=r"m\.parquet: damaged Parquet after row \d+ \(.*\): write it again") as caught:
        taken(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_expands_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    table = pa.table({"text": ["x" * 1_000_000] * 100})
    pq.write_table(table, path, use_dictionary=False, compression="zstd")
    with pytest.raises(InputError, match="this Parquet file expands to more than 200 times its size"):
        taken(path)


def test_a_pipe_is_told_that_it_can_not_give_such_a_file(tmp_path: Path) -> None:
    content = written(tmp_path / "m.parquet", {"text": ["a"]}).read_bytes()
    source = LineSource("<stdin>", BufferedReader(BytesIO(content)), None, 200)
    with pytest.raises(InputError, match="Parquet is read from a file, not from a pipe or an archive: give its path"):
        list(memory_lines(source, Kind("parquet"), Reading()))


def test_a_missing_pyarrow_is_one_line_that_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "m.parquet", {"text": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"needs pyarrow: pip install 'agentmem-cli\[parquet\]'"):
        taken(path)
