"""How fast memories become durable in a store in PostgreSQL, how fast they are found, and in how many round trips.

    python -m tests.perf.postgres_store [--memories 100000] [--searches 300] [--url postgresql://... | --folder]

Texts are the benchmark's mixed English of a hundred users, with the static model. Without a URL, the server is that of
the tests, with its data on the system's temporary disk and fsync on. `--folder` measures a store in a folder instead,
for comparison.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import orjson

from agentmem_cli import AgentMem
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.search.query import Mode
from tests.perf.durable_rates import K, texts_of
from tests.postgres_server import Server, drop_schema, new_schema_url

_USERS = 100


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=300)
    parser.add_argument("--url")
    parser.add_argument("--folder", action="store_true")
    arguments = parser.parse_args()
    embedder = catalog.load(catalog.resolve(ModelChoice("minilm-static")))
    embedder.embed(["it is loaded, and warm"] * 200)
    with (
        tempfile.TemporaryDirectory() as name,
        nullcontext(f"{name}/store") if arguments.folder else server_url(arguments.url) as url,
    ):
        file = Path(name) / "memories.jsonl"
        write_texts(file, arguments.memories)
        queries = [" ".join(text.split()[2:9]) or text for text in texts_of(file, arguments.searches)]
        with AgentMem(url, embedder=embedder, index="off") as mem:
            start = time.perf_counter()
            report = mem.ingest(file)
            _say("durable, memories/s", report.added / (time.perf_counter() - start))
            for stage, spent_s in sorted(report.stages_s.items()):
                _say(f"of this, {stage}, s", spent_s)
            start = time.perf_counter()
            mem.ingest(file)
            _say("again, lines/s", arguments.memories / (time.perf_counter() - start))
            _say("bytes a memory", mem.stats().total_bytes / arguments.memories)
            exact = _searched(mem, queries)
        start = time.perf_counter()
        with AgentMem(url, embedder=embedder) as mem:
            mem.build_index()
        _say("the index of vectors, s", time.perf_counter() - start)
        with AgentMem(url, embedder=embedder, index="off") as mem:
            walked = _searched(mem, queries)
        found = [len(set(one) & set(other)) / max(len(one), 1) for one, other in zip(exact, walked, strict=True)]
        _say(f"recall@{K} of searches without a filter, with the index", float(np.mean(found)))


def write_texts(file: Path, memories: int) -> None:
    """A file of mixed English memories of a hundred users."""
    with file.open("wb") as stream:
        for i, text in enumerate(mixed_texts(memories)):
            row = {"id": str(i), "text": text, "user_id": str(i % _USERS)}
            stream.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _searched(mem: AgentMem, queries: Sequence[str]) -> list[list[str]]:
    """Searches one at a time in all ways, and returns the ids of those by meaning without a filter."""
    found: list[list[str]] = []
    modes: tuple[Mode, ...] = ("meaning", "hybrid")
    for user in ("3", None):
        for mode in modes:
            samples_ms, before, hits = [], mem.round_trips, []
            for query in queries:
                start = time.perf_counter()
                hits.append([hit.id for hit in mem.search(query, K, mode=mode, user_id=user)])
                samples_ms.append(1000 * (time.perf_counter() - start))
            p50, p99 = np.quantile(samples_ms, [0.5, 0.99])
            what = f"a search, {mode}, {'all memories' if user is None else 'one user'}"
            _say(f"{what}, p50 ms", float(p50))
            _say(f"{what}, p99 ms", float(p99))
            _say(f"{what}, round trips", (mem.round_trips - before) / len(queries))
            if user is None and mode == "meaning":
                found = hits
    return found


@contextmanager
def server_url(url: str | None) -> Iterator[str]:
    """The URL of a store in a schema of its own: in the database at a URL, or on a server of the tests."""
    server = None if url is not None else Server()
    if server is not None:
        server.start("shared_buffers=512MB", "maintenance_work_mem=512MB", "max_wal_size=2GB")
    try:
        schema = new_schema_url(url or (server.url() if server is not None else ""))
        try:
            yield schema
        finally:
            drop_schema(schema)
    finally:
        if server is not None:
            server.remove()


def _say(what: str, figure: float) -> None:
    print(f"{what:64} {figure:10,.2f}", flush=True)


if __name__ == "__main__":
    main()
