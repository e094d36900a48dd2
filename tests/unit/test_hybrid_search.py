"""Hybrid search: scores add up as they are explained, stay the same, and change by nothing that wasn't asked for."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Hit, UsageError
from agentmem_cli.search.query import MODES, Mode, Query, Ranking
from agentmem_cli.store.embedded import graph
from tests.fakes import CosineEmbedder, FakeEmbedder

_NOW = datetime.now(timezone.utc)


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder(), index="off") as opened:
        yield opened


def fill(mem: AgentMem, count: int) -> None:
    mem.add_batch(
        {
            "id": str(i),
            "text": f"apple colour{i % 7} shape{i % 11} number{i}",
            "user_id": f"u{i % 2}",
            "run_id": f"run {i % 5}",
            "importance": None if i % 3 == 0 else i % 10 / 10,
            "created_at": (_NOW - timedelta(days=i)).isoformat(),
        }
        for i in range(count)
    )


def assert_scores(hits: Sequence[Hit], scores: Mapping[str, float]) -> None:
    """Fails unless these are the hits, in this order."""
    assert [hit.id for hit in hits] == list(scores)
    assert [hit.score for hit in hits] == pytest.approx(list(scores.values()), abs=1e-6)


def relevance(hit: Hit, mode: Mode) -> float:
    """The score before it is shown: that of the mode, or what orders the hits of hybrid search."""
    parts = hit.parts
    base = {"hybrid": max(0.0, parts.meaning + parts.words), "meaning": parts.cosine, "words": parts.word_share}[mode]
    assert base is not None
    whole = base + parts.neighbours
    return whole * parts.speaker * parts.time * parts.recency * parts.importance if whole > 0 else whole


@pytest.mark.parametrize(
    "options",
    [{}, {"recency_half_life": "10d"}, {"importance_weight": 0.5}, {"recency_half_life": "2w", "importance_weight": 1}],
)
def test_the_parts_of_a_score_add_up_to_it(mem: AgentMem, options: dict[str, object]) -> None:
    fill(mem, 60)
    for mode in MODES:
        hits = mem.search("apple colour3 shape5 unheard", 60, mode=mode, **options)  # type: ignore[arg-type]
        assert len(hits) == 60
        best = relevance(hits[0], mode)
        for hit in hits:
            score = relevance(hit, mode)
            shown = hits[0].score * (score / best) ** 0.25 if mode == "hybrid" else score
            assert hit.score == pytest.approx(shown, abs=1e-6)
            assert (hit.parts.neighbours > 0) <= (mode == "hybrid")
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_what_both_sides_find_far_down_is_found_first_where_it_is_best_together(tmp_path: Path) -> None:
    near = {f"near {i}": 0.9 for i in range(60)}  # nearer than the best, without a word of the query
    worded = {f"zebra crossing {i}": 0.0 for i in range(60)}  # all words of the query, and far
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder({**near, **worded, "best zebra crossing": 0.8})) as mem:
        mem.add_batch({"id": text, "text": text} for text in (*near, *worded, "best zebra crossing"))
        best, second = mem.search("zebra crossing", 2)
    assert (best.id, second.id) == ("best zebra crossing", "zebra crossing 0")


def test_hybrid_finds_what_either_side_finds(tmp_path: Path) -> None:
    cosines = {"car": 0.9, "automobile": 0.8, "zebra": -0.5}
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder(cosines)) as mem:
        mem.add_batch({"id": text, "text": text} for text in cosines)
        hits = mem.search("zebra automobile")
    assert [hit.id for hit in hits] == ["automobile", "zebra", "car"]
    assert [hit.parts.cosine for hit in hits] == pytest.approx([0.8, -0.5, 0.9], abs=1e-6)
    assert [hit.parts.word_share for hit in hits] == pytest.approx([0.5, 0.5, 0], abs=1e-6)


def test_a_negative_cosine_is_a_score_of_mode_vector_that_no_factor_raises(tmp_path: Path) -> None:
    cosines = {"near": 0.9, "far": -0.9, "farther": -0.95}
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder(cosines)) as mem:
        mem.add_batch({"id": text, "text": text, "created_at": "2001-01-01", "importance": 0} for text in cosines)
        plain = mem.search("query", mode="meaning")
        weighed = mem.search("query", mode="meaning", recency_half_life="1d", importance_weight=1)
    assert_scores(plain, cosines)
    assert [hit.score for hit in weighed] == pytest.approx([0, -0.9, -0.95], abs=1e-6)


def test_the_same_search_gives_the_same_hits_in_any_process_of_any_history(mem: AgentMem, tmp_path: Path) -> None:
    fill(mem, 200)
    before = mem.search("colour3 shape5", 20)
    assert mem.search("colour3 shape5", 20) == before
    with AgentMem(mem.location, embedder=FakeEmbedder()) as reader:
        assert reader.search("colour3 shape5", 20) == before
    mem.compact()
    assert mem.search("colour3 shape5", 20) == before
    with AgentMem(tmp_path / "other", embedder=FakeEmbedder()) as other:
        for memory in mem.export():
            other.add_batch([memory])
        assert_scores(other.search("colour3 shape5", 20), {hit.id: hit.score for hit in before})


def test_a_graph_changes_no_hit(mem: AgentMem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "EF_SEARCH", 10_000)
    fill(mem, 1200)

    def found() -> list[list[Hit]]:
        return [
            mem.search(query, 20, mode=mode, user_id=user)
            for query in ("apple colour3 shape5", "number77 shape2", "unheard")
            for mode in MODES
            for user in (None, "u1")
        ]

    scanned = found()
    mem.build_index()
    assert mem.stats().graph["scanned"] == 0
    for hits, before in zip(found(), scanned, strict=True):
        assert_scores(hits, {hit.id: hit.score for hit in before})


@pytest.mark.parametrize("mode", MODES)
def test_fewer_hits_asked_for_are_the_first_of_more(mem: AgentMem, mode: Mode) -> None:
    fill(mem, 300)
    many = [hit.id for hit in mem.search("apple colour3 shape5", 50, mode=mode, neighbour_share=0)]
    for k in (1, 10, 49):
        assert [hit.id for hit in mem.search("apple colour3 shape5", k, mode=mode, neighbour_share=0)] == many[:k]


def test_only_matching_memories_are_weighed_and_found(mem: AgentMem) -> None:
    mem.add_batch({"id": f"a{i}", "text": f"apple pie {i}", "user_id": "ana"} for i in range(30))
    mem.add_batch(
        [{"id": "b", "text": "apple tart", "user_id": "bo"}, {"id": "c", "text": "pie chart", "user_id": "bo"}]
    )
    hits = mem.search("apple pie", user_id="bo", mode="words")
    assert_scores(hits, {"b": 0.5, "c": 0.5})
    assert {hit.id for hit in mem.search("apple pie", user_id="bo")} == {"b", "c"}


# Time and importance


def test_time_and_importance_change_nothing_unless_asked_for(mem: AgentMem) -> None:
    for number, (days, importance) in enumerate([(0, 1.0), (1000, 0.0), (-1000, None)]):
        created = (_NOW - timedelta(days=days)).isoformat()
        mem.add(f"apple {number}", id=str(number), created_at=created, importance=importance)
    for hit in mem.search("apple"):
        assert (hit.parts.recency, hit.parts.importance) == (1, 1)
    plain = mem.search("apple")
    assert mem.search("apple", recency_half_life=None, importance_weight=0) == plain
    assert mem.search_many([Query("apple")], 10, Ranking()) == [plain]


@pytest.mark.parametrize("half_life", ["30d", timedelta(days=30), "720h"])
def test_a_half_life_halves_and_the_future_is_new(mem: AgentMem, half_life: str | timedelta) -> None:
    for name, days in (("new", 0), ("month", 30), ("two", 60), ("future", -365)):
        mem.add(f"apple of {name}", id=name, created_at=(_NOW - timedelta(days=days)).isoformat())
    mem.add("apple without a time", id="now")
    recency = {hit.id: hit.parts.recency for hit in mem.search("apple", recency_half_life=half_life)}
    expected = {"new": 1, "month": 0.5, "two": 0.25, "future": 1, "now": 1}
    assert recency == pytest.approx(expected, rel=(time.time() - _NOW.timestamp() + 1) / 86400)
    assert recency["future"] == 1


def test_importance_weighs_and_unsaid_is_a_half(mem: AgentMem) -> None:
    for name, importance in (("most", 1.0), ("least", 0.0), ("unsaid", None), ("half", 0.5)):
        mem.add("the same text", id=name, importance=importance)
    hits = {hit.id: hit for hit in mem.search("same text", importance_weight=0.4)}
    assert {name: hit.parts.importance for name, hit in hits.items()} == pytest.approx(
        {"most": 1, "least": 0.6, "unsaid": 0.8, "half": 0.8}
    )
    assert hits["least"].score == pytest.approx(0.6**0.25 * hits["most"].score)
    assert [hit.id for hit in mem.search("same text", importance_weight=0.4)] == ["most", "unsaid", "half", "least"]


@pytest.mark.parametrize("half_life", ["0d", "30", "a month", "999999999w", timedelta(days=-1)])
def test_a_half_life_that_can_not_be_is_a_usage_error(mem: AgentMem, half_life: str | timedelta) -> None:
    mem.add("apple")
    with pytest.raises(UsageError, match=r"half-life|half_life"):
        mem.search("apple", recency_half_life=half_life)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "fuzzy"},
        {"neighbour_share": -0.1},
        {"neighbour_share": 1.1},
        {"neighbour_share": float("nan")},
        {"importance_weight": 2.0},
        {"recency_half_life_s": float("inf")},
        {"context": -1},
        {"min_score": 1.5},
        {"min_score": float("nan")},
    ],
)
def test_a_ranking_that_can_not_be_is_a_usage_error(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(Ranking(), **change)  # type: ignore[arg-type]


# Near-duplicates


def test_near_duplicates_are_folded_into_the_best_of_them(tmp_path: Path) -> None:
    cosines = {"red apple": 0.90, "a red apple": 0.901, "green pear": 0.3, "blue": -0.2, "one red apple": 0.899}
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder(cosines)) as mem:
        mem.add_batch({"id": text, "text": text} for text in cosines)
        mem.add("red apple", id="again", user_id="ana")
        hits = mem.search("query", 3, mode="meaning", dedupe=True)
        assert [(hit.id, set(hit.duplicates)) for hit in hits] == [
            ("a red apple", {"red apple", "again", "one red apple"}),
            ("green pear", set()),
            ("blue", set()),
        ]
        assert hits[0].duplicates == ("red apple", "again", "one red apple")
        assert [hit.duplicates for hit in mem.search("query", 6, mode="meaning")] == [()] * 6
        assert [hit.id for hit in mem.search("red apple", mode="words", dedupe=True)] == ["red apple"]


@pytest.mark.parametrize("mode", MODES)
def test_k_are_found_although_the_best_hundreds_are_near_duplicates(tmp_path: Path, mode: Mode) -> None:
    copies = {f"apple apple {i}": 0.9 + i * 1e-5 for i in range(500)}
    others = {f"apple of kind {i}": math.cos(math.radians(25 + 20 * i)) for i in range(1, 7)}  # 20 degrees apart
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder({**copies, **others})) as mem:
        mem.add_batch({"text": text} for text in (*copies, *others))
        hits = mem.search("apple", 4, mode=mode, dedupe=True)
        assert len(hits) == 4
        assert len(hits[0].duplicates) == 499
        assert len(mem.search("apple", 50, mode=mode, dedupe=True)) == 7
