"""The vectors nearest to a query among those that match: exact where few match, by the graph where many do.

A filtered walk through the graph takes the longer, the fewer of the vectors that it meets match; looking at all that
match takes the longer, the more there are. So which is taken depends on both how many match and what share that is.
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.records.memory import SearchFilter
from agentmem_cli.store.database import Database
from agentmem_cli.store.index import Graph, Labels, Scores, best_of, exact_nearest

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
