"""A child to be killed: adds a memory and publishes the whole graph again, over and over.

Run as `python -m tests.crash.publisher STORE ACK_FILE`.
"""

import os
import sys

from agentmem_cli import AgentMem
from agentmem_cli.store import embedded
from tests.fakes import FakeEmbedder


def main(store: str, ack_file: str) -> None:
    embedded.GRAPH_GROWTH = 0.0  # type: ignore[misc]
    descriptor = os.open(ack_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        while True:
            number = len(mem) + 1
            mem.add(f"memory {number} of a killed publisher", id=f"m{number}")
            os.write(descriptor, f"{number}\n".encode())
            mem._store.refresh_graph(min_tail=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
