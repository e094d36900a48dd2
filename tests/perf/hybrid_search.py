"""What searching by words as well costs: time of a search, time of an ingest, bytes of the store.

    python -m tests.perf.hybrid_search [--memories 100000] [--queries FILE] [--searches 500] [--repeats 3]

Texts are the benchmark's mixed English with the static model (which the first run makes, in a minute or two). Searches
are for words drawn from a text, common ones among them, or for the `query` of each line of a FILE; the query's own
embedding is not in their time. Ingests with and without filling the text index come in turn.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import orjson

from agentmem_cli import AgentMem
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.search.query import MODES, Ranking
from agentmem_cli.search.retrieve import Search
from agentmem_cli.store.embedded.connection import Connection
from agentmem_cli.store.embedded.text_index import TextIndex
from agentmem_cli.support.statistics import median
from tests.perf.texts import write_texts


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--queries")
    parser.add_argument("--searches", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    embedder = catalog.load(catalog.resolve(ModelChoice("minilm-static")))
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "memories.jsonl"
        write_texts(file, arguments.memories)
        _ingests(embedder, file, Path(name), arguments.repeats)
        store = Path(name) / "searched"
        with AgentMem(store, embedder=embedder, index="off") as mem:
            mem.ingest([str(file)])
            mem.build_index()
            queries = _drawn(file, arguments.searches) if arguments.queries is None else _asked(arguments.queries)
            _searches(mem, queries[: arguments.searches])
        _bytes(store)


def _ingests(embedder: Embedder, file: Path, folder: Path, repeats: int) -> None:
    with_s, without_s = [], []
    for repeat in range(repeats):
        with_s.append(_ingest_s(embedder, file, folder / f"with-{repeat}"))
        with _no_text_index():
            without_s.append(_ingest_s(embedder, file, folder / f"without-{repeat}"))
        print(f"repeat {repeat + 1}: {with_s[-1]:.2f} s with the text index, {without_s[-1]:.2f} s without", flush=True)
    ratios = [a / b for a, b in zip(with_s, without_s, strict=True)]
    print(f"ingest with the text index: {median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})")


@contextmanager
def _no_text_index() -> Iterator[None]:
    with patch.object(TextIndex, "add", lambda self, texts: None):
        yield


def _ingest_s(embedder: Embedder, file: Path, store: Path) -> float:
    with AgentMem(store, embedder=embedder, index="off") as mem:
        start = time.perf_counter()
        mem.ingest([str(file)])
        return time.perf_counter() - start


def _drawn(file: Path, count: int) -> list[str]:
    chance = random.Random(7)
    texts = [str(orjson.loads(line)["text"]).split() for line in file.read_bytes().splitlines()]
    return [
        " ".join(chance.sample(words, min(len(words), chance.randint(1, 9)))) for words in chance.sample(texts, count)
    ]


def _asked(file: str) -> list[str]:
    return [str(orjson.loads(line)["query"]) for line in Path(file).read_bytes().splitlines()]


def _searches(mem: AgentMem, queries: Sequence[str]) -> None:
    for mode in MODES:
        mem.search("warm up", mode=mode)
        samples_ms = []
        for text in queries:
            vector = mem.load().embed_query(text)
            start = time.perf_counter()
            with mem._store.snapshot(SearchFilter(), mem.model.fingerprint()) as snapshot:
                assert snapshot is not None
                Search(snapshot, text, vector, Ranking(mode)).hits(10)
            samples_ms.append(1000 * (time.perf_counter() - start))
        ordered = sorted(samples_ms)
        p99 = ordered[int(0.99 * len(ordered))]
        figures = f"p50 {median(ordered):.2f} ms, p99 {p99:.2f} ms, worst {ordered[-1]:.2f} ms"
        print(f"{mode:7} {len(queries)} searches: {figures}")


def _bytes(store: Path) -> None:
    connection = Connection(store / "memories.db", writable=False)
    words = connection.one("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'words\\_%' ESCAPE '\\'")
    connection.close()
    others = sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) - words
    print(f"text index: {words / 1e6:.1f} MB, {words / others:.1%} of the other {others / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
