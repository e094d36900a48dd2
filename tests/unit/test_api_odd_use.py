"""Odd uses of AgentMem that once went wrong: each test names what a user would have met."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from agentmem_cli import AgentMem, AgentMemError, InvalidMemoryError, StoreMismatchError, StoreWriteError, UsageError
from agentmem_cli.embedding.base import Embedder, unit_rows
from agentmem_cli.ingest.options import IngestOptions, Observer
from agentmem_cli.records.memory import Position
from agentmem_cli.store.base import Indexing
from agentmem_cli.store.embedded.lock import WriterLock
from tests.fakes import FakeEmbedder
from tests.stores import embedded


@pytest.fixture
def mem(tmp_path: Path) -> AgentMem:
    return AgentMem(tmp_path / "store", embedder=FakeEmbedder())


def test_an_id_that_never_was_has_no_history(mem: AgentMem) -> None:
    mem.add("text")
    assert mem.history("nobody") == []


def test_an_object_used_again_after_close_keeps_the_graph(mem: AgentMem) -> None:
    mem.add_batch({"text": f"text number {i}"} for i in range(1200))
    mem.build_index()
    mem.close()
    mem.search("text")
    mem.close()
    mem.open()
    assert embedded(mem).refresh_graph() is False


def test_a_store_that_another_made_meanwhile_with_another_model_is_not_searched(mem: AgentMem) -> None:
    with AgentMem(mem.location, embedder=FakeEmbedder("other", 16)) as other:
        other.add("text")
    with pytest.raises(StoreMismatchError, match="other"):
        mem.search("text")


@pytest.mark.parametrize("metadata", [{"key": "a\0b"}, {"a\0b": 1}, {"key": [{"deep": "\0"}]}])
def test_metadata_that_filters_would_misread_is_refused(mem: AgentMem, metadata: dict[str, str]) -> None:
    with pytest.raises(InvalidMemoryError, match="NUL"):
        mem.add("text", metadata=metadata)


def test_scores_stay_within_the_cosines_range(mem: AgentMem) -> None:
    texts = [f"some words of text number {i}" for i in range(200)]
    mem.add_batch({"text": text} for text in texts)
    assert max(hit.score for text in texts for hit in mem.search(text, 1)) <= 1.0


def test_a_lock_that_can_not_say_who_holds_it_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreWriteError, match="No space left"):
            WriterLock(tmp_path / "LOCK").acquire()
    WriterLock(tmp_path / "LOCK").acquire()


def test_a_stray_folder_beside_the_graph_is_left_alone(mem: AgentMem) -> None:
    mem.open()
    (Path(mem.location) / "index" / "stray").mkdir(parents=True)
    mem.add_batch({"text": f"text number {i}"} for i in range(1200))
    mem.build_index()
    mem.close()
    assert {path.name for path in (Path(mem.location) / "index").iterdir()} == {"stray", "1.hnsw"}


@pytest.mark.parametrize("where", [{"\ud800": 1}, {"key": [1]}, {"key": 10**400}, {"key": {"a": 1}}])
def test_a_filter_that_can_not_be_is_one_of_our_errors(mem: AgentMem, where: dict[str, int]) -> None:
    mem.add("text")
    with pytest.raises(AgentMemError, match=r'no memory can match|where "key"'):
        mem.search("text", where=where)


def test_half_a_surrogate_pair_finds_nothing_and_breaks_nothing(mem: AgentMem) -> None:
    mem.add("text")
    assert (mem.get("\ud800"), mem.history("\ud800")) == (None, [])
    with pytest.raises(AgentMemError, match="not valid text"):
        mem.search("\ud800")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda mem: mem.search("text", k=2.5), "k must be a whole number"),
        (lambda mem: mem.search("text", k=True), "k must be a whole number"),
        (lambda mem: mem.search(5), "a query's text must be a string"),
        (lambda mem: mem.search_many(["text"]), r"a query is a Query\(text, filter\), not a string"),
        (lambda mem: mem.search("text", context=1.5), "context must be a whole number"),
        (lambda mem: mem.search("text", neighbour_share="0.1"), "neighbour_share must be a number"),
        (lambda mem: mem.search("text", recency_half_life=30), "recency_half_life must be a timedelta"),
        (lambda mem: mem.list_memories("20"), "limit must be a whole number"),
        (lambda mem: mem.get(5), "an id must be a string"),
        (lambda mem: mem.history(None), "an id must be a string"),
        (lambda mem: mem.delete(5), "an id must be a string"),
        (lambda mem: mem.delete(["a"]), r"write delete\(\*ids\)"),
        (lambda mem: mem.delete("a", user_id="ana"), "give either ids or a filter"),
        (lambda mem: mem.add_batch({"text": "x"}), r"give \[memory\], or call add"),
        (lambda mem: mem.add_batch("x"), "add_batch takes a list of memories, not a string"),
        (lambda mem: mem.add_batch(5), "add_batch takes a list of memories, not a number"),
        (lambda mem: mem.ingest([5]), r"ingest\('memories.jsonl'\)"),
        (lambda mem: mem.ingest("m.jsonl", {"dry_run": True}), "options must be of type IngestOptions, not an object"),
        (lambda mem: mem.search_many([], ranking="hybrid"), "ranking must be of type Ranking, not a string"),
        (lambda mem: mem.search("x", mode="vector"), "it is one of hybrid, meaning, words"),
        (lambda mem: AgentMem(mem.location, index=cast("Indexing", "now")), "one of background, wait, off"),
        (lambda mem: AgentMem(mem.location, wait_s=cast("float", "5")), "wait_s must be a number"),
        (lambda mem: AgentMem(mem.location, threads=cast("int", "5")), "threads must be a whole number"),
        (lambda mem: AgentMem(mem.location, model=cast("str", 5)), "model must be a string"),
        (lambda mem: AgentMem(mem.location, embedder=cast("Embedder", len)), "embedder must have a spec"),
        (lambda mem: AgentMem(cast("str", 5)), "a store's path is a string or a Path"),
    ],
)
def test_an_argument_of_a_wrong_type_is_a_usage_error(mem: AgentMem, call: Callable[..., object], said: str) -> None:
    mem.add("text")
    with pytest.raises(UsageError, match=said):
        call(mem)


def test_numbers_of_numpy_are_numbers(mem: AgentMem) -> None:
    mem.add("text")
    assert len(mem.search("text", k=np.int64(3), neighbour_share=np.float32(0.5))) == 1


def test_a_graph_in_a_folder_whose_name_is_not_utf8_is_published_and_searched(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with AgentMem(folder, embedder=FakeEmbedder(), index="wait") as mem:
        mem.add_batch({"text": f"text number {i}"} for i in range(1200))
        mem.build_index()
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        assert mem.stats().graph["state"] == "published"
        assert mem.search("text number 7", k=1)[0].text == "text number 7"


def test_a_batch_of_strings_is_refused_with_a_reason(mem: AgentMem) -> None:
    with pytest.raises(InvalidMemoryError, match="not a string"):
        mem.add_batch(["abc"])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_a_path_that_no_folder_can_have_is_one_of_our_errors(name: str, tmp_path: Path) -> None:
    with pytest.raises(AgentMemError), AgentMem(tmp_path / name, embedder=FakeEmbedder()) as mem:
        mem.add("text")


def test_a_dry_run_knows_that_an_earlier_ingest_was_cut_off(mem: AgentMem, tmp_path: Path) -> None:
    class Listener(Observer):
        earlier: Position | None = None

        def started(self, file: str, earlier: Position | None, size_bytes: int | None) -> None:
            self.earlier = earlier

    path = tmp_path / "memories.jsonl"
    path.write_text('{"text": "one"}\n{"text": ""}\n')
    listener = Listener()
    with pytest.raises(AgentMemError):
        mem.ingest([str(path)], IngestOptions(stop_at_rejection=True))
    mem.ingest([str(path)], IngestOptions(dry_run=True), listener)
    assert listener.earlier == Position(str(path), 1)


def test_rows_of_half_precision_are_scaled_without_overflow() -> None:
    rows = np.array([[300, 1], [0.3, 0.1]], dtype=np.float16)
    assert np.allclose(np.linalg.norm(unit_rows(rows, 2, 2, "model"), axis=1), 1, atol=1e-6)  # type: ignore[arg-type]
