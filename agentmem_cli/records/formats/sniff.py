"""What an input is, by its first bytes: how it is divided into elements, and what these are."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, TypeAlias

import orjson

from agentmem_cli.errors import InputError
from agentmem_cli.records.formats.format import Fields, Format
from agentmem_cli.records.formats.heads import Head, json_head
from agentmem_cli.records.keys import TEXT_KEYS, named_text_key
from agentmem_cli.records.lines import BOM, LineSource
from agentmem_cli.records.values import JsonValue, shown

Container: TypeAlias = Literal["lines", "json", "table", "parquet"]
_FEW_BYTES: Final = 512  # show what is not JSON
_ENOUGH_BYTES: Final = 1 << 17  # show what a JSON document is
_MAX_SAMPLES: Final = 50
_PARQUET_MAGIC: Final = b"PAR1"
# What a file begins with, what it looks like then, and what to do.
_UNREADABLE: Final = (
    (rb"%PDF-", "a PDF", "save its text as lines of JSON"),
    (rb"SQLite format 3\0.{52}AGME", "the database of an agentmem store", "'agentmem export --store FOLDER' writes it"),
    (rb"SQLite format 3\0", "an SQLite database", "export its table as CSV or JSON"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", "an image", "give the memories as text"),
    (rb"(?i)\s*<(!doctype|html|head|body)", "HTML", "save its text as lines of JSON"),
    (rb"\s*<", "XML", "save its text as lines of JSON"),
    (rb"PK\x03\x04", "a zip file, which a pipe can't give", "give its path"),
    (rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ|\x28\xb5\x2f\xfd", "a compressed file in a compressed file", "decompress it first"),
    (rb"7z\xbc\xaf\x27\x1c|Rar!|\x04\x22\x4d\x18", "an archive of a kind that is not read", "unpack it first"),
    (rb".{257}ustar", "a tar file", "unpack it first"),
    (rb"ARROW1", "an Arrow file", "save it as Parquet"),
    (rb"\x93NUMPY|\x80[\x02-\x05]", "data of a Python program", "save it as JSON"),
    (rb"\x7fELF|MZ", "a program", "give the memories as text"),
)
_DELIMITERS: Final = ",;\t|"
_TABLE_SAMPLE_CHARS: Final = 4096  # the time of csv.Sniffer grows with the square of it
_COLUMN: Final = re.compile(r"\w[\w .:()/#-]{0,63}")
_TABLE_ROWS: Final = 10
_UTF16: Final = ("UTF-16 without a byte order mark", "save it as UTF-8")
_LIKE_UTF16: Final = re.compile(rb"(?:[\t-~]\0){4}|(?:\0[\t-~]){4}")
_BINARY: Final = ("binary data", "give the memories as text")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Kind:
    """What an input was taken for.

    `format` names what its elements are; None: memories. `said` is what the user is told; None for agentmem's own
    JSONL, and for what was asked for. `list_at` is where the list of a JSON object begins, in bytes, and `delimiter` is
    a table's.
    """

    container: Container
    format: str | None = None
    said: str | None = None
    list_at: int = 0
    delimiter: str = ","

    @property
    def unit(self) -> str:
        """What the memories of such an input are numbered by."""
        if self.container == "json":
            return "element" if self.format is None else "memory"
        return "row" if self.container == "parquet" else "line"


class _Begin(NamedTuple):
    """The first bytes of an input; if `is_last`, no more are read, and if `is_whole`, there are no more."""

    content: bytes
    is_last: bool
    is_whole: bool


def recognised(source: LineSource, asked: str | None, text_field: str | None, formats: Mapping[str, Format]) -> Kind:
    """What an input is, by its first bytes, or as `asked`: one of `formats`, jsonl, json, csv, tsv or parquet.

    No more is read than it takes, so that a line from a pipe need not wait for others. Raises InputError, which says
    what an input looks like that can't be read.
    """
    if asked in ("jsonl", "parquet"):
        return Kind("lines" if asked == "jsonl" else "parquet")
    sniffer = _Sniffer(source.name, asked, text_field, formats)
    begin = _Begin(source.peek(), is_last=False, is_whole=False)
    while (kind := sniffer.kind(begin)) is None:
        longer = source.peek(len(begin.content))
        is_whole = len(longer) == len(begin.content)
        begin = _Begin(longer, is_whole or len(longer) >= _ENOUGH_BYTES, is_whole)
    return kind if asked is None else replace(kind, format=asked if asked in formats else None, said=None)


class _Sniffer:
    """Recognises one input. Its methods return None where they need more bytes."""

    def __init__(self, name: str, asked: str | None, text_field: str | None, formats: Mapping[str, Format]) -> None:
        self._name = name
        self._asked = asked
        self._text_field = text_field
        self._formats = formats

    def kind(self, begin: _Begin) -> Kind | None:
        content = begin.content.removeprefix(BOM).lstrip()
        if self._asked in ("csv", "tsv"):
            return self._asked_table(begin)
        if not content:
            return Kind("lines") if begin.is_last else None
        if content[:1] in b"{[":
            return self._json(begin, content)
        if self._asked is not None:
            return Kind("json")  # which says that it is not
        if not begin.is_last and len(content) < _FEW_BYTES:
            return None
        return self._other(begin, content)

    # JSON

    def _json(self, begin: _Begin, content: bytes) -> Kind | None:
        if content[1:2] == b"\0":
            raise self._unreadable(*_UTF16)
        first, newline, rest = content.partition(b"\n")
        value = _parsed(first) if newline or begin.is_whole else None
        if self._asked != "json" and value is not None and rest.strip():
            return self._lines([value, *map(_parsed, rest.split(b"\n", _MAX_SAMPLES)[:_MAX_SAMPLES])])
        if self._asked != "json" and isinstance(value, dict) and self._is_memory(value):
            return self._lines([value])
        if not begin.is_last:
            return None
        head = json_head(content)
        if head is None or head.value == {}:  # damaged from its beginning
            return self._lines([])
        if isinstance(head.value, dict):
            is_one_line = not newline and self._asked != "json"
            return self._object(head, len(begin.content) - len(content), is_one_line=is_one_line)
        elements = head.value if isinstance(head.value, list) else []
        format = self._format_of(elements)
        return Kind("json", format, f"{self._title(format, 'a JSON array of memories')} (--format {format or 'json'})")

    def _lines(self, samples: Sequence[JsonValue]) -> Kind:
        format = self._format_of(samples)
        if format is not None:
            return Kind("lines", format, f"{self._title(format)} (--format {format})")
        first = next((sample for sample in samples if isinstance(sample, dict)), {})
        key = named_text_key(first)
        if self._text_field is None and key not in (None, "text"):
            return Kind("lines", None, f'JSONL with the text in "{key}" (--text-field {key})')
        return Kind("lines")

    def _object(self, head: Head, offset: int, *, is_one_line: bool) -> Kind:
        fields = head.value if isinstance(head.value, dict) else {}
        lists = {key: value for key, value in fields.items() if isinstance(value, list)}
        if self._is_memory(fields) or len(lists) != len(head.lists_at):
            if is_one_line:  # perhaps the first of several
                return self._lines([fields])
            format = self._format_of([fields])
            return Kind("json", format, f"{self._title(format, 'a JSON object')} (--format {format or 'json'})")
        key = self._list_of_memories(lists)
        format = self._format_of(lists[key])
        said = f"{self._title(format, 'memories')} in the list {shown(key)} (--format {format or 'json'})"
        return Kind("json", format, said, offset + head.lists_at[list(lists).index(key)])

    def _is_memory(self, fields: Fields) -> bool:
        """Whether this is a memory or an element of a format, and not an object with a list of them."""
        if "text" in fields or self._format_of([fields]) is not None:
            return True
        lists = [value for value in fields.values() if isinstance(value, list)]
        has_objects = any(_first_object(value) is not None for value in lists)
        return not has_objects and (self._has_text(fields) or not lists or any(lists))

    def _list_of_memories(self, lists: Mapping[str, Sequence[JsonValue]]) -> str:
        """The key of the list of memories. Raises InputError where it can't be told from others."""
        first = {key: _first_object(elements) for key, elements in lists.items()}
        objects = [key for key, element in first.items() if element is not None]
        known = [
            key
            for key, element in first.items()
            if element is not None and (self._has_text(element) or self._format_of([element]) is not None)
        ]
        candidates = known if len(known) == 1 else objects or list(lists)[:1]
        if len(candidates) > 1:
            names = ", ".join(shown(key) for key in candidates)
            raise InputError(f"{self._name}: a JSON object with several lists ({names}): give one of them as a file")
        return candidates[0]

    def _has_text(self, fields: Fields) -> bool:
        if self._text_field is not None:
            return self._text_field in fields or self._text_field.partition(".")[0] in fields
        return named_text_key(fields) is not None

    def _format_of(self, samples: Sequence[JsonValue | Fields]) -> str | None:
        """The format of the first sample that has one and is not a plain memory: any, or the one that was asked for."""
        if self._asked is not None:
            asked = self._formats.get(self._asked)
            fits = asked is not None and any(isinstance(sample, dict) and asked.fits(sample) for sample in samples)
            return self._asked if fits else None
        if self._text_field is not None:
            return None
        for sample in samples:
            if isinstance(sample, dict):
                if isinstance(sample.get("text"), str):
                    return None
                for name, format in self._formats.items():
                    if format.fits(sample):
                        return name
        return None

    def _title(self, format: str | None, otherwise: str = "") -> str:
        return otherwise if format is None else self._formats[format].title

    # Other text, and what is no text

    def _other(self, begin: _Begin, content: bytes) -> Kind:
        if content.startswith(_PARQUET_MAGIC):
            return Kind("parquet", said="Parquet (--format parquet)")
        for beginning, what, remedy in _UNREADABLE:
            if re.match(beginning, content, re.DOTALL):
                raise self._unreadable(what, remedy)
        lines = [line for line in content.split(b"\n", _MAX_SAMPLES)[:_MAX_SAMPLES] if line.strip()]
        if 2 * sum(line.lstrip().startswith(b"{") for line in lines) >= len(lines):  # the first of them is damaged
            return self._lines([*map(_parsed, lines)])
        if b"\0" in content:
            raise self._unreadable(*(_UTF16 if _LIKE_UTF16.match(content) else _BINARY))
        text = content.decode(errors="replace")
        sample = _whole_lines(text, begin.is_whole)
        delimiter = _delimiter_of(sample, self._text_field)
        if delimiter is None and _CONTROL.search(text):
            raise self._unreadable(*_BINARY)
        if delimiter is None:
            raise self._unreadable("plain text", 'make each memory a line such as {"text": "..."}')
        name = "tsv" if delimiter == "\t" else "csv"
        kind = "tab-separated values" if name == "tsv" else f"values separated by {shown(delimiter)}"
        return Kind("table", said=f"{kind}, by the header (--format {name})", delimiter=delimiter)

    def _unreadable(self, what: str, remedy: str) -> InputError:
        return InputError(f"{self._name}: looks like {what}: {remedy}")

    def _asked_table(self, begin: _Begin) -> Kind | None:
        if self._asked == "tsv":
            return Kind("table", delimiter="\t")
        if not begin.is_last and len(begin.content) < _TABLE_SAMPLE_CHARS:
            return None
        text = begin.content.removeprefix(BOM).decode(errors="replace")
        return Kind("table", delimiter=_delimiter_of(_whole_lines(text, begin.is_whole), self._text_field) or ",")


