"""How much faster an ingest into PostgreSQL is by two workers on Ray than by one, and what more machines would do.

    python -m tests.perf.ray_workers [--memories 1500] [--rounds 3] [--model minilm] [--url postgresql://...]
        [--fast-memories 20000]

One and two workers take turns, on a Ray and, without a URL, a server of this machine. A rate counts from the first
reported block to the last, without the start of the workers. What reading, committing and the server cost is measured
with more memories and the static model, as a slow model would leave the processes idle.

The table at the end is computed. A memory costs its worker e seconds for embedding and w seconds for its share of a
commit, most of it waiting; the reader r seconds of a core; the server s seconds of a core. So M machines with C cores
each, and a server with S cores, take in at most

    min(M * C / (e + w), 1 / r, S / s) memories a second.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from agentmem_cli import AgentMem, IngestOptions
from agentmem_cli.bench.cluster import CommitRate
from agentmem_cli.ingest.on_ray import connected
from agentmem_cli.ingest.options import MAX_BATCH_SIZE, RayPlace
from tests.perf.texts import write_texts
from tests.postgres_server import Server, drop_schema, new_schema_url

_BATCH: Final = 100
_CORES: Final = 8  # of a machine in the table
_SERVER_CORES: Final = 16
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Costs(NamedTuple):
    """What a memory costs, in seconds: of a worker's core, of its time for commits, of the reader and of the server."""

    embed_s: float
    commit_s: float
    read_s: float
    server_s: float

    def rates(self, machines: int) -> dict[str, float]:
        """Memories a second that each part can do at most."""
        return {
            "workers": machines * _CORES / (self.embed_s + self.commit_s),
            "reader": 1 / self.read_s,
            "database": _SERVER_CORES / self.server_s if self.server_s else float("inf"),
        }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memories", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--fast-memories", type=int, default=20_000)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    embed_s: list[float] = []
    with tempfile.TemporaryDirectory() as name, _server(arguments.url) as (url, server):
        file = Path(name) / "memories.jsonl"
        write_texts(file, arguments.memories)
        ray, _ = connected(RayPlace(None, max(rates)), 1)  # once for all rounds
        for _ in range(arguments.rounds):
            for workers, found in rates.items():
                rate, cost = _measured(url, server, file, arguments.model, workers, _BATCH)
                found.append(rate)
                print(f"{workers} worker{'s' if workers > 1 else ''}: {rate:.1f} memories/s", flush=True)
                if workers == 1:
                    embed_s.append(cost.embed_s)
        write_texts(file, arguments.fast_memories)
        _, cost = _measured(url, server, file, "minilm-static", 1, MAX_BATCH_SIZE)
        cost = cost._replace(embed_s=statistics.median(embed_s))
    ray.shutdown()
    one, two = (statistics.median(found) for found in rates.values())
    print(f"medians: 1 worker {one:.1f}/s, 2 workers {two:.1f}/s, ratio {two / one:.2f}")
    print(
        f"a memory costs: embed {cost.embed_s * 1e3:.2f} ms, commit {cost.commit_s * 1e3:.2f} ms, reader "
        f"{cost.read_s * 1e3:.2f} ms, server {cost.server_s * 1e3:.2f} ms"
    )
    print(f"machines of {_CORES} cores, a server of {_SERVER_CORES}: memories/s at most")
    for machines in (1, 10, 100):
        of_parts = cost.rates(machines)
        limit = min(of_parts, key=lambda part: of_parts[part])
        parts = ", ".join(f"{part} {rate:,.0f}" for part, rate in of_parts.items())
        print(f"{machines:4}: {of_parts[limit]:,.0f} ({parts}): limited by the {limit}")


def _measured(
    url: str, server: int | None, file: Path, model: str, workers: int, batch_size: int
) -> tuple[float, Costs]:
    schema = new_schema_url(url)
    try:
        with AgentMem(schema, model=model, index="off") as mem:
            observer, read_s, server_s = CommitRate(), time.process_time(), _spent_s(server)
            report = mem.ingest(file, IngestOptions(batch_size=batch_size, on="ray", workers=workers), observer)
            read_s, server_s = time.process_time() - read_s, _spent_s(server) - server_s
    finally:
        drop_schema(schema)
    stages = {name: spent_s / report.added for name, spent_s in report.stages_s.items()}
    costs = Costs(
        stages["embed"] + stages.get("tokenize", 0.0),
        stages["plan"] + stages["commit"],
        read_s / report.added,
        server_s / report.added,
    )
    return observer.per_s, costs


def _spent_s(server: int | None) -> float:
    """The time that the cores have spent on the server's processes, also on those that have ended."""
    if server is None:
        return 0.0
    spent = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[1]) == server:
            spent += int(fields[11]) + int(fields[12])
        elif stat.parent.name == str(server):
            spent += sum(int(field) for field in fields[11:15])
    return spent / _TICKS_PER_S


@contextmanager
def _server(url: str | None) -> Iterator[tuple[str, int | None]]:
    if url is not None:
        yield url, None
        return
    server = Server()
    try:
        server.start()
        assert server._process is not None
        yield server.url(), server._process.pid
    finally:
        server.remove()


if __name__ == "__main__":
    main()
