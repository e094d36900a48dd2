"""What a terminal would obey never reaches it as itself, and everything else stays as it is."""

import sys
import unicodedata

import orjson
import pytest

from agentmem_cli.support.safe_text import inert_json, printable

TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.fixture(scope="module")
def obeyed() -> list[str]:
    """All characters of Unicode that a terminal obeys."""
    return [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(character) in TURNING
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\u001b[31mred\\u001b[0m"),
        ("\x1b]0;title\x07", "\\u001b]0;title\\u0007"),
        ("\x9b31m", "\\u009b31m"),
        ("one\ntwo\r\nthree\tfour", "one\\ntwo\\r\\nthree\\tfour"),
        ("nul\0 del\x7f back\x08", "nul\\u0000 del\\u007f back\\u0008"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("\u2066isolate\u2069", "\\u2066isolate\\u2069"),
        ("\u200emark\u200f\u061c", "\\u200emark\\u200f\\u061c"),
        ("one\u2028two\u2029three", "one\\u2028two\\u2029three"),
        ("half \ud83d", "half \\ud83d"),
        ("\ufeffbom", "\\ufeffbom"),
    ],
)
def test_a_character_that_a_terminal_obeys_is_written_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "[red]markup stays text[/red]",
        "喜欢喝茶",
        "مرحبا",
        "👩\u200d💻",
        "naïve e\u0301",
        "\\u001b",
        "a\u00a0b",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_no_control_of_unicode_is_forgotten(obeyed: list[str]) -> None:
    assert len(obeyed) > 70
    assert [character for character in obeyed if character in printable(character)] == []


def test_json_reads_the_same_and_holds_no_control_but_its_own_line_ends(obeyed: list[str]) -> None:
    value = {character: [f"{character}text"] for character in [*obeyed, "\u200e", "\u200f", "\u061c", "\ufeff", "茶"]}
    inert = inert_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    assert orjson.loads(inert) == value
    assert [character for character in obeyed if character in inert] == ["\n"]
    assert "茶" in inert
