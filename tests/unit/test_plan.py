"""What a batch would change: additions, updates, repeats, and texts that have a vector already."""

import pytest

from agentmem_cli.memory import Memory, Scope, from_microseconds
from agentmem_cli.store.plan import BatchPlan, Planner
from agentmem_cli.store.rows import StoredMemory, text_hash

FIRST = 50  # the id of the next vector


def stored(memory: Memory, vector_id: int, created_at_us: int = 1) -> dict[str, StoredMemory]:
    return {memory.id: StoredMemory(memory.content_digest(), memory.text, vector_id, created_at_us)}


def planned(
    memories: list[Memory],
    before: dict[str, StoredMemory] | None = None,
    vectors: dict[str, int] | None = None,
) -> BatchPlan:
    planner = Planner(before or {})
    for memory in memories:
        planner.take(memory)
    return planner.plan({text_hash(text): number for text, number in (vectors or {}).items()}, FIRST)


def counts(plan: BatchPlan) -> tuple[int, int, int, int]:
    return plan.added, plan.updated, plan.unchanged, plan.added + plan.updated - len(plan.new_texts)


def rows(plan: BatchPlan) -> list[tuple[str, str, int]]:
    return [(row.memory.id, row.memory.text, row.vector_id) for row in plan.memories]


def history(plan: BatchPlan) -> list[tuple[str, str, str | None]]:
    return [(row.id, row.event, row.previous_text) for row in plan.history]


def test_an_empty_batch_changes_nothing() -> None:
    plan = planned([], stored(Memory("tea", "a"), 7))
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
    plan = planned([memory, memory], stored(memory, 7))
    assert (plan.memories, plan.history, plan.new_texts, plan.replaced_texts) == ([], [], [], [])
    assert counts(plan) == (0, 0, 2, 0)


def test_a_memory_that_comes_twice_in_a_batch_is_added_once() -> None:
    plan = planned([Memory("tea", "a"), Memory("tea", "a")])
    assert rows(plan) == [("a", "tea", 50)]
    assert counts(plan) == (1, 0, 1, 0)


@pytest.mark.parametrize(
    ("changed", "new_texts", "vector_id"),
    [
        (Memory("coffee", "a"), ["coffee"], 50),
        (Memory("tea", "a", importance=1), [], 7),
        (Memory("tea", "a", Scope(user_id="u")), [], 7),
        (Memory("tea", "a", metadata={"k": 1}), [], 7),
    ],
)
def test_a_memory_that_differs_from_the_stored_one_updates_it(
    changed: Memory, new_texts: list[str], vector_id: int
) -> None:
    plan = planned([changed], stored(Memory("tea", "a"), 7), {"tea": 7})
    assert plan.new_texts == new_texts
    assert rows(plan) == [("a", changed.text, vector_id)]
    assert history(plan) == [("a", "update", "tea")]
    assert plan.replaced_texts == [(7, "tea")]
    assert counts(plan) == (0, 1, 0, 1 - len(new_texts))


def test_a_later_memory_of_an_id_replaces_an_earlier_one_whose_text_is_not_embedded() -> None:
    plan = planned([Memory("tea", "a"), Memory("milk", "b"), Memory("coffee", "a")])
    assert rows(plan) == [("a", "coffee", 50), ("b", "milk", 51)]
    assert plan.new_texts == ["coffee", "milk"]
    assert history(plan) == [("a", "add", None), ("b", "add", None), ("a", "update", "tea")]
    assert plan.replaced_texts == []
    assert counts(plan) == (2, 1, 0, 1)


def test_a_memory_that_is_changed_and_changed_back_keeps_both_events_and_its_vector() -> None:
    tea = Memory("tea", "a")
    plan = planned([Memory("coffee", "a"), tea], stored(tea, 7), {"tea": 7})
    assert rows(plan) == [("a", "tea", 7)]
    assert plan.new_texts == []
    assert history(plan) == [("a", "update", "tea"), ("a", "update", "coffee")]
    assert counts(plan) == (0, 2, 0, 2)


def test_an_update_without_a_time_keeps_the_time_of_the_stored_memory() -> None:
    plan = planned([Memory("coffee", "a"), Memory("milk", "a")], stored(Memory("tea", "a"), 7, created_at_us=123))
    assert [row.created_at_us for row in plan.memories] == [123]


def test_a_time_that_a_memory_names_is_its_time() -> None:
    before = stored(Memory("tea", "a"), 7, created_at_us=123)
    memories = [Memory("tea", "a", created_at=from_microseconds(-5)), Memory("milk", "b", created_at=None)]
    plan = planned(memories, before, {"tea": 7})
    assert plan.memories[0].created_at_us == -5
    assert plan.memories[1].created_at_us == plan.history[0].at_us


def test_all_events_of_a_batch_have_one_time_which_is_now() -> None:
    planner = Planner({})
    for name in "abc":
        planner.take(Memory("tea", name))
    times = {row.at_us for row in planner.plan({}, FIRST).history}
    later = {row.at_us for row in planned([Memory("tea", "a")]).history}
    assert len(times) == 1
    assert 1_700_000_000_000_000 < min(times) <= min(later)


def test_the_planner_asks_only_for_the_texts_that_memories_end_up_with() -> None:
    unchanged = Memory("milk", "b")
    planner = Planner(stored(unchanged, 7))
    for memory in (Memory("tea", "a"), unchanged, Memory("coffee", "a"), Memory("coffee", "c")):
        planner.take(memory)
    assert planner.text_hashes() == {text_hash("coffee"): "coffee"}


def test_planning_changes_neither_what_is_stored_nor_the_known_vectors() -> None:
    before, known = stored(Memory("tea", "a"), 7), {text_hash("tea"): 7}
    planner = Planner(before)
    planner.take(Memory("coffee", "a"))
    planner.plan(known, FIRST)
    assert (before, known) == (stored(Memory("tea", "a"), 7), {text_hash("tea"): 7})
