"""A store that is given another model searches like one that was made with it, however often it was cut off."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Memory
from agentmem_cli.embedding.base import Embedded, Vectors
from agentmem_cli.errors import EmbeddingError, StoreMismatchError
from tests.fakes import FakeEmbedder
from tests.stores import embedded

QUERIES = ("item 17", "colour2 shape3", "item 299 colour5")


class Other(FakeEmbedder):
    """Has vectors of its own, also where its dim is that of the fake."""

    def _word(self, word: str) -> Vectors:
        return super()._word(f"{self.spec.name} {word}")


class CutOff(Other):
    """Fails at its n-th batch, as a process that is interrupted."""

    def __init__(self, name: str, dim: int, at_batch: int) -> None:
        super().__init__(name, dim)
        self._left = at_batch

    def embed(self, texts: Sequence[str]) -> Embedded:
        self._left -= 1
        if self._left == 0:
            raise RuntimeError("cut off")
        return super().embed(texts)


def many(count: int, first: int = 0) -> list[Memory]:
    return [Memory(f"item {i} colour{i % 7} shape{i % 11}", id=str(i)) for i in range(first, first + count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def filled(folder: Path, count: int, embedder: FakeEmbedder | None = None) -> AgentMem:
    mem = AgentMem(folder, embedder=embedder or FakeEmbedder())
    mem.add_batch(many(count))
    return mem


def found(mem: AgentMem) -> list[list[tuple[str, float]]]:
    return [[(hit.id, round(hit.score, 4)) for hit in mem.search(query, 10)] for query in QUERIES]


@pytest.mark.parametrize(("name", "dim"), [("other", 32), ("other", 8), ("other", 64), ("fake", 16)])
@pytest.mark.parametrize("graph", [False, True])
def test_a_search_after_reembedding_is_that_of_a_store_made_with_the_new_model(
    folder: Path, tmp_path: Path, name: str, dim: int, graph: bool
) -> None:
    with filled(folder, 400) as mem, filled(tmp_path / "made", 400, Other(name, dim)) as made:
        before = found(mem)
        if graph:
            embedded(mem).refresh_graph(min_tail=1)
        mem.reembed(embedder=Other(name, dim))
        assert found(mem) == found(made) != before
        assert (mem.model, mem.verify()) == (made.model, [])
    with AgentMem(folder, embedder=Other(name, dim)) as reopened, AgentMem(folder) as unsaid:
        reopened.add("late", id="late")
        assert reopened.search("late", 1)[0].id == "late"
        assert unsaid.model == made.model
    with pytest.raises(StoreMismatchError, match="holds vectors of"):
        AgentMem(folder, embedder=FakeEmbedder())


def test_reembedding_keeps_memories_and_histories(folder: Path) -> None:
    with filled(folder, 20) as mem:
        mem.add("changed", id="3")
        before, history = list(mem.export()), mem.history("3")
        mem.reembed(embedder=Other("other", 8))
        assert (list(mem.export()), mem.history("3")) == (before, history)


def test_a_large_store_has_a_graph_of_the_new_vectors_at_once(folder: Path) -> None:
    with filled(folder, 1200) as mem:
        embedded(mem).refresh_graph()
        mem.reembed(embedder=Other("other", 8))
        assert (mem.stats().graph["state"], mem.stats().graph["scanned"]) == ("published", 0)
        assert mem.verify() == []


def test_what_became_durable_before_a_reembedding_was_cut_off_is_not_embedded_again(folder: Path) -> None:
    told: list[int] = []
    with filled(folder, 2500) as mem:
        before = found(mem)
        with pytest.raises(EmbeddingError, match="cut off"):
            mem.reembed(embedder=CutOff("other", 8, at_batch=2), on_progress=told.append)
        assert told == [1000]
        assert found(mem) == before
        assert (mem.model.name, mem.verify()) == ("fake", [])
    embedder = Other("other", 8)
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        assert found(mem) == before
        mem.reembed(embedder=embedder, on_progress=told.append)
        assert (embedder.texts_embedded, told) == (1500, [1000, 1000, 500])
        assert (len(mem), mem.stats().vectors, mem.verify()) == (2500, 2500, [])


def test_what_changes_between_a_reembedding_and_its_continuation_is_included(folder: Path) -> None:
    with filled(folder, 1500) as mem:
        with pytest.raises(EmbeddingError, match="cut off"):
            mem.reembed(embedder=CutOff("other", 8, at_batch=2))
        mem.delete("0", "1400")
        mem.add("late apple", id="late")
        mem.add("changed pear", id="1")
        embedder = Other("other", 8)
        mem.reembed(embedder=embedder)
        assert embedder.texts_embedded == 501
        for text, identity in (("late apple", "late"), ("changed pear", "1")):
            (hit,) = mem.search(text, 1)
            assert hit.id == identity
            assert hit.score == pytest.approx(1, abs=1e-5)
        assert (len(mem), mem.stats().vectors, mem.verify()) == (1499, 1499, [])


def test_a_reembedding_that_was_cut_off_and_is_made_with_a_third_model_starts_over(folder: Path) -> None:
    with filled(folder, 1100) as mem:
        with pytest.raises(EmbeddingError, match="cut off"):
            mem.reembed(embedder=CutOff("other", 8, at_batch=2))
        third = Other("third", 16)
        mem.reembed(embedder=third)
        assert (third.texts_embedded, mem.model.name, mem.verify()) == (1100, "third", [])


def test_a_shared_text_is_embedded_once(folder: Path) -> None:
    embedder = Other("other", 8)
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add_batch([Memory("same", id=str(i)) for i in range(10)])
        mem.reembed(embedder=embedder)
    assert embedder.texts_embedded == 1


def test_the_model_that_a_store_has_is_refused(folder: Path) -> None:
    embedder = FakeEmbedder()
    with filled(folder, 10) as mem:
        with pytest.raises(StoreMismatchError, match="holds vectors of fake already"):
            mem.reembed(embedder=embedder)
        assert (embedder.texts_embedded, mem.verify()) == (0, [])


def test_there_and_back_again_is_where_it_was(folder: Path) -> None:
    with filled(folder, 200) as mem:
        before = found(mem)
        mem.reembed(embedder=Other("other", 8))
        mem.reembed(embedder=FakeEmbedder())
        assert found(mem) == before
        assert mem.verify() == []


@pytest.mark.parametrize("graph", [False, True])
def test_whoever_had_the_store_open_is_told_and_reads_on_after_reopening(folder: Path, graph: bool) -> None:
    with filled(folder, 50) as mem, AgentMem(folder, embedder=FakeEmbedder()) as reader:
        if graph:
            embedded(mem).refresh_graph(min_tail=1)
        found(reader)
        mem.reembed(embedder=Other("other"))
        with pytest.raises(StoreMismatchError, match="holds vectors of other, not of fake"):
            reader.search("item 17")
        assert (len(reader), reader.get("7")) == (50, mem.get("7"))
        expected = found(mem)
    with pytest.raises(StoreMismatchError, match="holds vectors of other, not of fake"):
        reader.add("late")
    with AgentMem(folder, embedder=Other("other")) as reopened:
        assert found(reopened) == expected


def test_an_empty_store_changes_its_model_too(folder: Path) -> None:
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.open()
        mem.reembed(embedder=Other("other", 8))
        assert (mem.stats().embedder["name"], mem.stats().embedder["dim"], mem.verify()) == ("other", 8, [])
        mem.add("red apple", id="a")
        assert mem.search("red apple")[0].id == "a"
