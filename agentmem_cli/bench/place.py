"""Where a benchmark makes its stores: in a temporary folder, or in a database, in schemas of their own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentmem_cli.api import AgentMem
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.store import scratch_location


@dataclass(frozen=True, slots=True)
class Place:
    """A temporary `folder` for files, which the caller removes, and for stores unless these are in the database at
    `url`."""

    folder: Path
    url: str | None = None

    @contextmanager
    def location(self) -> Iterator[str]:
        """The location of a new store, which is removed afterwards, unless the process is killed."""
        if self.url is None:
            with tempfile.TemporaryDirectory(dir=self.folder) as own:
                yield str(Path(own) / "store")
        else:
            with scratch_location(self.url) as location:
                yield location

    @contextmanager
    def fresh_store(self, embedder: Embedder) -> Iterator[AgentMem]:
        """A new store, open for writing, that builds no index by itself; it is removed afterwards."""
        with self.location() as location, kept_store(embedder, location) as mem:
            yield mem


@contextmanager
def kept_store(embedder: Embedder, location: str | Path) -> Iterator[AgentMem]:
    """A new store as `Place.fresh_store`, which stays."""
    with AgentMem(location, embedder=embedder, index="off") as mem:
        mem.open()
        yield mem
