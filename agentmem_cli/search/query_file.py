"""Files of labelled queries."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from agentmem_cli.errors import InvalidMemoryError, RejectedLineError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.formats.names import QueryFormatName
from agentmem_cli.records.formats.reading import query_lines
from agentmem_cli.records.jsonl import parse_object, pop_scope
from agentmem_cli.records.lines import MAX_LINE_BYTES, Line, LineSource, open_source
from agentmem_cli.records.values import JsonValue, check_name, check_string, kind_of
from agentmem_cli.search.query import LabelledQuery, Query

_EVERYTHING: Final = SearchFilter()


def read_queries(
    path: str, filter: SearchFilter = _EVERYTHING, format: QueryFormatName | None = None
) -> Iterator[LabelledQuery]:
    """The queries of a file, plain or gzip, or of standard input for `-`, read lazily.

    With `format` it holds published data instead of JSONL. A scope that a line leaves out comes from `filter`; its
    other conditions apply to every line.
    Raises InputError, and RejectedLineError at the first bad line.
    """
    with open_source(path) as source:
        for line in source.lines() if format is None else query_lines(source, format):
            yield _read(line, source, filter)


def _read(line: Line, source: LineSource, filter: SearchFilter) -> LabelledQuery:
    try:
        if line.too_long:
            raise InvalidMemoryError(f"line is longer than {MAX_LINE_BYTES} bytes")
        return parse_query(line.content, filter)
    except InvalidMemoryError as error:
        raise RejectedLineError(f"{source.name}:{line.number}: {error}: correct the line or leave it out") from error


def parse_query(line: bytes, filter: SearchFilter = _EVERYTHING) -> LabelledQuery:
    """The query on one line of JSONL. Raises InvalidMemoryError, whose message is the reason alone."""
    fields: dict[str, JsonValue] = {key: value for key, value in parse_object(line).items() if value is not None}
    if "query" not in fields:
        raise InvalidMemoryError('no "query"')
    text = check_string("query", fields.pop("query"))
    if not text.strip():
        raise InvalidMemoryError("query is empty")
    relevant, scope = _relevant(fields.pop("relevant", [])), pop_scope(fields, filter.scope)
    return LabelledQuery(Query(text, replace(filter, scope=scope)), relevant, fields)


def _relevant(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidMemoryError(f"relevant must be a list of ids, not {kind_of(value)}")
    for identity in value:
        check_name("an id in relevant", check_string("an id in relevant", identity))
    return tuple(dict.fromkeys(value))
