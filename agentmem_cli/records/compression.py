"""Compressed inputs, unpacked while they are read, within bounded memory. Standard library only."""

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from io import BufferedReader, FileIO
from typing import Final, Protocol, cast

from agentmem_cli.errors import InputError

MAGIC_BYTES: Final = 6
_MAX_XZ_BYTES: Final = 256_000_000  # of memory; xz -9 takes 65 MB
_BLOCK_BYTES: Final = 1 << 18
_WANTED_MEMBER: Final = "conversations.json"  # of the exports of ChatGPT and Claude, beside other files
ZIP_MAGIC: Final = b"PK\x03\x04"


class ByteStream(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """`size` bytes, or fewer at the end."""

    def read1(self, size: int, /) -> bytes:
        """Up to `size` bytes, as soon as some are available; none at the end."""


class _Decompressor(Protocol):
    """What bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Unpacked:
    """A ByteStream of the content of one or more compressed streams."""

    def __init__(self, packed: ByteStream, new: Callable[[], _Decompressor], damage: type[Exception]) -> None:
        """`damage` is what the decompressor raises for data that is damaged."""
        self._packed, self._new, self._damage = packed, new, damage
        self._decompressor = new()

    def read(self, size: int) -> bytes:
        return self.read1(size)

    def read1(self, size: int) -> bytes:
        while True:
            data = b""
            if self._decompressor.eof:
                # xz pads streams with zeros
                data = self._decompressor.unused_data.lstrip(b"\0") or self._packed.read1(_BLOCK_BYTES).lstrip(b"\0")
                if not data:
                    return b""
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                data = self._packed.read1(_BLOCK_BYTES)
                if not data:
                    raise EOFError("it ends in the middle")
            try:
                piece = self._decompressor.decompress(data, size)
            except self._damage as error:
                raise EOFError(str(error)) from error
            if piece:
                return piece


@dataclass(frozen=True, slots=True)
class Compression:
    """A way to compress a file; `opened` reads what a stream of it contains.

    `opened` raises ImportError where Python does not have it; reading raises one of DAMAGE.
    """

    name: str
    magic: re.Pattern[bytes]
    opened: Callable[[BufferedReader], ByteStream]


def _bz2(packed: BufferedReader) -> ByteStream:
    return _Unpacked(packed, bz2.BZ2Decompressor, OSError)


def _xz(packed: BufferedReader) -> ByteStream:
    def new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_BYTES)

    return _Unpacked(packed, new, lzma.LZMAError)


def _zst(packed: BufferedReader) -> ByteStream:
    zstd = import_module("compression.zstd")  # from Python 3.14
    return _Unpacked(packed, zstd.ZstdDecompressor, zstd.ZstdError)


COMPRESSIONS: Final = (
    Compression("gzip", re.compile(rb"\x1f\x8b"), lambda packed: gzip.GzipFile(fileobj=packed, mode="rb")),
    Compression("bzip2", re.compile(rb"BZh[1-9](1A|\x17r)"), _bz2),
    Compression("xz", re.compile(rb"\xfd7zXZ\0"), _xz),
    Compression("zstd", re.compile(rb"\x28\xb5\x2f\xfd"), _zst),
)
DAMAGE: Final = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile)


def compression_of(magic: bytes) -> Compression | None:
    """The compression of a stream that begins with these bytes."""
    return next((compression for compression in COMPRESSIONS if compression.magic.match(magic)), None)


@dataclass(frozen=True, slots=True)
class ZipMember:
    """The file in a zip file, and how many bytes it has when it is unpacked."""

    stream: ByteStream
    size_bytes: int
    packed_bytes: int


def zip_member(name: str, file: FileIO) -> ZipMember:
    """The only file in a zip file, or its `conversations.json`, to be read; nothing is extracted. Raises InputError."""
    try:
        archive = zipfile.ZipFile(file)
        members = [
            info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
        wanted = [info for info in members if info.filename.rpartition("/")[2] == _WANTED_MEMBER]
        if len(members) != 1 and len(wanted) != 1:
            raise InputError(f"{name}: {_kind_of_zip(members)}")
        (info,) = wanted if len(members) != 1 else members
        return ZipMember(cast(ByteStream, archive.open(info)), info.file_size, info.compress_size)
    except RuntimeError as error:  # a password is needed, or the way of packing is not known
        raise InputError(f"{name}: the zip file can't be unpacked ({error}): unpack it first") from error
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(f"{name}: damaged or cut-off zip file ({error}): compress it again") from error


def _kind_of_zip(members: list[zipfile.ZipInfo]) -> str:
    if any(info.filename == "[Content_Types].xml" for info in members):
        return "looks like an Office document: save it as CSV"
    return f"a zip file with {len(members)} files: unpack it, and give the files that hold memories"
