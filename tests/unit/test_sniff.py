"""What an input is taken for by its first bytes, and the one line about an input that can't be read."""

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.errors import InputError
from agentmem_cli.records.formats.reading import Reading, kind_of_source
from agentmem_cli.records.lines import LineSource
from tests.fakes import FakeEmbedder
from tests.inputs import taken

A = {"text": "a", "id": "1"}
B = {"text": "b", "id": "2"}


def lines(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lines(A, B), None),
        ("\n \n" + lines(A, B), None),
        ("not JSON\n" + lines(A, B), None),
        ('{"text": "cut off\n' + lines(A, B), None),
        ('{"id": "1"\n' + lines(A, B), None),
        ('{"id": "1", "text": "cut off\n' + lines(A, B), None),
        (lines([1], A, B), None),
        (lines({"content": "a"}, {"content": "b"}), 'JSONL with the text in "content" (--text-field content)'),
        (json.dumps([A, B]), "a JSON array of memories (--format json)"),
        (json.dumps([A, B], indent=2), "a JSON array of memories (--format json)"),
        ("[\n" + json.dumps(A) + ",\n" + json.dumps(B) + "\n]\n", "a JSON array of memories (--format json)"),
        (json.dumps({"data": [A, B]}), 'memories in the list "data" (--format json)'),
        (json.dumps({"n": 2, "tags": ["x"], "data": [A, B]}, indent=2), 'memories in the list "data" (--format json)'),
        (json.dumps({"message": "ok", "data": [A, B]}), 'memories in the list "data" (--format json)'),
        (json.dumps({"more": [{"n": 1}], "data": [A, B]}), 'memories in the list "data" (--format json)'),
        ("id,text\n1,a\n2,b\n", 'values separated by ",", by the header (--format csv)'),
        ("id;text\n1;a\n2;b\n", 'values separated by ";", by the header (--format csv)'),
        ("id\ttext\n1\ta\n2\tb\n", "tab-separated values, by the header (--format tsv)"),
        ('"id","text"\n"1","a"\n"2","b"\n', 'values separated by ",", by the header (--format csv)'),
    ],
)
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_two_memories_are_read_from_whatever_holds_them(
    bom: str, content: str, said: str | None, tmp_path: Path
) -> None:
    (tmp_path / "input").write_text(bom + content, encoding="utf-8")
    found = taken(tmp_path / "input")
    assert (found.kind.said, found.texts) == (said, ["a", "b"])


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(A),
        json.dumps(A) + "\n",
        json.dumps(A, indent=2),
        json.dumps([A]),
        json.dumps({"content": "a", "tags": ["x"]}),
        json.dumps({"content": "a", "tags": ["x"], "more": []}, indent=2),
    ],
)
def test_one_memory_is_read_from_whatever_holds_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "input").write_text(content, encoding="utf-8")
    assert taken(tmp_path / "input").texts == ["a"]


@pytest.mark.parametrize("content", ["", "\n\n", "[]", "[ ]\n", '{"results": []}', '{\n"results": []\n}'])
def test_an_input_without_memories_has_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "input").write_text(content, encoding="utf-8")
    found = taken(tmp_path / "input")
    assert (found.memories, found.rejected) == ([], [])


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_may_come_after_much_else_and_be_of_any_size(indent: int | None, tmp_path: Path) -> None:
    elements = [{"text": f"text {number}", "pad": "}]" * 500} for number in range(500)]
    value = {"about": {"pad": ["x" * 90_000]}, "results": elements, "after": [{"text": "no"}]}
    (tmp_path / "input.json").write_text(json.dumps(value, indent=indent), encoding="utf-8")
    found = taken(tmp_path / "input.json")
    assert found.texts == [f"text {number}" for number in range(500)]


def test_lists_among_which_none_is_the_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text(json.dumps({"a": [A], "b": [B]}), encoding="utf-8")
    with pytest.raises(InputError, match=r'a JSON object with several lists \("a", "b"\): give one of them'):
        taken(tmp_path / "input.json")


def test_a_text_field_that_is_named_tells_which_list_is_the_one(tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text(
        json.dumps({"a": [{"n": 1}], "b": [{"data": {"note": "b"}}]}), encoding="utf-8"
    )
    assert taken(tmp_path / "input.json", text_field="data.note").texts == ["b"]


def test_a_first_line_longer_than_what_is_looked_at_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "input").write_text(lines({"text": "a" * 300_000}, B), encoding="utf-8")
    assert [len(text) for text in taken(tmp_path / "input").texts] == [300_000, 1]


