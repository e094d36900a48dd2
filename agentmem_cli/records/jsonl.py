"""Memories from JSONL lines and JSON objects."""

import base64
import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, cast

import orjson

from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.records.keys import OWN_KEYS, Keys
from agentmem_cli.records.memory import VECTOR_KEY, Memory, Scope, StoredChunk, StoredVector, from_microseconds
from agentmem_cli.records.times import parse_time
from agentmem_cli.records.values import (
    MAX_INTEGER,
    MIN_INTEGER,
    JsonValue,
    check_number,
    check_string,
    is_object,
    kind_of,
    shown,
)

# orjson silently reads integers beyond 64 bits as floats; these have at least 19 digits.
_LONG_INTEGER: Final = b"0" * 19
_DIGITS_AS_ZEROS: Final = bytes(ord("0") if chr(byte).isdecimal() else byte for byte in range(128)) + bytes(128)
_VECTOR_FIELDS: Final = {"revision", "float32", "cut", "chunks"}
_UNSAID: Final = Scope()
_SCOPE_NAMES: Final = ("agent_id", "user_id", "run_id", "memory_type")
CLEARABLE: Final = frozenset(
    (*_SCOPE_NAMES, "importance", "metadata", "speaker", "expires_at")
)  # a memory always has an id, a text and a time
_NOTHING: Final = frozenset[str]()


def parse_memory(line: bytes, keys: Keys = OWN_KEYS) -> Memory:
    """The memory on one line of JSONL. Raises InvalidMemoryError, whose message is only the reason."""
    fields = cast("dict[str, object]", parse_object(line))
    return memory_from_fields(fields, keys.settle(fields), keys.defaults)


def parse_object(line: bytes) -> dict[str, JsonValue]:
    """The JSON object on one line. Raises InvalidMemoryError."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidMemoryError(_why_not_json(line, error)) from error
    if not isinstance(value, dict):
        raise InvalidMemoryError(f"not an object, but {kind_of(value)}")
    if _LONG_INTEGER in line.translate(_DIGITS_AS_ZEROS):  # five times faster than a regular expression
        _check_integers(line)
    return value


def memory_from_fields(fields: Mapping[str, object], text_field: str = "text", defaults: Scope | None = None) -> Memory:
    """The memory that a JSON object describes; unknown keys are kept in its metadata.

    null means not set; in an update of a stored memory it clears the field, as `{}` clears metadata.
    `created_at` and `expires_at` may be ISO 8601 strings, numbers of seconds since 1970, or datetimes; without a zone
    they are UTC. A key of `metadata` takes precedence over an unknown key of the same name. Raises InvalidMemoryError.
    """
    rest = {key: value for key, value in fields.items() if value is not None}
    clears = _NOTHING if len(rest) == len(fields) else CLEARABLE.intersection(fields).difference(rest)
    if "metadata" in rest and not rest["metadata"]:
        clears = clears | {"metadata"}
    text = rest.pop(text_field, None)
    if text is None:
        raise InvalidMemoryError(f"no {shown(text_field)}")
    identity = rest.pop("id", None)
    if identity == "":
        raise InvalidMemoryError("id is empty")
    scope = pop_scope(rest, defaults or _UNSAID)
    importance = check_number("importance", rest.pop("importance", None))
    created_at = _time("created_at", rest.pop("created_at", None))
    expires_at = _time("expires_at", rest.pop("expires_at")) if "expires_at" in rest else None
    speaker = _speaker(rest)
    return Memory(
        text=check_string(text_field, text),
        id="" if identity is None else check_string("id", identity),
        scope=scope,
        importance=importance,
        created_at=created_at,
        vector=_vector(rest),
        metadata=_metadata(rest),
        clears=clears,
        speaker=speaker,
        expires_at=expires_at,
    )


def cleared(names: Collection[str], given: Collection[str]) -> dict[str, None]:
    """The fields that an update empties, as nulls. Raises UsageError for one that can't be empty, or is `given` too."""
    for name in names:
        if name not in CLEARABLE:
            raise UsageError(f"{shown(str(name))} can't be cleared: only {', '.join(sorted(CLEARABLE))} can")
        if name in given:
            raise UsageError(f"{name} is given a value and cleared: do one of the two")
    return dict.fromkeys(names)


def dump_metadata(metadata: Mapping[str, JsonValue]) -> str | None:
    """Metadata as it is stored: compact JSON, or None if empty."""
    return orjson.dumps(dict(metadata)).decode() if metadata else None


def load_metadata(stored: str | None) -> dict[str, JsonValue]:
    """The inverse of `dump_metadata`."""
    return {} if stored is None else parse_object(stored.encode())


