"""What a format of published data is, and how its modules read untrusted JSON."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple, TypeAlias

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.values import JsonValue, kind_of, shown

Fields: TypeAlias = Mapping[str, JsonValue]


class Element(NamedTuple):
    """A JSON object at the top of a file, and the name of the file."""

    file: str
    fields: Fields

    @property
    def file_stem(self) -> str:
        """The name of the file without folders and extensions: `Chat_1` for `talks/Chat_1.json.gz`."""
        return PurePath(self.file.removesuffix(".gz")).stem


@dataclass(frozen=True, slots=True)
class Format:
    """A format of published data.

    Each element of a file has `keys`. `memories` and `queries` give the fields of its memories, as in a line that
    `ingest` reads, and of its labelled queries, as in a line that `eval` reads. Both raise InvalidMemoryError, whose
    message is only the reason, for an element of another shape.
    """

    title: str
    keys: frozenset[str]
    memories: Callable[[Element], Iterator[Fields]]
    queries: Callable[[Element], Iterator[Fields]]


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


def _wrong(key: str, wanted: str, value: JsonValue) -> InvalidMemoryError:
    return InvalidMemoryError(f"{shown(key)} must be {wanted}, not {kind_of(value)}")
