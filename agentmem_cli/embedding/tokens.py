"""The token ids of texts, in one array."""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from nanotoken import Tokenizer as NanoTokenizer

TOKENIZE_CHARS: Final = 1_000_000  # bounds the tokenizer's memory, about 100 bytes per token

Ids: TypeAlias = NDArray[np.int32]
Offsets: TypeAlias = NDArray[np.int64]


class TokenIds:
    """A tokenizer without special tokens, padding and truncation; uses `tokenizers` or, faster, nanotoken."""

    def __init__(self, tokenizer_json: str) -> None:
        """Loads the content of a tokenizer.json. Raises a bare Exception of the library if it is invalid."""
        self._json = tokenizer_json
        self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._nano: NanoTokenizer | None = None

    def speed_up(self) -> None:
        """Switches to nanotoken if it is installed and supports this tokenizer; the ids are the same.

        Loading it takes as long as tokenizing 2,000 texts with `tokenizers`.
        """
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
        """The concatenated ids of n texts, (tokens,) int32, and their offsets (n + 1,)."""
        if self._nano is not None:
            rows = self._nano.encode_batch(texts, add_special_tokens=False)
            return rows.ids.view(np.int32), rows.offsets
        lists: list[list[int]] = []
        for part in by_characters(texts):
            lists += [encoding.ids for encoding in self._tokenizer.encode_batch_fast(part, add_special_tokens=False)]
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        return np.fromiter(itertools.chain.from_iterable(lists), np.int32, int(offsets[-1])), offsets


def by_characters(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in parts of bounded length, to tokenize at once; a longer text is a separate part."""
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
