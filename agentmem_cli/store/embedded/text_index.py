"""The text index: an FTS5 table in `memories.db` with the words of each distinct text, filled by the same transactions.

It records which texts contain a word, not the texts or positions: a third of the bytes, and all that the ranking uses.
A text is scored by the words of the query that it has, each weighted by how rare it is among the texts that match the
filter: BM25 with k1 = 0 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009).
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.errors import StoreBusyError, StoreDamagedError, StoreError, StoreWriteError
from agentmem_cli.store.embedded.connection import Connection
from agentmem_cli.store.embedded.schema import TEXT_INDEX
from agentmem_cli.store.rows import Text
from agentmem_cli.store.word_scores import Ids, QueryWord, TextScores, weighed
from agentmem_cli.store.words import (
    TOTALS,
    Counts,
    held_of,
    is_beginning,
    spaced,
)
from agentmem_cli.support.safe_text import printable

_Key: TypeAlias = tuple[str, int, int]  # a word, and the first and the last text that may match

COMMON_TEXTS: Final = 50_000  # a more frequent word says little, and its look-up takes long
LOOKED_AT_TEXTS: Final = 400_000  # after this many, the rest of a long query is ignored
KEPT_BYTES: Final = 64 << 20  # of looked-up words: queries share them, and a common one takes milliseconds
_PARTS: Final = ("data", "idx", "docsize", "config")  # the tables that FTS5 keeps an index in


class TextIndex:
    """The text index of one database.

    Raises StoreDamagedError where the index can't be used. It can be rebuilt from the memories.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._postings = _Postings()

    def add(self, texts: Sequence[Text]) -> None:
        """Adds texts, within a transaction."""
        rows = [(vector_id, spaced(text)) for vector_id, text in texts]
        with self._damage_named():
            self._connection.change_many("INSERT INTO words(rowid, text) VALUES (?, ?)", rows)

    def remove(self, texts: Sequence[Text]) -> None:
        """Removes texts, within a transaction: exactly those that were added with these ids."""
        rows = [(vector_id, spaced(text)) for vector_id, text in texts]
        with self._damage_named():
            self._connection.change_many("INSERT INTO words(words, rowid, text) VALUES ('delete', ?, ?)", rows)

    def make(self) -> None:
        """Rebuilds it from the memories, within a transaction."""
        self._drop()
        self._connection.change(TEXT_INDEX)
        for texts in self._stored_texts():
            self.add(texts)

    def _drop(self) -> None:
        try:
            self._connection.change("DROP TABLE IF EXISTS words")
        except StoreError:  # SQLite can't drop what it can't open: remove its row of the schema
            self._connection.change("PRAGMA writable_schema = ON")
            self._connection.change("DELETE FROM sqlite_master WHERE name = 'words'")
            self._connection.change("PRAGMA writable_schema = RESET")
        for part in _PARTS:
            self._connection.change(f"DROP TABLE IF EXISTS words_{part}")

    def shrink(self) -> None:
        """Merges its segments, within a transaction: until then the words of removed texts stay in the file."""
        with self._damage_named():
            self._connection.change("INSERT INTO words(words) VALUES ('optimize')")

    def is_whole(self) -> bool:
        """Whether it holds exactly the words of the stored texts. Call it within a snapshot."""
        texts = ((vector_id, spaced(text)) for vector_id, text in chain.from_iterable(self._stored_texts()))
        try:
            with held_of(texts) as (totals, counts), self._damage_named():
                return self._connection.read(TOTALS.format("words")) == totals and self._holds(counts)
        except StoreDamagedError:
            return False

    def _holds(self, counts: Counts) -> bool:
        connection, found = self._connection, 0
        connection.change("CREATE VIRTUAL TABLE temp.held_words USING fts5vocab(main, words, instance)")
        for word, *wanted in counts:  # each is looked up, as in a search
            (held,) = connection.read("SELECT count(*), sum(doc) FROM temp.held_words WHERE term = ?", (word,))
            if list(held) != wanted:
                return False
            found += held[0]
        return found == connection.one("SELECT count(*) FROM temp.held_words")

    def scores(self, words: Sequence[QueryWord], last_id: int, matching: Ids | None, texts: int) -> "TextScores":
        """The share of a query's words that each text has, and what their weights were.

        `words` come from `asked_for`; `texts` is the number of distinct texts that match. A word that none of them has
        counts as the rarest: a text with the only known word of many has a small share of the query.
        """
        return weighed(self._looked_up(words, _Wanted.of(matching, last_id)), last_id, texts)

    def _looked_up(self, words: Sequence[QueryWord], wanted: "_Wanted") -> Iterator[tuple[QueryWord, Ids]]:
        """The matching texts of each word. Very common words count only where no other word is found."""
        self._postings.check(self._connection.version())
        common: list[tuple[QueryWord, Ids]] = []
        looked_at = found = 0
        for word in words:
            if looked_at > LOOKED_AT_TEXTS:
                break
            ids = self._holding(word.word, wanted)
            looked_at += len(ids)
            if len(ids) > COMMON_TEXTS:
                common.append((word, ids))
            else:
                kept = wanted.of_these(ids)
                found += len(kept)
                yield word, kept
        if not found:
            yield from ((word, wanted.of_these(ids)) for word, ids in common)

    def _holding(self, word: str, wanted: "_Wanted") -> Ids:
        """As `_read`, or what that returned before."""
        key = (word, wanted.first, wanted.last)
        ids = self._postings.get(key)
        if ids is None:
            ids = self._read(word, wanted)
            self._postings.keep(key, ids)
        return ids

    def _read(self, word: str, wanted: "_Wanted") -> Ids:
        """The texts that have a word, newest first, up to `COMMON_TEXTS` + 1 of them."""
        # One long string is read in a quarter of the time that the rows take.
        with self._damage_named():
            rows = self._connection.read(
                "SELECT group_concat(rowid) FROM (SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
                " ORDER BY rowid DESC LIMIT ?)",
                (f'"{word}" *' if is_beginning(word) else f'"{word}"', wanted.first, wanted.last, COMMON_TEXTS + 1),
            )
        return np.fromstring(rows[0][0] or "", dtype=np.int64, sep=",")

    def _stored_texts(self) -> Iterator[list[Text]]:
        """Each distinct text with the id of its vector; damaged rows, which `verify` names, are left out."""
        # As bytes: one text that is not UTF-8 would stop SQLite's conversion.
        for rows in self._connection.pages(
            "SELECT vector_id, CAST(text AS BLOB) FROM memories"
            " WHERE typeof(vector_id) = 'integer' AND typeof(text) = 'text' GROUP BY vector_id"
        ):
            yield [(vector_id, text.decode()) for vector_id, text in rows if _is_utf8(text)]

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (StoreBusyError, StoreWriteError):
            raise
        except StoreError as error:
            raise StoreDamagedError(
                f"the text index in {self._connection.path} is damaged ({printable(str(error.__cause__))}): "
                "'agentmem verify --repair' rebuilds it"
            ) from error


