"""Rows of the database changed behind the store's back: what meets them names the damage, and verify lists it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli.errors import AgentMemError, StoreDamagedError
from agentmem_cli.store.base import Finding
from tests.faults.stores import assert_finds, fill, open_store, text_of, vectors_of

_COUNT = 60
_HIT = 17  # the memory that is damaged: a search for its text meets it
_TEXTS = [text_of(i) for i in range(_COUNT)]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("pristine") / "store", _COUNT)


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "store")
    return tmp_path / "store"


def _change(store: Path, sql: str, *parameters: object) -> None:
    """Changes the database as no command does."""
    with closing(sqlite3.connect(store / "memories.db")) as connection, connection:
        assert connection.execute(sql, parameters).rowcount > 0
    with closing(sqlite3.connect(store / "memories.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _findings(store: Path) -> list[Finding]:
    with open_store(store) as mem:
        return mem.verify()


def _assert_found_and_kept(store: Path, *expected: tuple[str, str]) -> None:
    """Verify lists just this, none of it repairable; a repair leaves it as it is."""
    before = _findings(store)
    assert [(finding.where, finding.what) for finding in before] == list(expected)
    assert not any(finding.repairable for finding in before)
    rows = _rows(store)
    with open_store(store) as mem:
        mem.repair()
    assert _findings(store) == before
    assert _rows(store) == rows


def _rows(store: Path) -> list[list[tuple[object, ...]]]:
    with closing(sqlite3.connect(store / "memories.db")) as connection:
        return [connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("memories", "vectors", "history")]


_NOT_STORED = (f"memory {_HIT}", "its content is not what was stored")


@pytest.mark.parametrize(
    ("sql", "value", "listed"),
    [
        ("UPDATE memories SET text = ? WHERE id = ?", "someone else's words", 2),
        ("UPDATE memories SET user_id = ? WHERE id = ?", "eve", 1),
        ("UPDATE memories SET metadata = ? WHERE id = ?", '{"trusted":true}', 1),
        ("UPDATE memories SET importance = ? WHERE id = ?", 1.0, 1),
        ("UPDATE memories SET expires_at_us = ? WHERE id = ?", 2**55, 1),
        ("UPDATE memories SET content = ? WHERE id = ?", b"0123456789abcdef", 1),
    ],
)
def test_a_memory_changed_behind_our_back_is_never_handed_out(
    store: Path, sql: str, value: object, listed: int
) -> None:
    _change(store, sql, value, str(_HIT))
    with open_store(store) as mem:
        with pytest.raises(StoreDamagedError, match=f"memory {_HIT} .*not what was stored.*verify"):
            mem.search(_TEXTS[_HIT])
        with pytest.raises(StoreDamagedError, match=f"memory {_HIT} "):
            mem.get(str(_HIT))
        other = mem.get(str(_HIT + 1))
        assert other is not None and other.text == _TEXTS[_HIT + 1]
    expected = [(f"memory {_HIT}", "its vector is of another text")] * (listed - 1) + [_NOT_STORED]
    _assert_found_and_kept(store, *expected)


@pytest.mark.parametrize("call", ["export", "list"])
def test_a_memory_changed_behind_our_back_is_not_exported_or_listed_as_if_it_were_whole(store: Path, call: str) -> None:
    _change(store, "UPDATE memories SET text = 'someone else''s words' WHERE id = ?", str(_HIT))
    with open_store(store) as mem, pytest.raises(StoreDamagedError, match=f"memory {_HIT} "):
        _ = list(mem.export()) if call == "export" else mem.list_memories(limit=_COUNT)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("metadata", "{not json"),
        ("metadata", 7),
        ("metadata", b"\xff\xfe"),
        ("created_at_us", "yesterday"),
        ("created_at_us", 2**62),
        ("expires_at_us", "tomorrow"),
        ("expires_at_us", 2**62),
        ("text", b"\xff\xfe"),
        ("user_id", b"\xff"),
    ],
)
def test_a_memory_that_cannot_even_be_read_is_named(store: Path, column: str, value: object) -> None:
    _change(store, f"UPDATE memories SET {column} = ? WHERE id = ?", value, str(_HIT))
    with open_store(store) as mem:
        for meet in (lambda: mem.search(_TEXTS[_HIT]), lambda: mem.get(str(_HIT))):
            with pytest.raises(StoreDamagedError, match=f"memory {_HIT} "):
                meet()
        assert f"memory {_HIT}" in {finding.where for finding in mem.verify()}


@pytest.mark.parametrize(
    ("column", "value"), [("metadata", b"{}"), ("metadata", "{not json"), ("created_at_us", "now")]
)
def test_listing_and_exporting_a_memory_that_cannot_be_read_says_that_the_store_is_damaged(
    store: Path, column: str, value: object
) -> None:
    _change(store, f"UPDATE memories SET {column} = ? WHERE id = ?", value, str(_HIT))
    with open_store(store) as mem:
        with pytest.raises(StoreDamagedError):
            mem.list_memories(limit=_COUNT)
        with pytest.raises(StoreDamagedError):
            list(mem.export())


def test_a_memory_under_another_id_is_listed(store: Path) -> None:
    _change(store, "UPDATE memories SET id = 'forged' WHERE id = ?", str(_HIT))
    _assert_found_and_kept(store, ("memory forged", "its history is gone"))


def test_a_changed_vector_is_listed(store: Path) -> None:
    row = np.zeros(32, dtype=np.float32)
    row[0] = 1
    _change(store, "UPDATE vectors SET vector = ? WHERE vector_id = ?", row.tobytes(), _HIT + 1)
    _assert_found_and_kept(store, (f"vector {_HIT + 1}", "its checksum differs: it is not what was stored"))


@pytest.mark.parametrize("vector", [b"", b"odd", np.ones(31, dtype=np.float32).tobytes()])
def test_a_vector_of_another_length_raises_no_error_of_numpy(store: Path, vector: bytes) -> None:
    _change(store, "UPDATE vectors SET vector = ? WHERE vector_id = ?", vector, _HIT + 1)
    assert f"vector {_HIT + 1}" in {finding.where for finding in _findings(store)}
    with open_store(store) as mem, pytest.raises(StoreDamagedError, match="verify"):
        mem.search(_TEXTS[_HIT])


@pytest.mark.parametrize("vector", [7, "text"])
def test_a_vector_of_another_type_raises_no_error_of_python(store: Path, vector: object) -> None:
    _change(store, "UPDATE vectors SET vector = ? WHERE vector_id = ?", vector, _HIT + 1)
    assert f"vector {_HIT + 1}" in {finding.where for finding in _findings(store)}
    with open_store(store) as mem, pytest.raises(StoreDamagedError, match="verify"):
        mem.search(_TEXTS[_HIT])


def test_a_deleted_vector_is_listed(store: Path) -> None:
    _change(store, "DELETE FROM vectors WHERE vector_id = ?", _HIT + 1)
    _assert_found_and_kept(store, (f"memory {_HIT}", "it has no vector"))


def test_a_deleted_history_is_listed(store: Path) -> None:
    _change(store, "DELETE FROM history WHERE id = ?", str(_HIT))
    _assert_found_and_kept(store, (f"memory {_HIT}", "its history is gone"))


def test_a_changed_text_hash_is_listed(store: Path) -> None:
    _change(store, "UPDATE vectors SET text_hash = x'00' WHERE vector_id = ?", _HIT + 1)
    _assert_found_and_kept(store, (f"memory {_HIT}", "its vector is of another text"))


def test_vectors_that_were_swapped_are_listed(store: Path) -> None:
    _change(store, "UPDATE memories SET vector_id = 41 - vector_id WHERE vector_id IN (20, 21)")
    _assert_found_and_kept(store, *[(f"memory {i}", "its vector is of another text") for i in (19, 20)])


def test_a_vector_that_no_memory_has_is_removed_by_a_repair(store: Path) -> None:
    _change(store, "DELETE FROM memories WHERE id = ?", str(_HIT))
    finding, words = _findings(store)
    assert (finding.where, finding.what, finding.repairable) == (f"vector {_HIT + 1}", "no memory has it", True)
    assert (words.where, words.repairable) == ("text index", True)
    with open_store(store) as mem:
        mem.repair()
        assert mem.verify() == []
        texts = [text for i, text in enumerate(_TEXTS) if i != _HIT]
        assert_finds(mem, texts, vectors_of(texts))


@pytest.mark.parametrize("key", ["dim", "name", "pooling"])
def test_an_embedder_that_is_not_all_there_is_named(store: Path, key: str) -> None:
    _change(store, f"UPDATE meta SET value = json_remove(value, '$.{key}') WHERE key = 'embedder'")
    with pytest.raises(StoreDamagedError):
        open_store(store)


@pytest.mark.parametrize("value", ["", "{", b"\xff", "null", "[]", "7"])
def test_an_embedder_that_cannot_be_read_raises_none_but_our_errors(store: Path, value: object) -> None:
    _change(store, "UPDATE meta SET value = ? WHERE key = 'embedder'", value)
    with pytest.raises(AgentMemError):
        open_store(store)


@pytest.mark.parametrize(
    "damage",
    [
        b"`etadata TEXT,",
        b"`\xeetadata TEXT,",
        b"metadata TEXT(",
    ],
)
def test_a_damaged_schema_is_told_of_in_one_printable_line(store: Path, damage: bytes) -> None:
    content = (store / "memories.db").read_bytes()
    assert content.count(b"metadata TEXT,") == 1
    (store / "memories.db").write_bytes(content.replace(b"metadata TEXT,", damage[:14].ljust(14, b" ")))
    with pytest.raises(StoreDamagedError) as caught:
        open_store(store)
    assert str(caught.value).isprintable()
