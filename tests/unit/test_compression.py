"""Compressed inputs: their content is read, and what is damaged, hostile or not one file is one line."""

import bz2
import gzip
import importlib.util
import json
import lzma
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli.errors import InputError
from tests.inputs import taken

CONTENT: Final = b'{"text": "a"}\n{"text": "b"}\n'
SPACES: Final = b" " * 1_000_000
PACKS: Final = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
BOMBS: Final = {
    "gzip": lambda: gzip.compress(SPACES) * 100,
    "bzip2": lambda: bz2.compress(SPACES) * 100,
    "xz": lambda: lzma.compress(SPACES) * 100,
    "zip": lambda: zipped({"a.jsonl": SPACES * 100}),
}


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def texts(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    return taken(path).texts


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_a_compressed_file_is_its_content_whatever_its_name(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    assert texts(tmp_path / "input", pack(CONTENT)) == ["a", "b"]
    assert texts(tmp_path / "input", pack(CONTENT[:14]) + pack(CONTENT[14:])) == ["a", "b"]
    assert texts(tmp_path / "input", pack(json.dumps([{"text": "a"}]).encode("utf-16"))) == ["a"]


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("damage", ["cut", "changed", "more"])
def test_a_compressed_file_that_is_damaged_is_one_line(
    pack: Callable[[bytes], bytes], damage: str, tmp_path: Path
) -> None:
    packed = pack(CONTENT * 1000)
    middle = len(packed) // 2
    changed = packed[:middle] + bytes(byte ^ 0xFF for byte in packed[middle : middle + 8]) + packed[middle + 8 :]
    content = {"cut": packed[:middle], "changed": changed, "more": packed + b"junk"}[damage]
    with pytest.raises(InputError, match=r"input: damaged or cut-off \w+ file \(.*\): compress it again") as caught:
        texts(tmp_path / "input", content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_stopped_while_it_has_taken_little_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[kind]())
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=f"bomb: this {kind} file expands to more than 200 times its size"):
            taken(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000_000


def test_an_xz_file_that_needs_gigabytes_to_be_unpacked_is_refused(tmp_path: Path) -> None:
    packed = bytearray(lzma.compress(CONTENT))
    end = 12 + (packed[12] + 1) * 4  # of the header of the block, which begins after that of the stream
    packed[16] = 40  # the size of the dictionary: 4 GiB
    packed[end - 4 : end] = zlib.crc32(packed[12 : end - 4]).to_bytes(4, "little")
    with pytest.raises(InputError, match="Memory usage limit exceeded"):
        texts(tmp_path / "input", bytes(packed))


@pytest.mark.skipif(importlib.util.find_spec("compression") is not None, reason="this Python reads zstd")
def test_zstd_is_one_line_where_python_does_not_read_it(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="input: compressed with zstd, which this Python can't read: decompress it first"
    ):
        texts(tmp_path / "input", b"\x28\xb5\x2f\xfd\x24\x0e")


@pytest.mark.skipif(importlib.util.find_spec("compression") is None, reason="this Python does not read zstd")
def test_zstd_is_its_content_where_python_reads_it(tmp_path: Path) -> None:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore] # Python 3.14

    assert texts(tmp_path / "input", zstd.compress(CONTENT)) == ["a", "b"]
    with pytest.raises(InputError, match="damaged or cut-off zstd file"):
        texts(tmp_path / "input", zstd.compress(CONTENT)[:-4])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_file_is_the_file_in_it(method: int, tmp_path: Path) -> None:
    assert texts(tmp_path / "input.zip", zipped({"folder/a.jsonl": CONTENT}, method)) == ["a", "b"]


def test_the_zip_file_of_an_export_is_its_conversations(tmp_path: Path) -> None:
    chats = json.dumps([{"uuid": "c", "chat_messages": [{"uuid": "m", "sender": "human", "text": "Hi"}]}]).encode()
    files = {"users.json": b"[]", "conversations.json": chats, "__MACOSX/._x": b"x", "projects/": b""}
    assert texts(tmp_path / "data.zip", zipped(files)) == ["Hi"]


def test_a_name_in_a_zip_file_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    assert texts(tmp_path / "inner" / "input.zip", zipped({"../../evil.jsonl": CONTENT})) == ["a", "b"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inner", "input.zip"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (zipped({"a.jsonl": CONTENT, "b.jsonl": CONTENT}), "a zip file with 2 files: unpack it"),
        (zipped({}), "looks like binary data"),
        (zipped({"[Content_Types].xml": b"<a/>", "word/document.xml": b"<a/>"}), "an Office document: save it as CSV"),
        (zipped({"a.gz": gzip.compress(CONTENT)}), "a zip file with a gzip file in it: unpack it first"),
        (zipped({"a.zip": zipped({"a.jsonl": CONTENT})}), "looks like a zip file"),
        (zipped({"a.jsonl": CONTENT})[:-10], "damaged or cut-off zip file"),
        (
            zipped({"a.jsonl": CONTENT * 50}).replace(b"\xab", b"\xac", 1)[:60] + bytes(90),
            "damaged or cut-off zip file",
        ),
        (b"PK\x03\x04" + bytes(300), "damaged or cut-off zip file"),
    ],
)
def test_a_zip_file_that_is_not_one_file_is_one_line(content: bytes, error: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        texts(tmp_path / "input.zip", content)
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encrypted_zip_file_is_one_line(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.jsonl": CONTENT}))
    content[6] |= 1  # the flag of encryption, here and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match=r"can't be unpacked \(.*password.*\): unpack it first"):
        texts(tmp_path / "input.zip", bytes(content))
