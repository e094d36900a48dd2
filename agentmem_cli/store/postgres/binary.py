"""Rows and values in PostgreSQL's binary formats: what COPY takes, and vectors both ways."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = struct.pack(">h", -1)
_NULL: Final = struct.pack(">i", -1)
_LONGEST_WORD: Final = 500  # characters of up to 4 bytes: a tsvector's word ends at 2,046 bytes
_MOST_WORD_BYTES: Final = 900_000  # of a text: a tsvector ends at 1 MB


def copied(rows: Iterable[Sequence["bytes | None"]]) -> bytes:
    """Rows of encoded fields as COPY takes them."""
    parts = [_HEADER]
    for row in rows:
        parts.append(len(row).to_bytes(2, "big"))
        for field in row:
            if field is None:
                parts.append(_NULL)
            else:
                parts.append(len(field).to_bytes(4, "big"))
                parts.append(field)
    parts.append(_END)
    return b"".join(parts)


def text(value: str | None) -> bytes | None:
    """A text."""
    return None if value is None else value.encode()


def whole(value: int | None) -> bytes | None:
    """A bigint."""
    return None if value is None else struct.pack(">q", value)


def small(value: int) -> bytes:
    """An integer."""
    return struct.pack(">i", value)


def real(value: float | None) -> bytes | None:
    """A double precision."""
    return None if value is None else struct.pack(">d", value)


def truth(value: bool) -> bytes:
    """A boolean."""
    return b"\1" if value else b"\0"


def json_object(value: str | None) -> bytes | None:
    """A jsonb."""
    return None if value is None else b"\1" + value.encode()


def vector(row: NDArray[np.float32]) -> bytes:
    """A vector (dim,)."""
    return struct.pack(">hh", len(row), 0) + row.astype(">f4").tobytes()


def vectors_of(sent: Sequence[bytes]) -> NDArray[np.float32]:
    """The rows (n, dim) of vectors that the server sent with vector_send."""
    if not sent:
        return np.empty((0, 0), dtype=np.float32)
    rows = [np.frombuffer(raw, dtype=">f4", offset=4) for raw in sent]
    return np.stack(rows).astype(np.float32)


def vector_literal(row: NDArray[np.float32]) -> str:
    """A vector (dim,) as a parameter."""
    return f"[{','.join(map(repr, row.tolist()))}]"


def word_in_index(word: str) -> str:
    """A word as the index has it: the digest of a very long one."""
    if len(word) <= _LONGEST_WORD:
        return word
    return hashlib.blake2b(word.encode(), digest_size=32).hexdigest()


def tsvector(words: Iterable[str]) -> bytes:
    """The distinct words of a text, without positions; those beyond the limit of a tsvector are left out."""
    encoded = sorted({word_in_index(word) for word in words})
    content = "".join([f"{word}\0\0\0" for word in encoded]).encode()
    while len(content) > _MOST_WORD_BYTES:
        encoded = encoded[: len(encoded) // 2]
        content = "".join([f"{word}\0\0\0" for word in encoded]).encode()
    return len(encoded).to_bytes(4, "big") + content
