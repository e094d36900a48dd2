"""Which words of a query count, and the scores that they give to texts: as rare as a word is, and BM25."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.store.words import Tokenizer, is_beginning, spaced_query, worth_asking

Ids: TypeAlias = NDArray[np.int64]

_CHARACTER_SHARE: Final = 0.5  # of a character's weight in a script without spaces, beside its pairs
_B: Final = 0.75


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
