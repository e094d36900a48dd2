"""Why scores are what they are: other ways to weigh words, and to join them with meaning, on labelled questions.

    python -m tests.perf.fusion_choices MEMORIES.jsonl QUERIES.jsonl [--model NAME]

Everything is scored exactly, within the question's user, in memory. Prints nDCG@10 / recall@10 without neighbours, and
with a fifth lent between neighbours in a run. Memories of equal score stand as they arrived.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli import Memory
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import embed_checked, embed_queries_checked
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.search.evaluation import ndcg_at, recall_at
from agentmem_cli.search.query import LabelledQuery, read_queries
from agentmem_cli.store.embedded.text_index import asked_for
from agentmem_cli.store.embedded.words import Tokenizer, spaced

Scores: TypeAlias = NDArray[np.float64]
Fuse: TypeAlias = Callable[[Scores, Scores], Scores]
SHARE = 0.2
K = 10


class Words:
    """How often each memory has each stem."""

    def __init__(self, memories: Sequence[Memory], *, counts_unknown: bool) -> None:
        self._counts_unknown = counts_unknown
        self.tokenizer = Tokenizer()
        stems = [[stem for _, stem in self.tokenizer.words(spaced(memory.text))] for memory in memories]
        self._lengths = np.array([len(words) for words in stems], dtype=np.float64)
        self._held: dict[str, dict[int, int]] = {}
        for number, words in enumerate(stems):
            for word in words:
                counts = self._held.setdefault(word, {})
                counts[number] = counts.get(number, 0) + 1

    def scores(self, query: str, among: NDArray[np.int64], k1: float, b: float) -> tuple[Scores, float]:
        """The BM25 of each of these memories, with weights by how rare a word is among them; and the most it can be."""
        place = {int(number): i for i, number in enumerate(among)}
        scores, most = np.zeros(len(among)), 0.0
        lengths = self._lengths[among] / self._lengths.mean()
        for word in asked_for(query, self.tokenizer):
            ((_, stem),) = self.tokenizer.words(word)[:1]
            held = [(place[i], times) for i, times in self._held.get(stem, {}).items() if i in place]
            if held:
                weight = math.log(1 + (len(among) - len(held) + 0.5) / (len(held) + 0.5))
                where, times = (np.array(part) for part in zip(*held, strict=True))
                scores[where] += weight * times * (k1 + 1) / (times + k1 * (1 - b + b * lengths[where]))
                most += weight
            elif self._counts_unknown:
                most += math.log(1 + (len(among) + 0.5) / 0.5)
        return scores, most or 1.0


def main() -> None:
    """Scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("memories")
    parser.add_argument("queries")
    parser.add_argument("--model")
    arguments = parser.parse_args()
    memories = [parse_memory(line) for line in Path(arguments.memories).read_bytes().splitlines()]
    queries = [query for query in read_queries(arguments.queries) if query.relevant]
    embedder = catalog.load(catalog.resolve(ModelChoice(arguments.model)))
    vectors = embed_checked(embedder, [memory.text for memory in memories]).vectors
    cosines = embed_queries_checked(embedder, [query.query.text for query in queries]) @ vectors.T
    trial = Trial(memories, queries, cosines.astype(np.float64))
    print(f"{len(queries)} queries, {embedder.spec.name}: nDCG@10 / recall@10, and with neighbours")
    for k1, b in ((1.2, 0.75), (0.9, 0.4), (1.2, 0.0), (0.0, 0.0)):
        trial.show(f"words alone, k1 {k1:g}, b {b:g}", lambda cosine, text: text, k1, b)
    trial.show("meaning alone", lambda cosine, text: cosine)
    for name, fuse in FUSIONS.items():
        trial.show(name, fuse)
    trial = Trial(memories, queries, cosines.astype(np.float64), counts_unknown=False)
    trial.show("ours, but for words that none has", FUSIONS["half each, absolute (ours)"])


def _rescaled(scores: Scores) -> Scores:
    spread = scores.max() - scores.min()
    return (scores - scores.min()) / spread if spread else scores * 0


def _reciprocal_ranks(scores: Scores) -> Scores:
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return 1 / (60 + ranks)


FUSIONS: Mapping[str, Fuse] = {
    "reciprocal ranks": lambda cosine, text: _reciprocal_ranks(cosine) + _reciprocal_ranks(text),
    "half each, rescaled (min-max)": lambda cosine, text: (_rescaled(cosine) + _rescaled(text)) / 2,
    "half each, absolute (ours)": lambda cosine, text: (np.maximum(cosine, 0) + text) / 2,
    "0.4 meaning, 0.6 words": lambda cosine, text: 0.4 * np.maximum(cosine, 0) + 0.6 * text,
    "0.6 meaning, 0.4 words": lambda cosine, text: 0.6 * np.maximum(cosine, 0) + 0.4 * text,
    "half each, absolute, words squared": lambda cosine, text: (np.maximum(cosine, 0) + text**2) / 2,
}


class Trial:
    """Questions, and what each memory says of them."""

    def __init__(
        self,
        memories: Sequence[Memory],
        queries: Sequence[LabelledQuery],
        cosines: Scores,
        *,
        counts_unknown: bool = True,
    ) -> None:
        self._memories = memories
        self._queries = queries
        self._cosines = cosines
        self._words = Words(memories, counts_unknown=counts_unknown)
        self._follows = np.array(
            [a.run is not None and (a.run, a.scope.user_id) == (b.run, b.scope.user_id) for a, b in pairwise(memories)]
        )
        self._text = cache(self._text_uncached)

    def show(self, name: str, fuse: Fuse, k1: float = 0.0, b: float = 0.0) -> None:
        """Prints a line of figures."""
        print(f"{name:44}", *(self._figures(fuse, k1, b, share) for share in (0.0, SHARE)), sep="   ", flush=True)

    def _figures(self, fuse: Fuse, k1: float, b: float, share: float) -> str:
        ndcgs, recalls = [], []
        for number, query in enumerate(self._queries):
            among = self._among(query)
            scores = np.zeros(len(self._memories))
            scores[among] = fuse(self._cosines[number, among], self._text(number, k1, b))
            lent = scores.copy()
            lent[:-1] += share * scores[1:] * self._follows
            lent[1:] += share * scores[:-1] * self._follows
            best = among[np.argsort(-lent[among], kind="stable")[:K]]
            ranked = [(self._memories[i].id, -float(rank)) for rank, i in enumerate(best)]
            ndcgs.append(ndcg_at(K, ranked, query.relevant))
            recalls.append(recall_at(K, ranked, query.relevant))
        return f"{np.mean(ndcgs):.3f} / {np.mean(recalls):.3f}"

    def _text_uncached(self, number: int, k1: float, b: float) -> Scores:
        query = self._queries[number]
        scores, most = self._words.scores(query.query.text, self._among(query), k1, b)
        return scores / most

    def _among(self, query: LabelledQuery) -> NDArray[np.int64]:
        user = query.query.filter.scope.user_id
        return np.array([i for i, memory in enumerate(self._memories) if user is None or memory.scope.user_id == user])


if __name__ == "__main__":
    main()
