"""What is left of an ingest whose PostgreSQL server is killed with SIGKILL, and what the same ingest then makes of it.

    python -m tests.perf.postgres_kills [--kills 20] [--memories 20000]

Each time a new server takes in a file and is killed at a random moment. "kept" are the memories that the restarted
server has: all that were acknowledged, and few whole batches whose answers were lost or not yet passed on. Then the
same ingest goes on. Ends with exit code 1 where a memory is missing, or has other events than one `add`.
"""

import argparse
import random
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from agentmem_cli import AgentMem, IngestOptions
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import StoreError
from agentmem_cli.ingest.options import Observer, Progress
from tests.perf.postgres_store import write_texts
from tests.postgres_server import Server

_BATCH = 500
_MOST_UNHEARD = 3 * _BATCH


class _Acknowledged(Observer):
    def __init__(self) -> None:
        self.memories = 0

    def committed(self, progress: Progress) -> None:
        self.memories = progress.stored


def main() -> None:
    """Kills, looks, goes on, and prints a line for each kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--memories", type=int, default=20_000)
    arguments = parser.parse_args()
    wrong = 0
    print(f"{'killed after, s':>15} {'acknowledged':>12} {'kept':>8} {'in the end':>10} {'events':>8}  verdict")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "memories.jsonl"
        write_texts(file, arguments.memories)
        for seed in range(arguments.kills):
            wrong += not _killed(file, arguments.memories, random.Random(seed).uniform(0.2, 6.0))
    print(f"{arguments.kills} kills, {wrong} with a loss or a double")
    sys.exit(1 if wrong else 0)


def _killed(file: Path, memories: int, after_s: float) -> bool:
    embedder = catalog.load(catalog.resolve(ModelChoice("minilm-static")))
    server, acknowledged = Server(), _Acknowledged()
    try:
        server.start()
        with AgentMem(server.url(), embedder=embedder, index="off") as mem:
            mem.open()  # so that the ingest is what is killed
            killer = threading.Timer(after_s, server.kill)
            killer.start()
            with suppress(StoreError):  # the server is gone
                mem.ingest(file, IngestOptions(batch_size=_BATCH), acknowledged)
            killer.join()
            server.start()
            kept = len(mem)
            mem.ingest(file, IngestOptions(batch_size=_BATCH))
            stored, events = len(mem), mem.stats().history_events
    finally:
        server.remove()
    unheard = kept - acknowledged.memories
    right = unheard in range(0, _MOST_UNHEARD + 1, _BATCH) and stored == events == memories
    verdict = "right" if right else "WRONG"
    print(f"{after_s:15.2f} {acknowledged.memories:12,} {kept:8,} {stored:10,} {events:8,}  {verdict}", flush=True)
    return right


if __name__ == "__main__":
    main()
