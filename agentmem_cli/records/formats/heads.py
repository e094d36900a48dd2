"""What a JSON document begins with: its first bytes as a value, though the document goes on after them."""

import re
from typing import Final, NamedTuple

import orjson

from agentmem_cli.records.values import JsonValue

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\],]', re.DOTALL)
_CLOSERS: Final = {b"{": b"}", b"[": b"]"}


class Head(NamedTuple):
    """The value of a document's first bytes without what they cut off, and the ends of the first brackets of lists that
    are right inside it, in bytes."""

    value: JsonValue
    lists_at: list[int]


def json_head(head: bytes) -> Head | None:
    """The head of a JSON object or array; None for what is not JSON."""
    open_brackets: list[bytes] = []
    lists_at: list[int] = []
    cut = _read(head, open_brackets, lists_at)
    try:
        value: JsonValue = orjson.loads(head[:cut] + b"".join(_CLOSERS[mark] for mark in reversed(open_brackets)))
    except orjson.JSONDecodeError:
        return None
    return Head(value, lists_at)


def _read(head: bytes, open_brackets: list[bytes], lists_at: list[int]) -> int:
    """Where to cut the head so that closing its open brackets makes it whole; 0 for what is not JSON."""
    cut = 0
    for token in _TOKEN.finditer(head):
        mark = token[0]
        if mark == b'"':  # of a string that is cut off
            return 0 if b"\n" in head[token.end() :] else cut
        if mark == b",":
            cut = token.start()
        elif mark in _CLOSERS:
            if mark == b"[" and len(open_brackets) == 1:
                lists_at.append(token.end())
            open_brackets.append(mark)
            cut = token.end()
        elif mark in (b"}", b"]"):
            if not open_brackets or _CLOSERS[open_brackets.pop()] != mark:
                return 0
            cut = token.end()
            if not open_brackets:
                break
    return cut
