"""Reads inputs line by line within bounded memory: a file, compressed or not, a pipe, or standard input."""

import codecs
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader, FileIO, RawIOBase
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

from agentmem_cli.errors import InputError
from agentmem_cli.records.compression import (
    DAMAGE,
    MAGIC_BYTES,
    ZIP_MAGIC,
    ByteStream,
    Compression,
    compression_of,
    zip_member,
)

STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"
MAX_LINE_BYTES: Final = 1_000_000
MAX_EXPANSION: Final = 200  # text rarely compresses more than 20 times; a bomb of zeros, 1,000 times
_FREE_EXPANSION_BYTES: Final = 64_000_000  # a small file may expand to this much, whatever the ratio
_BLOCK_BYTES: Final = 1 << 18
_LOOK_EVERY_S: Final = 0.1
BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP_HEADER_BYTES: Final = 16  # GzipFile needs complete reads of headers and checksums


class Line(NamedTuple):
    """A non-blank line; `number` starts at 1, and `content` is cut if `too_long`.

    A line that was made of something else in an input has its number, and the `fault` for which it can't be a memory.
    """

    number: int
    content: bytes
    too_long: bool = False
    fault: str = ""


class _Pipe:
    """A ByteStream on a descriptor whose reader another thread can stop.

    With `no_writer_is_an_end`, the system reports the end of the stream until a writer opens it.
    """

    def __init__(self, descriptor: int, *, no_writer_is_an_end: bool = False) -> None:
        self._descriptor = descriptor
        self._ends_are_believed = not no_writer_is_an_end
        self.stopped = False

    def read(self, size: int) -> bytes:
        content = b""
        while len(content) < size and (piece := self.read1(size - len(content))):
            content += piece
        return content

    def read1(self, size: int) -> bytes:
        while not self.stopped:
            if not select.select([self._descriptor], [], [], _LOOK_EVERY_S)[0]:
                continue
            try:
                piece = os.read(self._descriptor, size)
            except BlockingIOError:  # another process read it first
                continue
            if piece or self._ends_are_believed:
                self._ends_are_believed = True
                return piece
            time.sleep(_LOOK_EVERY_S)
        return b""


