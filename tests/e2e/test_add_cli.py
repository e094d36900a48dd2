"""`agentmem add` and `update`: one memory from the command line, and expiry there."""

from typing import Any

import pytest

from tests.e2e.conftest import Cli, assert_inert

_STATIC = ("--model", "minilm-static")


@pytest.fixture
def store(static: Cli) -> str:
    """A store with one memory of Maya's, with the id a."""
    result = static(
        *("add", "Maya drinks black tea.", "--id", "a", "--user-id", "maya", "--importance", "0.5", *_STATIC),
        *("--metadata", '{"topic": "drinks"}', "--speaker", "Ana", "--created-at", "2025-01-07"),
    )
    assert (result.exit_code, result.stdout, result.stderr) == (0, "a\n", "")
    return ".agentmem"


def stored(cli: Cli, identity: str = "a") -> dict[str, Any]:
    memory: dict[str, Any] = cli("get", identity, "--json").json()
    return memory


def test_a_memory_is_added_with_every_field_and_its_id_is_all_that_is_printed(static: Cli, store: str) -> None:
    assert stored(static) == {
        "id": "a",
        "text": "Maya drinks black tea.",
        "user_id": "maya",
        "importance": 0.5,
        "created_at": "2025-01-07T00:00:00+00:00",
        "metadata": {"topic": "drinks"},
        "speaker": "Ana",
    }


def test_a_text_from_standard_input_gets_the_id_that_finds_it(static: Cli) -> None:
    added = static("add", "-", *_STATIC, stdin="Two\nlines 喝茶\n".encode())
    assert added.exit_code == 0
    assert stored(static, added.stdout.strip())["text"] == "Two\nlines 喝茶"


def test_adding_merges_as_an_ingest_does_and_says_what_it_did(static: Cli, store: str) -> None:
    added = static("add", "Maya drinks green tea.", "--id", "a", "--json")
    assert (added.exit_code, added.json()) == (0, {"id": "a", "outcome": "updated"})
    assert (stored(static)["user_id"], stored(static)["metadata"]) == ("maya", {"topic": "drinks"})
    assert static("add", "Maya drinks green tea.", "--id", "a", "--json").json()["outcome"] == "unchanged"


def test_an_update_changes_what_is_given_and_clears_what_is_named(static: Cli, store: str) -> None:
    result = static("update", "a", "--text", "-", "--importance", "0.9", "--clear", "speaker", stdin=b"Green tea.\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "agentmem: updated memory a in .agentmem\n")
    memory = stored(static)
    assert (memory["text"], memory["importance"], memory["user_id"]) == ("Green tea.", 0.9, "maya")
    assert "speaker" not in memory
    printed = static("update", "a", "--user-id", "ana", "-q", "--json")
    assert (printed.json(), printed.stderr) == (stored(static), "")
    assert static("update", "a", "--user-id", "bo", "-q").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "exit_code", "reason"),
    [
        (("add", " "), 2, "text is empty"),
        (("add", "x", "--id", ""), 2, "id is empty"),
        (("add", "x", "--metadata", "[1]"), 2, "--metadata: not an object, but a list"),
        (("add", "x", "--metadata", "{"), 2, "--metadata: not JSON"),
        (("add", "x", "--created-at", "yesterday"), 2, 'created_at "yesterday" is not an ISO 8601 time'),
        (("add", "x", "--ttl", "soon"), 2, "write it as 12h, 30d or 8w"),
        (("add", "x", "--ttl", "1h", "--expires-at", "2030-01-01"), 2, "give either expires_at or ttl"),
        (("add", "x", "--memory-type", "dream"), 2, "memory_type"),
        (("update", "a"), 2, "nothing to update"),
        (("update", "a", "--clear", "text"), 2, '"text" can\'t be cleared'),
        (("update", "a", "--clear", "speaker", "--speaker", "Bo"), 2, "speaker is given a value and cleared"),
        (("update", "b", "--importance", "1"), 1, "no memory b in store"),
    ],
)
def test_what_can_not_be_stored_is_refused_and_changes_nothing(
    static: Cli, store: str, arguments: tuple[str, ...], exit_code: int, reason: str
) -> None:
    before = stored(static)
    result = static(*arguments)
    assert result.exit_code == exit_code
    assert reason in result.error()
    assert static("list", "--json").json() == [before]


def test_an_update_of_a_store_that_is_not_there_makes_none(static: Cli) -> None:
    result = static("update", "a", "--importance", "1")
    assert result.exit_code == 1
    assert "no store" in result.error()
    assert not (static.folder / ".agentmem").exists()


def test_an_id_that_a_terminal_would_obey_is_printed_escaped(static: Cli) -> None:
    result = static("add", "x", "--id", "a\x1b[31m\nb", *_STATIC)
    assert_inert(result.stdout)
    assert result.stdout == "a\\u001b[31m\\nb\n"


def test_an_expired_memory_is_hidden_counted_listed_on_request_and_deleted(static: Cli, store: str) -> None:
    static.write(
        "m.jsonl", {"id": "b", "text": "gone", "user_id": "maya", "expires_at": "2020-01-01"}, {"id": "c", "text": "x"}
    )
    assert static("ingest", "m.jsonl", "--ttl", "30d").exit_code == 0
    assert stored(static, "c")["expires_at"] > "2026"
    assert {hit["id"] for hit in static("search", "gone", "--json").json()} == {"a", "c"}
    assert [memory["id"] for memory in static("list", "--expired", "--json").json()] == ["b"]
    assert '"id":"b"' not in static("export").stdout
    assert '"id":"b"' in static("export", "--expired", "--user-id", "maya").stdout
    got = static("get", "b")
    assert (got.exit_code, got.error()) == (1, "memory b in store .agentmem expired at 2020-01-01T00:00:00+00:00")
    assert "expire" in static("history", "b").stdout
    assert (static("stats", "--json").json()["expired"], "of these expired" in static("stats").stdout) == (1, True)
    planned = static("delete", "--expired", "--dry-run", "--json")
    assert (planned.exit_code, planned.json()) == (0, {"would_delete": 1, "ids": ["b"]})
    assert static("delete", "--expired", "--yes", "--json").json() == {"deleted": 1, "not_found": 0}
    assert static("stats", "--json").json()["expired"] == 0


def test_a_dry_run_of_a_deletion_counts_what_is_there_and_deletes_nothing(static: Cli, store: str) -> None:
    static("add", "also hers, but expired", "--id", "b", "--user-id", "maya", "--expires-at", "2020-01-01")
    for arguments, ids in [(("a", "b", "nothing"), ["a", "b"]), (("--user-id", "maya"), ["a", "b"])]:
        planned = static("delete", *arguments, "--dry-run", "--json")
        assert (planned.exit_code, planned.json()) == (0, {"would_delete": len(ids), "ids": ids})
    said = static("delete", "a", "--dry-run")
    assert (said.exit_code, said.stderr) == (0, "agentmem: would delete 1 memory from .agentmem\n")
    assert static("stats", "--json").json()["memories"] == 2