def _first_object(elements: Sequence[JsonValue]) -> Fields | None:
    return next((element for element in elements if isinstance(element, dict)), None)


def _parsed(line: bytes) -> JsonValue:
    """The JSON value of a line; None for what is not JSON."""
    if line.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        value: JsonValue = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value


def _whole_lines(text: str, is_whole: bool) -> list[str]:
    """The first lines of a text, without one that is cut off."""
    sample = text[:_TABLE_SAMPLE_CHARS]
    lines = sample.splitlines(keepends=True)
    return lines if (is_whole and sample == text) or len(lines) < 2 else lines[:-1]


def _delimiter_of(lines: list[str], text_field: str | None) -> str | None:
    """What separates the values of a table with these first lines; None for what is no table."""
    try:
        guessed = csv.Sniffer().sniff("".join(lines), _DELIMITERS).delimiter
    except csv.Error:
        guessed = ""
    texts = TEXT_KEYS if text_field is None else (text_field,)
    for delimiter in (guessed, *_DELIMITERS) if guessed else _DELIMITERS:
        if any(column in texts for column in _cells(lines[:1], delimiter)[0]):
            return delimiter
    return guessed if guessed and _is_even(_cells(lines[:_TABLE_ROWS], guessed)) else None


def _cells(lines: list[str], delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=delimiter)) or [[]]
    except csv.Error:
        return [[]]


def _is_even(rows: list[list[str]]) -> bool:
    """Whether these can be the header and the first rows of a table: it has names, and all are equally long."""
    header = rows[0]
    return (
        len(header) > 1
        and {len(row) for row in rows[1:] if row} == {len(header)}
        and all(map(_COLUMN.fullmatch, header))
    )
