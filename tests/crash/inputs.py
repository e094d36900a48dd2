"""Inputs whose memories tell which of them they are, and what a store holds of them, read past all of our code."""

import json
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

from agentmem_cli.embedding.base import Vectors
from tests.fakes import FakeEmbedder

_WORDS: Final = 40
SHARED_EVERY: Final = 5  # every fifth memory has a text that others have too


def text_of(number: int) -> str:
    """The text of memory `number`; any two texts differ in a word at least, and so do their vectors."""
    if number % SHARED_EVERY == 0:
        number = number // 100 * 100
    return f"ones{number % _WORDS} tens{number // _WORDS % _WORDS} hundreds{number // _WORDS**2}"


def id_of(number: int) -> str:
    """The id of memory `number`."""
    return f"m{number}"


def ids_up_to(count: int) -> list[str]:
    """The ids of the first memories, in order."""
    return [id_of(number) for number in range(1, count + 1)]


def write_input(file: Path, count: int) -> Path:
    """A JSONL file of so many memories."""
    lines = (
        json.dumps({"id": id_of(number), "text": text_of(number), "user_id": "ana"}) for number in range(1, count + 1)
    )
    file.write_text("".join(line + "\n" for line in lines))
    return file


class OtherEmbedder(FakeEmbedder):
    """A fake whose vectors have nothing to do with those of another name: a plain one's share their first dims."""

    def __init__(self, name: str = "other", dim: int = 24) -> None:
        super().__init__(name, dim)

    def _word(self, word: str) -> Vectors:
        return super()._word(f"{self.spec.name} {word}")


@cache
def embedder() -> FakeEmbedder:
    """The embedder of the stores: one a process, which has all words of the inputs."""
    return _warm(FakeEmbedder())


@cache
def other() -> FakeEmbedder:
    """The embedder that a store is changed to."""
    return _warm(OtherEmbedder())


def _warm(fake: FakeEmbedder) -> FakeEmbedder:
    fake.embed([text_of(number) for number in range(2 * _WORDS**2)])
    fake.texts_embedded = 0
    return fake


def rows(store: Path, sql: str) -> list[tuple[object, ...]]:
    """The answer of a store's database to a question."""
    with closing(sqlite3.connect(f"file:{store / 'memories.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def column(store: Path, sql: str) -> list[object]:
    """The first column of the answer."""
    return [row[0] for row in rows(store, sql)]


def published(store: Path) -> list[object]:
    """The file of the published graph, if there is one."""
    return [f"{generation}.hnsw" for generation in column(store, "SELECT generation FROM graph")]


def index_files(store: Path) -> list[str]:
    """The files that are in a store's index folder."""
    return sorted(path.name for path in (store / "index").iterdir()) if (store / "index").is_dir() else []
