"""Ingests by workers on a Ray cluster."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from agentmem_cli.api import AgentMem
from agentmem_cli.bench.place import Place
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import StoreError
from agentmem_cli.ingest.options import MAX_BATCH_SIZE, MIN_BATCH_SIZE, IngestOptions, Observer, Progress, RayPlace

_BLOCKS: Final = 20  # of an ingest, so that its rate does not hang on the first


@contextmanager
def cluster(on: str, workers: int) -> Iterator[None]:
    """Keeps the connection to a cluster, or a Ray of this machine, for several ingests. Raises UsageError,
    ClusterError."""
    from agentmem_cli.ingest.on_ray import connected

    place = RayPlace.of(on, workers)
    assert place is not None
    ray, is_ours = connected(place, 1)
    try:
        yield
    finally:
        if is_ours:
            ray.shutdown()


def rate_of_workers(
    choice: ModelChoice, files: Sequence[str], memories: int, on: str, workers: int, place: Place
) -> float:
    """Memories a second that workers take into a fresh store, each with one thread: from the first block that is
    durable to the last, without the start of the workers."""
    size = min(MAX_BATCH_SIZE, max(MIN_BATCH_SIZE, memories // _BLOCKS))
    clock = CommitRate()
    with (
        place.location() as location,
        AgentMem(
            location,
            model=choice.name,
            model_path=choice.path,
            embedder_url=choice.url,
            device=choice.device,
            index="off",
        ) as mem,
    ):
        mem.ingest(files, IngestOptions(batch_size=size, on=on, workers=workers), clock)
        if len(mem) != memories:
            raise StoreError(f"benchmark: {len(mem)} of {memories} memories are in the store")
    return clock.per_s


class CommitRate(Observer):
    """Memories a second, from the first commit that is reported to the last."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self.per_s: float = 0.0

    def committed(self, progress: Progress) -> None:
        now = time.perf_counter()
        if self._first is None:
            self._first = now, progress.stored
        elif progress.stored > self._first[1]:
            self.per_s = (progress.stored - self._first[1]) / (now - self._first[0])
