"""What a search sees of an embedded store: its memories, words and vectors as of one moment, through one filter."""

from collections.abc import Sequence
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.records.memory import Memory
from agentmem_cli.store.base import Candidate, Neighbours, Sample, TextScore, Vector, Vectors
from agentmem_cli.store.embedded.database import Database
from agentmem_cli.store.embedded.filters import Selection
from agentmem_cli.store.embedded.graph import Graph, Labels, Scores, best_of, exact_nearest
from agentmem_cli.store.word_scores import QueryWord, TextScores, WordScores
from agentmem_cli.store.words import Tokenizer

# A walk through the graph takes as long as a scan of 1,500 vectors where all match, and ten times as long where one in
# ten does. A scan finds all, in constant time; a walk far from what matches takes up to thirty times as long.
WALK_VECTORS: Final = 4000


Matching: TypeAlias = NDArray[np.int64]  # sorted vector ids of the memories that match


def matching_ids(reader: Database, selection: Selection) -> Matching | None:
    """The vector ids of the memories that match, ascending, each once; None where none is left out."""
    return reader.memories.vector_ids(selection) if selection else None


def nearest_vectors(
    reader: Database, graph: Graph | None, query: Vector, k: int, matching: Matching | None
) -> tuple[Labels, Scores]:
    """The k vectors nearest to a query (dim,) of those that match, and their cosines, best first.

    Without a filter, vectors of removed texts may be among them.
    """
    if matching is not None and (graph is None or not is_walk_shorter(len(matching), len(graph))):
        return best_of(matching, cosines(reader, graph, query, matching), k)
    from_graph = None if graph is None else graph.search(query, k, _mask(matching, graph.last_label))
    last = 0 if graph is None or from_graph is None else graph.last_label
    if matching is None:
        labels, scores = exact_nearest(query, reader.vectors.all(after=last), k)
    else:
        labels = matching[np.searchsorted(matching, last, side="right") :]
        scores = cosines(reader, graph, query, labels)
    if from_graph is not None:
        labels, scores = np.concatenate([from_graph[0], labels]), np.concatenate([from_graph[1], scores])
    return best_of(labels, scores, k)


def is_walk_shorter(matching: int, vectors: int) -> bool:
    """Whether a filtered walk through a graph of this size is faster than a scan of all that match."""
    return matching * matching > WALK_VECTORS * vectors


def cosines(reader: Database, graph: Graph | None, query: Vector, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """The cosines of a query (dim,) with the vectors of these ids, in their order; exact."""
    if graph is None:
        return _stored_cosines(reader, query, ids)
    newer = ids > graph.last_label
    from_file = graph.cosines(query, ids[~newer])
    if from_file is None:
        return _stored_cosines(reader, query, ids)
    scores = np.empty(len(ids), dtype=np.float32)
    scores[~newer], scores[newer] = from_file, _stored_cosines(reader, query, ids[newer])
    return scores


def _stored_cosines(reader: Database, query: Vector, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    scores = np.empty(len(ids), dtype=np.float32)
    start = 0
    for raw in reader.vectors.of(ids.tolist()):
        rows = np.frombuffer(raw, dtype=np.float32).reshape(-1, len(query))
        scores[start : start + len(rows)] = rows @ query
        start += len(rows)
    return scores


def _mask(labels: Matching | None, last: int) -> NDArray[np.bool_] | None:
    if labels is None:
        return None
    mask = np.zeros(last + 1, dtype=np.bool_)
    mask[labels[: np.searchsorted(labels, last, side="right")]] = True
    return mask


class EmbeddedSnapshot:
    """The memories that match a filter, as of one moment: a `Snapshot`. `EmbeddedStore.snapshot` makes it."""

    def __init__(self, reader: Database, graph: Graph | None, tokenizer: Tokenizer, selection: Selection) -> None:
        self._reader = reader
        self._graph = graph
        self._words = WordScores(
            tokenizer, self._shares, lambda ids: reader.memories.texts(ids), lambda: self.sample().mean_words
        )
        self._selection = selection

    @cached_property
    def _matching(self) -> Matching | None:
        return matching_ids(self._reader, self._selection)

    def nearest(self, query: Vector, n: int) -> tuple[dict[int, TextScore], bool]:
        """See `Snapshot`; a text's id is that of its own vector."""
        labels, scores = nearest_vectors(self._reader, self._graph, query, n, self._matching)
        by_vector = dict(zip(labels.tolist(), scores.tolist(), strict=True))
        return self._reader.chunks.texts_of(by_vector), len(labels) == n

    def cosines(self, query: Vector, text_ids: Sequence[int]) -> dict[int, TextScore]:
        """See `Snapshot`."""
        chunks = self._reader.chunks.of_texts(text_ids) if self._reader.chunks.exist() else {}
        ids = [*text_ids, *(row.vector_id for rows in chunks.values() for row in rows)]
        scores = cosines(self._reader, self._graph, query, np.asarray(ids, dtype=np.int64))
        results = self._reader.chunks.texts_of(dict(zip(ids, scores.tolist(), strict=True)))
        return {text_id: results[text_id] for text_id in text_ids}

    def vectors(self, text_ids: Sequence[int]) -> Vectors:
        """See `Snapshot`."""
        rows = b"".join(self._reader.vectors.of(text_ids))
        return np.frombuffer(rows, dtype=np.float32).reshape(len(text_ids), -1)

    def sample(self) -> Sample:
        """See `Snapshot`."""
        return self._reader.samples.of(self._selection, self._reader.version())

    def speakers(self, keys: Sequence[str]) -> list[str]:
        """See `Snapshot`."""
        return self._reader.memories.speakers(keys, self._selection)

    def best_texts(self, query: str, n: int, k1: float) -> dict[int, float]:
        """See `Snapshot`."""
        return self._words.best(query, n, k1)

    def text_scores(self, query: str, text_ids: Sequence[int], k1: float) -> dict[int, float]:
        """See `Snapshot`."""
        return self._words.of_texts(query, text_ids, k1)

    def unspaced_weight(self, query: str) -> float:
        """See `Snapshot`."""
        return self._words.unspaced_weight(query)

    def _shares(self, words: Sequence[QueryWord]) -> TextScores:
        last_id = self._reader.vectors.last_id()
        return self._reader.words.scores(words, last_id, self._matching, self._count_texts())

    def _count_texts(self) -> int:
        if self._reader.chunks.exist():  # vectors of chunks are not texts
            return self._reader.memories.count_texts(self._selection)
        return self._reader.vectors.count() if self._matching is None else len(self._matching)

    def candidates(self, text_ids: Sequence[int]) -> list[Candidate]:
        """See `Snapshot`."""
        return self._reader.memories.candidates(text_ids, self._selection)

    def candidates_at(self, seqs: Sequence[int]) -> list[Candidate]:
        """See `Snapshot`."""
        return self._reader.memories.candidates_at(seqs, self._selection)

    def around(self, seqs: Sequence[int], n: int) -> dict[int, Neighbours]:
        """See `Snapshot`."""
        return self._reader.memories.around(seqs, n, self._selection.expired_by_us)

    def memories_at(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """See `Snapshot`."""
        return self._reader.memories.at(seqs)
