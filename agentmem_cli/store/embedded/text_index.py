"""The text index: an FTS5 table in `memories.db` of the words of each distinct text, filled by the same transactions.

It keeps which texts have a word, and neither the texts nor where in them it stands: a third of the bytes, and all
that the ranking uses. A text is scored by the words of the query that it has, each weighted by how rare it is among the
texts that match the filter: BM25 with k1 = 0 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.errors import StoreBusyError, StoreDamagedError, StoreError, StoreWriteError
from agentmem_cli.store.embedded.connection import Connection
from agentmem_cli.store.embedded.rows import Text
from agentmem_cli.store.embedded.schema import TEXT_INDEX
from agentmem_cli.store.embedded.words import (
    TOTALS,
    Counts,
    Tokenizer,
    held_of,
    is_beginning,
    spaced,
    spaced_query,
    worth_asking,
)
from agentmem_cli.support.safe_text import printable

Ids: TypeAlias = NDArray[np.int64]

_COMMON_TEXTS: Final = 50_000  # a word that more texts have says little, and looking it up would take its time
_LOOKED_AT_TEXTS: Final = 400_000  # past so many, the rest of a long query is left out
_PARTS: Final = ("data", "idx", "docsize", "config")  # the tables that FTS5 keeps an index in


class TextIndex:
    """The text index of one database, over a connection that is open to it.

    Raises StoreDamagedError where the index can't be used; it can be rebuilt from the memories, so nothing is lost.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, texts: Sequence[Text]) -> None:
        """Takes texts in, within a transaction."""
        rows = [(vector_id, spaced(text)) for vector_id, text in texts]
        with self._damage_named():
            self._connection.change_many("INSERT INTO words(rowid, text) VALUES (?, ?)", rows)

    def remove(self, texts: Sequence[Text]) -> None:
        """Takes texts out, within a transaction: exactly those that were taken in under these ids."""
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
        except StoreError:  # SQLite doesn't drop what it can't open: then its name is struck out
            self._connection.change("PRAGMA writable_schema = ON")
            self._connection.change("DELETE FROM sqlite_master WHERE name = 'words'")
            self._connection.change("PRAGMA writable_schema = RESET")
        for part in _PARTS:
            self._connection.change(f"DROP TABLE IF EXISTS words_{part}")

    def shrink(self) -> None:
        """Merges its parts into one, within a transaction; until then the words of removed texts stay in the file."""
        with self._damage_named():
            self._connection.change("INSERT INTO words(words) VALUES ('optimize')")

    def is_whole(self) -> bool:
        """Whether it holds the words of the stored texts, and no others; to be asked within a snapshot."""
        texts = ((vector_id, spaced(text)) for vector_id, text in chain.from_iterable(self._stored_texts()))
        try:
            with held_of(texts) as (totals, counts), self._damage_named():
                return self._connection.read(TOTALS.format("words")) == totals and self._holds(counts)
        except StoreDamagedError:
            return False

    def _holds(self, counts: Counts) -> bool:
        connection, found = self._connection, 0
        connection.change("CREATE VIRTUAL TABLE temp.held_words USING fts5vocab(main, words, instance)")
        for word, *wanted in counts:  # each looked up, as a search does
            (held,) = connection.read("SELECT count(*), sum(doc) FROM temp.held_words WHERE term = ?", (word,))
            if list(held) != wanted:
                return False
            found += held[0]
        return found == connection.one("SELECT count(*) FROM temp.held_words")

    def scores(self, words: Sequence[str], last_id: int, matching: Ids | None) -> NDArray[np.float32]:
        """How much of a query each text has, (last_id + 1,) by vector id: 1 where all of its words, 0 where none.

        `words` are as `asked_for` gives them. One that none of the `matching` texts has (of all, where None) counts
        too, as the rarest: what has the one word of many that is there has little of the query.
        """
        texts = self._connection.one("SELECT count(*) FROM vectors") if matching is None else len(matching)
        scores = np.zeros(last_id + 1, dtype=np.float32)
        whole = np.float32(0)  # as the scores are, so that all of the words are 1 exactly
        for ids in self._looked_up(words, _Wanted.of(matching, last_id)):
            weight = np.float32(math.log(1 + (texts - len(ids) + 0.5) / (len(ids) + 0.5)))
            scores[ids] += weight
            whole += weight
        return scores / whole if whole else scores

    def _looked_up(self, words: Sequence[str], wanted: "_Wanted") -> Iterator[Ids]:
        """The wanted texts of each word, or none; of words that very many texts have, only where there is no other."""
        common: list[Ids] = []
        looked_at = found = 0
        for word in words:
            if looked_at > _LOOKED_AT_TEXTS:
                break
            ids = self._holding(word, wanted)
            looked_at += len(ids)
            if len(ids) > _COMMON_TEXTS:
                common.append(ids)
            else:
                kept = wanted.of_these(ids)
                found += len(kept)
                yield kept
        if not found:
            yield from map(wanted.of_these, common)

    def _holding(self, word: str, wanted: "_Wanted") -> Ids:
        """The texts that have a word, the newest first; one more than `_COMMON_TEXTS` at most."""
        # One long string crosses into Python in a quarter of the time that as many rows take.
        with self._damage_named():
            rows = self._connection.read(
                "SELECT group_concat(rowid) FROM (SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
                " ORDER BY rowid DESC LIMIT ?)",
                (f'"{word}" *' if is_beginning(word) else f'"{word}"', wanted.first, wanted.last, _COMMON_TEXTS + 1),
            )
        return np.fromstring(rows[0][0] or "", dtype=np.int64, sep=",")

    def _stored_texts(self) -> Iterator[list[Text]]:
        """Each distinct text, with its vector's id; damaged rows, which `verify` names, have none."""
        # As bytes: of a text that isn't UTF-8, SQLite's own conversion would stop it all.
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which texts a search wants: by id, between two ids."""

    first: int
    last: int
    mask: NDArray[np.bool_] | None

    @classmethod
    def of(cls, matching: Ids | None, last_id: int) -> "_Wanted":
        if matching is None:
            return cls(0, last_id, None)
        mask = np.zeros(last_id + 1, dtype=np.bool_)
        matching = matching[(matching >= 0) & (matching <= last_id)]  # a damaged row may say anything
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


def asked_for(query: str, tokenizer: Tokenizer) -> list[str]:
    """The distinct words of a query that are worth looking up, longer ones first, as these tend to be rare.

    Words of one stem are one word.
    """
    words = tokenizer.words(spaced_query(query))
    worth = set(worth_asking([word for word, _ in words]))
    by_stem = {stem: word for word, stem in reversed(words) if word in worth}
    return sorted(by_stem.values(), key=lambda word: (-len(word), word))
