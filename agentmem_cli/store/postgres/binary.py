"""Rows and values in PostgreSQL's binary formats: what COPY takes, and vectors both ways."""

import hashlib
import struct
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = struct.pack(">h", -1)
NULL: Final = struct.pack(">i", -1)
_TRUTH: Final = (b"\0\0\0\1\0", b"\0\0\0\1\1")
_LONGEST_WORD: Final = 500  # characters of up to 4 bytes: a tsvector's word ends at 2,046 bytes
_MOST_WORD_BYTES: Final = 900_000  # of a text: a tsvector ends at 1 MB
_WHOLE: Final = struct.Struct(">iq").pack
_REAL: Final = struct.Struct(">id").pack
_SIZE: Final = struct.Struct(">i").pack

# Each field begins with its length: so a row is its fields joined.


def copied(rows: Iterable[Sequence[bytes]]) -> bytes:
    """Rows of encoded fields as COPY takes them."""
    parts = [_HEADER]
    for row in rows:
        parts.append(len(row).to_bytes(2, "big"))
        parts += row
    parts.append(_END)
    return b"".join(parts)


def raw(value: bytes) -> bytes:
    """A bytea."""
    return _SIZE(len(value)) + value


def text(value: str | None) -> bytes:
    """A text."""
    return NULL if value is None else raw(value.encode())


def whole(value: int | None) -> bytes:
    """A bigint."""
    return NULL if value is None else _WHOLE(8, value)


def small(value: int) -> bytes:
    """An integer."""
    return struct.pack(">ii", 4, value)


def real(value: float | None) -> bytes:
    """A double precision."""
    return NULL if value is None else _REAL(8, value)


def truth(value: bool) -> bytes:
    """A boolean."""
    return _TRUTH[value]


def json_object(value: str | None) -> bytes:
    """A jsonb."""
    return NULL if value is None else raw(b"\1" + value.encode())


def vectors(rows: NDArray[np.float32]) -> list[bytes]:
    """Vectors (n, dim)."""
    dim = rows.shape[1]
    first = struct.pack(">ihh", 4 + 4 * dim, dim, 0)
    return [first + row.tobytes() for row in rows.astype(">f4")]


class Array(bytes):
    """An encoded array, as a parameter of a query; its class says of what type."""


class Texts(Array):
    """A text[]."""


class Raws(Array):
    """A bytea[]."""


class Wholes(Array):
    """A bigint[]."""


OIDS: Final[dict[type[Array], int]] = {Texts: 1009, Raws: 1001, Wholes: 1016}  # as every server has them
_ELEMENT_OIDS: Final[dict[type[Array], int]] = {Texts: 25, Raws: 17, Wholes: 20}


def array(values: Sequence[str] | Sequence[bytes] | Sequence[int]) -> Array:
    """An array of texts, bytea or bigints that is not empty."""
    kind, encode = _KINDS[type(values[0])]
    first = struct.pack(">iiiii", 1, 0, _ELEMENT_OIDS[kind], len(values), 1)
    return kind(b"".join([first, *map(encode, values)]))


_KINDS: Final[dict[type, tuple[type[Array], Callable[..., bytes]]]] = {
    str: (Texts, text),
    bytes: (Raws, raw),
    int: (Wholes, whole),
}


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


def tsvector(words: Collection[str]) -> bytes:
    """The distinct words of a text, without positions; those beyond the limit of a tsvector are left out."""
    encoded = words
    if max(map(len, words), default=0) > _LONGEST_WORD:
        encoded = {word_in_index(word) for word in words}
    content = ("\0\0\0".join(encoded) + "\0\0\0").encode() if encoded else b""
    while len(content) > _MOST_WORD_BYTES:
        encoded = sorted(encoded)[: len(encoded) // 2]
        content = "".join([f"{word}\0\0\0" for word in encoded]).encode()
    return raw(len(encoded).to_bytes(4, "big") + content)
