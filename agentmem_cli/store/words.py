"""A text -> its words in the text index; and which words of a query are worth looking up."""

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Scripts without spaces between words, or with particles attached to them: kana, Han, Hangul.
_UNSPACED: Final = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+"
)
# SQLite cuts a word at 32,768 bytes, even within a character, so words are split before that.
_LONGEST_WORD: Final = 8000
_TOO_LONG: Final = re.compile(rf"\S{{{_LONGEST_WORD}}}")
# The words of a text in ASCII, in lower case, as SQLite's unicode61 has them.
_ASCII_WORDS: Final = re.compile("[a-z0-9]+").findall
_MOST_KNOWN: Final = 100_000  # words whose stems stay known
_WORDS_A_TEXT: Final = 1000
# English words that carry no topic, and what apostrophes leave behind.
STOP_WORDS: Final = frozenset(
    """a about after all also am an and any are as at be because been before being both but by can could d did do does
    doing down during each few for from further had has have having he her here hers herself him himself his how
    i if in into is it its itself just ll m me might more most must my myself no nor not now of off on once only
    or other our ours ourselves out over own re s same shall she should so some such t than that the their
    theirs them themselves then there these they this those through to too under until up ve very was we were
    what when where which while who whom whose why will with would you your yours yourself yourselves""".split()  # noqa: SIM905
)


def spaced(text: str) -> str:
    """The text as it is indexed: in NFKC, with runs of scripts without spaces as pairs of neighbouring characters and
    the last character alone.

    So each character begins exactly one indexed word: a query's pair matches a word, and a single character a prefix.
    """
    return _parted(text, _pairs)


def _pairs(run: re.Match[str]) -> str:
    characters = run.group()
    pairs = ["".join(pair) for pair in pairwise(characters)]
    return f" {' '.join([*pairs, characters[-1]])} "


def spaced_query(text: str) -> str:
    """The same for a query: a run of several characters becomes its pairs alone."""
    return _parted(text, _query_pairs)


def _query_pairs(run: re.Match[str]) -> str:
    characters = run.group()
    pairs = ["".join(pair) for pair in pairwise(characters)] or [characters]
    return f" {' '.join(pairs)} "


def _parted(text: str, pairs: Callable[[re.Match[str]], str]) -> str:
    if not text.isascii():
        text = _UNSPACED.sub(pairs, unicodedata.normalize("NFKC", text))
    return text if len(text) < _LONGEST_WORD else _TOO_LONG.sub(r"\g<0> ", text)


def _is_plain(text: str) -> bool:
    """Whether a text's words are simply its runs of letters and digits."""
    return text.isascii() and len(text) < _LONGEST_WORD


def is_beginning(word: str) -> bool:
    """Whether a query's word is one character of a script without spaces, which matches as a prefix."""
    return len(word) == 1 and _UNSPACED.fullmatch(word) is not None


def worth_asking(words: list[str]) -> list[str]:
    """The words of a query without stop words, or all of them where nothing else is left."""
    return [word for word in words if word not in STOP_WORDS] or words


PLAIN: Final = "unicode61 remove_diacritics 2"
STEMMED: Final = f"porter {PLAIN}"
# Without texts, their lengths and positions: see `text_index.py`.
INDEX: Final = f"fts5(text, content='', columnsize=0, detail=none, tokenize='{STEMMED}')"
# FTS5's counts of texts and words in an index, below which it can't go. An empty index may have no row.
TOTALS: Final = "SELECT CASE block WHEN x'0000' THEN x'' ELSE block END FROM {}_data WHERE id = 1"

Totals: TypeAlias = list[tuple[bytes]]
Counts: TypeAlias = Iterator[tuple[str, int, int]]  # a stem, in how many texts it is, the sum of their ids


