"""The options that filter, of `search`, `list` and `delete`: each takes the memories that it says."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.e2e.conftest import Cli, Ingested
from tests.e2e.test_memories_cli import listed, said

Predicate = Callable[[dict[str, Any]], bool]


def _metadata(memory: dict[str, Any]) -> dict[str, Any]:
    return dict(memory.get("metadata") or {})


def _turn(memory: dict[str, Any]) -> float:
    return float(_metadata(memory).get("turn", "nan"))  # less and more than nothing


FILTERS: Final[dict[tuple[str, ...], Predicate]] = {
    ("--where", "topic=food"): lambda memory: _metadata(memory).get("topic") == "food",
    ("--where", "topic!=food"): lambda memory: _metadata(memory).get("topic") != "food",
    ("--where", "turn>=4", "--where", "turn < 9"): lambda memory: 4 <= _turn(memory) < 9,
    ("--where", 'topic in ["food", "health"]'): lambda memory: _metadata(memory).get("topic") in ("food", "health"),
    ("--where", 'topic not in ["food", "health"]'): lambda memory: (
        _metadata(memory).get("topic") not in ("food", "health")
    ),
    ("--where", "turn exists"): lambda memory: "turn" in _metadata(memory),
    ("--where", "turn not exists"): lambda memory: "turn" not in _metadata(memory),
    ("--since", "2025-02-01", "--until", "2025-03-01T00:00:00Z"): lambda memory: (
        "2025-02-01" <= memory["created_at"] < "2025-03-01"
    ),
    ("--user-id", "maya", "--where", "topic=food", "--until", "2025-02-01"): lambda memory: (
        memory.get("user_id") == "maya"
        and _metadata(memory).get("topic") == "food"
        and memory["created_at"] < "2025-02-01"
    ),
}
_EVERY_FILTER = pytest.mark.parametrize("options", FILTERS, ids=" ".join)


@_EVERY_FILTER
def test_search_and_list_take_the_memories_that_a_filter_says(
    options: tuple[str, ...], agentmem: Cli, ingested: Ingested
) -> None:
    everything = agentmem("list", "--store", ingested.store, "--json", "-k", "1000").json()
    wanted = {memory["id"] for memory in everything if FILTERS[options](memory)}
    assert 0 < len(wanted) < len(everything)
    assert set(listed(agentmem, ingested.store, *options)) == wanted
    hits = agentmem("search", "tea", "-k", "1000", *options, "--store", ingested.store, "--json").json()
    assert {hit["id"] for hit in hits} == wanted


def test_memories_are_deleted_by_age_and_by_metadata(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    doomed = {
        memory["id"]
        for memory in said(ingested)
        if memory.get("created_at", "9") < "2025-02-01" and _metadata(memory).get("topic") != "food"
    }
    options = ("--until", "2025-02-01", "--where", "topic!=food")
    before = set(listed(agentmem, filled))
    result = agentmem("delete", *options, "--yes", "--json", "--store", filled)
    assert (result.exit_code, result.json()) == (0, {"deleted": len(doomed), "not_found": 0})
    assert set(listed(agentmem, filled)) == before - doomed


def test_an_age_counts_back_from_now(agentmem: Cli) -> None:
    agentmem(
        "ingest",
        agentmem.write("m.jsonl", {"id": "now", "text": "tea"}, {"id": "then", "text": "tea", "created_at": 0}),
    )
    assert listed(agentmem, ".agentmem", "--since", "1h") == ["now"]
    assert listed(agentmem, ".agentmem", "--until", "1h") == ["then"]


@pytest.mark.parametrize("command", [("search", "tea"), ("list",), ("delete", "--yes")], ids=" ".join)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--where", "topic"), "--where topic: write it as KEY=VALUE"),
        (("--where", "turn>null"), 'where "turn": > compares with a number or a string, not with null'),
        (("--where", "turn=1", "--where", "turn=2"), "--where turn=2: = is given twice for turn"),
        (("--since", "yesterday"), 'since "yesterday" is not an ISO 8601 time: write it as 2025-03-01'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_filter_that_can_not_be_read_is_one_line_of_how_to_write_it(
    command: tuple[str, ...], options: tuple[str, ...], message: str, agentmem: Cli, ingested: Ingested
) -> None:
    result = agentmem(*command, *options, "--store", ingested.store)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.error()
