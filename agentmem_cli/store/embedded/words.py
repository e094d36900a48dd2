"""A text -> the words that the text index holds of it; and which words of a query are worth looking up."""

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Final, TypeAlias

# Written without spaces between words, or with what belongs to a word's grammar stuck to it: kana, Han, Hangul.
_UNSPACED: Final = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+"
)
# SQLite cuts a word at 32,768 bytes, be it within a character: so none may be that long.
_LONGEST_WORD: Final = 8000
_TOO_LONG: Final = re.compile(rf"\S{{{_LONGEST_WORD}}}")
# Words of English questions that say nothing of what is asked for, and what apostrophes leave behind.
STOP_WORDS: Final = frozenset(
    """a about after all also am an and any are as at be because been before being both but by can could d did do does
    doing down during each few for from further had has have having he her here hers herself him himself his how
    i if in into is it its itself just ll m me might more most must my myself no nor not now of off on once only
    or other our ours ourselves out over own re s same shall she should so some such t than that the their
    theirs them themselves then there these they this those through to too under until up ve very was we were
    what when where which while who whom whose why will with would you your yours yourself yourselves""".split()  # noqa: SIM905
)


def spaced(text: str) -> str:
    """The text as the index takes it in: compatible forms made one (NFKC), and where no spaces part the words, pairs of
    neighbouring characters in their place, the last character by itself.

    So each character begins exactly one word of the index: a pair is found as it is, one character as a beginning.
    """
    return _parted(text, _pairs)


def _pairs(run: re.Match[str]) -> str:
    characters = run.group()
    pairs = ["".join(pair) for pair in pairwise(characters)]
    return f" {' '.join([*pairs, characters[-1]])} "


def spaced_query(text: str) -> str:
    """The same for a query: of a run of several characters only the pairs are asked for."""
    return _parted(text, _query_pairs)


def _query_pairs(run: re.Match[str]) -> str:
    characters = run.group()
    pairs = ["".join(pair) for pair in pairwise(characters)] or [characters]
    return f" {' '.join(pairs)} "


def _parted(text: str, pairs: Callable[[re.Match[str]], str]) -> str:
    if not text.isascii():
        text = _UNSPACED.sub(pairs, unicodedata.normalize("NFKC", text))
    return text if len(text) < _LONGEST_WORD else _TOO_LONG.sub(r"\g<0> ", text)


def is_beginning(word: str) -> bool:
    """Whether a query's word is one character of a script without spaces: then all words that begin so are meant."""
    return len(word) == 1 and _UNSPACED.fullmatch(word) is not None


def worth_asking(words: list[str]) -> list[str]:
    """The words of a query that say something, or all of them where none does."""
    return [word for word in words if word not in STOP_WORDS] or words


PLAIN: Final = "unicode61 remove_diacritics 2"
STEMMED: Final = f"porter {PLAIN}"
# Without the texts, how long they are, and where in them a word stands: see `text_index.py`.
INDEX: Final = f"fts5(text, content='', columnsize=0, detail=none, tokenize='{STEMMED}')"
# How many texts and words FTS5 counts in an index; it refuses to take out more. Of none it may keep nothing.
TOTALS: Final = "SELECT CASE block WHEN x'0000' THEN x'' ELSE block END FROM {}_data WHERE id = 1"

Totals: TypeAlias = list[tuple[bytes]]
Counts: TypeAlias = Iterator[tuple[str, int, int]]  # a stem, in how many texts it is, the sum of their ids


class Tokenizer:
    """Words as the text index has them, by way of small tables in memory. Not for several threads at once."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for name, tokenizer in (("plain", PLAIN), ("stemmed", STEMMED)):
            self._connection.execute(f"CREATE VIRTUAL TABLE {name} USING fts5(text, tokenize='{tokenizer}')")
            self._connection.execute(f"CREATE VIRTUAL TABLE {name}_words USING fts5vocab({name}, instance)")

    def words(self, text: str) -> list[tuple[str, str]]:
        """The words of a text in their order, lower-case and without accents, each with its stem."""
        return list(zip(self._of("plain", text), self._of("stemmed", text), strict=True))

    def _of(self, table: str, text: str) -> list[str]:
        # It replaces the last text, so that an interrupt between the two steps leaves nothing in the way.
        self._connection.execute(f"INSERT OR REPLACE INTO {table}(rowid, text) VALUES (1, ?)", (text,))
        words = self._connection.execute(f"SELECT term FROM {table}_words ORDER BY offset").fetchall()
        return [word for (word,) in words]


@contextmanager
def held_of(texts: Iterable[tuple[int, str]]) -> Iterator[tuple[Totals, Counts]]:
    """What a text index of these texts, by id, holds."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"CREATE VIRTUAL TABLE held USING {INDEX}")
        connection.execute("CREATE VIRTUAL TABLE held_words USING fts5vocab(held, instance)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO held(rowid, text) VALUES (?, ?)", texts)
        connection.execute("COMMIT")
        totals = connection.execute(TOTALS.format("held")).fetchall()
        yield totals, connection.execute("SELECT term, count(*), sum(doc) FROM held_words GROUP BY term")
