"""What a format is, and how its modules read untrusted JSON."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, NamedTuple, TypeAlias

import orjson

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.lines import Line
from agentmem_cli.records.values import JsonValue, kind_of, shown

Fields: TypeAlias = Mapping[str, JsonValue]
_COMPRESSED_NAMES: Final = (".gz", ".bz2", ".xz", ".zst")


class Element(NamedTuple):
    """A JSON object at the top of a file, and the name of the file.

    `position` counts from 1. `include` names the roles that are taken besides user and assistant. With `names_runs`, a
    conversation without a name is a run that is named after its file.
    """

    file: str
    fields: Fields
    position: int = 1
    include: frozenset[str] = frozenset()
    names_runs: bool = False

    @property
    def file_stem(self) -> str:
        """The name of the file without folders and extensions: `Chat_1` for `talks/Chat_1.json.gz`."""
        name = next((self.file.removesuffix(end) for end in _COMPRESSED_NAMES if self.file.endswith(end)), self.file)
        return PurePath(name).stem


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files whose elements are not memories as agentmem writes them.

    An element has all keys of one of `shapes`; `a.b` is b in the object under a. `memories` and `queries` give the
    fields of its memories, as in a line that `ingest` reads, and of its labelled queries, as in a line that `eval`
    reads. Both raise InvalidMemoryError, whose message is only the reason, for an element of another shape.
    """

    title: str
    shapes: tuple[frozenset[str], ...]
    memories: Callable[[Element], Iterator[Fields]]
    queries: Callable[[Element], Iterator[Fields]] | None = None

    def fits(self, fields: Fields) -> bool:
        """Whether this is an element of the format, by its keys."""
        return any(all(_has(fields, key) for key in shape) for shape in self.shapes)


def line_of(number: int, fields: Fields, max_line_bytes: int) -> Line:
    """The fields of a memory, without nulls, as a line of JSONL."""
    try:
        content = orjson.dumps({key: value for key, value in fields.items() if value is not None})
    except orjson.JSONEncodeError:
        return Line(number, b"", fault="nested too deep")
    return Line(number, content[:max_line_bytes], too_long=len(content) > max_line_bytes)


def _has(fields: Fields, key: str) -> bool:
    outer, dot, inner = key.partition(".")
    value = fields.get(outer)
    return outer in fields and (not dot or (isinstance(value, dict) and inner in value))


def text_at(fields: Fields, key: str) -> str:
    """The string of a key. Raises InvalidMemoryError."""
    value = fields.get(key)
    if isinstance(value, str):
        return value
    raise _wrong(key, "a string", value)


def list_at(fields: Fields, key: str) -> list[JsonValue]:
    """The list of a key. Raises InvalidMemoryError."""
    value = fields.get(key)
    if isinstance(value, list):
        return value
    raise _wrong(key, "a list", value)


def object_at(fields: Fields, key: str) -> Fields:
    """The object of a key. Raises InvalidMemoryError."""
    value = fields.get(key)
    if isinstance(value, dict):
        return value
    raise _wrong(key, "an object", value)


def objects(key: str, values: Iterable[JsonValue]) -> Iterator[Fields]:
    """The values of the list of a key, which are objects. Raises InvalidMemoryError."""
    for value in values:
        if not isinstance(value, dict):
            raise InvalidMemoryError(f"{shown(key)} has {kind_of(value)} among its objects")
        yield value


def strings(values: Iterable[JsonValue]) -> list[str]:
    """Those of the values that are strings."""
    return [value for value in values if isinstance(value, str)]


def optional_text(fields: Fields, key: str) -> str | None:
    """The string of a key, or None where it is missing, empty or not a string."""
    value = fields.get(key)
    return value if isinstance(value, str) and value else None


def _wrong(key: str, wanted: str, value: JsonValue) -> InvalidMemoryError:
    return InvalidMemoryError(f"{shown(key)} must be {wanted}, not {kind_of(value)}")
