"""Files that people have as agentmem's own lines: one module per format, and the table of all of them.

A format turns an element of a file into the fields of its memories and, for published data sets, of its labelled
queries. They become lines of JSONL, so everything that holds for JSONL holds for them too: checks, rejections, scopes
and defaults.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from agentmem_cli.errors import InputError, InvalidMemoryError, UsageError
from agentmem_cli.records.formats import chat, chatgpt, claude, claude_code, locomo, longmemeval, mem0, realtalk
from agentmem_cli.records.formats.elements import MAX_ELEMENT_BYTES, elements_of
from agentmem_cli.records.formats.format import Element, Format, line_of
from agentmem_cli.records.formats.messages import OPTIONAL_ROLES
from agentmem_cli.records.formats.names import FORMAT_NAMES, FormatName, QueryFormatName
from agentmem_cli.records.formats.parquet import parquet_lines
from agentmem_cli.records.formats.sniff import Kind, recognised
from agentmem_cli.records.formats.table import table_lines
from agentmem_cli.records.jsonl import parse_object
from agentmem_cli.records.lines import MAX_LINE_BYTES, STDIN_NAME, Line, LineSource

FORMATS: Final[Mapping[str, Format]] = {
    "mem0": mem0.FORMAT,
    "chat": chat.FORMAT,
    "langchain": chat.LANGCHAIN,
    "chatgpt": chatgpt.FORMAT,
    "claude": claude.FORMAT,
    "claude-code": claude_code.FORMAT,
    "locomo": locomo.FORMAT,
    "realtalk": realtalk.FORMAT,
    "longmemeval": longmemeval.BY_TURN,
    "longmemeval-sessions": longmemeval.BY_SESSION,
}
_MAX_CONVERSATION_BYTES: Final = 16_000_000  # on one line; elements of JSON documents have a limit of their own
_JSONL_KEYS: Final = (frozenset({"text"}), frozenset({"query"}))


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read an input. Raises UsageError.

    Without a `format`, the first bytes decide. `text_field` is as in `Keys`. `include` are those of OPTIONAL_ROLES
    whose messages are memories too. With `names_runs`, conversations without a name are named after their file.
    """

    format: FormatName | None = None
    text_field: str | None = None
    include: frozenset[str] = frozenset()
    names_runs: bool = True
    max_line_bytes: int = MAX_LINE_BYTES

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMAT_NAMES:
            raise UsageError(f"format {self.format} is unknown: it is one of {', '.join(FORMAT_NAMES)}")
        if self.format in FORMATS and self.text_field is not None:
            raise UsageError(f"the format {self.format} says where the text is: leave out the text field")
        unknown = sorted(self.include.difference(OPTIONAL_ROLES))
        if unknown:
            raise UsageError(f"include {', '.join(unknown)}: the roles to include are {' and '.join(OPTIONAL_ROLES)}")


def kind_of_source(source: LineSource, reading: Reading) -> Kind:
    """What an input is: see `recognised`. Raises InputError."""
    return recognised(source, reading.format, reading.text_field, FORMATS)


def memory_lines(source: LineSource, kind: Kind, reading: Reading) -> Iterator[Line]:
    """The memories of an input as lines of JSONL, numbered by its lines, elements or rows. Raises InputError."""
    most = reading.max_line_bytes
    if kind.container == "table":
        return table_lines(source, kind.delimiter, reading.text_field, most)
    if kind.container == "parquet":
        return parquet_lines(source, most)
    if kind.format is None:
        return source.lines(most) if kind.container == "lines" else _elements(source, kind, most)
    return _memories_of_elements(source, kind, kind.format, reading)


def query_lines(source: LineSource, name: QueryFormatName) -> Iterator[Line]:
    """The labelled queries of a file in this format as lines of JSONL, numbered from 1. Raises InputError."""
    queries = FORMATS[name].queries
    assert queries is not None
    number = 0
    for position, content in enumerate(elements_of(source), start=1):
        try:
            element = Element(source.name, parse_object(content))
            _check(element, name)
            for fields in queries(element):
                number += 1
                yield line_of(number, fields, MAX_LINE_BYTES)
        except InvalidMemoryError as error:
            raise InputError(f"{source.name}: element {position}: {error}") from error


def _elements(source: LineSource, kind: Kind, max_line_bytes: int) -> Iterator[Line]:
    for position, content in enumerate(elements_of(source, kind.list_at), start=1):
        yield Line(position, content[:max_line_bytes], too_long=len(content) > max_line_bytes)


def _memories_of_elements(source: LineSource, kind: Kind, name: str, reading: Reading) -> Iterator[Line]:
    """An element that is not of the format is a line with a fault; if the first is not of it, the file is not."""
    names_runs = reading.names_runs and source.name != STDIN_NAME
    if kind.container == "lines":
        elements = source.lines(max(reading.max_line_bytes, _MAX_CONVERSATION_BYTES))
    else:
        elements = _elements(source, kind, MAX_ELEMENT_BYTES)
    fits = kind.said is not None  # what was recognised is of the format, and what was asked for may not be
    number = 0
    for line in elements:
        number = line.number if kind.container == "lines" else number
        try:
            if line.too_long:
                raise InvalidMemoryError(f"it is longer than {_MAX_CONVERSATION_BYTES} bytes")
            element = Element(source.name, parse_object(line.content), line.number, reading.include, names_runs)
            if not fits:
                _check(element, name)
                fits = True
            for fields in FORMATS[name].memories(element):
                number += kind.container == "json"
                yield line_of(number, fields, reading.max_line_bytes)
        except InvalidMemoryError as error:
            place = f"{'line' if kind.container == 'lines' else 'element'} {line.number}"
            if not fits:
                raise InputError(f"{source.name}: {place}: {error}") from error
            number += kind.container == "json"
            yield Line(number, line.content, fault=f"{place}: {error}" if kind.container == "json" else str(error))


def _check(element: Element, name: str) -> None:
    """Raises InvalidMemoryError, with advice, for an element that is not of this format."""
    asked, keys = FORMATS[name], element.fields.keys()
    if asked.fits(element.fields):
        return
    missing = ", ".join(sorted(f'"{key}"' for key in asked.shapes[0] - keys))
    other = next((other for other, format in FORMATS.items() if format.fits(element.fields)), None)
    if other is not None:
        advice = f"the file looks like {FORMATS[other].title}: give --format {other}"
    elif any(shape <= keys for shape in _JSONL_KEYS):
        advice = "the file looks like agentmem's own JSONL: leave out --format"
    else:
        advice = f"give the file as {asked.title} publishes it"
    raise InvalidMemoryError(f"not {asked.title}, it has no {missing}; {advice}")
