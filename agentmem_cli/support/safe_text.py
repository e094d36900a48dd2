"""Escapes for text from outside, so that no terminal interprets it."""

import re
from typing import Final

# C0 and C1 controls, DEL, characters that change the text direction or break lines, and characters not allowed in XML.
_CONTROLS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)

_CONTROLS_IN_JSON: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


def printable(text: str) -> str:
    """The text on one line, with control characters escaped."""
    return _CONTROLS.sub(_escape, text)


def inert_json(json: str) -> str:
    """The JSON text with control characters inside its strings escaped; line breaks between values stay."""
    return _CONTROLS_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", json)


def _escape(match: "re.Match[str]") -> str:
    character = match.group()
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character) or f"\\u{ord(character):04x}"
