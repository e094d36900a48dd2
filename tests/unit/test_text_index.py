"""The text index through the life of a store: it has the words of the stored texts, and no others, or is mended."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Memory, Scope, StoreDamagedError
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.store.embedded import text_index
from tests.fakes import FakeEmbedder
from tests.stores import embedded

_RARE = "xylophonequagmire"
_MANY = 400  # so that the index has several pages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def mem(folder: Path) -> Iterator[AgentMem]:
    with AgentMem(folder, embedder=FakeEmbedder()) as opened:
        yield opened


def found(mem: AgentMem, query: str) -> list[str]:
    return [hit.id for hit in mem.search(query, mode="words")]


def text_of(i: int) -> str:
    return f"apple number{i} word{i * 7919 % 4999} other{i * 104729 % 3001}"


def files_with(folder: Path, wanted: bytes) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()}


# What is stored is what is found


def test_a_replaced_text_is_found_by_its_new_words_alone(mem: AgentMem) -> None:
    mem.add("red apple", id="a")
    mem.add("green pear", id="a")
    assert (found(mem, "apple"), found(mem, "pear")) == ([], ["a"])
    mem.add("red apple", id="a")
    assert (found(mem, "apple"), found(mem, "pear")) == (["a"], [])
    assert mem.verify() == []


def test_a_text_of_several_memories_stays_until_the_last_of_them_goes(mem: AgentMem) -> None:
    mem.add_batch([Memory("red apple", id=identity) for identity in "abc"])
    assert found(mem, "apple") == ["a", "b", "c"]
    mem.delete("a")
    mem.add("green pear", id="b")
    assert found(mem, "apple") == ["c"]
    mem.delete("c")
    assert found(mem, "apple") == []
    assert mem.verify() == []


def test_an_update_of_all_but_the_text_leaves_the_words(mem: AgentMem) -> None:
    mem.add("red apple", id="a")
    mem.add("red apple", id="a", importance=0.9, user_id="ana")
    assert found(mem, "apple") == ["a"]
    assert mem.verify() == []


def test_a_deleted_text_that_comes_back_is_found(mem: AgentMem) -> None:
    for _ in range(3):
        mem.add(_RARE, id="a")
        assert found(mem, _RARE) == ["a"]
        mem.delete("a")
        assert found(mem, _RARE) == []
    assert mem.verify() == []


def test_a_deleted_word_is_in_no_file_after_compaction(mem: AgentMem, folder: Path) -> None:
    mem.add_batch([{"id": str(i), "text": text_of(i)} for i in range(200)])
    mem.add(f"apple {_RARE}", id="a")
    mem.add_batch([{"id": str(i), "text": text_of(i)} for i in range(200, 300)])
    assert files_with(folder, _RARE.encode())
    mem.delete("a")
    mem.compact()
    mem.close()
    assert files_with(folder, _RARE[:12].encode()) == set()
    assert len(found(mem, "apple")) == 10
    assert mem.verify() == []


def test_a_compaction_by_file_alone_would_leave_the_word(mem: AgentMem, folder: Path) -> None:
    mem.add_batch([{"id": str(i), "text": text_of(i)} for i in range(200)])
    mem.add(f"apple {_RARE}", id="a")
    mem.delete("a")
    writer = embedded(mem).writer()
    embedded(mem).close_reader()
    writer.change("VACUUM")
    writer.read("PRAGMA wal_checkpoint(TRUNCATE)")
    assert files_with(folder, _RARE[:12].encode()) == {"memories.db"}
    mem.compact()
    assert files_with(folder, _RARE[:12].encode()) == set()


def test_another_model_changes_no_word(mem: AgentMem) -> None:
    mem.add_batch([Memory(text_of(i), id=str(i)) for i in range(30)])
    before = mem.search("apple number7", mode="words")
    mem.reembed(embedder=FakeEmbedder("other"))
    assert mem.search("apple number7", mode="words") == before
    assert mem.verify() == []


def test_a_dry_run_adds_no_word(mem: AgentMem, tmp_path: Path) -> None:
    mem.add("red apple", id="a")
    source = tmp_path / "more.jsonl"
    source.write_text(f'{{"id": "a", "text": "{_RARE}"}}\n{{"id": "b", "text": "green apple"}}\n')
    mem.ingest([str(source)], IngestOptions(dry_run=True))
    assert (found(mem, "apple"), found(mem, _RARE)) == (["a"], [])
    mem.ingest([str(source)])
    assert (found(mem, "apple"), found(mem, _RARE)) == (["b"], ["a"])
    assert mem.verify() == []


@pytest.mark.parametrize("vectors", [True, False])
def test_an_export_taken_in_elsewhere_finds_the_same(mem: AgentMem, tmp_path: Path, vectors: bool) -> None:
    mem.add_batch([Memory(text, id=text) for text in ("red apple", "他去爬山", "green apple pie", "ＴＯＫＹＯ")])
    with AgentMem(tmp_path / "other", embedder=FakeEmbedder()) as other:
        other.add_batch(mem.export(vectors=vectors))
        for query in ("apple pie", "爬山", "tokyo"):
            for mode in ("words", "hybrid"):
                assert other.search(query, mode=mode) == mem.search(query, mode=mode)
        assert other.verify() == []


# Damage

_DAMAGES = {
    "pages lost": "DELETE FROM words_data WHERE id > 10",
    "pages overwritten": "UPDATE words_data SET block = zeroblob(length(block)) WHERE id > 10",
    "structure lost": "DELETE FROM words_data",
    "structure overwritten": "UPDATE words_data SET block = x'00' WHERE id = 10",
    "totals lost": "DELETE FROM words_data WHERE id = 1",
    "totals overwritten": "UPDATE words_data SET block = x'ffff' WHERE id = 1",
    "places lost": "DELETE FROM words_idx",
    "places wrong": "UPDATE words_idx SET pgno = pgno + 2",
    "format lost": "DELETE FROM words_config",
    "format unknown": "UPDATE words_config SET v = 99",
    "table lost": "DROP TABLE words",
    "part lost": "DROP TABLE words_data",
    "another part lost": "DROP TABLE words_config",
    "a word too many": "INSERT INTO words(rowid, text) VALUES (3, 'unheard')",
    "a text too many": "INSERT INTO words(rowid, text) VALUES (99999, 'apple')",
    "a text too many, and not counted": (
        "CREATE TEMP TABLE before AS SELECT block FROM words_data WHERE id = 1;"
        "INSERT INTO words(rowid, text) VALUES (99999, 'unheard');"
        "UPDATE words_data SET block = (SELECT block FROM before) WHERE id = 1"
    ),
    "a text too few": f"INSERT INTO words(words, rowid, text) VALUES ('delete', 1, '{text_of(0)}')",
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "store"
    with AgentMem(folder, embedder=FakeEmbedder(), index="off") as mem:
        mem.add_batch([{"id": str(i), "text": text_of(i)} for i in range(_MANY)])
    return folder


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES)
def test_a_damaged_text_index_is_named_loses_nothing_and_is_rebuilt(pristine: Path, folder: Path, damage: str) -> None:
    shutil.copytree(pristine, folder)
    with closing(sqlite3.connect(folder / "memories.db", isolation_level=None)) as connection:
        connection.executescript(damage)
    with AgentMem(folder, embedder=FakeEmbedder(), index="off") as mem:
        findings = mem.verify()
        assert findings and {(finding.where, finding.repairable) for finding in findings} == {("text index", True)}
        assert len(mem.search("apple number7", mode="meaning")) == 10
        for query in ("apple", "number7"):
            try:
                mem.search(query)
            except StoreDamagedError as error:
                assert "'agentmem verify --repair' rebuilds it" in str(error)
        mem.repair()
        assert mem.verify() == []
        assert found(mem, "number7") == ["7"]
        mem.delete("7")
        mem.add("apple seven", id="8")
        assert (found(mem, "number7"), found(mem, "seven")) == ([], ["8"])
        assert mem.verify() == []


@pytest.mark.parametrize("damage", ["structure lost", "format lost", "table lost", "totals overwritten"])
def test_a_change_that_the_text_index_refuses_changes_nothing_and_says_what_mends_it(
    pristine: Path, folder: Path, damage: str
) -> None:
    shutil.copytree(pristine, folder)
    with closing(sqlite3.connect(folder / "memories.db", isolation_level=None)) as connection:
        connection.execute(_DAMAGES[damage])
    with AgentMem(folder, embedder=FakeEmbedder(), index="off") as mem:
        with pytest.raises(StoreDamagedError, match=r"text index .* is damaged .*'agentmem verify --repair'"):
            mem.delete("7")
        assert len(mem) == _MANY
        assert mem.history("7")[-1].event == "add"
        mem.repair()
        assert mem.delete("7") == 1
        assert mem.verify() == []


@pytest.mark.parametrize(
    "damage",
    [
        "text = x'ff41'",
        "text = CAST(x'ff41' AS TEXT)",
        "text = 'one two three four five six seven eight nine'",
        "vector_id = 'abc'",
        "vector_id = -7",
        "vector_id = 99999",
    ],
)
def test_a_damaged_memory_is_deleted_and_leaves_a_text_index_that_can_be_mended(mem: AgentMem, damage: str) -> None:
    mem.add_batch(Memory(f"{text} apple", id=text, scope=Scope(user_id="ana")) for text in ("red", "green"))
    mem.close()
    with closing(sqlite3.connect(Path(mem.location) / "memories.db", isolation_level=None)) as connection:
        connection.execute(f"UPDATE memories SET {damage} WHERE id = 'red'")
    assert mem.verify() != []
    assert found(mem, "green") == ["green"]
    with suppress(StoreDamagedError):
        assert [hit.id for hit in mem.search("green", mode="words", user_id="ana")] == ["green"]
    assert mem.delete("red") == 1
    mem.repair()
    assert mem.verify() == []
    assert found(mem, "apple") == ["green"]


@pytest.mark.parametrize("kept_bytes", [0, 20, text_index.KEPT_BYTES])
def test_words_that_were_looked_up_before_find_what_changed_since(
    mem: AgentMem, folder: Path, monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    monkeypatch.setattr(text_index, "KEPT_BYTES", kept_bytes)

    query = "walrus ferry"
    mem.add("a walrus", id="a")
    mem.add("a ferry", id="b")
    assert sorted(found(mem, query)) == sorted(found(mem, query)) == ["a", "b"]
    mem.add("another walrus", id="c")
    assert sorted(found(mem, query)) == ["a", "b", "c"]
    mem.close()
    with AgentMem(folder, embedder=FakeEmbedder()) as other:  # another connection
        other.add("a ferry for a walrus", id="d")
        other.delete("a")
    assert sorted(found(mem, query)) == ["b", "c", "d"]
    mem.delete("d")
    mem.add("an owl", id="e")  # in the place of the text that went
    assert sorted(found(mem, query)) == ["b", "c"]
    share = mem.search("walrus owl", mode="words")[0].parts.word_share
    mem.delete("c")
    assert mem.search("walrus owl", mode="words")[0].parts.word_share != share  # other words are rare now
