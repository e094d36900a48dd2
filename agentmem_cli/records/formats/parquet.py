"""Parquet: a row is a memory. Row groups are read one after the other."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import orjson

from agentmem_cli.errors import InputError
from agentmem_cli.records.lines import Line, LineSource

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

INSTALL: Final = "pip install 'agentmem-cli[parquet]'"
_BATCH_ROWS: Final = 256


def parquet_lines(source: LineSource, max_line_bytes: int) -> Iterator[Line]:
    """The rows of a Parquet file as lines of JSONL, numbered from 1. Raises InputError."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(f"{source.name}: looks like Parquet, which needs pyarrow: {INSTALL}") from error
    number = 0
    try:
        file = ParquetFile(source.seekable("Parquet"))
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        source.check_expansion("Parquet", sum(group.total_byte_size for group in groups))
        for row in _rows(file):
            number += 1
            given = {key: value for key, value in row.items() if value is not None}
            line = orjson.dumps(given, default=_plain, option=orjson.OPT_NON_STR_KEYS)
            yield Line(number, line[:max_line_bytes], too_long=len(line) > max_line_bytes)
    except (ArrowException, OSError, ValueError, orjson.JSONEncodeError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{source.name}: damaged Parquet after row {number} ({why}): write it again") from error


def _rows(file: "ParquetFile") -> Iterator[dict[str, object]]:
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        yield from batch.to_pylist()


def _plain(value: object) -> str:
    """A value that JSON does not have: bytes, decimals, intervals."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
