"""Whatever is changed in a store behind its back, verify names it, and repair mends just what is derived."""

import sqlite3
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli import AgentMem, Memory
from agentmem_cli.errors import StoreDamagedError
from tests.fakes import FAKE_DIM, FakeEmbedder
from tests.stores import embedded

_LONG = (np.ones(FAKE_DIM, dtype=np.float32)).tobytes()
_OTHER_WORDS = ("text index", "it does not hold the words of the stored texts", True)
_SHORT = np.ones(1, dtype=np.float32).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed store of ten memories with a graph."""
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch([Memory(f"text {i}", id=str(i), metadata={"n": i}) for i in range(10)])
        embedded(mem).refresh_graph(min_tail=1)
    return tmp_path / "store"


def change(folder: Path, sql: str, *parameters: object) -> None:
    connection = sqlite3.connect(folder / "memories.db")
    with connection:
        connection.execute(sql, parameters)
    connection.close()


def findings(folder: Path) -> list[tuple[str, str, bool]]:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        return [(finding.where, finding.what, finding.repairable) for finding in mem.verify()]


def repair(folder: Path) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.repair()


def test_a_whole_store_has_no_findings(folder: Path) -> None:
    assert findings(folder) == []
    repair(folder)
    assert findings(folder) == []


@pytest.mark.parametrize(
    ("sql", "where", "whats"),
    [
        (
            "UPDATE memories SET text = 'evil' WHERE id = '3'",
            "memory 3",
            ["its vector is of another text", "its content is not what was stored"],
        ),
        ("UPDATE memories SET user_id = 'eve' WHERE id = '3'", "memory 3", ["its content is not what was stored"]),
        ("UPDATE memories SET metadata = '{\"n\":4}' WHERE id = '3'", "memory 3", ["its content is not"]),
        ("UPDATE memories SET metadata = NULL WHERE id = '3'", "memory 3", ["its content is not what was stored"]),
        ("UPDATE memories SET content = x'00' WHERE id = '3'", "memory 3", ["its content is not what was stored"]),
        ("UPDATE memories SET metadata = '{' WHERE id = '3'", "memory 3", ["it can't be read: not JSON"]),
        ("UPDATE memories SET text = x'00' WHERE id = '3'", "memory 3", ["it can't be read: text must be a string"]),
        ("UPDATE memories SET memory_type = 'x' WHERE id = '3'", "memory 3", ["it can't be read: memory_type"]),
        ("UPDATE memories SET created_at_us = 1 << 62 WHERE id = '3'", "memory 3", ["it can't be read:"]),
        ("UPDATE vectors SET text_hash = x'00' WHERE vector_id = 4", "memory 3", ["its vector is of another text"]),
        ("UPDATE vectors SET checksum = checksum + 1 WHERE vector_id = 4", "vector 4", ["its checksum differs"]),
        ("DELETE FROM history WHERE id = '3'", "memory 3", ["its history is gone"]),
        ("UPDATE memories SET id = 'another' WHERE id = '3'", "memory another", ["its history is gone"]),
        ("UPDATE memories SET vector_id = 99 WHERE id = '3'", "memory 3", ["it has no vector"]),
    ],
)
def test_a_changed_row_is_named_and_repair_leaves_it(folder: Path, sql: str, where: str, whats: list[str]) -> None:
    change(folder, sql)
    for _ in range(2):
        lasting = [finding for finding in findings(folder) if not finding[2]]
        assert len(lasting) == len(whats)
        for finding, what in zip(lasting, whats, strict=True):
            assert finding[0] == where
            assert finding[1].startswith(what)
        repair(folder)


@pytest.mark.parametrize(
    ("vector", "what"),
    [
        (_LONG, "it is not of unit length"),
        (np.full(FAKE_DIM, np.nan, dtype=np.float32).tobytes(), "it is not of unit length"),
        (bytes(4 * FAKE_DIM), "it is not of unit length"),
    ],
)
def test_a_vector_that_no_embedder_makes_is_named(folder: Path, vector: bytes, what: str) -> None:
    change(folder, "UPDATE vectors SET vector = ?, checksum = ? WHERE vector_id = 4", vector, zlib.crc32(vector))
    assert ("vector 4", what, False) in findings(folder)


def test_a_vector_of_wrong_length_is_named_where_there_is_no_graph(folder: Path) -> None:
    change(folder, "DELETE FROM graph")
    change(folder, "UPDATE vectors SET vector = ?, checksum = ? WHERE vector_id = 4", _SHORT, zlib.crc32(_SHORT))
    assert findings(folder) == [("vector 4", f"it has 1 dims, not {FAKE_DIM}", False)]


@pytest.mark.parametrize("byte", [0, 4 * FAKE_DIM - 1])
def test_one_flipped_bit_of_a_vector_is_named_and_the_graph_that_still_has_the_right_one_too(
    folder: Path, byte: int
) -> None:
    damaged = bytearray(FakeEmbedder().embed(["text 3"]).vectors[0].tobytes())
    damaged[byte] ^= 1
    change(folder, "UPDATE vectors SET vector = ? WHERE vector_id = 4", bytes(damaged))
    assert findings(folder) == [
        ("vector 4", "its checksum differs: it is not what was stored", False),
        ("index/1.hnsw", "it holds other vectors than the database", True),
    ]
    repair(folder)
    assert findings(folder) == [("vector 4", "its checksum differs: it is not what was stored", False)]


def test_a_lost_vector_is_named_by_its_memory(folder: Path) -> None:
    change(folder, "DELETE FROM vectors WHERE vector_id = 4")
    assert findings(folder) == [("memory 3", "it has no vector", False)]
    repair(folder)
    assert findings(folder) == [("memory 3", "it has no vector", False)]


def test_a_vector_that_no_memory_has_is_removed_by_repair(folder: Path) -> None:
    change(folder, "DELETE FROM memories WHERE id = '3'")
    assert findings(folder) == [("vector 4", "no memory has it", True), _OTHER_WORDS]
    repair(folder)
    assert findings(folder) == []
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        assert (mem.stats().vectors, len(mem)) == (9, 9)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        _flip,
    ],
)
@pytest.mark.parametrize("memories", [10, 1001])
def test_a_damaged_graph_is_named_and_rebuilt_where_one_is_worth_it(
    folder: Path, damage: Callable[[Path], object], memories: int
) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add_batch([Memory(f"text {i}", id=str(i)) for i in range(10, memories)])
    (graph,) = (folder / "index").iterdir()
    damage(graph)
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        expected = [hit.id for hit in mem.search("text 3 text", 5)]
        assert [(finding.where, finding.repairable) for finding in mem.verify()] == [(f"index/{graph.name}", True)]
        mem.repair()
        assert mem.verify() == []
        assert mem.stats().graph["vectors"] == (memories if memories > 1000 else 0)
        assert [hit.id for hit in mem.search("text 3 text", 5)] == expected


def test_a_graph_that_lacks_a_vector_of_its_time_is_named_and_rebuilt(folder: Path) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add("late", id="late")
    change(folder, "UPDATE graph SET last_vector_id = 11")
    assert findings(folder) == [("index/1.hnsw", "it lacks 1 vectors, 11 the first", True)]
    repair(folder)
    assert findings(folder) == []


def test_repair_mends_what_is_derived_and_leaves_what_is_not(folder: Path) -> None:
    change(folder, "DELETE FROM memories WHERE id = '3'")
    change(folder, "UPDATE memories SET text = 'evil' WHERE id = '5'")
    _flip(folder / "index" / "1.hnsw")
    before = findings(folder)
    assert {finding[0] for finding in before} == {"vector 4", "memory 5", "index/1.hnsw"}
    repair(folder)
    assert findings(folder) == [finding for finding in before if not finding[2]]


def test_a_page_of_the_database_that_was_overwritten_is_found(folder: Path) -> None:
    path = folder / "memories.db"
    content = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'history'").fetchall()
    connection.close()
    content[(page - 1) * 8192 : page * 8192] = b"\xaa" * 8192
    path.write_bytes(content)
    assert [repairable for _, _, repairable in findings(folder)][:1] == [False]


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A closed store of a short memory and two long ones, in chunks."""
    with AgentMem(tmp_path / "split", embedder=FakeEmbedder()) as mem:
        long = [" ".join(f"{name}{i}" for i in range(60)) for name in ("a", "b")]
        mem.add_batch([Memory(text, id=text[0]) for text in (*long, "short")], chunk=True)
        assert mem.stats().chunks > 8
    return tmp_path / "split"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE chunks SET start = start + 1 WHERE start = (SELECT max(start) FROM chunks)",
        "UPDATE chunks SET stop = stop + 1 WHERE start = 0",
        "UPDATE chunks SET stop = 100000 WHERE start = 0",
        "UPDATE chunks SET stop = 'x' WHERE start = 0",
        "UPDATE chunks SET vector_id = 3 WHERE start = 0",
        "UPDATE chunks SET vector_id = 99 WHERE start = 0",
        "UPDATE chunks SET text_vector_id = 3 WHERE start = 0 AND text_vector_id = 1",
    ],
)
def test_a_changed_chunk_is_told_of_and_a_search_raises_nothing_but_an_error_of_ours(split: Path, sql: str) -> None:
    change(split, sql)
    found = [where for where, _, repairable in findings(split) if not repairable]
    assert found
    assert all(where.startswith("chunks of the text of vector ") for where in found)
    with AgentMem(split, embedder=FakeEmbedder()) as mem, suppress(StoreDamagedError):
        mem.search("a1 a2 a3", mode="meaning")


def test_chunks_of_a_text_that_no_memory_has_are_repaired_away(split: Path) -> None:
    change(split, "DELETE FROM memories WHERE id = 'a'")
    assert {where for where, _, _ in findings(split)} > {"chunks of the text of vector 1"}
    assert all(repairable for _, _, repairable in findings(split))
    repair(split)
    assert findings(split) == []
    with AgentMem(split, embedder=FakeEmbedder()) as mem:
        assert {hit.id for hit in mem.search("a1 a2 a3", mode="meaning")} == {"b", "s"}
        assert mem.stats().vectors == 2 + mem.stats().chunks
