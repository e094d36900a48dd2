"""The elements of a JSON file one by one, within bounded memory: a file of gigabytes is never held whole."""

import re
from collections.abc import Iterator
from typing import Final, cast

from agentmem_cli.errors import InputError
from agentmem_cli.records.lines import BOM, LineSource

MAX_ELEMENT_BYTES: Final = 64_000_000  # the largest of LongMemEval has some 6 MB
_SPACES: Final = re.compile(rb"[ \t\r\n]*")
_IN_STRING: Final = re.compile(rb'["\\]')
_OUTSIDE: Final = re.compile(rb'["{}\[\]]')


def elements_of(source: LineSource, list_at: int = 0) -> Iterator[bytes]:
    """The objects of the array that a JSON file holds, or the object that it holds.

    With `list_at`, those of the list whose first bracket ends there, counted in bytes; what follows that list is not
    read. Each object is cut out at its outer braces and not parsed: what is wrong inside one is found by the parser of
    that one. Raises InputError.
    """
    scanner = _Scanner(source.name, in_list=list_at > 0)
    skipped = 0
    for block in source.blocks():
        start = min(list_at - skipped, len(block))
        skipped += start
        yield from scanner.objects(block[start:] if start else block)
        if list_at and scanner.is_over:
            return
    scanner.finish()


class _Scanner:
    """Follows braces and strings from block to block."""

    def __init__(self, name: str, *, in_list: bool) -> None:
        self._name = name
        self.is_over = False  # the array, or the object
        self._held = bytearray()  # of the object that has begun
        self._found = 0
        self._is_array: bool | None = in_list or None  # None before the first byte
        self._in_list = in_list
        self._comma_seen = True  # the first object needs none
        self._is_inside = False  # an object
        self._depth = 0
        self._in_string = self._after_backslash = False

    def objects(self, block: bytes) -> Iterator[bytes]:
        """The objects that end in this block."""
        at = 0
        while at < len(block) and not (self._in_list and self.is_over):
            if not self._is_inside:
                at = self._next_object(block, at)
                continue
            end = self._end_of_object(block, at)
            self._held += block[at:end]
            if len(self._held) > MAX_ELEMENT_BYTES:
                raise self._error(f"is longer than {MAX_ELEMENT_BYTES:,} bytes: split it")
            at = end
            if not self._is_inside:
                content = bytes(self._held)
                self._held.clear()
                self._found += 1
                yield content

    def finish(self) -> None:
        """Raises InputError for a file that has ended too early."""
        if self._is_inside:
            raise self._error("is cut off: the file ends in it; download it again")
        if self._is_array is None:
            raise InputError(f"{self._name}: empty: give a JSON file")
        if not self.is_over:
            raise InputError(f"{self._name}: cut off after element {self._found}: download it again")

    def _next_object(self, block: bytes, at: int) -> int:
        """Skips what may stand between objects, up to the first byte of the next one."""
        at = cast("re.Match[bytes]", _SPACES.match(block, at)).end()
        byte = block[at : at + 1]
        if not byte:
            return at
        if self._is_array is None and byte in BOM:
            return at + 1
        if self._is_array is None and byte in b"[{":
            self._is_array = byte == b"["
            if self._is_array:
                return at + 1
        elif self.is_over:
            raise self._more_follows(byte)
        elif byte == b"]":
            self.is_over = True
            return at + 1
        elif byte == b"," and not self._comma_seen:
            self._comma_seen = True
            return at + 1
        if byte != b"{" or not self._comma_seen:
            if self._is_array is None:
                raise InputError(f"{self._name}: not JSON: it begins with neither [ nor {{; give the published file")
            raise self._error("is not a JSON object: each element must be one")
        self._is_inside, self._comma_seen, self.is_over = True, False, not self._is_array
        return at

    def _end_of_object(self, block: bytes, at: int) -> int:
        """Where the object ends in this block, or the end of the block."""
        if self._after_backslash:
            self._after_backslash = False
            at += 1
        while at < len(block):
            match = (_IN_STRING if self._in_string else _OUTSIDE).search(block, at)
            if match is None:
                break
            at, byte = match.end(), match.group()
            if byte == b"\\":
                self._after_backslash = at == len(block)
                at += 1
            elif byte == b'"':
                self._in_string = not self._in_string
            elif byte in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
                if not self._depth:
                    self._is_inside = False
                    return at
        return len(block)

    def _more_follows(self, byte: bytes) -> InputError:
        what = f"not JSON: more follows after the end of element {self._found}"
        if byte == b"{" and not self._is_array:
            what = "one JSON object after another, so the file looks like JSONL: leave out --format"
        return InputError(f"{self._name}: {what}")

    def _error(self, what: str) -> InputError:
        return InputError(f"{self._name}: element {self._found + 1} {what}")
