"""What a search sees of a store: one moment of its memories, words and vectors, through one filter."""

from collections.abc import Sequence
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Memory
from agentmem_cli.store.embedded.chunks import TextScore, exist, of_texts, texts_of
from agentmem_cli.store.embedded.database import Database
from agentmem_cli.store.embedded.graph import Graph, Labels, Scores, best_of, exact_nearest
from agentmem_cli.store.embedded.rows import Candidate
from agentmem_cli.store.embedded.text_index import TextIndex, asked_for
from agentmem_cli.store.embedded.words import Tokenizer

# A walk in which all match takes as long as a look at 1,500 vectors, and where one in ten does, ten times as long. But
# the look finds all, and always takes that long; a walk far from what matches takes up to thirty times as long.
_WALK_VECTORS: Final = 4000

Matching: TypeAlias = NDArray[np.int64]  # sorted vector ids of the memories that match


def matching_ids(reader: Database, wanted: SearchFilter) -> Matching | None:
    """The vector ids of the memories that match, ascending, each once; None where there is no filter: all of them."""
    return reader.vector_ids_matching(wanted) if wanted else None


def nearest_vectors(
    reader: Database, graph: Graph | None, query: NDArray[np.float32], k: int, matching: Matching | None
) -> tuple[Labels, Scores]:
    """The k vectors nearest to a query (dim,) of those that match, and their cosines, best first.

    Without a filter, vectors of texts that are gone may be among them.
    """
    if matching is not None and (graph is None or not is_walk_shorter(len(matching), len(graph))):
        return best_of(matching, cosines(reader, graph, query, matching), k)
    from_graph = None if graph is None else graph.search(query, k, _mask(matching, graph.last_label))
    last = 0 if graph is None or from_graph is None else graph.last_label
    if matching is None:
        labels, scores = exact_nearest(query, reader.vectors(after=last), k)
    else:
        labels = matching[np.searchsorted(matching, last, side="right") :]
        scores = cosines(reader, graph, query, labels)
    if from_graph is not None:
        labels, scores = np.concatenate([from_graph[0], labels]), np.concatenate([from_graph[1], scores])
    return best_of(labels, scores, k)


def is_walk_shorter(matching: int, vectors: int) -> bool:
    """Whether a filtered walk through a graph of so many vectors takes less time than a look at all that match."""
    return matching * matching > _WALK_VECTORS * vectors


def cosines(
    reader: Database, graph: Graph | None, query: NDArray[np.float32], ids: NDArray[np.int64]
) -> NDArray[np.float32]:
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


def _stored_cosines(reader: Database, query: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    scores = np.empty(len(ids), dtype=np.float32)
    start = 0
    for raw in reader.vectors_of(ids.tolist()):
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


class Snapshot:
    """The memories that match a filter, as of one moment: `EmbeddedStore.snapshot` makes it."""

    def __init__(self, reader: Database, graph: Graph | None, tokenizer: Tokenizer, wanted: SearchFilter) -> None:
        self._reader = reader
        self._graph = graph
        self._tokenizer = tokenizer
        self._wanted = wanted

    @cached_property
    def matching(self) -> Matching | None:
        """The vector ids of the memories that match, ascending; None where all do."""
        return matching_ids(self._reader, self._wanted)

    def nearest(self, query: NDArray[np.float32], n: int) -> tuple[dict[int, TextScore], bool]:
        """The texts of the n vectors nearest to a query (dim,), by the vector's id, and whether there may be more."""
        labels, scores = nearest_vectors(self._reader, self._graph, query, n, self.matching)
        by_vector = dict(zip(labels.tolist(), scores.tolist(), strict=True))
        return texts_of(self._reader, by_vector), len(labels) == n

    def cosines(self, query: NDArray[np.float32], ids: Sequence[int]) -> dict[int, TextScore]:
        """How near these texts, by their vectors' ids, are to a query (dim,), their chunks included."""
        chunks = of_texts(self._reader, ids) if exist(self._reader) else {}
        wanted = [*ids, *(row.vector_id for rows in chunks.values() for row in rows)]
        scores = cosines(self._reader, self._graph, query, np.asarray(wanted, dtype=np.int64))
        found = texts_of(self._reader, dict(zip(wanted, scores.tolist(), strict=True)))
        return {vector_id: found[vector_id] for vector_id in ids}

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """These vectors, (n, dim), in the order of the ids."""
        return np.frombuffer(b"".join(self._reader.vectors_of(ids)), dtype=np.float32).reshape(len(ids), -1)

    def text_scores(self, query: str) -> NDArray[np.float32]:
        """How much of a query's words each text has, by vector id: see `TextIndex.scores`."""
        last_id = self._reader.last_vector_id()
        return TextIndex(self._reader).scores(asked_for(query, self._tokenizer), last_id, self.matching)

    def candidates(self, vector_ids: Sequence[int]) -> list[Candidate]:
        """The matching memories that have these vectors, in order of arrival."""
        return self._reader.candidates(vector_ids, self._wanted)

    def around(self, seq: int, n: int) -> tuple[list[int], list[int]]:
        """The `seq` of the n memories before, and after, one in its run, in their order, whether they match or not."""
        return self._reader.around(seq, n)

    def candidates_at(self, seqs: Sequence[int]) -> list[Candidate]:
        """Those of these memories that match, in order of arrival."""
        return self._reader.candidates_at(seqs, self._wanted)

    def memories_at(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """These memories, by `seq`. Raises StoreDamagedError where one is not what was stored."""
        return self._reader.memories_at(seqs)
