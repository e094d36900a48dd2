"""The database file cut, replaced or in bad company: it is left as it is, byte for byte, and every command says why."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.errors import AgentMemError, StoreDamagedError
from tests.faults.stores import assert_holds, fill, open_store

_COUNT: Final = 200
_CALLS: Final[dict[str, Callable[[AgentMem], object]]] = {
    "search": lambda mem: mem.search("item 17"),
    "get": lambda mem: mem.get("17"),
    "history": lambda mem: mem.history("17"),
    "list": AgentMem.list_memories,
    "stats": AgentMem.stats,
    "export": lambda mem: list(mem.export(vectors=True)),
    "add": lambda mem: mem.add("new"),
    "delete": lambda mem: mem.delete("17"),
    "compact": AgentMem.compact,
    "repair": AgentMem.repair,
    "reembed": lambda mem: mem.reembed("default"),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("pristine") / "store", _COUNT)


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "store")
    return tmp_path / "store"


def _truncate(database: Path) -> None:
    database.write_bytes(b"")


def _keep_a_half_page(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:4096])


def _replace_by_text(database: Path) -> None:
    database.write_text("my notes\n" * 1000)


def _replace_by_zeros(database: Path) -> None:
    database.write_bytes(bytes(database.stat().st_size))


def _replace_by_anothers(database: Path) -> None:
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript("CREATE TABLE memories(id, text); INSERT INTO memories VALUES ('1', 'their words')")


def _make_newer(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)")


_REPLACEMENTS = [_truncate, _keep_a_half_page, _replace_by_text, _replace_by_zeros, _replace_by_anothers, _make_newer]


def _content(store: Path) -> dict[str, bytes]:
    """What is in the store's files, but for what reading and trying to write leave: an empty log, its index, LOCK."""
    files = {path.name: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    assert files.pop("memories.db-wal", b"") == b""
    return {name: content for name, content in files.items() if name not in ("LOCK", "memories.db-shm")}


@pytest.mark.parametrize("replace", _REPLACEMENTS)
def test_what_is_no_store_of_ours_is_refused_at_opening_and_left_as_it_is(
    store: Path, replace: Callable[[Path], None]
) -> None:
    replace(store / "memories.db")
    before = _content(store)
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match=r"memories\.db") as caught:
            open_store(store)
        assert "\n" not in str(caught.value)
        with pytest.raises(StoreDamagedError, match=r"memories\.db"):
            AgentMem(store)
    assert _content(store) == before


@pytest.mark.parametrize("replace", _REPLACEMENTS)
@pytest.mark.parametrize("call", ["search", "add"])
def test_what_takes_the_place_of_an_open_store_is_left_as_it_is(
    store: Path, replace: Callable[[Path], None], call: str
) -> None:
    mem = open_store(store)
    mem._store.close()
    replace(store / "memories.db")
    before = _content(store)
    with pytest.raises(StoreDamagedError):
        _CALLS[call](mem)
    assert _content(store) == before


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_database_that_lost_its_end_is_refused_by_every_call_and_left_as_it_is(store: Path, share: float) -> None:
    content = (store / "memories.db").read_bytes()
    (store / "memories.db").write_bytes(content[: int(len(content) * share) // 8192 * 8192])
    before = _content(store)
    for name, call in _CALLS.items():
        with pytest.raises(StoreDamagedError, match=r"memories\.db"):
            mem = open_store(store)
            try:
                call(mem)
            finally:
                mem._store.close()
        assert _content(store) == before, name
    try:
        with open_store(store) as mem:
            assert mem.verify() != []
    except StoreDamagedError:
        pass
    assert _content(store) == before


def _kill_a_writer_of(store: Path, copy: Path, *texts: str) -> Path:
    """A copy of the store as it would be if its writer were killed after adding these."""
    with open_store(store) as mem:
        for text in texts:
            mem.add(text, id=text)
        shutil.copytree(store, copy)
    assert (copy / "memories.db-wal").stat().st_size > 0
    return copy


def test_a_log_that_is_lost_after_a_clean_close_is_not_missed(store: Path) -> None:
    with open_store(store) as mem:
        mem.add("one more", id="more")
        mem.search("one more")
    for leftover in store.glob("memories.db-*"):
        leftover.unlink()
    assert_holds(store, _COUNT, "one more")


def test_what_a_killed_writer_left_in_the_log_is_found_without_its_shm(store: Path, tmp_path: Path) -> None:
    killed = _kill_a_writer_of(store, tmp_path / "killed", "one more", "and another")
    (killed / "memories.db-shm").unlink(missing_ok=True)
    assert_holds(killed, _COUNT, "one more", "and another")


@pytest.mark.parametrize("lost", [1, 100, 8000, 30_000])
def test_a_log_that_was_cut_off_keeps_whole_batches_in_their_order(store: Path, tmp_path: Path, lost: int) -> None:
    texts = [f"batch {i}" for i in range(5)]
    killed = _kill_a_writer_of(store, tmp_path / "killed", *texts)
    (killed / "memories.db-shm").unlink()
    log = (killed / "memories.db-wal").read_bytes()
    (killed / "memories.db-wal").write_bytes(log[:-lost])
    with open_store(killed) as mem:
        kept = len(mem) - _COUNT
    assert kept < len(texts)
    assert_holds(killed, _COUNT, *texts[:kept])


@pytest.mark.parametrize("content", [b"", b"not a log", bytes(40_000), b"\xff" * 40_000])
def test_a_log_that_is_no_log_changes_nothing(store: Path, content: bytes) -> None:
    (store / "memories.db-wal").write_bytes(content)
    assert_holds(store, _COUNT)
    with open_store(store) as mem:
        mem.add("one more", id="more")
    assert_holds(store, _COUNT, "one more")


def _put_a_log_of(database: Path, store: Path) -> None:
    shutil.copy(database.with_name("memories.db-wal"), store / "memories.db-wal")


@pytest.mark.parametrize(
    "count",
    [
        30,
        _COUNT,
    ],
)
def test_the_log_of_another_store_does_not_become_part_of_this_one(store: Path, tmp_path: Path, count: int) -> None:
    with open_store(tmp_path / "other") as mem:
        mem.add_batch([{"id": f"other {i}", "text": f"of another store {i}"} for i in range(count)])
        _put_a_log_of(tmp_path / "other" / "memories.db", store)
    before = (store / "memories.db").read_bytes()
    for name in ("search", "add"):
        with pytest.raises(StoreDamagedError), open_store(store) as mem:
            _CALLS[name](mem)
    assert (store / "memories.db").read_bytes() == before


def test_the_log_of_another_programs_database_raises_none_but_our_errors(store: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "memories.db")) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE notes(text); INSERT INTO notes VALUES ('x')")
        _put_a_log_of(tmp_path / "memories.db", store)
    for call in _CALLS.values():
        try:
            mem = open_store(store)
            try:
                call(mem)
            finally:
                mem._store.close()
        except AgentMemError as error:
            assert "\n" not in str(error)
