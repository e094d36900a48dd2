"""Published data sets as agentmem's own lines: one module per format, and the table of all of them.

A format turns an element of a file into the fields of its memories and of its labelled queries. They become lines of
JSONL, so everything that holds for JSONL holds for them too: checks, rejections, scopes and defaults.
"""

from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias, get_args

import orjson

from agentmem_cli.errors import InputError, InvalidMemoryError
from agentmem_cli.records.formats import locomo, longmemeval, realtalk
from agentmem_cli.records.formats.elements import elements_of
from agentmem_cli.records.formats.format import Element, Fields, Format
from agentmem_cli.records.jsonl import parse_object
from agentmem_cli.records.lines import MAX_LINE_BYTES, Line, LineSource

FormatName: TypeAlias = Literal["locomo", "realtalk", "longmemeval", "longmemeval-sessions"]
FORMATS: Final[dict[FormatName, Format]] = {
    "locomo": locomo.FORMAT,
    "realtalk": realtalk.FORMAT,
    "longmemeval": longmemeval.BY_TURN,
    "longmemeval-sessions": longmemeval.BY_SESSION,
}
FORMAT_NAMES: Final[tuple[FormatName, ...]] = get_args(FormatName)
_JSONL_KEYS: Final = (frozenset({"text"}), frozenset({"query"}))


def memory_lines(source: LineSource, name: FormatName, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """The memories of a file in this format as lines of JSONL, numbered from 1. Raises InputError."""
    return _lines(source, name, FORMATS[name].memories, max_line_bytes)


def query_lines(source: LineSource, name: FormatName) -> Iterator[Line]:
    """The labelled queries of a file in this format as lines of JSONL, numbered from 1. Raises InputError."""
    return _lines(source, name, FORMATS[name].queries, MAX_LINE_BYTES)


def _lines(
    source: LineSource, name: FormatName, read: Callable[[Element], Iterator[Fields]], max_line_bytes: int
) -> Iterator[Line]:
    number = 0
    for position, content in enumerate(elements_of(source), start=1):
        try:
            element = Element(source.name, parse_object(content))
            _check(element, name)
            for fields in read(element):
                number += 1
                line = orjson.dumps(fields)
                yield Line(number, line[:max_line_bytes], too_long=len(line) > max_line_bytes)
        except InvalidMemoryError as error:
            raise InputError(f"{source.name}: element {position}: {error}") from error


def _check(element: Element, name: FormatName) -> None:
    """Raises InvalidMemoryError, with advice, for an element that is not of this format."""
    asked = FORMATS[name]
    if asked.keys <= element.fields.keys():
        return
    missing = ", ".join(sorted(f'"{key}"' for key in asked.keys - element.fields.keys()))
    other = next((other for other, format in FORMATS.items() if format.keys <= element.fields.keys()), None)
    if other is not None:
        advice = f"the file looks like {FORMATS[other].title}: give --format {other}"
    elif any(keys <= element.fields.keys() for keys in _JSONL_KEYS):
        advice = "the file looks like agentmem's own JSONL: leave out --format"
    else:
        advice = f"give the file as {asked.title} publishes it"
    raise InvalidMemoryError(f"not {asked.title}, it has no {missing}; {advice}")
