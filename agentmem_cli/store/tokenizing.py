"""SQLite's own tokenizer, asked for the words of a text: the only way to be sure that they are the index's."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Final

PLAIN: Final = "unicode61 remove_diacritics 2"
STEMMED: Final = f"porter {PLAIN}"


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
        self._connection.execute(f"INSERT INTO {table}(rowid, text) VALUES (1, ?)", (text,))
        words = self._connection.execute(f"SELECT term FROM {table}_words ORDER BY offset").fetchall()
        self._connection.execute(f"DELETE FROM {table}")
        return [word for (word,) in words]


def counts_of(texts: Iterable[tuple[int, str]]) -> Iterator[tuple[str, int, int]]:
    """What a text index of these texts, by id, holds: each stem, ascending, in how many it is, the sum of their ids."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"CREATE VIRTUAL TABLE held USING fts5(text, content='', detail=none, tokenize='{STEMMED}')")
        connection.execute("CREATE VIRTUAL TABLE held_words USING fts5vocab(held, instance)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO held(rowid, text) VALUES (?, ?)", texts)
        yield from connection.execute("SELECT term, count(*), sum(doc) FROM held_words GROUP BY term ORDER BY term")