@pytest.mark.parametrize(
    ("content", "looks_like"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\n1 0 obj", "a PDF: save its text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "an image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "an image"),
        (b"<!DOCTYPE html>\n<html><p>Hello", "HTML"),
        (b"\n <HTML lang=en>", "HTML"),
        (b"<?xml version='1.0'?><a/>", "XML"),
        (b"Hello, this is a text.\nIt has lines, and more of them.\n", "plain text: make each memory a line such as"),
        (b"- a list\n- of things\n", "plain text"),
        (b'# A title\n\nA line of JSON among others:\n\n{"text": "a"}\n\nAnd so on.\n', "plain text"),
        (b"some text", "plain text"),
        (b"id,n\n1,2\n3,4,5\n", "plain text"),
        (b"\x7fELF\x02\x01\x01\0", "a program"),
        (b"\x80\x04\x95\x10\0\0\0\0", "data of a Python program"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "an archive"),
        (b"a.txt" + bytes(252) + b"ustar\x0000", "a tar file: unpack it"),
        (b"ARROW1\0\0", "an Arrow file: save it as Parquet"),
        (bytes(range(256)) * 4, "binary data"),
        (b"\xe9\x01\x02", "binary data"),
        ('{"text": "a"}\n'.encode("utf-16-le"), "UTF-16 without a byte order mark: save it as UTF-8"),
        ("id,text\n1,a\n".encode("utf-16-be"), "UTF-16 without a byte order mark: save it as UTF-8"),
    ],
)
def test_what_can_not_be_read_is_one_line_that_names_what_it_looks_like(
    content: bytes, looks_like: str, tmp_path: Path
) -> None:
    (tmp_path / "input").write_bytes(content)
    with pytest.raises(InputError) as caught:
        taken(tmp_path / "input")
    assert f"{tmp_path}/input: looks like {looks_like}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_is_named_and_that_of_a_store_with_the_command_that_reads_it(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add("tea")
    with pytest.raises(InputError, match="looks like an SQLite database: export its table as CSV or JSON"):
        taken(tmp_path / "other.db")
    with pytest.raises(
        InputError, match="looks like the database of an agentmem store: 'agentmem export --store FOLDER'"
    ):
        taken(tmp_path / "store" / "memories.db")


class _Slow:
    """A pipe that gives a piece at a time, and fails the test where more is asked for than there is."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def read(self, size: int) -> bytes:
        return self.read1(size)

    def read1(self, size: int) -> bytes:
        assert self._pieces, "it waits for more than it needs"
        piece, rest = self._pieces[0][:size], self._pieces[0][size:]
        self._pieces[:1] = [rest] if rest else []
        return piece


@pytest.mark.parametrize(
    "first", [A, {"role": "user", "content": "hi"}, {"memory": "a", "id": 1, "hash": "h"}, {"body": "b"}]
)
def test_a_line_from_a_pipe_does_not_wait_for_the_next(first: dict[str, Any]) -> None:
    line = lines(first).encode()
    source = LineSource("-", _Slow(line[:6], line[6:9], line[9:]), None, 200)
    assert kind_of_source(source, Reading()).container == "lines"


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 300_000,
        b'{"a":' * 60_000,
        b'{"a": "' + b"\\" * 300_000,
        b'["' * 150_000,
        b'"' * 300_000,
        b'","\'' * 75_000,
        b"\n'" * 100_000,
        b"a,b\n" + b'"a",' * 75_000,
        b"'a';\"b\"," * 40_000,
        b"," * 300_000,
        b"\n" * 300_000,
        b" " * 300_000 + b"x",
        b"<" * 300_000,
    ],
    ids=lambda content: content[:6].decode(),
)
def test_hostile_first_bytes_are_read_or_are_one_line(hostile: bytes, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(hostile)
    try:
        taken(tmp_path / "input")
    except InputError as error:
        assert "\n" not in str(error)


def test_the_standard_librarys_sniffer_whose_time_grows_with_the_square_is_shown_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    sniff = csv.Sniffer.sniff

    def noting(self: csv.Sniffer, sample: str, delimiters: str | None = None) -> type[csv.Dialect]:
        shown.append(len(sample))
        return sniff(self, sample, delimiters)

    monkeypatch.setattr(csv.Sniffer, "sniff", noting)
    (tmp_path / "input").write_bytes(b"text\n" + b"'\n" * 4_000)
    taken(tmp_path / "input")
    taken(tmp_path / "input", "csv")
    assert len(shown) == 2
    assert max(shown) <= 4096
