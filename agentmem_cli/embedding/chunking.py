"""A long text -> overlapping chunks that a model reads to their ends: cut by its own tokens, where words end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentmem_cli.embedding.base import Embedder, EmbedderSpec, TokenSpans
from agentmem_cli.errors import UsageError
from agentmem_cli.records.memory import Span

MIN_CHUNK_TOKENS: Final = 16
_LONG_TOKENS: Final = 512
# Measured: MiniLM finds less in chunks as long as it reads (256), and a static model in whole texts.
_CHUNK_TOKENS: Final = 128
_OVERLAP: Final = 8  # chunks share one in so many of their tokens
_SLACK: Final = 4  # a chunk may lose one in so many of its tokens to end with a sentence
_SPARE_TOKENS: Final = 4  # a tokenizer may see a few more in a text that begins or ends elsewhere
_SENTENCE_END: Final = re.compile(r"[.!?…]\s|[。！？]|\n")
# Of a model that doesn't say what its tokens are: a character of CJK, or at most four others, are taken for one.
_CJK: Final = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LIKELY_TOKEN: Final = re.compile(rf"[{_CJK}]|[^\s{_CJK}]{{1,4}}")


@dataclass(frozen=True, slots=True)
class Chunking:
    """How memories are split: those of more than `longest` tokens into chunks of up to `chunk` tokens."""

    longest: int
    chunk: int

    @classmethod
    def of(cls, spec: EmbedderSpec, chunk: int | None = None) -> "Chunking":
        """What the model can't read to its end is split, or what has more than 512 tokens where it reads more.

        Chunks have 128 tokens, if none are wanted. Raises UsageError for fewer than 16, or more than the model reads.
        """
        limit = spec.token_limit
        if chunk is not None and (chunk < MIN_CHUNK_TOKENS or (limit and chunk > limit)):
            choice = f"{MIN_CHUNK_TOKENS} to {limit}, which is all that {spec.name} reads" if limit else "16 or more"
            raise UsageError(f"chunks of {chunk} tokens are not possible: choose {choice}")
        longest = min(limit or _LONG_TOKENS, _LONG_TOKENS)
        chunk = chunk or min(longest, _CHUNK_TOKENS)
        return cls(max(longest, chunk), chunk)

    def may_split(self, text: str) -> bool:
        """Whether a text can be long enough to be split: a token is of one byte at least."""
        return len(text) > self.longest or len(text.encode()) > self.longest


def chunks(embedder: Embedder, text: str, chunking: Chunking) -> list[Span]:
    """The chunks of a text, in order; none where it isn't to be split, or has no tokens.

    Each shares about an eighth of its tokens with the next; all tokens of the text are in some. Chunks end with a
    sentence, or else a word, where one ends in their last quarter.
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
    found: list[Span] = []
    first = 0
    while first + most < len(spans):
        end = _good_end(text, spans, first, first + most)
        found.append((spans[first][0], max(stop for _, stop in spans[first:end])))
        first = _good_start(spans, max(first + 1, end - most // _OVERLAP), end)
        while first < len(spans) and spans[first][0] <= found[-1][0]:  # one character may be of many tokens
            first += 1
    if first < len(spans):
        found.append((spans[first][0], max(stop for _, stop in spans[first:])))
    return found


def _good_end(text: str, spans: Sequence[Span], first: int, most: int) -> int:
    """The last token, exclusive, of a chunk that could go on to `most`."""
    least = max(first + 1, most - (most - first) // _SLACK)
    word_end = 0
    for end in range(most, least, -1):
        stop, next_start = spans[end - 1][1], spans[end][0]
        if _SENTENCE_END.search(text, stop - 1, next_start):
            return end
        if not word_end and stop < next_start:
            word_end = end
    return word_end or most


def _good_start(spans: Sequence[Span], wanted: int, latest: int) -> int:
    """The first token from `wanted` on that begins a word, before `latest`; or else `wanted`, amid a word."""
    return next((i for i in range(wanted, latest) if spans[i - 1][1] < spans[i][0]), wanted)
