"""The vectors nearest to a query among those that match: exact where few match, by the graph where many do."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.memory import SearchFilter
from agentmem_cli.store.database import Database
from agentmem_cli.store.index import Graph, Labels, Scores, best_of, exact_nearest

_EXACT_MATCHES: Final = 20_000  # so many matching vectors are scanned in about 20 ms


def nearest_vectors(
    reader: Database, graph: Graph | None, query: NDArray[np.float32], k: int, wanted: SearchFilter
) -> tuple[Labels, Scores]:
    """The k vectors of matching memories nearest to a query (dim,), and their cosines, best first."""
    matching = reader.vector_ids_matching(wanted) if wanted and graph is not None else None
    if graph is None or (matching is not None and len(matching) <= _EXACT_MATCHES):
        return exact_nearest(query, reader.vectors(wanted), k)
    allowed = None if matching is None else _mask(matching, graph.last_label)
    tail = reader.vectors(wanted, after=graph.last_label)
    from_graph = graph.search(query, k, allowed)
    if from_graph is None:
        return exact_nearest(query, reader.vectors(wanted), k)
    from_tail = exact_nearest(query, tail, k)
    labels = np.concatenate([from_graph[0], from_tail[0]])
    return best_of(labels, np.concatenate([from_graph[1], from_tail[1]]), k)


def _mask(labels: Sequence[int], last: int) -> NDArray[np.bool_]:
    mask = np.zeros(last + 1, dtype=np.bool_)
    wanted = np.asarray(labels, dtype=np.int64)
    mask[wanted[wanted <= last]] = True
    return mask
