"""Inputs as they come, and as they come damaged: plain, compressed, endless, cut off, or not there at all."""

import gzip
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from agentmem_cli.errors import InputError
from agentmem_cli.records.lines import STDIN, Line, LineSource, open_source

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BOM = b"\xef\xbb\xbf"
WIDE_OPEN = 1_000_000


def read(path: Path, max_line_bytes: int = 1_000_000) -> list[Line]:
    with open_source(str(path)) as source:
        return list(source.lines(max_line_bytes))


def contents(data: bytes, path: Path) -> list[tuple[int, bytes]]:
    path.write_bytes(data)
    return [(line.number, line.content) for line in read(path)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", []),
        (b"a", [(1, b"a")]),
        (b"a\nb", [(1, b"a"), (2, b"b")]),
        (b"a\r\nb\r", [(1, b"a"), (2, b"b")]),
        (b"\n\na\n \t\r\n\nb\n\n", [(3, b"a"), (6, b"b")]),
        (b" a \n", [(1, b" a ")]),
        (b"a\rb\r\r\n", [(1, b"a\rb\r")]),
        (b"a\x0bb\x0cc\x1cd\xc2\x85e\xe2\x80\xa8f\n", [(1, b"a\x0bb\x0cc\x1cd\xc2\x85e\xe2\x80\xa8f")]),
        ("a\r\nhé\n".encode("utf-16"), [(1, b"a"), (2, "hé".encode())]),
        (b"\xfe\xff" + "a\n茶".encode("utf-16-be"), [(1, b"a"), (2, "茶".encode())]),
        (BOM + b"a\nb\n", [(1, b"a"), (2, b"b")]),
        (BOM, []),
        (b"a\n" + BOM + b"b", [(1, b"a"), (2, BOM + b"b")]),
    ],
)
def test_lines_come_without_their_ends_and_blank_ones_only_count(
    data: bytes, expected: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    for pack in (bytes, gzip.compress):
        assert contents(pack(data), tmp_path / "input.jsonl") == expected


def test_a_line_that_is_longer_than_a_chunk_is_put_together_again(tmp_path: Path) -> None:
    long = b"0123456789" * 90_000
    assert contents(b"a\n" + long + b"\r\nb\n", tmp_path / "input.jsonl") == [(1, b"a"), (2, long), (3, b"b")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("first", [b"", b"a\n"])
def test_a_line_that_is_too_long_is_cut_and_counted(first: bytes, end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(first + b"x" * 11 + end + (b"after" if end else b""))
    number = first.count(b"\n") + 1
    after = [Line(number + 1, b"after")] if end else []
    assert read(path, 10)[first.count(b"\n") :] == [Line(number, b"x" * 10, too_long=True), *after]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
def test_a_line_of_just_the_limit_is_whole_whatever_ends_it(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"x" * 10 + end)
    assert read(path, 10) == [Line(1, b"x" * 10)]


def test_a_carriage_return_where_a_long_line_is_cut_does_not_make_it_short(tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"x" * 10 + b"\r" + b"y" * 20 + b"\n" + b"x" * 11 + b"\r" + b"y" * 20)
    assert [line.too_long for line in read(path, 10)] == [True, True]


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_of_50_megabytes_takes_little_memory(packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    if packed:
        path.write_bytes(gzip.compress(bytes(1_000_000)) * 50 + gzip.compress(b"\nb\n"))
    else:
        with path.open("wb") as file:
            file.truncate(50_000_000)
            file.seek(50_000_000)
            file.write(b"\nb\n")
    tracemalloc.start()
    try:
        lines = read(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(line.number, len(line.content), line.too_long) for line in lines] == [(1, 1_000_000, True), (2, 1, False)]
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("name", ["input.jsonl", "input.gz", "input"])
def test_gzip_is_known_by_its_first_bytes_whatever_its_name(name: str, tmp_path: Path) -> None:
    assert contents(gzip.compress(b"a\nb\n"), tmp_path / name) == [(1, b"a"), (2, b"b")]
    assert contents(b"a\nb\n", tmp_path / name) == [(1, b"a"), (2, b"b")]


def test_a_gzip_file_of_several_members_is_one_input(tmp_path: Path) -> None:
    data = gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n")
    assert contents(data, tmp_path / "input.gz") == [(1, b"a"), (2, b"bc"), (3, b"d")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:2],
        lambda data: data[: len(data) // 2],
        lambda data: data[:2] + b"\x07" + data[3:],
        lambda data: data[:40] + b"\xff\xff\xff\xff" + data[44:],
        lambda data: data[:-8] + b"\x00\x00\x00\x00" + data[-4:],
        lambda data: data + b"junk",
    ],
)
def test_a_gzip_file_that_is_cut_off_or_damaged_is_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl.gz"
    path.write_bytes(damage(gzip.compress(os.urandom(2_000).hex().encode() + b"\n")))
    with pytest.raises(InputError, match=r"input\.jsonl\.gz: damaged or cut-off gzip file"):
        read(path)


def test_lines_before_the_cut_of_a_gzip_file_are_given_first(tmp_path: Path) -> None:
    path = tmp_path / "input.gz"
    path.write_bytes(gzip.compress(b"a\nb\n") + gzip.compress(b"c\n" * 1000)[:-9])
    given = []
    with open_source(str(path)) as source, pytest.raises(InputError):
        for line in source.lines():
            given.append(line.content)
    assert given[:2] == [b"a", b"b"]


def test_a_gzip_bomb_is_stopped_while_it_has_taken_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(1_000_000)) * 100)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"bomb\.gz: .*more than 200 times its size.*--max-expansion"):
            read(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10_000_000


def test_a_user_may_let_a_gzip_file_expand_further(tmp_path: Path) -> None:
    path = tmp_path / "input.gz"
    path.write_bytes(gzip.compress(bytes(1_000_000)) * 70 + gzip.compress(b"\nb"))
    with open_source(str(path), max_expansion=WIDE_OPEN) as source:
        assert [line.number for line in source.lines()] == [1, 2]


def test_a_small_file_that_shrank_a_lot_is_no_bomb(tmp_path: Path) -> None:
    line = b'{"text": "' + b"very " * 100_000 + b'"}'
    assert contents(gzip.compress(line, 9), tmp_path / "input.gz") == [(1, line)]


@pytest.mark.parametrize(("make", "reason"), [(Path.mkdir, "Is a directory"), (Path.exists, "No such file")])
def test_a_path_that_is_no_file_is_named(make: Callable[[Path], object], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    make(path)
    with pytest.raises(InputError, match=rf"input\.jsonl: can't be read: {reason}.*: check the path"):
        read(path)


class FailingDisk(RawIOBase):
    """Gives a line at each of two reads, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = [b"first\n", b"other\n"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if not self._lines:
            raise OSError(5, "Input/output error")
        memoryview(buffer)[:6] = self._lines.pop(0)
        return 6


def test_a_file_whose_disk_fails_is_named_after_the_lines_that_could_be_read() -> None:
    given = []
    source = LineSource("input.jsonl", BufferedReader(FailingDisk()), None, WIDE_OPEN)
    with pytest.raises(InputError, match=r"input\.jsonl: can't be read: Input/output error"):
        for line in source.lines():
            given.append(line)
    assert given == [Line(1, b"first"), Line(2, b"other")]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read_as_a_file_is(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = BufferedReader(BytesIO(pack(b"a\nb")))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    with open_source(STDIN) as source:
        assert (source.name, source.size_bytes) == ("<stdin>", None)
        assert [line.content for line in source.lines()] == [b"a", b"b"]
    assert not stream.closed


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_position_is_counted_in_bytes_on_disk(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(pack(b"a\n" * 200_000))
    size_bytes = path.stat().st_size
    with open_source(str(path)) as source:
        assert (source.position_bytes, source.size_bytes) == (0, size_bytes)
        positions = [source.position_bytes for _ in source.lines()]
    assert positions == sorted(positions)
    assert 0 < positions[0] <= positions[-1] == size_bytes


def test_a_pipe_has_no_size_and_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"a\nb\n",), daemon=True)
    writer.start()
    with open_source(str(path)) as source:
        assert source.size_bytes is None
        assert [line.content for line in source.lines()] == [b"a", b"b"]
    writer.join()


def test_a_name_that_is_not_utf8_is_shown_as_text() -> None:
    source = LineSource(os.fsdecode(b"caf\xe9.jsonl"), BufferedReader(BytesIO()), 0, WIDE_OPEN)
    assert source.name == "caf\\xe9.jsonl"
