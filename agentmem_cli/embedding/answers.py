"""What an OpenAI-compatible embeddings server says, read with distrust: bytes -> vectors, models, an error's words.

What can't be used raises a ValueError whose message is the reason alone, for the caller who knows the server.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson

from agentmem_cli.embedding.base import Vectors

MAX_DIM: Final = 16_384
_ENVELOPE_BYTES: Final = 65_536
_NUMBER_BYTES: Final = 64  # one in JSON, white space around it included


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors (n, dim) float32 as they were served, not scaled, and the tokens that the server counted, or 0."""

    vectors: Vectors
    tokens: int


def largest_answer_bytes(count: int, dim: int) -> int:
    """More than an honest answer of so many vectors can have."""
    return _ENVELOPE_BYTES + count * (dim * _NUMBER_BYTES + 256)


def read_rows(body: bytes, count: int) -> Rows:
    """The vectors of an answer to `count` texts, in the order of the texts. Raises ValueError."""
    fields = _fields(body)
    items = fields.get("data")
    if not isinstance(items, list) or len(items) != count:
        found = f"{len(items)} vectors" if isinstance(items, list) else "no vectors"
        raise ValueError(f"{found} for {count} texts")
    by_index = {item.get("index"): item.get("embedding") for item in items if _is_numbered(item)}
    if set(by_index) != set(range(count)):
        raise ValueError(f'"index" does not number the {count} vectors from 0')
    rows = [_row(by_index[index]) for index in range(count)]
    dims = sorted({len(row) for row in rows})
    if len(dims) != 1 or not 0 < dims[0] <= MAX_DIM:
        raise ValueError(f"vectors of {' and '.join(map(str, dims))} dims in one answer")
    return Rows(np.stack(rows), _tokens(fields.get("usage")))


def read_models(body: bytes) -> list[str]:
    """The names of the models that a server says it has. Raises ValueError."""
    items = _fields(body).get("data")
    names = [item.get("id") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [name for name in names if isinstance(name, str)]


def read_complaint(body: bytes) -> str:
    """What the answer to a refused request says, wherever servers say it; all of it where it isn't JSON."""
    try:
        found: object = _fields(body)
    except ValueError:
        return body.decode(errors="replace")
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return found if isinstance(found, str) else orjson.dumps(found).decode()


def _fields(body: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg})") from error
    if isinstance(value, dict):
        return value
    raise ValueError("not a JSON object")


def _is_numbered(item: object) -> bool:
    return isinstance(item, dict) and type(item.get("index")) is int


def _row(embedding: object) -> Vectors:
    """One vector (dim,), from numbers or from base64 of little-endian float32."""
    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        if isinstance(embedding, list) and all(type(number) in (int, float) for number in embedding):
            with np.errstate(over="ignore"):  # becomes infinite, which is found later
                return np.array(embedding, dtype=np.float32)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a vector is not base64 of float32 ({error})") from error
    raise ValueError("a vector is neither a list of numbers nor base64")


def _tokens(usage: object) -> int:
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return counted if type(counted) is int and 0 <= counted < 1 << 40 else 0
