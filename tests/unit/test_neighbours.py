"""Memories of one run, in their order: what they lend each other, and what stands around a hit."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Hit
from agentmem_cli.search.query import MODES
from tests.fakes import CosineEmbedder, FakeEmbedder

_COSINES = {"one": 0.2, "two": 0.9, "three": 0.4, "four": 0.1, "alone": 0.3}
_FAR = {f"far {i}": -0.5 for i in range(30)}  # so that the others are above the mean


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder({**_COSINES, **_FAR})) as opened:
        opened.add_batch({"id": text, "text": text, "memory_type": "core"} for text in _FAR)
        yield opened


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[AgentMem]:
    """Ten turns of Ana's, ten of Bo's in a run of the same name, and one that is in none."""
    with AgentMem(tmp_path / "talk", embedder=FakeEmbedder()) as opened:
        for user in ("ana", "bo"):
            opened.add_batch(
                {"id": f"{user}{i}", "text": f"{user} says {i}th", "user_id": user, "run_id": "r", "created_at": i}
                for i in range(10)
            )
        opened.add("nobody says 5th", id="alone", user_id="ana")
        yield opened


def near(hits: Sequence[Hit]) -> list[Hit]:
    return [hit for hit in hits if hit.id not in _FAR]


def relevance(hits: Sequence[Hit]) -> dict[str, float]:
    return {hit.id: max(0.0, hit.parts.meaning + hit.parts.words) for hit in hits}


def lent(hits: Sequence[Hit]) -> dict[str, float]:
    return {hit.id: hit.parts.neighbours for hit in hits}


def around(hit: Hit) -> tuple[list[str], list[str]]:
    return [memory.id for memory in hit.before], [memory.id for memory in hit.after]


# Lending


def test_each_lends_a_fifth_to_the_next_and_a_tenth_to_the_one_after(mem: AgentMem) -> None:
    mem.add_batch({"id": text, "text": text, "run_id": "r"} for text in ("one", "two", "three", "four"))
    mem.add("alone", id="alone")
    hits = near(mem.search("query"))
    own = relevance(hits)
    assert lent(hits) == pytest.approx(
        {
            "two": 0.2 * (own["one"] + own["three"]) + 0.1 * own["four"],
            "three": 0.2 * (own["two"] + own["four"]) + 0.1 * own["one"],
            "one": 0.2 * own["two"] + 0.1 * own["three"],
            "alone": 0,
            "four": 0.2 * own["three"] + 0.1 * own["two"],
        },
        abs=1e-6,
    )
    assert [hit.id for hit in hits] == ["two", "three", "one", "four", "alone"]


def test_those_that_are_far_from_the_best_lend_too(tmp_path: Path) -> None:
    above = {f"above {i}": 0.5 for i in range(24)}
    cosines = {**_FAR, **above, "late": 0.49, "beside": 0.48}
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder(cosines)) as mem:
        mem.add_batch({"id": text, "text": text} for text in (*_FAR, *above))
        mem.add_batch({"id": text, "text": text, "run_id": "r"} for text in ("late", "beside"))
        (hit,) = mem.search("query", 1)
    assert hit.id == "late"
    assert hit.parts.neighbours > 0


def test_the_share_is_as_it_was_asked_for(mem: AgentMem) -> None:
    mem.add_batch({"id": text, "text": text, "run_id": "r"} for text in ("one", "two"))
    hits = near(mem.search("query", neighbour_share=0.5))
    own = relevance(hits)
    assert lent(hits) == pytest.approx({"two": 0.5 * own["one"], "one": 0.5 * own["two"]}, abs=1e-6)
    assert set(lent(mem.search("query", neighbour_share=0)).values()) == {0}


@pytest.mark.parametrize("mode", ["meaning", "words"])
def test_nothing_is_lent_by_meaning_or_by_words_alone(mem: AgentMem, mode: str) -> None:
    mem.add_batch({"id": text, "text": text, "run_id": "r"} for text in ("one", "two"))
    assert mem.search("one two", mode=mode) == mem.search("one two", mode=mode, neighbour_share=0)  # type: ignore[arg-type]


def test_without_a_run_nothing_is_lent(mem: AgentMem) -> None:
    mem.add_batch({"id": text, "text": text} for text in _COSINES)
    assert mem.search("query") == mem.search("query", neighbour_share=0)


def test_only_memories_that_match_lend_and_borrow(mem: AgentMem) -> None:
    for text, kind in (("one", "core"), ("two", "working"), ("three", "core"), ("four", "core")):
        mem.add(text, id=text, run_id="r", memory_type=kind)
    hits = near(mem.search("query", memory_type="core"))
    own = relevance(hits)
    expected = {
        "one": 0.1 * own["three"],
        "three": 0.2 * own["four"] + 0.1 * own["one"],
        "four": 0.2 * own["three"],
    }
    assert lent(hits) == pytest.approx(expected, abs=1e-6)


def test_nothing_is_lent_to_another_user_of_the_same_run(mem: AgentMem) -> None:
    for text, user in (("one", "ana"), ("two", "bo"), ("three", None)):
        mem.add(text, id=text, run_id="r", user_id=user)
    assert mem.search("query") == mem.search("query", neighbour_share=0)


def test_a_memory_that_nothing_else_would_find_is_found_beside_its_neighbour(tmp_path: Path) -> None:
    cosines = {f"filler {i}": 0.5 for i in range(300)} | {"question": 0.95, "answer": -0.9}
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder(cosines)) as mem:
        mem.add_batch({"id": text, "text": text} for text in cosines if text.startswith("filler"))
        mem.add_batch({"id": text, "text": text, "run_id": "r"} for text in ("question", "answer"))
        hits = mem.search("query", 400)
        assert hits[0].id == "question"
        assert lent(hits)["answer"] == pytest.approx(0.2 * relevance(hits)["question"], abs=1e-6)
        assert "answer" not in lent(mem.search("query", 10, neighbour_share=0))


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ({"run_id": "r"}, {"run_id": "r"}, True),
        ({"metadata": {"session": "s"}}, {"metadata": {"session": "s"}}, True),
        ({"metadata": {"session_id": "s"}}, {"metadata": {"conversation_id": "s"}}, True),
        ({"run_id": "r"}, {"metadata": {"session": "r"}}, True),
        ({"run_id": "r", "metadata": {"session": "s"}}, {"metadata": {"session": "s"}}, False),
        ({"run_id": "r"}, {"run_id": "q"}, False),
        ({"run_id": "r", "agent_id": "a"}, {"run_id": "r", "agent_id": "b"}, True),
        ({"metadata": {"session": ""}}, {"metadata": {"session": ""}}, False),
        ({"metadata": {"session": 1}}, {"metadata": {"session": 1}}, False),
        ({"metadata": {"topic": "s"}}, {"metadata": {"topic": "s"}}, False),
    ],
)
def test_a_run_is_the_run_id_or_what_metadata_calls_the_conversation(
    mem: AgentMem, first: dict[str, object], second: dict[str, object], together: bool
) -> None:
    mem.add_batch([{"id": "one", "text": "one", **first}, {"id": "two", "text": "two", **second}])
    hits = near(mem.search("query", context=1))
    assert {hit.id: hit.parts.neighbours > 0 for hit in hits} == {"one": together, "two": together}
    assert around(hits[0]) == (["one"] if together else [], [])


def test_an_update_moves_a_memory_to_another_run(mem: AgentMem) -> None:
    mem.add_batch({"id": text, "text": text, "run_id": "r"} for text in ("one", "two"))
    mem.add("two", id="two", run_id="q")
    assert mem.search("query") == mem.search("query", neighbour_share=0)
    mem.add("two", id="two", run_id="r")
    assert {hit.parts.neighbours > 0 for hit in near(mem.search("query"))} == {True}


def test_a_deleted_memory_lends_no_more_and_its_neighbours_meet(mem: AgentMem) -> None:
    mem.add_batch({"id": text, "text": text, "run_id": "r"} for text in ("one", "two", "three"))
    mem.delete("two")
    hits = near(mem.search("query"))
    own = relevance(hits)
    assert lent(hits) == pytest.approx({"one": 0.2 * own["three"], "three": 0.2 * own["one"]}, abs=1e-6)


# Context


@pytest.mark.parametrize(
    ("turn", "n", "before", "after"),
    [
        (5, 1, [4], [6]),
        (5, 3, [2, 3, 4], [6, 7, 8]),
        (0, 2, [], [1, 2]),
        (9, 2, [7, 8], []),
        (1, 100, [0], [2, 3, 4, 5, 6, 7, 8, 9]),
        (8, 10**30, [0, 1, 2, 3, 4, 5, 6, 7], [9]),
    ],
)
def test_context_is_what_stands_around_a_hit(
    talk: AgentMem, turn: int, n: int, before: list[int], after: list[int]
) -> None:
    for mode in MODES:
        (hit,) = talk.search(f"bo says {turn}th", 1, mode=mode, context=n, neighbour_share=0)
        assert hit.id == f"bo{turn}"
        assert around(hit) == ([f"bo{i}" for i in before], [f"bo{i}" for i in after])
        assert hit.before == tuple(talk.get(f"bo{i}") for i in before)


def test_without_context_or_a_run_nothing_stands_around(talk: AgentMem) -> None:
    assert around(talk.search("bo says 5th", 1)[0]) == ([], [])
    assert around(talk.search("nobody says 5th", 1, context=3)[0]) == ([], [])


def test_context_has_what_the_filter_leaves_out(talk: AgentMem) -> None:
    talk.add("ana says 4th", id="ana4", user_id="ana", run_id="r", created_at=4, memory_type="core")
    (hit,) = talk.search("ana says 4th", 5, memory_type="core", context=1)
    assert around(hit) == (["ana3"], ["ana5"])


def test_the_order_of_a_run_is_its_times_and_then_arrival(talk: AgentMem) -> None:
    for name, second in (("late", 9), ("early", 1), ("same", 5), ("same too", 5)):
        talk.add(f"{name} turn", id=name, run_id="order", created_at=second)
    (hit,) = talk.search("same turn", 1, mode="meaning", context=5, run_id="order")
    assert (hit.id, *around(hit)) == ("same", ["early"], ["same too", "late"])


@pytest.mark.parametrize("turn", [0, 6, 11])
def test_a_run_of_one_time_is_in_the_order_of_arrival(talk: AgentMem, turn: int) -> None:
    talk.add_batch({"id": f"t{i}", "text": f"turn {i}th", "run_id": "moment", "created_at": 7} for i in range(12))
    (hit,) = talk.search(f"turn {turn}th", 1, run_id="moment", context=2, neighbour_share=0)
    assert hit.id == f"t{turn}"
    assert around(hit) == (
        [f"t{i}" for i in range(max(turn - 2, 0), turn)],
        [f"t{i}" for i in range(turn + 1, min(turn + 3, 12))],
    )


def test_of_one_time_the_nearest_by_arrival_stand_around_a_hit(talk: AgentMem) -> None:
    for name, second in (("first", 1), ("second", 1), ("the hit", 5), ("third", 9), ("fourth", 9)):
        talk.add(f"{name} turn", id=name, run_id="order", created_at=second)
    (hit,) = talk.search("the hit turn", 1, context=1, run_id="order", neighbour_share=0)
    assert (hit.id, *around(hit)) == ("the hit", ["second"], ["third"])
