"""A store that grows: its figures at each size, here and in a process of its own, and how like vectors are."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agentmem_cli.bench.growth import Growth, GrowthItem, grow_alone, grow_here, write_growth
from agentmem_cli.bench.measure import labelled, likeness
from agentmem_cli.bench.place import Place
from agentmem_cli.bench.result import ColdStart, Retrieval, StorePoint
from agentmem_cli.bench.workload import make_workload
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Vectors
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import StoreError, UsageError
from tests.fakes import FakeEmbedder

WORKLOAD = make_workload("mixed", 1200, 10)


def growth(folder: Path, *sizes: int) -> Growth:
    return write_growth(replace(WORKLOAD, queries=WORKLOAD.queries[:20]), sizes, Place(folder))


def points(found: list[GrowthItem]) -> list[StorePoint]:
    assert isinstance(found[0], ColdStart)
    return [item for item in found if isinstance(item, StorePoint)]


def test_a_store_is_measured_at_each_size_that_it_grows_to(tmp_path: Path) -> None:
    small, large = points(list(grow_here(FakeEmbedder, growth(tmp_path, 50, 1200))))
    assert [(store.memories, store.added) for store in (small, large)] == [(50, 50), (1200, 1150)]
    assert [len(store.batches_s) for store in (small, large)] == [1, 2]
    assert all(batch_s > 0 for batch_s in large.batches_s)
    assert (len(small.searches_s), len(large.searches_s)) == (20, 20)
    assert small.bytes < large.bytes
    assert small.peak_resident_bytes <= large.peak_resident_bytes


def test_only_a_store_that_is_large_enough_has_a_graph_and_its_recall(tmp_path: Path) -> None:
    small, large = points(list(grow_here(FakeEmbedder, growth(tmp_path, 999, 1000))))
    assert (small.index_s, small.graph_found) == (None, [])
    assert large.index_s is not None
    assert large.index_s > 0
    assert len(large.graph_found) == 20
    assert all(found <= 10 for found in large.graph_found)
    assert sum(large.graph_found) >= 180
    assert msgspec.json.decode(msgspec.json.encode(large), type=StorePoint) == large  # as its process tells of it


def test_a_cold_start_has_its_parts_and_embeds_a_first_batch(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    found = next(grow_here(lambda: embedder, growth(tmp_path, 50), 0.25))
    assert isinstance(found, ColdStart)
    assert (found.process_s, found.memories, embedder.texts_embedded) == (0.25, 10, 10)


def test_no_text_of_a_store_is_read_before_the_store_gets_it(tmp_path: Path) -> None:
    before = growth(tmp_path, 50, 1200)
    stored = set("".join(Path(step.file).read_text(encoding="utf-8") + "\n" for step in before.steps).splitlines())
    assert len(stored) == 1200
    assert len(before.warm_up_lines) == 1000
    assert not stored.intersection([*before.first_lines, *before.warm_up_lines])


@pytest.mark.slow
def test_a_model_grows_a_store_in_a_process_of_its_own(tmp_path: Path) -> None:
    spec = catalog.resolve(ModelChoice("minilm"))
    cold, *_, store = grow_alone(spec, ModelChoice(), growth(tmp_path, 20))
    assert isinstance(cold, ColdStart)
    assert cold.process_s is not None
    assert cold.process_s > 0
    assert isinstance(store, StorePoint)
    assert (store.memories, len(store.searches_s)) == (20, 20)


@pytest.mark.slow
def test_what_fails_in_that_process_is_told_in_one_line(tmp_path: Path) -> None:
    spec = replace(catalog.resolve(), revision="another")
    with pytest.raises(StoreError) as caught:
        list(grow_alone(spec, ModelChoice(), growth(tmp_path, 20)))
    assert "all-MiniLM-L6-v2 failed: model all-MiniLM-L6-v2 here is not the revision" in str(caught.value)
    assert "\n" not in str(caught.value)


def unit(rows: list[list[float]]) -> Vectors:
    vectors = np.array(rows, dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_vectors_of_the_same_dims_have_cosines_and_others_only_neighbours() -> None:
    first = unit([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    second = unit([[1, 0], [1, 0.1], [1, 1], [0.1, 1]])
    like = likeness(second, first, "first")
    assert like.reference == "first"
    assert like.cosines == pytest.approx([1, 1, 0.5**0.5, 1])
    assert likeness(unit([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0.1, 1, 0]]), first, "first").cosines == []


def test_neighbours_are_shared_where_both_models_have_them_among_the_ten_nearest() -> None:
    def circle(order: list[int]) -> Vectors:
        angles = np.array(order) * 2 * np.pi / 22
        return np.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1), dtype=np.float32)

    same = likeness(circle(list(range(22))), circle(list(range(22))), "r")
    assert same.shared_neighbours == [10] * 22
    opposite = circle([*range(11), *range(11)])  # each text stands on another
    assert sum(likeness(opposite, circle(list(range(22))), "r").shared_neighbours) < 220


def test_a_few_texts_have_fewer_neighbours() -> None:
    like = likeness(unit([[1, 0], [0, 1]]), unit([[1, 0], [0, 1]]), "r")
    assert like.shared_neighbours == [1, 1]


def test_labelled_queries_are_asked_last_of_all_memories_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("".join(f'{{"id":"m{i}","text":"word{i} is here"}}\n' for i in range(20)))
    (tmp_path / "asked.jsonl").write_text(
        '{"query":"word7","relevant":["m7"]}\n{"query":"word8","relevant":["m9", "gone"]}\n{"query":"word3"}\n'
    )
    asked = labelled(str(tmp_path / "own.jsonl"), str(tmp_path / "asked.jsonl"))
    *_, hybrid, vector = grow_here(FakeEmbedder, replace(growth(tmp_path, 10), labelled=asked))
    assert isinstance(hybrid, Retrieval)
    assert isinstance(vector, Retrieval)
    assert (hybrid.mode, vector.mode) == ("hybrid", "meaning")
    assert vector.figures["recall@1"] == [1.0, 0.0]
    assert (vector.unlabelled, vector.missing) == (1, 1)


def test_queries_that_nothing_can_be_judged_by_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "asked.jsonl").write_text('{"query":"word3"}\n')
    with pytest.raises(UsageError, match="no query has relevant ids"):
        labelled("own.jsonl", str(tmp_path / "asked.jsonl"))
    with pytest.raises(UsageError, match="give a file"):
        labelled("own.jsonl", "-")
