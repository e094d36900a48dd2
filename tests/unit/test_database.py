"""The database file: only one of ours is opened, a change is whole or not at all, a refused file stays as it was."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentmem_cli.errors import StoreBusyError, StoreDamagedError, StoreError, StoreNotFoundError, StoreWriteError
from agentmem_cli.records.memory import Memory, Position
from agentmem_cli.store.embedded.database import Database, GraphRow
from agentmem_cli.store.embedded.filters import Selection
from agentmem_cli.store.embedded.schema import SCHEMA_VERSION
from agentmem_cli.store.embedded.text_index import TextIndex
from agentmem_cli.store.rows import HistoryRow, MemoryRow, text_hash
from tests.fakes import FakeEmbedder

_PIN: dict[str, str | int] = FakeEmbedder(dim=2).spec.fingerprint()
_ALL = Selection()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Database.create(tmp_path / "memories.db", _PIN)
    return tmp_path / "memories.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(Database(path, writable=True)) as opened:
        yield opened


def _add(database: Database, *texts: str) -> None:
    first = database.vectors.next_id()
    numbered = list(enumerate(texts, first))
    with database.transaction():
        database.vectors.insert((number, text_hash(text), b"\0" * 8) for number, text in numbered)
        memories = [(number, Memory(text, id=text)) for number, text in numbered]
        database.memories.write(MemoryRow(memory, number, 0, memory.content_digest()) for number, memory in memories)
        database.history.write(HistoryRow(text, "add", None, 0) for text in texts)


def _execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def _make_text(path: Path) -> None:
    path.write_text('{"text": "these are my notes, not a database"}\n')


def _make_foreign(path: Path) -> None:
    _execute(path, "CREATE TABLE memories(id TEXT, text TEXT); INSERT INTO memories VALUES ('a', 'theirs')")


def _make_newer(path: Path) -> None:
    Database.create(path, _PIN)
    _execute(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}; PRAGMA wal_checkpoint(TRUNCATE)")


def _make_cut_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"\x20\x00")


def _make_garbage_behind_the_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 64)


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.touch, "is empty"),
        (_make_text, "is not a database"),
        (_make_foreign, "is not an agentmem store"),
        (_make_newer, f"made by a newer agentmem .schema {SCHEMA_VERSION + 1}"),
        (_make_cut_header, "is damaged"),
        (_make_garbage_behind_the_header, "is damaged"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_was(
    tmp_path: Path, make: Callable[[Path], None], reason: str, writable: bool
) -> None:
    path = tmp_path / "memories.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreDamagedError, match=reason):
        Database(path, writable=writable)
    assert path.read_bytes() == before


def test_no_file_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="no store at"):
        Database(tmp_path / "memories.db", writable=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_place_of_the_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "memories.db").mkdir()
    with pytest.raises(StoreError, match="can't be read: Is a directory"):
        Database(tmp_path / "memories.db", writable=False)


def test_a_store_in_a_folder_with_sqlites_special_characters_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "50% of?mode=memory#1 ü"
    folder.mkdir()
    Database.create(folder / "memories.db", _PIN)
    with closing(Database(folder / "memories.db", writable=False)) as database:
        assert database.embedder() == _PIN


def test_overwritten_pages_are_reported_as_damage(path: Path, database: Database) -> None:
    _add(database, *(f"text {number}" for number in range(500)))
    database.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with closing(Database(path, writable=False)) as damaged, pytest.raises(StoreDamagedError, match="is damaged"):
        damaged.memories.get("text 7")


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DELETE FROM meta", "does not say which embedder made it"),
        ("UPDATE meta SET value = 'fake'", "which embedder made it is damaged"),
        ("DROP TABLE meta", "is damaged .no such table: meta."),
    ],
)
def test_a_store_that_lost_its_embedders_name_is_damaged(path: Path, sql: str, reason: str) -> None:
    _execute(path, sql)
    with closing(Database(path, writable=False)) as database, pytest.raises(StoreDamagedError, match=reason):
        database.embedder()


def test_a_new_database_is_its_owners_alone_and_leaves_nothing_beside_it(path: Path) -> None:
    assert [entry.name for entry in path.parent.iterdir()] == ["memories.db"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_killed_creation_left_is_no_obstacle(tmp_path: Path) -> None:
    for name in ("memories.db.new", "memories.db.new-wal", "memories.db.new-journal"):
        (tmp_path / name).write_bytes(os.urandom(9000))
    Database.create(tmp_path / "memories.db", _PIN)
    with closing(Database(tmp_path / "memories.db", writable=False)) as database:
        assert database.embedder() == _PIN


def test_commits_are_forced_to_the_disk_and_go_through_the_write_ahead_log(database: Database) -> None:
    assert database._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_of_an_interrupted_transaction_stays(
    path: Path, database: Database, error: type[BaseException]
) -> None:
    with pytest.raises(error), database.transaction():
        database.history.write([HistoryRow("later", "add", None, 0)])
        database.vectors.insert([(1, b"hash", b"\0" * 8)])
        database.write_position(Position("file", 3))
        raise error
    _add(database, "later")
    with closing(Database(path, writable=False)) as reader:
        assert (reader.memories.count(), reader.vectors.count()) == (1, 1)
        assert len(reader.history.of("later")) == 1
        assert reader.position("file") is None


def test_a_full_disk_is_a_write_error_and_leaves_the_store_as_it_was(database: Database) -> None:
    _add(database, "before")
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StoreWriteError, match="full"):
        _add(database, *(f"{number} " * 100 for number in range(1000)))
    database._connection.execute("PRAGMA max_page_count = 1000000")
    assert database.memories.count() == 1
    _add(database, "after")
    assert database.memories.count() == 2


def test_a_database_that_another_program_writes_is_busy(path: Path, database: Database, impatient: None) -> None:
    with closing(Database(path, writable=True)) as writer, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="locked by another program") as caught:
            _add(writer, "text")
        assert caught.value.exit_code == 5


def test_a_reader_cannot_write(path: Path) -> None:
    with closing(Database(path, writable=False)) as reader, pytest.raises(StoreWriteError, match="readonly"):
        _add(reader, "text")


def test_more_ids_than_one_statement_binds_are_found(database: Database) -> None:
    texts = [f"text {number}" for number in range(2500)]
    _add(database, *texts)
    assert set(database.memories.find([*texts, "missing"])) == set(texts)
    assert len(database.vectors.find(map(text_hash, texts))) == 2500
    found = [candidate.seq for candidate in database.memories.candidates(range(1, 3000), _ALL)]
    memories = database.memories.at(found)
    assert [memories[seq].id for seq in found] == texts


def test_vectors_come_in_chunks_in_order_of_their_ids_after_the_one_given(database: Database) -> None:
    _add(database, *(f"text {number}" for number in range(5000)))
    pages = list(database.vectors.all(after=100))
    assert [number for ids, _ in pages for number in ids] == list(range(101, 5001))
    assert all(len(raw) == 8 * len(ids) for ids, raw in pages)


def test_the_id_of_a_dropped_vector_is_never_given_again(path: Path, database: Database) -> None:
    with database.transaction():
        database.vectors.insert([(1, text_hash("one"), b""), (2, text_hash("two"), b"")])
        TextIndex(database).add([(1, "one"), (2, "two")])
        database.drop_unused([(1, "one"), (2, "two")])
    database.close()
    with closing(Database(path, writable=True)) as reopened:
        assert reopened.vectors.count() == 0
        assert reopened.vectors.next_id() == 3


def test_a_vector_that_a_memory_has_is_not_dropped(database: Database) -> None:
    _add(database, "kept")
    with database.transaction():
        database.drop_unused([(1, "kept")])
    assert database.vectors.count() == 1


def test_only_the_latest_published_graph_is_known_and_generations_grow(database: Database) -> None:
    assert (database.graph(), database.next_generation()) == (None, 1)
    for generation in (1, 2):
        row = GraphRow(generation, 10, "digest", 5, 9)
        database.publish_graph(row)
        assert (database.graph(), database.next_generation()) == (row, generation + 1)


def test_how_far_an_input_came_is_replaced_by_how_far_it_comes(database: Database) -> None:
    for position in (Position("a", 10), Position("b", 5), Position("a", 20, complete=True)):
        with database.transaction():
            database.write_position(position)
        assert database.position(position.file) == position
    assert database.position("b") == Position("b", 5)
    assert database.position("c") is None
