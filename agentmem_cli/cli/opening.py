"""How a command opens a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agentmem_cli.cli.progress import making_view
from agentmem_cli.embedding.choice import ModelChoice

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem

_STORES_OWN: Final = ModelChoice()


@contextmanager
def opened_store(
    path: str, choice: ModelChoice = _STORES_OWN, *, create: bool = False, wait_s: float = 0.0, quiet: bool = False
) -> "Iterator[AgentMem]":
    """Opens a store and closes it at the end; shows progress, unless `quiet`, while a model is made for it.

    Raises StoreNotFoundError if there is no store, unless `create`.
    """
    from agentmem_cli.api import AgentMem  # numpy, hnswlib and SQLite, which no --help waits for

    with (
        making_view(quiet) as on_progress,
        AgentMem(
            path,
            model=choice.name,
            model_path=choice.path,
            embedder_url=choice.url,
            create=create,
            threads=choice.threads,
            device=choice.device,
            wait_s=wait_s,
            on_model_progress=on_progress,
        ) as mem,
    ):
        yield mem
