"""Splits long texts into overlapping chunks that a model reads completely, at the ends of words and sentences."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentmem_cli.embedding.base import Embedder, EmbedderSpec, TokenSpans
from agentmem_cli.errors import UsageError
from agentmem_cli.records.memory import Span

MIN_CHUNK_TOKENS: Final = 16
_LONG_TOKENS: Final = 512
# Measured: searches find less with chunks of 256 tokens (MiniLM) and with whole texts (static models).
_CHUNK_TOKENS: Final = 128
_OVERLAP: Final = 8  # chunks share one eighth of their tokens
_SLACK: Final = 4  # a chunk may be a quarter shorter to end with a sentence
_SPARE_TOKENS: Final = 4  # a part of a text may have a few more tokens than within the text
_SENTENCE_END: Final = re.compile(r"[.!?…]\s|[。！？]|\n")
# For embedders without token positions: a CJK character, or up to four other characters, count as a token.
_CJK: Final = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LIKELY_TOKEN: Final = re.compile(rf"[{_CJK}]|[^\s{_CJK}]{{1,4}}")


@dataclass(frozen=True, slots=True)
class Chunking:
    """Texts of more than `longest` tokens are split into chunks of up to `chunk` tokens."""

    longest: int
    chunk: int

    @classmethod
    def of(cls, spec: EmbedderSpec, chunk: int | None = None) -> "Chunking":
        """The chunking for a model: texts longer than the model reads, or than 512 tokens, are split.

        Chunks have 128 tokens by default. Raises UsageError for fewer than 16, or more than the model reads.
        """
        limit = spec.token_limit
        if chunk is not None and (chunk < MIN_CHUNK_TOKENS or (limit and chunk > limit)):
            choice = f"{MIN_CHUNK_TOKENS} to {limit}, the limit of {spec.name}" if limit else "16 or more"
            raise UsageError(f"chunks of {chunk} tokens are not possible: choose {choice}")
        longest = min(limit or _LONG_TOKENS, _LONG_TOKENS)
        chunk = chunk or min(longest, _CHUNK_TOKENS)
        return cls(max(longest, chunk), chunk)

    def may_split(self, text: str) -> bool:
        """Whether a text may be long enough to be split: every token has at least one byte."""
        return len(text) > self.longest or len(text.encode()) > self.longest


def chunks(embedder: Embedder, text: str, chunking: Chunking) -> list[Span]:
    """The chunks of a text, in order; empty if the text needs no splitting or has no tokens.

    Each chunk shares about an eighth of its tokens with the next, and together they cover all tokens. A chunk ends
    after a sentence, or otherwise a word, if one ends in its last quarter.
    """
    if not chunking.may_split(text):
        return []
    special_tokens = 0
    if isinstance(embedder, TokenSpans):
        spans, special_tokens = embedder.token_spans(text), embedder.special_tokens
    else:
        spans = [match.span() for match in _LIKELY_TOKEN.finditer(text)]
    if len(spans) + special_tokens <= chunking.longest:
        return []
    most = max(1, chunking.chunk - special_tokens - _SPARE_TOKENS)
    return _chunks(text, [span for span in spans if span[0] < span[1]], most)


def _chunks(text: str, spans: Sequence[Span], most: int) -> list[Span]:
    parts: list[Span] = []
    first = 0
    while first + most < len(spans):
        end = _good_end(text, spans, first, first + most)
        parts.append((spans[first][0], max(stop for _, stop in spans[first:end])))
        first = _good_start(spans, max(first + 1, end - most // _OVERLAP), end)
        while first < len(spans) and spans[first][0] <= parts[-1][0]:  # one character may have several tokens
            first += 1
    if first < len(spans):
        parts.append((spans[first][0], max(stop for _, stop in spans[first:])))
    return parts


def _good_end(text: str, spans: Sequence[Span], first: int, most: int) -> int:
    """The end (exclusive) of a chunk that starts at `first` and may extend to `most`."""
    least = max(first + 1, most - (most - first) // _SLACK)
    word_end = 0
    for end in range(most, least, -1):
        stop, next_start = spans[end - 1][1], spans[end][0]
        if _SENTENCE_END.search(text, stop - 1, next_start):
            return end
        if not word_end and stop < next_start:
            word_end = end
    return word_end or most


def _good_start(spans: Sequence[Span], earliest: int, latest: int) -> int:
    """The first token from `earliest` to `latest` that begins a word; `earliest` if there is none."""
    return next((i for i in range(earliest, latest) if spans[i - 1][1] < spans[i][0]), earliest)
