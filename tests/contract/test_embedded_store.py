"""What the embedded store promises beside its contract: batches whose disk fails, and one writer at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentmem_cli.errors import StoreBusyError, StoreWriteError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Memory, Position
from agentmem_cli.store.embedded.database import Database
from agentmem_cli.store.embedded.memories import History, Memories
from agentmem_cli.store.embedded.store import EmbeddedStore
from agentmem_cli.store.embedded.text_index import TextIndex
from agentmem_cli.store.embedded.vectors import Vectors
from tests.fakes import FakeEmbedder
from tests.searches import nearest
from tests.stores import put

_EMBEDDER = FakeEmbedder()
_PIN = _EMBEDDER.spec.fingerprint()
_ALL = SearchFilter()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with closing(EmbeddedStore(tmp_path / "store")) as opened:
        opened.open_for_writing(_PIN)
        yield opened


def _events(store: EmbeddedStore, identity: str) -> list[tuple[str, str | None, str | None]]:
    return [(event.event, event.previous_text, event.text) for event in store.history(identity)]


def _found(store: EmbeddedStore, query: str) -> list[str]:
    return [hit.id for hit in nearest(store, _EMBEDDER.embed_query(query), 10, _ALL, _PIN)]


def _fail(*_: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize(
    ("table", "step"),
    [
        (Vectors, "insert"),
        (Memories, "write"),
        (History, "write"),
        (TextIndex, "remove"),
        (Database, "write_position"),
    ],
)
def test_a_batch_whose_commit_fails_leaves_nothing_and_can_be_put_again(
    store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: type, step: str
) -> None:
    put(store, Memory("old", id="a"), position=Position("file", 1))
    batch = [Memory("new", id="a"), Memory("another", id="b")]
    with monkeypatch.context() as patch, pytest.raises(StoreWriteError, match="disk I/O error"):
        patch.setattr(table, step, _fail)
        put(store, *batch, position=Position("file", 3))
    for opened in (store, EmbeddedStore(tmp_path / "store")):
        assert (opened.count(), opened.get("b"), opened.position("file")) == (1, None, Position("file", 1))
        assert _events(opened, "a") == [("add", None, "old")]
        assert [hit.text for hit in nearest(opened, _EMBEDDER.embed_query("new"), 10, _ALL, _PIN)] == ["old"]
    result = put(store, *batch, position=Position("file", 3))
    assert (result.added, result.updated, result.new_texts) == (1, 1, ["new", "another"])
    assert store.position("file") == Position("file", 3)


def test_a_second_writer_is_refused_while_readers_read(store: EmbeddedStore, tmp_path: Path) -> None:
    put(store, Memory("red apple", id="a"))
    with closing(EmbeddedStore(tmp_path / "store")) as second:
        with pytest.raises(StoreBusyError):
            second.open_for_writing(_PIN)
        assert not second.writing
        assert _found(second, "red apple") == ["a"]
        store.close()
        second.open_for_writing(_PIN)
        assert second.writing
