"""Texts -> the ids of their tokens, all in one array."""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from nanotoken import Tokenizer as NanoTokenizer

TOKENIZE_CHARS: Final = 1_000_000  # the tokenizer holds about 100 bytes a token: this bounds its memory

Ids: TypeAlias = NDArray[np.int32]
Offsets: TypeAlias = NDArray[np.int64]


class TokenIds:
    """Tokenizes without special tokens, padding or truncation, through `tokenizers`, or faster (see `speed_up`)."""

    def __init__(self, tokenizer_json: str) -> None:
        """Takes the content of a tokenizer.json. Raises the library's bare Exception for anything else."""
        self._json = tokenizer_json
        self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._nano: NanoTokenizer | None = None

    def speed_up(self) -> None:
        """Tokenizes with nanotoken from now on, where it is installed and knows this kind of tokenizer: it gives the
        same ids. It takes as long to load as `tokenizers` takes for 2,000 texts."""
        try:
            import nanotoken
        except ImportError:
            return
        try:
            self._nano = nanotoken.Tokenizer.from_json(self._json)
        except nanotoken.UnsupportedTokenizerError:
            return

    def one(self, text: str) -> Ids:
        """The ids (tokens,) int32 of one text."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters [start, stop) of each token of one text."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return spans

    def many(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """The ids of n texts one after the other, (tokens,) int32, and where each begins and the last ends (n + 1,)."""
        if self._nano is not None:
            rows = self._nano.encode_batch(texts, add_special_tokens=False)
            return rows.ids.view(np.int32), rows.offsets
        lists: list[list[int]] = []
        for part in by_characters(texts):
            lists += [found.ids for found in self._tokenizer.encode_batch_fast(part, add_special_tokens=False)]
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        return np.fromiter(itertools.chain.from_iterable(lists), np.int32, int(offsets[-1])), offsets


def by_characters(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in parts that are not too long to be tokenized at once; a long text is a part of its own."""
    part: list[str] = []
    characters = 0
    for text in texts:
        if part and characters + len(text) > TOKENIZE_CHARS:
            yield part
            part, characters = [], 0
        part.append(text)
        characters += len(text)
    if part:
        yield part
