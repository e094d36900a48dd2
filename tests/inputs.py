"""Reads an input as `ingest` does, without a store."""

from pathlib import Path
from typing import NamedTuple

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.formats.names import FormatName
from agentmem_cli.records.formats.reading import Reading, kind_of_source, memory_lines
from agentmem_cli.records.formats.sniff import Kind
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.keys import Keys
from agentmem_cli.records.lines import MAX_EXPANSION, open_source
from agentmem_cli.records.memory import Memory


class Taken(NamedTuple):
    """What an input was taken for, its memories, and the reasons for which others are none, by their numbers."""

    kind: Kind
    memories: list[Memory]
    rejected: list[tuple[int, str]]

    @property
    def texts(self) -> list[str]:
        """The texts of the memories."""
        return [memory.text for memory in self.memories]


def taken(
    path: Path,
    format: FormatName | None = None,
    text_field: str | None = None,
    include: frozenset[str] = frozenset(),
    max_line_bytes: int = 1_000_000,
    max_expansion: int = MAX_EXPANSION,
) -> Taken:
    """Reads a file."""
    reading = Reading(format, text_field, include, max_line_bytes=max_line_bytes)
    memories, rejected = [], []
    with open_source(str(path), max_expansion) as source:
        kind = kind_of_source(source, reading)
        for line in memory_lines(source, kind, reading):
            try:
                if line.fault or line.too_long:
                    raise InvalidMemoryError(line.fault or f"{kind.unit} is too long")
                memories.append(parse_memory(line.content, Keys(text_field)))
            except InvalidMemoryError as error:
                rejected.append((line.number, str(error)))
    return Taken(kind, memories, rejected)
