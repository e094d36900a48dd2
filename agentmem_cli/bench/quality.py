"""How right what is found is: the graph against an exact scan, and a model's vectors against another's."""

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.api import AgentMem
from agentmem_cli.bench.result import Likeness
from agentmem_cli.embedding.base import Embedder, Vectors, embed_queries_checked

NEIGHBOURS: Final = 10
_EQUAL: Final = 1e-5  # scores that differ less are the same in float32
_CHUNK_ROWS: Final = 10_000


def graph_found(mem: AgentMem, embedder: Embedder, queries: Sequence[str]) -> list[int]:
    """Of each query's 10 nearest vectors, how many a search by vectors found.

    A hit counts if it is no farther than the tenth by an exact scan, so that it doesn't matter which of equals come
    (the threshold of ann-benchmarks: Aumüller, Bernhardsson, Faithfull 2018). The store has 10 memories or more.
    """
    vectors = embed_queries_checked(embedder, queries)
    tenth: list[float] = _exact_scores(mem, vectors)[:, -1].tolist()
    found = []
    for query, least in zip(queries, tenth, strict=True):
        hits = mem.search(query, NEIGHBOURS, mode="vector")
        found.append(sum(hit.score >= least - _EQUAL for hit in hits))
    return found


def likeness(vectors: Vectors, reference: Vectors, reference_name: str) -> Likeness:
    """How like each other two models' vectors (n, dim) of the same n texts are; n is more than 1."""
    cosines = [] if vectors.shape != reference.shape else np.einsum("ij,ij->i", vectors, reference).tolist()
    near, near_by_reference = _neighbours(vectors), _neighbours(reference)
    shared = [len(set(a) & set(b)) for a, b in zip(near.tolist(), near_by_reference.tolist(), strict=True)]
    return Likeness(reference_name, cosines, shared)


def _exact_scores(mem: AgentMem, queries: Vectors) -> NDArray[np.float32]:
    """The 10 best cosines of each query (n, 10), best first, by a scan of all vectors."""
    best = np.full((len(queries), NEIGHBOURS), -2.0, dtype=np.float32)
    memories = mem.export(vectors=True)
    while chunk := list(itertools.islice(memories, _CHUNK_ROWS)):
        raw = b"".join(memory.vector.float32 for memory in chunk if memory.vector is not None)
        scores = queries @ np.frombuffer(raw, dtype=np.float32).reshape(len(chunk), -1).T
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :NEIGHBOURS]
    return best


def _neighbours(vectors: Vectors) -> NDArray[np.int64]:
    """The rows (n, 10) nearest to each row, itself left out."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    count = min(NEIGHBOURS, len(vectors) - 1)
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]
