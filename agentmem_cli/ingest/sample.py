"""A sample of memories' texts, from a JSONL file or a store, to fit a model to."""

import random
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.lines import open_source
from agentmem_cli.store import open_store

SAMPLE_TEXTS: Final = 3_000


def sample_texts(source: Path, count: int = SAMPLE_TEXTS) -> list[str]:
    """Up to `count` distinct texts of a JSONL file (bad lines left out) or a store's folder, the same every time.

    Every memory has the same chance to be among them. Raises UsageError for an empty source, InputError, StoreError.
    """
    if not source.exists():
        raise UsageError(f"--fit {source}: there is no such file or store")
    texts = list(dict.fromkeys(_reservoir(_of_store(source) if source.is_dir() else _of_file(source), count)))
    if not texts:
        raise UsageError(f"--fit {source} holds no memories: give JSONL with text, or a store's folder")
    return texts


def _of_file(path: Path) -> Iterator[str]:
    with open_source(str(path)) as source:
        for line in source.lines():
            try:
                if not line.too_long:
                    yield parse_memory(line.content).text
            except InvalidMemoryError:
                continue


def _of_store(folder: Path) -> Iterator[str]:
    with closing(open_store(folder, create=False)) as store:
        for memory in store.memories(SearchFilter()):
            yield memory.text


def _reservoir(texts: Iterable[str], count: int) -> list[str]:
    """A uniform sample in one pass (Vitter 1985, algorithm R)."""
    draw = random.Random(0).random
    kept: list[str] = []
    for seen, text in enumerate(texts, start=1):
        if len(kept) < count:
            kept.append(text)
        elif (place := int(draw() * seen)) < count:
            kept[place] = text
    return kept