class _Postings:
    """The texts of the words that were looked up last, as of one version of the database."""

    def __init__(self) -> None:
        self._version = (-1, -1)
        self._kept: OrderedDict[_Key, Ids] = OrderedDict()
        self._bytes = 0

    def check(self, version: tuple[int, int]) -> None:
        """Forgets what was read of another version."""
        if version != self._version:
            self._kept.clear()
            self._bytes = 0
            self._version = version

    def get(self, key: _Key) -> Ids | None:
        """The texts of a word, if they are kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: _Key, ids: Ids) -> None:
        """Keeps the texts of a word, and in all no more than `KEPT_BYTES`."""
        self._kept[key] = ids
        self._bytes += ids.nbytes
        while self._bytes > KEPT_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The texts that match a filter, as a mask between two ids."""

    first: int
    last: int
    mask: NDArray[np.bool_] | None

    @classmethod
    def of(cls, matching: Ids | None, last_id: int) -> "_Wanted":
        if matching is None:
            return cls(0, last_id, None)
        mask = np.zeros(last_id + 1, dtype=np.bool_)
        matching = matching[(matching >= 0) & (matching <= last_id)]  # a damaged row may have any number
        mask[matching] = True
        return cls(int(matching.min(initial=last_id)), int(matching.max(initial=0)), mask)

    def of_these(self, ids: Ids) -> Ids:
        return ids if self.mask is None else ids[self.mask[ids]]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
