"""A long text -> overlapping windows that a model reads to their ends: cut by its own tokens, where words end."""

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from agentmem_cli.embedding.base import Embedder, EmbedderSpec, TokenSpans
from agentmem_cli.errors import UsageError

Span: TypeAlias = tuple[int, int]  # characters [start, stop) of a text

MIN_WINDOW_TOKENS: Final = 16
_MAX_DEFAULT_TOKENS: Final = 512  # what says many things is near to nothing: models that read more find less in it
_OVERLAP: Final = 8  # windows share one in so many of their tokens
_SLACK: Final = 4  # a window may lose one in so many of its tokens to end with a sentence
_SPARE_TOKENS: Final = 4  # a tokenizer may see a few more in a text that begins or ends elsewhere
_SENTENCE_END: Final = re.compile(r"[.!?…]\s|[。！？]|\n")
# Of a model that doesn't say what its tokens are: a character of CJK, or at most four others, are taken for one.
_CJK: Final = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LIKELY_TOKEN: Final = re.compile(rf"[{_CJK}]|[^\s{_CJK}]{{1,4}}")


def window_tokens(spec: EmbedderSpec, wanted: int | None = None) -> int:
    """How many tokens a window has: as many as are wanted, or as the model reads, and 512 by default at most.

    Raises UsageError for fewer than 16, or more than the model reads.
    """
    limit = spec.token_limit
    if wanted is None:
        return min(limit or _MAX_DEFAULT_TOKENS, _MAX_DEFAULT_TOKENS)
    if wanted < MIN_WINDOW_TOKENS or (limit and wanted > limit):
        most = f" to {limit}, which is all that {spec.name} reads" if limit else ""
        raise UsageError(f"windows of {wanted} tokens can't be: they have {MIN_WINDOW_TOKENS}{most or ' at least'}")
    return wanted


def windows(embedder: Embedder, text: str, tokens: int) -> list[Span]:
    """The windows of a text, in order; none where it has no more than so many tokens, or where none are found in it.

    Each has so many tokens at most, special ones included, and shares about an eighth with the next; all tokens of the
    text are in some. Windows end with a sentence, or else a word, where one ends in their last quarter.
    """
    if not may_be_longer(text, tokens):
        return []
    if isinstance(embedder, TokenSpans):
        spans, own_tokens = embedder.token_spans(text), tokens - embedder.special_tokens
    else:
        spans, own_tokens = [match.span() for match in _LIKELY_TOKEN.finditer(text)], tokens
    if len(spans) <= own_tokens:
        return []
    return _windows(text, [span for span in spans if span[0] < span[1]], max(1, own_tokens - _SPARE_TOKENS))


def may_be_longer(text: str, tokens: int) -> bool:
    """Whether a text can have more than so many tokens: a token is of one byte at least."""
    return len(text) > tokens or len(text.encode()) > tokens


def _windows(text: str, spans: Sequence[Span], most: int) -> list[Span]:
    found: list[Span] = []
    first = 0
    while first + most < len(spans):
        end = _good_end(text, spans, first, first + most)
        found.append((spans[first][0], max(stop for _, stop in spans[first:end])))
        first = _good_start(spans, max(first + 1, end - most // _OVERLAP), end)
    if first < len(spans):
        found.append((spans[first][0], max(stop for _, stop in spans[first:])))
    return found


def _good_end(text: str, spans: Sequence[Span], first: int, most: int) -> int:
    """The last token, exclusive, of a window that could go on to `most`."""
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
