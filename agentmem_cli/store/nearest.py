"""The vectors nearest to a query among those that match: exact where few match, by the graph where many do."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.memory import SearchFilter
from agentmem_cli.store.database import Database
from agentmem_cli.store.index import Graph, Labels, Scores, best_of, exact_nearest

_EXACT_MATCHES: Final = 20_000  # so many matching vectors are scanned in about 20 ms

Matching: TypeAlias = NDArray[np.int64]  # sorted vector ids of the memories that match


def matching_ids(reader: Database, wanted: SearchFilter) -> Matching | None:
    """The vector ids of the memories that match, ascending, each once; None where there is no filter: all of them."""
    return np.unique(np.asarray(reader.vector_ids_matching(wanted), dtype=np.int64)) if wanted else None


def nearest_vectors(
    reader: Database, graph: Graph | None, query: NDArray[np.float32], k: int, matching: Matching | None
) -> tuple[Labels, Scores]:
    """The k vectors nearest to a query (dim,) of those that match, and their cosines, best first.

    Without a filter, vectors of texts that are gone may be among them.
    """
    if matching is not None and (graph is None or len(matching) <= _EXACT_MATCHES):
        return best_of(matching, cosines(reader, graph, query, matching), k)
    from_graph = None if graph is None else graph.search(query, k, _mask(matching, graph.last_label))
    last = 0 if graph is None or from_graph is None else graph.last_label
    if matching is None:
        labels, scores = exact_nearest(query, reader.vectors(after=last), k)
    else:
        labels = matching[matching > last]
        scores = cosines(reader, graph, query, labels)
    if from_graph is not None:
        labels, scores = np.concatenate([from_graph[0], labels]), np.concatenate([from_graph[1], scores])
    return best_of(labels, scores, k)


def cosines(
    reader: Database, graph: Graph | None, query: NDArray[np.float32], ids: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The cosines of a query (dim,) with the vectors of these ids, in their order; exact."""
    scores: NDArray[np.float32] = (
        np.frombuffer(reader.vectors_of(ids.tolist()), dtype=np.float32).reshape(len(ids), len(query)) @ query
    )
    return scores


def _mask(labels: Matching | None, last: int) -> NDArray[np.bool_] | None:
    if labels is None:
        return None
    mask = np.zeros(last + 1, dtype=np.bool_)
    mask[labels[: np.searchsorted(labels, last, side="right")]] = True
    return mask
