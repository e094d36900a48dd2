"""How well a model's store answers labelled queries: the same measure as `agentmem eval`, beside the speed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentmem_cli.bench.measuring import fresh_store
from agentmem_cli.bench.result import Retrieval
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.errors import UsageError
from agentmem_cli.search.evaluation import METRICS
from agentmem_cli.search.query import Mode, Ranking, read_queries

_MODES: Final[tuple[Mode, ...]] = ("hybrid", "vector")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file of memories, and one of queries whose relevant ids are among them."""

    memories_file: str
    queries_file: str


def labelled(memories_file: str, queries_file: str) -> Labelled:
    """The same, once the queries have been read. Raises UsageError where none has relevant ids, and InputError."""
    if queries_file == "-":
        raise UsageError("--queries -: each model reads the queries: give a file")
    if not any(query.relevant for query in read_queries(queries_file)):
        raise UsageError(f"--queries {queries_file}: no query has relevant ids: there is nothing to evaluate")
    return Labelled(memories_file, queries_file)


def retrieval(embedder: Embedder, files: Labelled, folder: Path) -> Iterator[Retrieval]:
    """Takes all memories of the file in, and asks the queries of them, by each mode."""
    queries = list(read_queries(files.queries_file))
    with fresh_store(embedder, folder) as mem:
        mem.ingest([files.memories_file])
        mem.build_index()
        evaluations = mem.evaluate(queries, [Ranking(mode) for mode in _MODES])
    for mode, evaluation in zip(_MODES, evaluations, strict=True):
        yield Retrieval(
            mode=mode,
            figures={name: [judged.figures[name] for judged in evaluation.judged] for name in METRICS},
            unlabelled=evaluation.unlabelled,
            missing=len(evaluation.missing),
        )
