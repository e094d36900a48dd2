"""The texts that a benchmark runs on: the seed report's strings, mixed English, or the user's own file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from agentmem_cli.bench.result import WorkloadFacts
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.lines import Line, open_source
from agentmem_cli.records.memory import Memory
from agentmem_cli.support.safe_text import printable

PHASE4: Final = "phase4"
MIXED: Final = "mixed"
_QUERIES: Final = 100
_QUERY_SEED: Final = 1_000_003  # added to the memories' own, so that few queries are among the memories


@dataclass(frozen=True, slots=True)
class Workload:
    """Lines of JSONL, without their ends: `batch_lines` for the batches, `compare_lines` for single against batch.

    `queries` are what is searched for; `duplicates` counts the lines of a file that repeat a text, and were left out.
    """

    name: str
    batch_lines: Sequence[bytes]
    compare_lines: Sequence[bytes]
    queries: Sequence[str] = ()
    duplicates: int = 0

    def texts(self) -> list[str]:
        """The texts of the batches."""
        return [parse_memory(line).text for line in self.batch_lines]

    def facts(self) -> WorkloadFacts:
        """What a result says of it; a file's name as Unicode, whatever bytes it has."""
        digest = hashlib.sha256()
        for line in (*self.batch_lines, b"", *self.compare_lines):
            digest.update(line + b"\n")
        return WorkloadFacts(printable(self.name), len(self.batch_lines), digest.hexdigest(), self.duplicates)


def make_workload(name: str, memories: int, compare: int, seed: int = 0) -> Workload:
    """The workload of a name, or of a JSONL file: `memories` lines for the batches and `compare` for the comparison.

    Raises UsageError where a file has too few good lines: repeating them would let the store reuse their vectors.
    """
    if name == PHASE4:
        short = [f"批量测试记忆 #{i}" for i in range(max(compare, _QUERIES))]
        return Workload(
            name,
            [_line(f"批量测试记忆 #{i} - 这是一条测试数据，用于验证批量添加性能") for i in range(memories)],
            [_line(text) for text in short[:compare]],
            short[:_QUERIES],
        )
    wanted = max(memories, compare)
    if name == MIXED:
        lines, duplicates = [_line(text) for text in mixed_texts(wanted, seed)], 0
        queries = mixed_texts(_QUERIES, seed + _QUERY_SEED)
    else:
        lines, duplicates = _distinct_lines(name, wanted)
        queries = [parse_memory(line).text for line in lines[:: -(-len(lines) // _QUERIES)]]
    return Workload(name, lines[:memories], lines[:compare], queries, duplicates)


def _line(text: str) -> bytes:
    return orjson.dumps({"text": text})


def _distinct_lines(path: str, wanted: int) -> tuple[list[bytes], int]:
    """The first lines that have a text and an id of their own, and how many others were between them."""
    if not Path(path).is_file():
        raise UsageError(f"--workload {path}: no such file; give {PHASE4}, {MIXED} or a JSONL file")
    by_text: dict[str, bytes] = {}
    ids: set[str] = set()
    lines = 0
    with open_source(path) as source:
        for line in source.lines():
            memory = _clean_memory(path, line)
            lines += 1
            if memory.id not in ids:
                ids.add(memory.id)
                by_text.setdefault(memory.text, line.content)
            if len(by_text) == wanted:
                return list(by_text.values()), lines - wanted
    raise UsageError(
        f"--workload {path} has {len(by_text)} distinct texts, {wanted} are needed: use smaller --sizes or --scale"
    )


def _clean_memory(path: str, line: Line) -> Memory:
    try:
        if line.too_long:
            raise InvalidMemoryError("line is too long")
        return parse_memory(line.content)
    except InvalidMemoryError as error:
        raise UsageError(f"--workload {path}:{line.number}: {error}: a workload must be clean") from error
