"""What a batch would change: additions, updates, repeats, and texts that have a vector already."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agentmem_cli.records.memory import Memory, Scope, from_microseconds, to_microseconds
from agentmem_cli.store.batch_plan import BatchPlan, Planner
from agentmem_cli.store.rows import StoredMemory, text_hash

FIRST = 50  # the id of the next vector


def _time_us(memory: Memory) -> int:
    return 123 if memory.created_at is None else to_microseconds(memory.created_at)


def planner_over(*before: Memory, whole_records: bool = False) -> Planner:
    """A planner over memories that are stored with the vectors 7, 8, ..."""
    rows = {
        memory.id: StoredMemory(memory.content_digest(), memory.text, vector_id, _time_us(memory))
        for vector_id, memory in enumerate(before, 7)
    }
    by_id = {memory.id: memory for memory in before}
    return Planner(rows, lambda ids: {i: by_id[i] for i in ids}, whole_records=whole_records)


def planned(memories: list[Memory], before: Sequence[Memory] = (), vectors: dict[str, int] | None = None) -> BatchPlan:
    planner = planner_over(*before)
    planner.take(memories)
    return planner.plan({text_hash(text): number for text, number in (vectors or {}).items()}, FIRST)


def counts(plan: BatchPlan) -> tuple[int, int, int, int]:
    added, updated, unchanged = (plan.outcomes.count(outcome) for outcome in ("added", "updated", "unchanged"))
    return added, updated, unchanged, added + updated - len(plan.new_texts)


def rows(plan: BatchPlan) -> list[tuple[str, str, int]]:
    return [(row.memory.id, row.memory.text, row.vector_id) for row in plan.memories]


def history(plan: BatchPlan) -> list[tuple[str, str, dict[str, object] | None]]:
    return [(row.id, row.event, None if row.previous is None else json.loads(row.previous)) for row in plan.history]


def test_an_empty_batch_changes_nothing() -> None:
    plan = planned([], [Memory("tea", "a")])
    assert (plan.memories, plan.history, plan.new_texts, plan.replaced_texts) == ([], [], [], [])
    assert counts(plan) == (0, 0, 0, 0)


def test_new_memories_are_added_in_order_and_each_text_gets_the_next_vector() -> None:
    plan = planned([Memory("tea", "a"), Memory("coffee", "b")])
    assert plan.new_texts == ["tea", "coffee"]
    assert plan.first_vector_id == FIRST
    assert rows(plan) == [("a", "tea", 50), ("b", "coffee", 51)]
    assert history(plan) == [("a", "add", None), ("b", "add", None)]
    assert counts(plan) == (2, 0, 0, 0)


def test_a_row_carries_the_digest_of_its_memory() -> None:
    memory = Memory("tea", "a", Scope(user_id="u"))
    assert planned([memory]).memories[0].content == memory.content_digest()


def test_memories_of_one_text_share_its_vector() -> None:
    plan = planned([Memory("tea", "a"), Memory("coffee", "b"), Memory("tea", "c")])
    assert plan.new_texts == ["tea", "coffee"]
    assert rows(plan) == [("a", "tea", 50), ("b", "coffee", 51), ("c", "tea", 50)]
    assert counts(plan) == (3, 0, 0, 1)


def test_a_text_that_the_store_has_a_vector_of_is_not_embedded_again() -> None:
    plan = planned([Memory("tea", "a"), Memory("coffee", "b"), Memory("milk", "c")], vectors={"coffee": 3})
    assert plan.new_texts == ["tea", "milk"]
    assert rows(plan) == [("a", "tea", 50), ("b", "coffee", 3), ("c", "milk", 51)]
    assert counts(plan) == (3, 0, 0, 1)


def test_a_memory_that_is_stored_already_is_unchanged() -> None:
    memory = Memory("tea", "a", Scope(user_id="u"), importance=1, metadata={"k": [1]})
    plan = planned([memory, memory], [memory])
    assert (plan.memories, plan.history, plan.new_texts, plan.replaced_texts) == ([], [], [], [])
    assert counts(plan) == (0, 0, 2, 0)


def test_a_memory_that_comes_twice_in_a_batch_is_added_once() -> None:
    plan = planned([Memory("tea", "a"), Memory("tea", "a")])
    assert rows(plan) == [("a", "tea", 50)]
    assert counts(plan) == (1, 0, 1, 0)


@pytest.mark.parametrize(
    ("changed", "new_texts", "vector_id", "previous"),
    [
        (Memory("coffee", "a"), ["coffee"], 50, {"text": "tea"}),
        (Memory("tea", "a", importance=1), [], 7, {"importance": None}),
        (Memory("tea", "a", Scope(user_id="u")), [], 7, {"user_id": None}),
        (Memory("tea", "a", metadata={"k": 1}), [], 7, {"metadata": None}),
    ],
)
def test_a_memory_that_differs_from_the_stored_one_updates_it(
    changed: Memory, new_texts: list[str], vector_id: int, previous: dict[str, object]
) -> None:
    plan = planned([changed], [Memory("tea", "a")], {"tea": 7})
    assert plan.new_texts == new_texts
    assert rows(plan) == [("a", changed.text, vector_id)]
    assert history(plan) == [("a", "update", previous)]
    assert plan.replaced_texts == [(7, "tea")]
    assert counts(plan) == (0, 1, 0, 1 - len(new_texts))


def test_a_later_memory_of_an_id_replaces_an_earlier_one_whose_text_is_not_embedded() -> None:
    plan = planned([Memory("tea", "a"), Memory("milk", "b"), Memory("coffee", "a")])
    assert rows(plan) == [("a", "coffee", 50), ("b", "milk", 51)]
    assert plan.new_texts == ["coffee", "milk"]
    assert history(plan) == [("a", "add", None), ("b", "add", None), ("a", "update", {"text": "tea"})]
    assert plan.replaced_texts == []
    assert counts(plan) == (2, 1, 0, 1)


def test_a_memory_that_is_changed_and_changed_back_keeps_both_events_and_its_vector() -> None:
    tea = Memory("tea", "a")
    plan = planned([Memory("coffee", "a"), tea], [tea], {"tea": 7})
    assert rows(plan) == [("a", "tea", 7)]
    assert plan.new_texts == []
    assert history(plan) == [("a", "update", {"text": "tea"}), ("a", "update", {"text": "coffee"})]
    assert counts(plan) == (0, 2, 0, 2)


def test_an_update_without_a_time_keeps_the_time_of_the_stored_memory() -> None:
    plan = planned([Memory("coffee", "a"), Memory("milk", "a")], [Memory("tea", "a")])
    assert [row.created_at_us for row in plan.memories] == [123]


def test_a_time_that_a_memory_names_is_its_time() -> None:
    before = [Memory("tea", "a")]
    memories = [Memory("tea", "a", created_at=from_microseconds(-5)), Memory("milk", "b", created_at=None)]
    plan = planned(memories, before, {"tea": 7})
    assert plan.memories[0].created_at_us == -5
    assert plan.memories[1].created_at_us == plan.history[0].at_us


def test_all_events_of_a_batch_have_one_time_which_is_now() -> None:
    planner = planner_over()
    planner.take([Memory("tea", name) for name in "abc"])
    times = {row.at_us for row in planner.plan({}, FIRST).history}
    later = {row.at_us for row in planned([Memory("tea", "a")]).history}
    assert len(times) == 1
    assert 1_700_000_000_000_000 < min(times) <= min(later)


def test_the_planner_asks_only_for_the_texts_that_memories_end_up_with() -> None:
    unchanged = Memory("milk", "b")
    planner = planner_over(unchanged)
    planner.take([Memory("tea", "a"), unchanged, Memory("coffee", "a"), Memory("coffee", "c")])
    assert planner.text_hashes() == {text_hash("coffee"): "coffee"}


FULL = Memory("tea", "a", Scope("bot", "maya", "r1", "core"), 0.9, from_microseconds(5), {"topic": "drinks"})


def test_an_update_keeps_the_fields_that_it_leaves_out() -> None:
    (row,) = planned([Memory("green tea", "a")], [FULL]).memories
    assert row.memory == replace(FULL, text="green tea")
    assert row.created_at_us == 5
    assert row.content == row.memory.content_digest()


def test_an_update_of_an_update_in_one_batch_keeps_what_both_gave() -> None:
    plan = planned([Memory("green tea", "a", importance=0.1), Memory("black tea", "a", Scope(user_id="ines"))], [FULL])
    (row,) = plan.memories
    assert row.memory == replace(FULL, text="black tea", scope=replace(FULL.scope, user_id="ines"), importance=0.1)
    assert history(plan) == [
        ("a", "update", {"text": "tea", "importance": 0.9}),
        ("a", "update", {"text": "green tea", "user_id": "maya"}),
    ]


def test_an_update_empties_the_fields_that_it_clears() -> None:
    plan = planned([Memory("tea", "a", clears=frozenset({"user_id", "importance", "metadata"}))], [FULL])
    (row,) = plan.memories
    assert row.memory == Memory("tea", "a", Scope("bot", None, "r1", "core"), None, FULL.created_at)
    assert history(plan) == [("a", "update", {"user_id": "maya", "importance": 0.9, "metadata": {"topic": "drinks"}})]


def test_metadata_is_one_field_and_is_replaced_when_given() -> None:
    (row,) = planned([Memory("tea", "a", metadata={"hot": True})], [FULL]).memories
    assert row.memory.metadata == {"hot": True}


@pytest.mark.parametrize("update", [Memory("tea", "a"), Memory("tea", "a", Scope(user_id="maya"), 0.9)])
def test_an_update_that_changes_nothing_is_unchanged(update: Memory) -> None:
    plan = planned([update], [FULL])
    assert (plan.memories, plan.history, counts(plan)) == ([], [], (0, 0, 1, 0))


def test_metadata_that_python_takes_for_equal_is_still_a_change() -> None:
    (row,) = planned([Memory("tea", "a", metadata={"n": True})], [Memory("tea", "a", metadata={"n": 1})]).memories
    assert row.memory.metadata == {"n": True}


def test_a_whole_record_keeps_nothing_but_the_time_it_came() -> None:
    planner = planner_over(FULL, whole_records=True)
    planner.take([Memory("tea", "a")])
    plan = planner.plan({text_hash("tea"): 7}, FIRST)
    assert [(row.memory, row.created_at_us) for row in plan.memories] == [(Memory("tea", "a"), 5)]
    assert set(json.loads(plan.history[0].previous or "")) == {
        *("agent_id", "user_id", "run_id", "memory_type", "importance", "metadata")
    }
