"""Text that came from outside, as a terminal can show it without obeying it."""

import re
from typing import Final

# C0 and C1 controls, DEL, what turns the direction of writing or splits lines, and what XML can't hold.
_OBEYED: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)

_OBEYED_IN_JSON: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


def printable(text: str) -> str:
    """The text on one line, with every character that a terminal would obey written as an escape."""
    return _OBEYED.sub(_escape, text)


def inert_json(json: str) -> str:
    """The same JSON, with what a terminal would obey inside its strings as escapes; its own line ends stay."""
    return _OBEYED_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", json)


def _escape(match: "re.Match[str]") -> str:
    character = match.group()
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character) or f"\\u{ord(character):04x}"
