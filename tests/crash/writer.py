"""A child to be killed: ingests a file, and notes each line up to which it was told that all is durable.

Run as `python -m tests.crash.writer STORE FILE BATCH ACK_FILE`.
"""

import os
import sys

from agentmem_cli import AgentMem
from agentmem_cli.ingest import IngestOptions, Observer, Progress
from tests.fakes import FakeEmbedder


class _Acknowledgements(Observer):
    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def committed(self, progress: Progress) -> None:
        os.write(self._descriptor, f"{progress.position.line}\n".encode())


def main(store: str, file: str, batch: str, ack_file: str) -> None:
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        mem.ingest([file], IngestOptions(batch_size=int(batch)), _Acknowledgements(ack_file))


if __name__ == "__main__":
    main(*sys.argv[1:])
