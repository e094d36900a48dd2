"""A store that is there, opened as options say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentmem_cli.cli.making import making_view

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem
    from agentmem_cli.embedding.base import Device


@contextmanager
def existing_store(
    path: str,
    model: str | None = None,
    model_path: str | None = None,
    embedder_url: str | None = None,
    threads: int | None = None,
    device: "Device" = "cpu",
    wait_s: float = 0.0,
) -> "Iterator[AgentMem]":
    """Opens it, shows how far a model is that has to be made for it, and closes it. Raises StoreNotFoundError."""
    from agentmem_cli.api import AgentMem

    with (
        making_view() as on_progress,
        AgentMem(
            path,
            model=model,
            model_path=model_path,
            embedder_url=embedder_url,
            create=False,
            threads=threads,
            device=device,
            wait_s=wait_s,
            on_model_progress=on_progress,
        ) as mem,
    ):
        yield mem