def pop_scope(rest: dict[str, object] | dict[str, JsonValue], defaults: Scope) -> Scope:
    """Removes the scope from `rest` and returns it, completed from the defaults. Raises InvalidMemoryError."""
    given = {name: check_string(name, rest.pop(name)) for name in _SCOPE_NAMES if name in rest}
    return _scope_with(defaults, **given) if given else defaults


@lru_cache(maxsize=4096)  # a file has few distinct scopes
def _scope_with(
    defaults: Scope,
    agent_id: str | None = None,
    user_id: str | None = None,
    run_id: str | None = None,
    memory_type: str | None = None,
) -> Scope:
    return Scope(
        agent_id=defaults.agent_id if agent_id is None else agent_id,
        user_id=defaults.user_id if user_id is None else user_id,
        run_id=defaults.run_id if run_id is None else run_id,
        memory_type=defaults.memory_type if memory_type is None else memory_type,
    )


def _metadata(rest: dict[str, object]) -> Mapping[str, JsonValue]:
    metadata = rest.pop("metadata", {})
    if not is_object(metadata):
        raise InvalidMemoryError(f"metadata must be an object, not {kind_of(metadata)}")
    return cast(Mapping[str, JsonValue], {**rest, **metadata} if rest else metadata)  # Memory checks the values


def _speaker(rest: dict[str, object]) -> str | None:
    """The speaker that fields name: `speaker`, or `name` in a message that has a `role`."""
    named = rest.pop("speaker", None)
    if named is None and "role" in rest and isinstance(rest.get("name"), str):
        named = rest["name"]
    return None if named is None else check_string("speaker", named)


def _vector(rest: dict[str, object]) -> StoredVector | None:
    value = rest.pop(VECTOR_KEY, None)
    if value is None:
        return None
    if not isinstance(value, dict) or not {"revision", "float32"} <= set(value) <= _VECTOR_FIELDS:
        raise InvalidMemoryError(
            f"{VECTOR_KEY} must have a revision and float32, as 'agentmem export --vectors' writes"
        )
    chunks = value.get("chunks", [])
    if not isinstance(chunks, list):
        raise InvalidMemoryError(f"{VECTOR_KEY}: chunks must be a list, not {kind_of(chunks)}")
    return StoredVector(
        revision=check_string("revision", value["revision"]),
        float32=_decoded(value["float32"]),
        cut=value.get("cut") is True,
        chunks=tuple(map(_chunk, chunks)),
    )


def _chunk(value: object) -> StoredChunk:
    if not isinstance(value, dict) or set(value) != {"start", "stop", "float32"}:
        raise InvalidMemoryError(f"{VECTOR_KEY}: a chunk must have start, stop and float32")
    start, stop = value["start"], value["stop"]
    if type(start) is not int or type(stop) is not int or not 0 <= start < stop:
        raise InvalidMemoryError(f"{VECTOR_KEY}: a chunk must start at 0 or after, and stop after that")
    return StoredChunk(start, stop, _decoded(value["float32"]))


def _decoded(float32: object) -> bytes:
    try:
        return base64.b64decode(check_string("float32", float32), validate=True)
    except ValueError as error:
        raise InvalidMemoryError(f"{VECTOR_KEY}: float32 is not base64") from error


def _time(name: str, value: object) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return parse_time(value, name)
    seconds = check_number(name, value, "a time, or a number of seconds")
    try:
        return None if seconds is None else from_microseconds(0) + timedelta(seconds=seconds)
    except OverflowError as error:
        raise InvalidMemoryError(f"{name} {seconds} is out of range") from error


def _check_integers(line: bytes) -> None:
    try:
        json.loads(line, parse_int=_check_integer)
    except RecursionError as error:
        raise InvalidMemoryError("nested too deep") from error


def _check_integer(digits: str) -> None:
    # By length first: Python refuses to convert thousands of digits, and needn't here.
    if len(digits) > 20 or not MIN_INTEGER <= int(digits) <= MAX_INTEGER:
        raise InvalidMemoryError(f"the integer {digits[:24]} is beyond 64 bits: write it as a string")


def _why_not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as utf8_error:
        return f"invalid UTF-8 at byte {utf8_error.start + 1}"
    if "depth limit" in error.msg:
        return "nested too deep"
    if any(word in line.decode()[error.pos : error.pos + 9] for word in ("NaN", "Infinity")):
        return "not JSON: NaN and Infinity are not JSON numbers"
    return f"not JSON: {error.msg} (column {error.colno})"
