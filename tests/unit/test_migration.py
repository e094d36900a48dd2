"""A store of the first agentmem: searched as it is, brought up to date by the first write, whole or not at all."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, StoreError, StoreWriteError
from agentmem_cli.store import migration
from agentmem_cli.store.text_index import TextIndex
from tests.fakes import FakeEmbedder
from tests.old_stores import make_old, version_of

_MEMORIES: list[dict[str, object]] = [
    {"id": "a", "text": "red apple", "run_id": "r", "user_id": "ana"},
    {"id": "b", "text": "green apple pie", "run_id": "r", "user_id": "ana"},
    {"id": "c", "text": "blue whale", "metadata": {"session": "s"}},
    {"id": "d", "text": "他喜欢在周末去爬山", "run_id": "q", "metadata": {"session": "s"}},
    {"id": "e", "text": "red apple", "metadata": {"conversation_id": "c", "n": 1}},
]
_RUNS = {"a": "r", "b": "r", "c": "s", "d": "q", "e": "c"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "store"
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add_batch(_MEMORIES)
        mem.add("purple plum", id="f")
        mem.delete("f")
    make_old(folder)
    return folder


@pytest.fixture
def old(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def opened(folder: Path) -> AgentMem:
    return AgentMem(folder, embedder=FakeEmbedder(), index="off")


def found(mem: AgentMem, query: str) -> list[str]:
    return [hit.id for hit in mem.search(query, mode="text")]


def rows(folder: Path, sql: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(folder / "memories.db")) as connection:
        return connection.execute(sql).fetchall()


def change(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / "memories.db", isolation_level=None)) as connection:
        connection.execute(sql)


def assert_up_to_date(folder: Path) -> None:
    assert version_of(folder) == 2
    with opened(folder) as mem:
        assert mem.verify() == []
        assert (found(mem, "apple pie"), found(mem, "爬山")) == (["b", "a", "e"], ["d"])
    assert set(rows(folder, "SELECT id, run FROM memories WHERE id < 'f'")) == set(_RUNS.items())


# Reading


def test_reading_an_old_store_changes_no_byte_of_it(old: Path) -> None:
    before = (old / "memories.db").read_bytes()
    with opened(old) as mem:
        assert len(mem) == 5
        mem.search("apple")
        assert mem.verify() == []
        assert len(list(mem.export())) == 5
        mem.stats()
    assert version_of(old) == 1
    assert (old / "memories.db").read_bytes() == before


def test_an_old_store_is_searched_by_meaning(old: Path) -> None:
    with opened(old) as mem:
        by_meaning = mem.search("green apple pie", mode="vector")
        assert by_meaning[0].id == "b"
        hybrid = mem.search("green apple pie", context=2, recency_half_life="1d")
        assert [(hit.id, hit.parts.cosine, hit.parts.text) for hit in mem.search("green apple pie")] == [
            (hit.id, hit.score, None) for hit in by_meaning
        ]
        assert {(hit.before, hit.after, hit.parts.neighbours) for hit in hybrid} == {((), (), 0.0)}
        assert [hit.id for hit in mem.search("apple", user_id="ana", dedupe=True)] == ["a", "b"]


def test_searching_an_old_store_by_words_says_what_to_do(old: Path) -> None:
    with opened(old) as mem:
        with pytest.raises(StoreError, match="older agentmem, without a text index: 'agentmem verify --repair'"):
            mem.search("apple", mode="text")
        mem.repair()
        assert found(mem, "apple pie") == ["b", "a", "e"]


# Writing


_WRITES: dict[str, Callable[[AgentMem], object]] = {
    "open": AgentMem.open,
    "add": lambda mem: mem.add("one more", id="g"),
    "delete": lambda mem: mem.delete("nothing"),
    "repair": AgentMem.repair,
    "compact": AgentMem.compact,
}


@pytest.mark.parametrize("write", _WRITES.values(), ids=_WRITES)
def test_the_first_write_brings_an_old_store_up_to_date(old: Path, write: Callable[[AgentMem], object]) -> None:
    with opened(old) as mem:
        write(mem)
    assert_up_to_date(old)


def test_whoever_had_it_open_sees_the_words_and_runs_at_once(old: Path) -> None:
    with opened(old) as reader, opened(old) as writer:
        for mem in (reader, writer):
            assert mem.search("apple")[0].parts.text is None
        writer.add("yellow apple", id="g", run_id="r", user_id="ana")
        for mem in (reader, writer):
            assert found(mem, "yellow") == ["g"]
            (hit,) = mem.search("yellow apple", 1, context=5)
            assert ([memory.id for memory in hit.before], hit.parts.text) == (["a", "b"], 1)
            assert mem.verify() == []


def test_what_was_stored_is_as_it_was(old: Path) -> None:
    with opened(old) as mem:
        before = [list(mem.export(vectors=True)), [mem.history(identity) for identity in "abcdef"]]
        mem.open()
        assert [list(mem.export(vectors=True)), [mem.history(identity) for identity in "abcdef"]] == before
        assert mem.add_batch(_MEMORIES).unchanged == 5


def test_a_store_that_is_up_to_date_is_left_alone(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(old) as mem:
        mem.open()
    monkeypatch.setattr(TextIndex, "make", None)
    with opened(old) as mem:
        mem.add("one more")


# Faults


def _kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_after_making(index: TextIndex, make: Callable[[TextIndex], None] = TextIndex.make) -> None:
    make(index)
    _kill()


@pytest.mark.parametrize(
    ("owner", "name", "replacement"),
    [(migration, "_runs", _kill), (TextIndex, "make", _kill), (TextIndex, "make", _kill_after_making)],
)
def test_killed_while_it_is_brought_up_to_date_it_is_the_old_store(
    old: Path, owner: object, name: str, replacement: object
) -> None:
    child = os.fork()
    if child == 0:
        try:
            setattr(owner, name, replacement)
            opened(old).open()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert version_of(old) == 1
    assert rows(old, "SELECT name FROM sqlite_master WHERE name LIKE 'words%' OR name = 'memories_in_run'") == []
    with opened(old) as mem:
        assert [hit.id for hit in mem.search("red apple", 2, mode="vector")] == ["a", "e"]
        mem.open()
    assert_up_to_date(old)


def test_a_full_disk_leaves_the_old_store_and_gives_the_lock_back(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(index: TextIndex) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch, opened(old) as mem:
        patch.setattr(TextIndex, "make", full)
        with pytest.raises(StoreWriteError, match="full"):
            mem.add("one more")
        assert not mem._store.writing
    assert version_of(old) == 1
    with opened(old) as mem:
        mem.open()
    assert_up_to_date(old)


@pytest.mark.parametrize(
    "damage",
    [
        "text = x'ff41'",
        "text = CAST(x'ff41' AS TEXT)",
        "metadata = '{'",
        "metadata = '[1]'",
        "metadata = CAST(x'ff41' AS TEXT)",
        "run_id = CAST(x'ff41' AS TEXT)",
        "run_id = 5",
        "vector_id = 'abc'",
        "vector_id = -7",
    ],
)
def test_a_damaged_memory_holds_up_nothing_and_is_still_named(old: Path, damage: str) -> None:
    change(old, f"UPDATE memories SET {damage} WHERE id = 'a'")
    with opened(old) as mem:
        mem.add("one more", id="g")
        assert found(mem, "pie") == ["b"]
        assert found(mem, "more") == ["g"]
        assert any(not finding.repairable for finding in mem.verify())
        mem.delete("a")
        mem.repair()
        assert mem.verify() == []
    assert version_of(old) == 2