class Tokenizer:
    """Splits texts into words as the text index does, with small tables in memory. Not for several threads at once."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for name, tokenizer in (("plain", PLAIN), ("stemmed", STEMMED), ("counted", STEMMED)):
            self._connection.execute(f"CREATE VIRTUAL TABLE {name} USING fts5(text, tokenize='{tokenizer}')")
            self._connection.execute(f"CREATE VIRTUAL TABLE {name}_words USING fts5vocab({name}, instance)")
        self._stem_of: dict[str, str] = {}

    def counts(self, texts: Sequence[str], stems: Sequence[str]) -> NDArray[np.float32]:
        """How often each stem stands in each text: (texts, stems). A character of an unspaced script is a prefix."""
        counts = np.zeros((len(texts), len(stems)), dtype=np.float32)
        self._count(texts)
        for column, stem in enumerate(stems):
            last = f"{stem}\U0010ffff" if is_beginning(stem) else stem
            found = self._connection.execute(
                "SELECT doc, count(*) FROM counted_words WHERE term BETWEEN ? AND ? GROUP BY doc", (stem, last)
            )
            for row, count in found:
                counts[row, column] = count
        return counts

    def _count(self, texts: Sequence[str]) -> None:
        self._connection.execute("DELETE FROM counted")
        self._connection.execute("BEGIN")
        rows = ((i, spaced(text)) for i, text in enumerate(texts))
        self._connection.executemany("INSERT INTO counted(rowid, text) VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")

    def stems(self, texts: Sequence[str]) -> list[set[str]]:
        """The distinct stems of each text, as the text index has them."""
        if len(self._stem_of) > _MOST_KNOWN:
            self._stem_of.clear()
        words = [set(_ASCII_WORDS(text.lower())) if _is_plain(text) else None for text in texts]
        self._learn(set[str]().union(*filter(None, words)) - self._stem_of.keys())
        others = iter(self._split([text for text, plain in zip(texts, words, strict=True) if plain is None]))
        stem_of = self._stem_of.__getitem__
        return [next(others) if plain is None else set(map(stem_of, plain)) for plain in words]

    def _learn(self, words: Iterable[str]) -> None:
        """Asks for the stems of words, which stay known: asking for those of each text takes eight times as long."""
        new = list(words)
        for start in range(0, len(new), _WORDS_A_TEXT):
            part = new[start : start + _WORDS_A_TEXT]
            self._count([" ".join(part)])
            stems = self._connection.execute("SELECT term FROM counted_words ORDER BY offset")
            self._stem_of.update(zip(part, (stem for (stem,) in stems), strict=True))

    def _split(self, texts: Sequence[str]) -> list[set[str]]:
        if not texts:
            return []
        self._count(texts)
        stems: list[set[str]] = [set() for _ in texts]
        # Words have no spaces. One long string is read in a fraction of the time that the rows take.
        joined = self._connection.execute("SELECT doc, group_concat(term, ' ') FROM counted_words GROUP BY doc")
        for row, terms in joined:
            stems[row] = set(terms.split(" "))
        return stems

    def words(self, text: str) -> list[tuple[str, str]]:
        """The words of a text in order, in lower case and without accents, each with its stem."""
        return list(zip(self._of("plain", text), self._of("stemmed", text), strict=True))

    def _of(self, table: str, text: str) -> list[str]:
        # It replaces the last text, so an interrupt between the two steps does no harm.
        self._connection.execute(f"INSERT OR REPLACE INTO {table}(rowid, text) VALUES (1, ?)", (text,))
        words = self._connection.execute(f"SELECT term FROM {table}_words ORDER BY offset").fetchall()
        return [word for (word,) in words]


@contextmanager
def held_of(texts: Iterable[tuple[int, str]]) -> Iterator[tuple[Totals, Counts]]:
    """The content of a text index of these texts, by id."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"CREATE VIRTUAL TABLE held USING {INDEX}")
        connection.execute("CREATE VIRTUAL TABLE held_words USING fts5vocab(held, instance)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO held(rowid, text) VALUES (?, ?)", texts)
        connection.execute("COMMIT")
        totals = connection.execute(TOTALS.format("held")).fetchall()
        yield totals, connection.execute("SELECT term, count(*), sum(doc) FROM held_words GROUP BY term")
