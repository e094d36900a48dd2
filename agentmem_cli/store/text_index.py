"""The text index: an FTS5 table in `memories.db` of the words of each distinct text, filled by the same transactions.

It keeps which texts have a word, and neither the texts nor where in them it stands: a third of the bytes, and all
that the ranking uses. A text is scored by the words of the query that it has, each weighted by how rare it is among the
texts that match the filter: BM25 with k1 = 0 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.store.connection import Connection
from agentmem_cli.store.rows import Text
from agentmem_cli.store.tokenizing import Tokenizer, counts_of
from agentmem_cli.store.words import is_beginning, spaced, spaced_query, worth_asking

Ids: TypeAlias = NDArray[np.int64]

_COMMON_TEXTS: Final = 50_000  # a word that more texts have says little, and looking it up would take its time
_LOOKED_AT_TEXTS: Final = 400_000  # past so many, the rest of a long query is left out


class TextIndex:
    """The text index of one database, over a connection that is open to it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, texts: Sequence[Text]) -> None:
        """Takes texts in, within a transaction."""
        self._connection.change_many(
            "INSERT INTO words(rowid, text) VALUES (?, ?)", [(vector_id, spaced(text)) for vector_id, text in texts]
        )

    def remove(self, texts: Sequence[Text]) -> None:
        """Takes texts out, within a transaction: exactly those that were taken in under these ids."""
        self._connection.change_many(
            "INSERT INTO words(words, rowid, text) VALUES ('delete', ?, ?)",
            [(vector_id, spaced(text)) for vector_id, text in texts],
        )

    def fill(self) -> None:
        """Fills it anew from the memories, within a transaction."""
        self._connection.change("INSERT INTO words(words) VALUES ('delete-all')")
        for texts in self._stored_texts():
            self.add(texts)

    def shrink(self) -> None:
        """Merges its parts into one, within a transaction; until then the words of removed texts stay in the file."""
        self._connection.change("INSERT INTO words(words) VALUES ('optimize')")

    def is_whole(self) -> bool:
        """Whether it holds the words of the stored texts, and no others; to be asked within a snapshot."""
        connection = self._connection
        connection.change("CREATE VIRTUAL TABLE temp.held_words USING fts5vocab(main, words, instance)")
        held = connection.chunks("SELECT term, count(*), sum(doc) FROM temp.held_words GROUP BY term ORDER BY term")
        texts = ((vector_id, spaced(text)) for vector_id, text in chain.from_iterable(self._stored_texts()))
        return all(here == there for here, there in zip_longest(chain.from_iterable(held), counts_of(texts)))

    def scores(self, words: Sequence[str], last_id: int, matching: Ids | None) -> NDArray[np.float32]:
        """How much of a query each text has, (last_id + 1,) by vector id: 1 where all of its words, 0 where none.

        `words` are as `asked_for` gives them. One that none of the `matching` texts has (of all, where None) doesn't
        count.
        """
        texts = self._connection.one("SELECT count(*) FROM vectors") if matching is None else len(matching)
        scores = np.zeros(last_id + 1, dtype=np.float32)
        whole = 0.0
        for ids in self._looked_up(words, _Wanted.of(matching, last_id)):
            weight = math.log(1 + (texts - len(ids) + 0.5) / (len(ids) + 0.5))
            scores[ids] += weight
            whole += weight
        return np.minimum(scores / np.float32(whole), np.float32(1)) if whole else scores

    def _looked_up(self, words: Sequence[str], wanted: "_Wanted") -> Iterator[Ids]:
        """The wanted texts of each word; of words that very many texts have, only where there is no other."""
        common: list[Ids] = []
        looked_at = found = 0
        for word in words:
            if looked_at > _LOOKED_AT_TEXTS:
                break
            ids = self._holding(word, wanted)
            looked_at += len(ids)
            if len(ids) > _COMMON_TEXTS:
                common.append(ids)
            elif len(kept := wanted.of_these(ids)):
                found += 1
                yield kept
        if not found:
            yield from (kept for ids in common if len(kept := wanted.of_these(ids)))

    def _holding(self, word: str, wanted: "_Wanted") -> Ids:
        """The texts that have a word, the newest first; one more than `_COMMON_TEXTS` at most."""
        # One long string crosses into Python in a quarter of the time that as many rows take.
        rows = self._connection.read(
            "SELECT group_concat(rowid) FROM (SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
            " ORDER BY rowid DESC LIMIT ?)",
            (f'"{word}" *' if is_beginning(word) else f'"{word}"', wanted.first, wanted.last, _COMMON_TEXTS + 1),
        )
        return np.fromstring(rows[0][0] or "", dtype=np.int64, sep=",")

    def _stored_texts(self) -> Iterator[list[Text]]:
        """Each distinct text, with its vector's id."""
        return self._connection.chunks(
            "SELECT vector_id, text FROM memories WHERE typeof(text) = 'text' GROUP BY vector_id"
        )


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
        mask[matching[matching <= last_id]] = True
        return cls(int(matching.min(initial=last_id)), int(matching.max(initial=0)), mask)

    def of_these(self, ids: Ids) -> Ids:
        return ids if self.mask is None else ids[self.mask[ids]]


def asked_for(query: str, tokenizer: Tokenizer) -> list[str]:
    """The distinct words of a query that are worth looking up, longer ones first, as these tend to be rare.

    Words of one stem are one word.
    """
    words = tokenizer.words(spaced_query(query))
    worth = set(worth_asking([word for word, _ in words]))
    by_stem = {stem: word for word, stem in reversed(words) if word in worth}
    return sorted(by_stem.values(), key=lambda word: (-len(word), word))
