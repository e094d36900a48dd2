"""AgentMem over an embedder that fails: nothing is stored, and the model and the cause are named."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli import AgentMem
from agentmem_cli.embedding.base import Embedded, Vectors
from agentmem_cli.errors import EmbeddingError
from agentmem_cli.search.query import Query
from tests.fakes import BrokenEmbedder, FakeEmbedder

_Damage = Callable[[Vectors], Vectors]


class CarelessEmbedder(FakeEmbedder):
    """Somebody's own embedder, which hands over whatever `damage` makes of the vectors, unchecked."""

    def __init__(self, damage: _Damage) -> None:
        super().__init__()
        self._damage = damage

    def embed(self, texts: Sequence[str]) -> Embedded:
        sound = super().embed(texts)
        return Embedded(self._damage(sound.vectors.copy()), sound.tokens, 0, 0, sound.cut)


def _first_nan(rows: Vectors) -> Vectors:
    rows[0, 0] = np.nan
    return rows


def _run_out_of_memory(rows: Vectors) -> Vectors:
    raise RuntimeError("the accelerator is out of memory")


_FAULTS = [
    (_first_nan, "returned NaN or infinity for 1 texts"),
    (lambda rows: rows * np.float32(np.inf), "returned NaN or infinity for 2 texts"),
    (np.zeros_like, "returned a zero vector for 2 texts"),
    (lambda rows: rows[:-1], r"returned vectors of shape \(1, 32\) for 2 texts"),
    (lambda rows: np.concatenate([rows, rows]), r"returned vectors of shape \(4, 32\) for 2 texts"),
    (lambda rows: rows[:, :-1], r"returned vectors of shape \(2, 31\) for 2 texts of 32 dims"),
    (lambda rows: rows[0], r"returned vectors of shape \(32,\) for 2 texts"),
    (_run_out_of_memory, "failed: RuntimeError: the accelerator is out of memory"),
]


@pytest.mark.parametrize(
    ("kind", "damage", "reason"),
    [*((CarelessEmbedder, *fault) for fault in _FAULTS), *((BrokenEmbedder, *fault) for fault in _FAULTS[:4:3])],
)
def test_vectors_that_cannot_be_stored_store_nothing_and_name_the_cause(
    tmp_path: Path, kind: Callable[[_Damage], FakeEmbedder], damage: _Damage, reason: str
) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as sound:
        sound.add("old", id="a")
    with AgentMem(tmp_path / "store", embedder=kind(damage)) as mem:
        with pytest.raises(EmbeddingError, match=f"model fake {reason}"):
            mem.add_batch([{"text": "new", "id": "a"}, {"text": "another", "id": "b"}])
        stored = mem.get("a")
        assert stored is not None
        assert (stored.text, mem.get("b"), len(mem)) == ("old", None, 1)
        assert len(mem.history("a")) == 1


@pytest.mark.parametrize(
    "damage",
    [lambda rows: rows.astype(np.float64), lambda rows: 7 * rows, np.asfortranarray],
    ids=["float64", "seven times as long", "columns first"],
)
def test_vectors_of_another_precision_length_or_layout_are_stored_as_they_should_have_been(
    tmp_path: Path, damage: _Damage
) -> None:
    texts = ["red apple", "green pear", "blue whale"]
    with AgentMem(tmp_path / "store", embedder=CarelessEmbedder(damage)) as mem:
        mem.add_batch([{"text": text} for text in texts])
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        for text in texts:
            hit = mem.search(text, 1)[0]
            assert hit.text == text
            assert hit.score == pytest.approx(1, abs=1e-5)


class _ManyQueries(CarelessEmbedder):
    """One that takes many queries at once."""

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        return self._damage(FakeEmbedder().embed(queries).vectors.copy())


@pytest.mark.parametrize(("damage", "reason"), [_FAULTS[0], _FAULTS[3], _FAULTS[-1]])
def test_many_queries_whose_vectors_mean_nothing_are_an_error_rather_than_answers(
    tmp_path: Path, damage: _Damage, reason: str
) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as sound:
        sound.add("red apple")
    with (
        AgentMem(tmp_path / "store", embedder=_ManyQueries(damage)) as mem,
        pytest.raises(EmbeddingError, match=f"model fake {reason}"),
    ):
        mem.search_many([Query("red"), Query("apple")])


def test_an_embedder_that_takes_one_query_at_a_time_answers_many_as_it_answers_each(tmp_path: Path) -> None:
    queries = [Query("red apple"), Query("blue whale"), Query("red apple")]
    for embedder in (FakeEmbedder(), _ManyQueries(lambda rows: rows)):
        with AgentMem(tmp_path / "store", embedder=embedder) as mem:
            mem.add_batch([{"id": text, "text": text} for text in ("red apple", "blue whale", "green pear")])
            together = mem.search_many(queries, 2)
            assert [hits[0].id for hits in together] == [query.text for query in queries]
            assert together == [mem.search(query.text, 2) for query in queries]


class _BrokenQueries(FakeEmbedder):
    def __init__(self, damage: _Damage) -> None:
        super().__init__()
        self._damage = damage

    def embed_query(self, query: str) -> Vectors:
        vector: Vectors = self._damage(super().embed_query(query)[np.newaxis])[0]
        return vector


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_first_nan, "NaN"),
        (np.zeros_like, "zero vector"),
        (lambda rows: rows[:, :-1], r"shape \(1, 31\)"),
        (_run_out_of_memory, "out of memory"),
    ],
)
def test_a_query_whose_vector_means_nothing_is_an_error_rather_than_an_answer(
    tmp_path: Path, damage: _Damage, reason: str
) -> None:
    with AgentMem(tmp_path / "store", embedder=_BrokenQueries(damage)) as mem:
        mem.add("red apple")
        with pytest.raises(EmbeddingError, match=f"model fake .*{reason}"):
            mem.search("red apple")
