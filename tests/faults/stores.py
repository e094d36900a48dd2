"""Stores to be damaged, and what is right about them whatever happens."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli import AgentMem
from agentmem_cli.embedding.base import Vectors
from tests.fakes import FakeEmbedder

QUERIES = ("item 17 of colour3", "colour2 shape3", "item 299 colour5", "nothing like it")


def open_store(folder: Path) -> AgentMem:
    return AgentMem(folder, embedder=FakeEmbedder(), index="wait")


def text_of(number: int) -> str:
    return f"item {number} of colour{number % 7} and shape{number % 11}"


def write_lines(file: Path, count: int) -> Path:
    """A file of memories `0`, `1`, ... with their texts."""
    file.write_text("".join(json.dumps({"id": str(i), "text": text_of(i)}) + "\n" for i in range(count)))
    return file


def fill(folder: Path, count: int) -> Path:
    """A closed store of so many memories, with a published graph from a thousand on."""
    with open_store(folder) as mem:
        mem.add_batch([{"id": str(i), "text": text_of(i), "user_id": f"user{i % 5}"} for i in range(count)])
    return folder


def vectors_of(texts: list[str]) -> Vectors:
    return FakeEmbedder().embed(texts).vectors


def assert_finds(mem: AgentMem, texts: list[str], vectors: Vectors, queries: tuple[str, ...] = QUERIES) -> None:
    """That searches find what an exact scan of these texts finds."""
    for query in queries:
        cosines = vectors @ FakeEmbedder().embed_query(query)
        hits = mem.search(query, mode="meaning")
        assert [hit.score for hit in hits] == pytest.approx(np.sort(cosines)[::-1][:10].tolist(), abs=1e-5)
        assert [cosines[texts.index(hit.text)] for hit in hits] == pytest.approx([hit.score for hit in hits], abs=1e-5)


def assert_holds(folder: Path, count: int, *more: str) -> None:
    """That a store holds the first so many memories and these texts, sound and findable."""
    with AgentMem(folder, embedder=FakeEmbedder(), create=count + len(more) == 0) as mem:
        texts = [memory.text for memory in mem.export()] if (folder / "memories.db").exists() else []
        assert texts == [text_of(i) for i in range(count)] + list(more)
        if texts:
            assert mem.verify() == []
            assert_finds(mem, texts, vectors_of(texts))


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings so far, each a line; forgets them."""
    records = [record for record in caplog.records if record.name == "agentmem" and record.levelno >= logging.WARNING]
    caplog.clear()
    messages = [record.getMessage() for record in records]
    assert all("\n" not in message for message in messages)
    return messages