class _Eager(BufferedReader):
    """Returns available bytes to a decompressor instead of waiting for all: a slow pipe would stall."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size <= _GZIP_HEADER_BYTES:
            return super().read(size)
        return self.read1(size)


class _CountedReader(RawIOBase):
    """Counts the bytes read, since a pipe has no position."""

    def __init__(self, stream: ByteStream) -> None:
        super().__init__()
        self._stream = stream
        self.bytes_read = 0
        self.magic = self._unread = stream.read(MAGIC_BYTES)  # waits, since a pipe may return one byte first

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        # Not `readinto1`, which waits to fill a large buffer and would stall on a slow pipe.
        block = self._unread or self._stream.read1(len(view))
        self._unread = b""
        view[: len(block)] = block
        self.bytes_read += len(block)
        return len(block)


class LineSource:
    """An open input. Iterate `lines` or `blocks` once; `position_bytes` of `size_bytes` is the progress."""

    def __init__(self, name: str, stream: ByteStream, size_bytes: int | None, max_expansion: int) -> None:
        """Raises InputError for a compression that Python does not have."""
        # A path may contain bytes that aren't UTF-8, but the name is shown and stored as text.
        self.name: str = os.fsencode(name).decode(errors="backslashreplace")
        self.size_bytes = size_bytes
        self._max_expansion = max_expansion
        self._origin = stream
        self._raw = _CountedReader(stream)
        self.compression: Compression | None = compression_of(self._raw.magic)
        counted = _Eager(self._raw, _BLOCK_BYTES)
        self._stream = counted if self.compression is None else self._unpacked(counted, self.compression)
        self._expanded_bytes = 0
        self._yielded_bytes = 0
        self._is_transcoded = False
        self._head = b""  # read by `peek`, and not yet by others
        self._incoming = self._received()

    def _unpacked(self, packed: BufferedReader, compression: Compression) -> ByteStream:
        try:
            return compression.opened(packed)
        except ImportError as error:
            raise InputError(
                f"{self.name}: compressed with {compression.name}, which this Python can't read: decompress it first"
            ) from error

    @property
    def may_wait(self) -> bool:
        """Whether reading may wait for a writer, as with a pipe, a terminal or a device."""
        return self.size_bytes is None

    @property
    def position_bytes(self) -> int:
        """The number of bytes read; for compressed files, of compressed bytes."""
        is_converted = self.compression is not None or self._is_transcoded
        return self._raw.bytes_read if is_converted else self._yielded_bytes

    def peek(self, more_than: int = 0) -> bytes:
        """The first bytes, more than so many unless the input is shorter. Reading begins with them all the same.

        Raises InputError as `lines` does.
        """
        while len(self._head) <= more_than and (block := next(self._incoming, b"")):
            self._head += block
        return self._head

    def stop(self) -> None:
        """Ends the input for a thread that waits for it."""
        if isinstance(self._origin, _Pipe):
            self._origin.stopped = True

    def lines(self, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
        """The non-blank lines, without BOM, CR and LF; a line over the limit is cut while it is read.

        Raises InputError if the input can't be read or expands too much.
        """
        # Two bytes over the limit show that a line is too long, even if one is a CR; line 1 may have a BOM.
        held_bytes, number, held = max_line_bytes + 2 + len(BOM), 1, b""
        for block in self._blocks():
            *ended, rest = block.split(b"\n")
            for piece in ended:
                self._yielded_bytes += len(piece) + 1
                line = _line(number, held + piece[:held_bytes], max_line_bytes)
                if line is not None:
                    yield line
                number, held = number + 1, b""
            self._yielded_bytes += len(rest)
            held = (held + rest[:held_bytes])[:held_bytes]
        line = _line(number, held, max_line_bytes)
        if line is not None:
            yield line

    def blocks(self) -> Iterator[bytes]:
        """The bytes as they come, for formats that are not lines. Raises InputError as `lines` does."""
        for block in self._blocks():
            self._yielded_bytes += len(block)
            yield block

    def _blocks(self) -> Iterator[bytes]:
        if self._head:
            yield self._head
            self._head = b""
        yield from self._incoming

    def _received(self) -> Iterator[bytes]:
        """The content, unpacked and in UTF-8."""
        blocks = self._unpacked_blocks()
        first = next(blocks, b"")
        if first:
            self._is_transcoded = first.startswith(_UTF16_BOMS)
            yield from self._transcoded(first, blocks) if self._is_transcoded else chain([first], blocks)

    def _unpacked_blocks(self) -> Iterator[bytes]:
        try:
            while block := self._stream.read1(_BLOCK_BYTES):
                self._expanded_bytes += len(block)
                if self.compression is not None:
                    self.check_expansion(self.compression.name, self._expanded_bytes)
                yield block
        except DAMAGE as error:
            kind = "zip" if self.compression is None else self.compression.name
            raise InputError(f"{self.name}: damaged or cut-off {kind} file ({error}): compress it again") from error
        except OSError as error:
            raise InputError(f"{self.name}: can't be read: {error.strerror or error}") from error

    def _transcoded(self, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-16")()
        try:
            for block in chain([first], rest):
                yield decoder.decode(block).encode()
            yield decoder.decode(b"", final=True).encode()
        except UnicodeError as error:
            raise InputError(f"{self.name}: damaged UTF-16 ({error}): save it as UTF-8") from error

    def check_expansion(self, kind: str, expanded_bytes: int) -> None:
        """Raises InputError if a file expands to more than is allowed for what was read of it."""
        _check_expansion(self.name, kind, expanded_bytes, self._raw.bytes_read, self._max_expansion)

    def seekable(self, kind: str) -> BufferedReader:
        """The file, for formats that are not read from beginning to end. Raises InputError for a pipe or an archive."""
        if self.compression is not None or self.may_wait or not isinstance(self._origin, BufferedReader):
            raise InputError(f"{self.name}: {kind} is read from a file, not from a pipe or an archive: give its path")
        self._raw.bytes_read = self._origin.seek(0, os.SEEK_END)
        self._origin.seek(0)
        return self._origin


def _check_expansion(name: str, kind: str, expanded_bytes: int, packed_bytes: int, max_expansion: int) -> None:
    """An input that is small may expand to any multiple of its size."""
    if expanded_bytes > max(_FREE_EXPANSION_BYTES, max_expansion * packed_bytes):
        raise InputError(
            f"{name}: this {kind} file expands to more than {max_expansion} times its size: "
            "if you trust it, decompress it first or raise --max-expansion"
        )


@contextmanager
def open_source(path: str, max_expansion: int = MAX_EXPANSION) -> Iterator[LineSource]:
    """Opens a path, or standard input for `-`; compression is detected by the first bytes. Raises InputError."""
    if path == STDIN:
        if sys.stdin is None:
            raise InputError("standard input is closed: give a file")
        yield LineSource(STDIN_NAME, _stdin_stream(), None, max_expansion)
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(FileIO(path, opener=_open_at_once))
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                source = _file_source(path, file, status.st_size, max_expansion)
            else:
                source = LineSource(path, _pipe(path, file.fileno(), status.st_mode), None, max_expansion)
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
            why = getattr(error, "strerror", None) or error
            raise InputError(f"{path or '(empty path)'}: can't be read: {why}: check the path") from error
        yield source


def _file_source(path: str, file: FileIO, size_bytes: int, max_expansion: int) -> LineSource:
    packed = BufferedReader(file)
    if not packed.peek(len(ZIP_MAGIC)).startswith(ZIP_MAGIC):
        return LineSource(path, packed, size_bytes, max_expansion)
    member = zip_member(path, file)
    _check_expansion(path, "zip", member.size_bytes, member.packed_bytes, max_expansion)
    source = LineSource(path, member.stream, member.size_bytes, max_expansion)
    if source.compression is not None:
        raise InputError(f"{path}: a zip file with a {source.compression.name} file in it: unpack it first")
    return source


def _open_at_once(path: str, flags: int) -> int:
    """Opens without waiting for the writer of a FIFO: during that wait, signals could not interrupt `open`."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _pipe(path: str, descriptor: int, mode: int) -> _Pipe:
    # Linux distinguishes a FIFO without a writer yet from one that has ended. macOS does not, but there a /dev/fd/N
    # always has, or had, a writer.
    of_macos = sys.platform == "darwin" and stat.S_ISFIFO(mode) and not path.startswith("/dev/")
    return _Pipe(descriptor, no_writer_is_an_end=of_macos)


def _stdin_stream() -> ByteStream:
    try:
        return _Pipe(sys.stdin.buffer.fileno())
    except OSError:  # sys.stdin was replaced by an object without a descriptor
        return cast(BufferedReader, sys.stdin.buffer)


def _line(number: int, raw: bytes, max_line_bytes: int) -> Line | None:
    content = raw.removesuffix(b"\r")
    if number == 1:
        content = content.removeprefix(BOM)
    if len(content) > max_line_bytes:
        return Line(number, content[:max_line_bytes], too_long=True)
    return Line(number, content) if content.strip() else None
