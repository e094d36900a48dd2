"""An update changes what it gives, and keeps the rest: nobody loses an owner, a weight or metadata to a new text."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, FieldChange, Memory, Scope, StoreDamagedError
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.store.embedded.connection import Connection
from tests.fakes import FakeEmbedder

_LINE = b'{"id": "a", "text": "green tea"}\n'


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    """A store with one memory of Maya's, who likes black tea."""
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as opened:
        opened.add(
            "black tea", id="a", user_id="maya", importance=0.9, created_at="2025-01-07", metadata={"topic": "drinks"}
        )
        yield opened


def owner_and_rest(mem: AgentMem) -> tuple[str, str | None, float | None, object]:
    memory = mem.get("a")
    assert memory is not None
    return memory.text, memory.scope.user_id, memory.importance, memory.metadata


@pytest.mark.parametrize("given", [{"id": "a", "text": "green tea"}, Memory("green tea", id="a")])
def test_a_new_text_in_a_batch_keeps_owner_importance_time_and_metadata(mem: AgentMem, given: Memory) -> None:
    before = mem.get("a")
    assert mem.add_batch([given]).updated == 1
    assert owner_and_rest(mem) == ("green tea", "maya", 0.9, {"topic": "drinks"})
    after = mem.get("a")
    assert before and after and before.created_at == after.created_at


def test_a_new_text_by_add_stays_in_the_scope_of_its_user(mem: AgentMem) -> None:
    mem.add("green tea", id="a")
    assert [hit.text for hit in mem.search("green tea", user_id="maya")] == ["green tea"]


def test_a_line_keeps_what_it_leaves_out_also_within_its_batch(mem: AgentMem, tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_bytes(_LINE + b'{"id": "a", "text": "green tea", "importance": 0}\n' + _LINE)
    report = mem.ingest([str(file)])
    assert (report.updated, report.unchanged) == (2, 1)
    assert owner_and_rest(mem) == ("green tea", "maya", 0.0, {"topic": "drinks"})


def test_null_empties_a_field_and_so_do_empty_metadata(mem: AgentMem) -> None:
    mem.add_batch([{"id": "a", "text": "black tea", "importance": None, "user_id": None, "metadata": {}}])
    assert owner_and_rest(mem) == ("black tea", None, None, {})
    mem.add_batch([{"id": "a", "text": "black tea", "metadata": {"n": 1}}, {"id": "a", "text": "x", "metadata": None}])
    assert owner_and_rest(mem) == ("x", None, None, {})


def test_replace_makes_the_new_one_the_whole_memory(mem: AgentMem, tmp_path: Path) -> None:
    mem.add("green tea", id="a", replace=True)
    assert owner_and_rest(mem) == ("green tea", None, None, {})
    mem.add("tea", id="a", user_id="maya")
    (tmp_path / "m.jsonl").write_bytes(_LINE)
    mem.ingest([str(tmp_path / "m.jsonl")], IngestOptions(replace=True))
    assert owner_and_rest(mem) == ("green tea", None, None, {})


def test_an_update_that_changes_nothing_is_unchanged_and_leaves_no_event(mem: AgentMem) -> None:
    result = mem.add_batch([{"id": "a", "text": "black tea"}, Memory("black tea", "a", Scope(user_id="maya"))])
    assert (result.updated, result.unchanged) == (0, 2)
    assert len(mem.history("a")) == 1


def test_the_history_has_each_changed_field_before_and_after(mem: AgentMem) -> None:
    mem.add("green tea", id="a", metadata={"topic": "health"})
    mem.add_batch([{"id": "a", "text": "green tea", "user_id": None, "run_id": "r"}])
    mem.add("white tea", id="a")
    events = mem.history("a")
    assert [(event.previous_text, event.text) for event in events] == [
        (None, "black tea"),
        ("black tea", "green tea"),
        ("green tea", "green tea"),
        ("green tea", "white tea"),
    ]
    assert [event.changes for event in events] == [
        {},
        {"metadata": FieldChange({"topic": "drinks"}, {"topic": "health"})},
        {"user_id": FieldChange("maya", None), "run_id": FieldChange(None, "r")},
        {},
    ]
    mem.delete("a")
    assert [(event.event, event.previous_text, event.changes) for event in mem.history("a")] == [
        ("add", None, {}),
        *[("update", None, {})] * 3,
        ("delete", None, {}),
    ]


def test_a_damaged_memory_is_named_rather_than_merged_into_and_can_be_deleted_and_added(
    mem: AgentMem, tmp_path: Path
) -> None:
    mem.close()
    connection = Connection(tmp_path / "store" / "memories.db", writable=True)
    connection.change("UPDATE memories SET user_id = 'someone'")
    connection.close()
    with pytest.raises(StoreDamagedError, match="memory a in"):
        mem.add("green tea", id="a")
    mem.delete("a")
    mem.add("green tea", id="a", user_id="maya")
    assert owner_and_rest(mem) == ("green tea", "maya", None, {})
    assert mem.verify() == []
