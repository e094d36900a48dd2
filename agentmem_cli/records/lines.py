"""Reads inputs line by line within bounded memory: a file, a gzip file, or standard input."""

import gzip
import os
import select
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader, FileIO, RawIOBase
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

from agentmem_cli.errors import InputError

STDIN: Final = "-"
MAX_LINE_BYTES: Final = 1_000_000
MAX_EXPANSION: Final = 200  # text rarely compresses more than 20 times; a gzip bomb of zeros, 1,000 times
_FREE_EXPANSION_BYTES: Final = 64_000_000  # a small file may expand to this much, whatever the ratio
_BLOCK_BYTES: Final = 1 << 18
_LOOK_EVERY_S: Final = 0.1
_BOM: Final = b"\xef\xbb\xbf"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_HEADER_BYTES: Final = 16  # GzipFile needs complete reads of headers and checksums


class Line(NamedTuple):
    """A non-blank line; `number` starts at 1, and `content` is cut if `too_long`."""

    number: int
    content: bytes
    too_long: bool = False


class ByteStream(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """`size` bytes, or fewer at the end."""

    def read1(self, size: int, /) -> bytes:
        """Up to `size` bytes, as soon as some are available; none at the end."""


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
    """Returns available bytes to GzipFile instead of waiting for all: a slow pipe would stall."""

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
        self.magic = self._unread = stream.read(len(_GZIP_MAGIC))  # waits, since a pipe may return one byte first

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
        # A path may contain bytes that aren't UTF-8, but the name is shown and stored as text.
        self.name: str = os.fsencode(name).decode(errors="backslashreplace")
        self.size_bytes = size_bytes
        self._max_expansion = max_expansion
        self._origin = stream
        self._raw = _CountedReader(stream)
        self._is_gzip = self._raw.magic == _GZIP_MAGIC
        counted = _Eager(self._raw, _BLOCK_BYTES)
        self._stream = gzip.GzipFile(fileobj=counted, mode="rb") if self._is_gzip else counted
        self._expanded_bytes = 0
        self._yielded_bytes = 0

    @property
    def may_wait(self) -> bool:
        """Whether reading may wait for a writer, as with a pipe, a terminal or a device."""
        return self.size_bytes is None

    @property
    def position_bytes(self) -> int:
        """The number of bytes read; for gzip files, of compressed bytes."""
        return self._raw.bytes_read if self._is_gzip else self._yielded_bytes

    def stop(self) -> None:
        """Ends the input for a thread that waits for it."""
        if isinstance(self._origin, _Pipe):
            self._origin.stopped = True

    def lines(self, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
        """The non-blank lines, without BOM, CR and LF; a line over the limit is cut while it is read.

        Raises InputError if the input can't be read or expands too much.
        """
        # Two bytes over the limit show that a line is too long, even if one is a CR; line 1 may have a BOM.
        held_bytes, number, held = max_line_bytes + 2 + len(_BOM), 1, b""
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
        try:
            while block := self._stream.read1(_BLOCK_BYTES):
                self._expanded_bytes += len(block)
                if self._is_gzip:
                    self._check_expansion()
                yield block
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{self.name}: damaged or cut-off gzip file ({error}): compress it again") from error
        except OSError as error:
            raise InputError(f"{self.name}: can't be read: {error.strerror or error}") from error

    def _check_expansion(self) -> None:
        allowed_bytes = max(_FREE_EXPANSION_BYTES, self._max_expansion * self._raw.bytes_read)
        if self._expanded_bytes > allowed_bytes:
            raise InputError(
                f"{self.name}: this gzip file expands to more than {self._max_expansion} times its size: "
                "if you trust it, decompress it first or raise --max-expansion"
            )


@contextmanager
def open_source(path: str, max_expansion: int = MAX_EXPANSION) -> Iterator[LineSource]:
    """Opens a path, or standard input for `-`; gzip is detected by its first bytes. Raises InputError."""
    if path == STDIN:
        if sys.stdin is None:
            raise InputError("standard input is closed: give a file")
        yield LineSource("<stdin>", _stdin_stream(), None, max_expansion)
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(FileIO(path, opener=_open_at_once))
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                source = LineSource(path, BufferedReader(file), status.st_size, max_expansion)
            else:
                source = LineSource(path, _pipe(path, file.fileno(), status.st_mode), None, max_expansion)
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
            why = getattr(error, "strerror", None) or error
            raise InputError(f"{path or '(empty path)'}: can't be read: {why}: check the path") from error
        yield source


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
        content = content.removeprefix(_BOM)
    if len(content) > max_line_bytes:
        return Line(number, content[:max_line_bytes], too_long=True)
    return Line(number, content) if content.strip() else None
