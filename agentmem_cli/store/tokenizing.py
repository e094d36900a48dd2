"""SQLite's own tokenizer, asked for the words of a text: the only way to be sure that they are the index's."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Final, TypeAlias

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
