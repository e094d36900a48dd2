"""Whatever a file holds, it is read, or it is one line that says why not; and what holds memories gives them back."""

import csv
import io
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmem_cli.errors import InputError
from agentmem_cli.records.formats.names import FORMAT_NAMES, FormatName
from agentmem_cli.support.safe_text import printable
from tests.inputs import taken
from tests.unit.test_file_formats import ANTHROPIC, CLAUDE, CLAUDE_CODE, MEM0, OPENAI, chatgpt_conversation

SEEDS = [
    *(
        json.dumps(value).encode()
        for value in (OPENAI, ANTHROPIC, [CLAUDE], {"results": [MEM0]}, [chatgpt_conversation()])
    ),
    json.dumps([CLAUDE], indent=1).encode(),
    b"".join(json.dumps(entry).encode() + b"\n" for entry in CLAUDE_CODE),
    b'id,text,n\n1,"a ""b""\nc",2\n2,d,3\n',
    b"text\tn\na\t1\n",
    "id;text\n1;é\n".encode("utf-16"),
]
FRAGMENTS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\n",
        b"\r",
        b"\\",
        b"\0",
        b"\t",
        b" ",
        b"null",
        b"1e999",
        b"text",
        b"\xff",
    ),
    *(
        b"role",
        b"content",
        b"messages",
        b"mapping",
        b'{"text":"a"}',
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"PK\x03\x04",
        b"\x1f\x8b",
    ),
]
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=30).filter(str.strip)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30).filter(str.strip)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["text", "role", "content", "type", "data", "messages", "mapping", "id", "memory", "date", "user"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
mutated = st.builds(
    lambda seed, start, length, piece: seed[: start % len(seed)] + piece + seed[start % len(seed) + length :],
    st.sampled_from(SEEDS),
    st.integers(0, 10_000),
    st.integers(0, 60),
    st.sampled_from(FRAGMENTS),
)
contents = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(b"".join),
    st.lists(json_values, max_size=3).map(lambda values: "\n".join(map(json.dumps, values)).encode()),
    json_values.map(lambda value: json.dumps(value, indent=1).encode()),
    mutated,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@settings(max_examples=300, deadline=None)
@given(content=contents, format=st.none() | st.sampled_from([*FORMAT_NAMES]), all_roles=st.booleans())
def test_any_file_is_read_or_is_one_line(
    folder: Path, content: bytes, format: FormatName | None, all_roles: bool
) -> None:
    path = folder / "input"
    path.write_bytes(content)
    try:
        found = taken(path, format, include=frozenset({"system", "tool"} if all_roles else ()))
    except InputError as error:
        assert str(error).startswith(str(path))
        assert len(printable(str(error)).splitlines()) == 1
        return
    for _, reason in found.rejected:
        assert len(printable(reason).splitlines()) == 1


@settings(max_examples=75, deadline=None)
@given(
    given_texts=st.lists(texts, min_size=1, max_size=6),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
    around=st.sampled_from(["array", "list", "lines"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_memories_come_back_from_any_json_that_holds_them(
    folder: Path, given_texts: list[str], indent: int | None, ascii_only: bool, around: str, encoding: str
) -> None:
    elements = [{"text": text, "n": [{"]": "}"}]} for text in given_texts]
    value: Any = elements if around == "array" else {"n": 1, "results": elements}
    document = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    if around == "lines":
        document = "\n".join(json.dumps(element, ensure_ascii=ascii_only) for element in elements)
    (folder / "input").write_bytes(document.encode(encoding))
    found = taken(folder / "input")
    assert (found.texts, found.rejected) == (given_texts, [])


@settings(max_examples=75, deadline=None)
@given(
    given_texts=st.lists(cells, min_size=1, max_size=6),
    others=st.lists(cells, min_size=6, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_memories_come_back_from_any_table_that_holds_them(
    folder: Path, given_texts: list[str], others: list[str], delimiter: str, quoting: Literal[0, 1], end: str
) -> None:
    rows = io.StringIO()
    writer = csv.writer(rows, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([["note", "text"], *zip(others, given_texts, strict=False)])
    (folder / "input").write_bytes(rows.getvalue().encode())
    found = taken(folder / "input")
    assert (found.texts, found.rejected) == (given_texts, [])
    assert [memory.metadata["note"] for memory in found.memories] == others[: len(given_texts)]
