"""Checks of values: memories hold only JSON, finite numbers, and text that UTF-8 can encode. Standard library only."""

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Final, TypeAlias, TypeGuard

from agentmem_cli.errors import InvalidMemoryError, UsageError

JsonScalar: TypeAlias = str | int | float | bool | None
JsonValue: TypeAlias = JsonScalar | list["JsonValue"] | dict[str, "JsonValue"]
MAX_METADATA_DEPTH: Final = 64
MIN_INTEGER: Final = -(2**63)  # the integers that JSON libraries agree on
MAX_INTEGER: Final = 2**64 - 1


def check_number(name: str, value: object, kind: str = "a number") -> float | None:
    """The value, if it is a finite number or None; raises InvalidMemoryError, which names what it should be,
    otherwise."""
    if value is None:
        return None
    if not is_number(value):
        raise InvalidMemoryError(f"{name} must be {kind}, not {kind_of(value)}")
    if not abs(value) <= MAX_INTEGER:  # also refuses NaN
        raise InvalidMemoryError(f"{name} must be a finite number")
    return value


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether this is a number of JSON."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_whole(name: str, value: object, at_least: int) -> None:
    """Raises UsageError unless this is a whole number of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UsageError(f"{name} must be a whole number, not {shown(str(value))}")
    if value < at_least:
        raise UsageError(f"{name} is {value}: it must be at least {at_least}")


def check_share(name: str, value: object) -> None:
    """Raises UsageError unless this is a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"{name} must be a number, not {shown(str(value))}")
    if not 0 <= float(value) <= 1:
        raise UsageError(f"{name} is {value}: it must be between 0 and 1")


def check_amount(name: str, value: object) -> None:
    """Raises UsageError unless this is a number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"{name} must be a number, not {shown(str(value))}")
    if not float(value) >= 0:  # or it is NaN
        raise UsageError(f"{name} is {value}: it must be at least 0")


def check_type(name: str, value: object, kind: type, example: str) -> None:
    """Raises UsageError unless this is of a type; `example` shows how it is given."""
    if not isinstance(value, kind):
        raise UsageError(f"{name} must be of type {kind.__name__}, not {kind_of(value)}: write {example}")


def is_possible_id(identity: object) -> bool:
    """Whether a memory can have this id. Raises UsageError if it is not a string."""
    if not isinstance(identity, str):
        raise UsageError(f"an id must be a string, not {kind_of(identity)}")
    return is_encodable(identity)


def plain_metadata(metadata: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A copy of a JSON object that survives a round trip. Raises InvalidMemoryError."""
    if not is_object(metadata):
        raise InvalidMemoryError(f"metadata must be an object, not {kind_of(metadata)}")
    return _plain_object(metadata, 1)


def is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether this is a JSON object."""
    return type(value) is dict or isinstance(value, Mapping)  # checking the abstract class is ten times slower


def _plain_object(value: Mapping[str, object], depth: int) -> dict[str, JsonValue]:
    return {_plain_string("a metadata key", key): _plain(inner, depth) for key, inner in value.items()}


def _plain(value: object, depth: int) -> JsonValue:
    if isinstance(value, str):
        return _plain_string("metadata", value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return _plain_number(value)
    if not isinstance(value, (list, Mapping)):
        raise InvalidMemoryError(f"metadata has a {type(value).__name__}, which JSON can't hold")
    if depth == MAX_METADATA_DEPTH:
        raise InvalidMemoryError(f"metadata is nested deeper than {MAX_METADATA_DEPTH}")
    if isinstance(value, list):
        return [_plain(inner, depth + 1) for inner in value]
    return _plain_object(value, depth + 1)


def _plain_number(value: int | float) -> int | float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidMemoryError(f"metadata has {value}, which JSON can't hold")
        return float(value)
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise InvalidMemoryError("metadata has an integer beyond 64 bits: write it as a string")
    return int(value)


def _plain_string(name: str, value: object) -> str:
    if type(value) is str and value.isascii() and "\0" not in value:  # most strings, in a third of the time
        return value
    text = str(check_string(name, value))
    check_encodable(name, text)
    if "\0" in text:  # SQLite's JSON functions end strings there, so filters would match wrong memories
        raise InvalidMemoryError(f"{name} has a NUL character, which can't be searched for: remove it")
    return text


def check_string(name: str, value: object) -> str:
    """The value, if it is a string; raises InvalidMemoryError otherwise."""
    if not isinstance(value, str):
        raise InvalidMemoryError(f"{name} must be a string, not {kind_of(value)}")
    return value


def check_text(text: str) -> None:
    """Raises InvalidMemoryError unless this is non-blank text."""
    if not check_string("text", text).strip():
        raise InvalidMemoryError("text is empty")
    check_encodable("text", text)


def check_name(name: str, value: str | None) -> None:
    """Raises InvalidMemoryError unless this is None or a non-empty name."""
    if value is None:
        return
    if not check_string(name, value):
        raise InvalidMemoryError(f"{name} is empty")
    check_encodable(name, value)


def is_encodable(value: str) -> bool:
    """Whether UTF-8 can encode this text: it can't encode half of a surrogate pair."""
    if value.isascii():  # a fast check for most texts
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_encodable(name: str, value: str) -> None:
    """Raises InvalidMemoryError unless UTF-8 can encode this."""
    if not is_encodable(value):
        raise InvalidMemoryError(f"{name} has half of a surrogate pair, which UTF-8 can't hold")


def shown(value: str) -> str:
    """A value for a message: quoted, and cut if it is long."""
    return json.dumps(value if len(value) <= 40 else value[:40] + "…", ensure_ascii=False)


def kind_of(value: object) -> str:
    """The name of a value's type in JSON."""
    kinds = {
        type(None): "null",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")
