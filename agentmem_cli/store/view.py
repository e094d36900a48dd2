"""What a search sees of a store: one moment of its memories, words and vectors, through one filter."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.records.memory import Memory, SearchFilter
from agentmem_cli.store.database import Database
from agentmem_cli.store.index import Graph
from agentmem_cli.store.nearest import Matching, cosines, matching_ids, nearest_vectors
from agentmem_cli.store.rows import Candidate
from agentmem_cli.store.text_index import TextIndex, asked_for
from agentmem_cli.store.tokenizing import Tokenizer
from agentmem_cli.store.windows import TextScore, exist, of_texts, texts_of


class StoreView:
    """The memories that match a filter, as of one moment: `EmbeddedStore.view` makes it, within a snapshot."""

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
        """How near these texts, by their vectors' ids, are to a query (dim,), their windows included."""
        windows = of_texts(self._reader, ids) if exist(self._reader) else {}
        wanted = [*ids, *(row.vector_id for rows in windows.values() for row in rows)]
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
