"""Which words of a query count, and the scores that they give to texts: as rare as a word is, and BM25."""

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.store.words import Tokenizer, is_beginning, spaced, spaced_query, worth_asking

Ids: TypeAlias = NDArray[np.int64]

_CHARACTER_SHARE: Final = 0.5  # of a character's weight in a script without spaces, beside its pairs
_B: Final = 0.75
_COUNTED: Final = 50  # texts whose words are counted, where memories are long


class QueryWord(NamedTuple):
    """A word of a query; its weight is `share` times that of a word as rare."""

    word: str
    stem: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class TextScores:
    """The shares of a query's words, by vector id; the ids, ascending, that have any; and the weights of the words."""

    shares: NDArray[np.float32]
    ids: Ids
    weights: Sequence[tuple[QueryWord, float]]

    @property
    def unspaced_weight(self) -> float:
        """The share of the weights that belongs to words of scripts without spaces."""
        whole = sum(weight for _, weight in self.weights)
        return sum(weight for word, weight in self.weights if is_beginning(word.word[0])) / whole if whole else 0.0

    def bm25(self, counts: NDArray[np.float32], lengths: NDArray[np.float32], k1: float) -> NDArray[np.float32]:
        """The BM25 scores (n,) of texts, as shares: `counts` (n, words) of the words, `lengths` (n,) over their mean.

        Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009.
        """
        weights = np.array([weight for _, weight in self.weights], dtype=np.float32)
        norm = k1 * (1 - _B + _B * lengths)
        scores = (counts * (k1 + 1) / (counts + norm[:, None])) @ weights
        shares: NDArray[np.float32] = scores / (weights.sum() or np.float32(1))
        return shares


class WordScores:
    """The scores that the words of a query give to the texts of one snapshot.

    Those of the last query are kept: a search asks for the best, then for others.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        look_up: Callable[[Sequence[QueryWord]], TextScores],
        texts_of: Callable[[Sequence[int]], Mapping[int, str]],
        mean_words: Callable[[], float],
    ) -> None:
        """`look_up` gives the shares of words, `texts_of` the texts of ids, and `mean_words` their mean length."""
        self._tokenizer = tokenizer
        self._look_up = look_up
        self._texts_of = texts_of
        self._mean_words = mean_words
        self._kept: tuple[str, TextScores] | None = None

    def best(self, query: str, n: int, k1: float) -> dict[int, float]:
        """See `Snapshot.best_texts`."""
        found = self._of(query, k1)
        ids = found.ids[best_first(found.shares[found.ids], n)]
        return dict(zip(ids.tolist(), found.shares[ids].tolist(), strict=True))

    def of_texts(self, query: str, text_ids: Sequence[int], k1: float) -> dict[int, float]:
        """See `Snapshot.text_scores`."""
        shares = self._of(query, k1).shares
        # A damaged row may have any number.
        return {i: float(shares[i]) if 0 <= i < len(shares) else 0.0 for i in text_ids}

    def unspaced_weight(self, query: str) -> float:
        """See `Snapshot.unspaced_weight`."""
        return self._of(query, 0.0).unspaced_weight

    def _of(self, query: str, k1: float) -> TextScores:
        if self._kept is None or self._kept[0] != query:
            scores = self._look_up(asked_for(query, self._tokenizer))
            if k1:
                self._count_words(scores, k1)
            self._kept = query, scores
        return self._kept[1]

    def _count_words(self, scores: TextScores, k1: float) -> None:
        """Gives the best texts their BM25 scores, for which their words are counted."""
        ids = scores.ids
        texts = self._texts_of(ids[best_first(scores.shares[ids], _COUNTED)].tolist())
        counts = self._tokenizer.counts(list(texts.values()), [word.stem for word, _ in scores.weights])
        lengths = np.array([len(spaced(text).split()) for text in texts.values()], dtype=np.float32)
        scores.shares[list(texts)] = scores.bm25(counts, lengths / max(self._mean_words(), 1.0), k1)


def weighed(found: Iterable[tuple[QueryWord, Ids]], last_id: int, texts: int) -> TextScores:
    """The share of a query's words that each text has, from the matching texts that each word is in.

    `texts` is the number of distinct texts that match, and `last_id` the highest of their ids.
    """
    shares = np.zeros(last_id + 1, dtype=np.float32)
    whole = np.float32(0)  # float32 as the scores, so that all words make exactly 1
    weighted: list[tuple[QueryWord, float]] = []
    for word, ids in found:
        weight = np.float32(word.share * math.log(1 + (texts - len(ids) + 0.5) / (len(ids) + 0.5)))
        shares[ids] += weight
        whole += weight
        weighted.append((word, float(weight)))
    return TextScores(shares / whole if whole else shares, np.flatnonzero(shares), weighted)


def asked_for(query: str, tokenizer: Tokenizer) -> list[QueryWord]:
    """The distinct words of a query that are worth looking up, longer ones first: they tend to be rarer.

    Words with the same stem count as one. In scripts without spaces, each character of a run is a word too, of less
    weight than the pairs.
    """
    words = tokenizer.words(spaced_query(query))
    worth = set(worth_asking([word for word, _ in words]))
    by_stem = {stem: word for word, stem in reversed(words) if word in worth}
    asked = [QueryWord(word, stem) for stem, word in by_stem.items()]
    asked.sort(key=lambda asked: (-len(asked.word), asked.word))
    known = {word for word, *_ in asked}
    characters = dict.fromkeys(filter(is_beginning, unicodedata.normalize("NFKC", query)))
    return asked + [QueryWord(c, c, _CHARACTER_SHARE) for c in characters if c not in known]


def best_first(scores: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """The places of the n highest scores, among equals those of the lowest places; in no order."""
    if len(scores) <= n:
        return np.arange(len(scores))
    last = np.partition(scores, len(scores) - n)[len(scores) - n]
    better = np.flatnonzero(scores > last)
    return np.concatenate([better, np.flatnonzero(scores == last)[: n - len(better)]])
