"""The token ids of texts, in one array.

Three ways give the same ids. `tokenizers` reads whole texts. Or words that were seen are looked up, and `tokenizers`
reads only the others. Or nanotoken reads whole texts, where it is installed (the extra `fast`).
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

if TYPE_CHECKING:
    from nanotoken import Tokenizer as NanoTokenizer

TOKENIZE_CHARS: Final = 1_000_000  # bounds the tokenizer's memory, about 100 bytes per token
_KEPT_CHARS: Final = 500_000  # of words: some 60,000 of English, in 8 MB

Ids: TypeAlias = NDArray[np.int32]
Offsets: TypeAlias = NDArray[np.int64]

SAMPLES: Final = (
    "Maya is allergic to cashews and pistachios; the clinic retested her in 2023.",
    "It's 9:30, isn't it? e-mail: ren@example.org, $4.50 (50%) #tag a_b C++ <br> [x] {y} ~`^|\\",
    "Café naïve Ångström İstanbul ΟΔΟΣ ﬁne e\u0301a straße Ünïcödé",
    "她对腰果过敏 東京タワー 서울 नमस्ते שלום مرحبا 🙂👩\u200d🚀 𓀀",
    "tab\tline\r\nno\u00a0break\u2028end\x00nul\x0bvt\x0cff\x1ffs\x85nel\ufeffbom\ufffd\u00ad",
    "[CLS] a[SEP]b [PAD][UNK] [MASK] [cls]",
    f"{'x' * 100} {'y' * 101} supercalifragilisticexpialidocious zzqqj 12345678901234567890",
    "",
)
# Control characters: the tokenizer ignores them all, `str.split` takes these for spaces, and not the one below.
_SPACES_OF_SPLIT: Final = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
_CONTROL: Final = "\x01"
_TEXT_ENDS: Final = "\x00"  # a word of its own
_TEXT_ENDS_ID: Final = np.int32(-1).tobytes()

_log: Final = logging.getLogger("agentmem")


class TokenIds:
    """A tokenizer without special tokens, padding and truncation."""

    def __init__(self, tokenizer_json: str) -> None:
        """Loads the content of a tokenizer.json. Raises a bare Exception of the library if it is invalid."""
        self._json = tokenizer_json
        self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._words = _Words(self._tokenizer) if _Words.can_read(self._tokenizer) else None
        self._nano: NanoTokenizer | None = None

    def speed_up(self) -> None:
        """Switches to nanotoken if it is installed, supports this tokenizer and gives the same ids for SAMPLES.

        Loading it takes as long as tokenizing some 2,000 texts without it. Warns if its ids differ.
        """
        try:
            import nanotoken
        except ImportError:
            return
        try:
            nano = nanotoken.Tokenizer.from_json(self._json)
        except nanotoken.UnsupportedTokenizerError:
            return
        (ids, offsets), (right_ids, right_offsets) = _read_by(nano, SAMPLES), self._read_whole(SAMPLES)
        if np.array_equal(ids, right_ids) and np.array_equal(offsets, right_offsets):
            self._nano = nano
        else:
            _log.warning(
                "agentmem: warning: nanotoken is not used, because it gives other tokens than tokenizers: "
                "install the right version with: pip install 'agentmem-cli[fast]'"
            )

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
            return _read_by(self._nano, texts)
        if self._words is not None:
            return self._words.many(texts)
        return self._read_whole(texts)

    def _read_whole(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        lists: list[list[int]] = []
        for part in by_characters(texts):
            lists += [encoding.ids for encoding in self._tokenizer.encode_batch_fast(part, add_special_tokens=False)]
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        return np.fromiter(itertools.chain.from_iterable(lists), np.int32, int(offsets[-1])), offsets


def _read_by(nano: "NanoTokenizer", texts: Sequence[str]) -> tuple[Ids, Offsets]:
    rows = nano.encode_batch(texts, add_special_tokens=False)
    return rows.ids.view(np.int32), rows.offsets


class _Words:
    """The ids of words that were seen, for a tokenizer that reads a word between spaces as if it were alone.

    BERT's tokenizer is one. Texts are split into words in C, and most of their words were in earlier texts.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids_of: dict[str, bytes] = {_TEXT_ENDS: _TEXT_ENDS_ID}
        self._seen_chars = 0  # in the words of _ids_of

    @staticmethod
    def can_read(tokenizer: Tokenizer) -> bool:
        """Whether a tokenizer reads a word between spaces as if it were alone, and drops control characters."""
        return (
            isinstance(tokenizer.normalizer, BertNormalizer)
            and tokenizer.normalizer.clean_text is True
            and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
            and all(len(token.content.split()) == 1 for token in tokenizer.get_added_tokens_decoder().values())
        )

    def many(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """As TokenIds.many."""
        ids = np.frombuffer(b"".join(map(self._ids, by_characters(texts))), dtype=np.int32)
        ends = np.flatnonzero(ids < 0)
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        offsets[1:] = ends - np.arange(len(texts))
        return ids[ids >= 0], offsets

    def _ids(self, texts: list[str]) -> bytes:
        """The ids of texts as int32; -1 ends each text."""
        if self._seen_chars > _KEPT_CHARS:
            self._ids_of, self._seen_chars = {_TEXT_ENDS: _TEXT_ENDS_ID}, 0
        ids_of = self._ids_of  # another thread may begin a new one
        words = _words(texts)
        try:
            return b"".join(map(ids_of.__getitem__, words))
        except KeyError:
            new = list(set(words).difference(ids_of))
            ids_of.update(zip(new, self._ids_of_each(new), strict=True))
            self._seen_chars += sum(map(len, new))
            return b"".join(map(ids_of.__getitem__, words))

    def _ids_of_each(self, words: list[str]) -> Iterator[bytes]:
        """The ids of each word as int32, read as one text, which takes two thirds of the time of many."""
        encoding = self._tokenizer.encode(words, is_pretokenized=True, add_special_tokens=False)
        ids = np.array(encoding.ids, dtype=np.int32).tobytes()
        tokens = np.bincount(np.array(encoding.word_ids, dtype=np.int64), minlength=len(words))
        ends = np.cumsum(tokens * np.dtype(np.int32).itemsize).tolist()
        return (ids[start:end] for start, end in itertools.pairwise([0, *ends]))


def _words(texts: Sequence[str]) -> list[str]:
    """The words of texts between spaces, with _TEXT_ENDS after each text."""
    joined = "".join([f"{text.replace(_TEXT_ENDS, _CONTROL)} {_TEXT_ENDS} " for text in texts])
    for character in _SPACES_OF_SPLIT:
        joined = joined.replace(character, _CONTROL)
    return joined.split()


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
