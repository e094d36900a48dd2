"""`agentmem get`, `list`, `history`, `delete` and `export`: what they print, and the exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.records.jsonl import parse_memory
from tests.e2e.conftest import Cli, Ingested, assert_inert
from tests.fakes import FakeEmbedder

HOSTILE = "[bold red]x[/] [link=http://h]y[/link] :smile: \x1b[31m \x9b31m \u202e \x07 \n z"


def without_times(memories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in memory.items() if key != "created_at"} for memory in memories]


def said(ingested: Ingested) -> list[dict[str, Any]]:
    """The example memories as an export has them: with the ids that those have that were given none."""
    return [parse_memory(json.dumps(memory).encode()).to_dict() for memory in ingested.memories]


def listed(agentmem: Cli, store: str | Path, *flags: str) -> list[str]:
    result = agentmem("list", "--store", store, "--json", "-k", "1000", *flags)
    assert result.exit_code == 0
    return [memory["id"] for memory in result.json()]


@pytest.fixture
def hostile(agentmem: Cli) -> str:
    """A store whose every string would move a terminal that obeyed it."""
    with AgentMem(agentmem.folder / "hostile", embedder=FakeEmbedder()) as mem:
        mem.add("before " + HOSTILE, id=HOSTILE)
        mem.add(HOSTILE, id=HOSTILE, user_id=HOSTILE, run_id=HOSTILE, metadata={HOSTILE: [HOSTILE]})
    return "hostile"


def test_one_memory_with_all_that_was_said_about_it(agentmem: Cli, ingested: Ingested) -> None:
    memory = ingested.memories[0]
    result = agentmem("get", memory["id"], "--store", ingested.store, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    stored = result.json()
    assert without_times([stored]) == without_times([memory])
    assert stored["created_at"] == memory["created_at"].replace("Z", "+00:00")
    result = agentmem("get", memory["id"], "--store", ingested.store)
    assert result.exit_code == 0
    assert memory["id"] in result.stdout
    assert "user_id" in result.stdout


@pytest.mark.parametrize("command", ["get", "history"])
@pytest.mark.parametrize(("identity", "flags"), [("nothing", []), ("\x1b[31m' OR 1=1 --", ["--json"])])
def test_an_id_that_was_never_there_is_an_error(
    agentmem: Cli, ingested: Ingested, command: str, identity: str, flags: list[str]
) -> None:
    result = agentmem(command, identity, "--store", ingested.store, *flags)
    assert result.exit_code == 1
    assert "no memory" in result.error()
    assert_inert(result.stderr)


def test_memories_are_listed_newest_first_in_pages(agentmem: Cli, ingested: Ingested) -> None:
    everything = agentmem("list", "--store", ingested.store, "--json", "-k", "1000").json()
    times = [memory["created_at"] for memory in everything]
    assert times == sorted(times, reverse=True)
    assert sorted(memory["id"] for memory in everything) == sorted(memory["id"] for memory in said(ingested))
    page = agentmem("list", "--store", ingested.store, "--json", "-k", "7", "--offset", "300").json()
    assert page == everything[300:307]
    assert len(agentmem("list", "--store", ingested.store, "--json").json()) == 20


def test_only_memories_that_match_are_listed(agentmem: Cli, ingested: Ingested) -> None:
    wanted = {
        memory["id"]
        for memory in said(ingested)
        if memory.get("user_id") == "maya" and memory.get("metadata", {}).get("confirmed") is True
    }
    found = listed(agentmem, ingested.store, "--user-id", "maya", "--where", "confirmed=true")
    assert set(found) == wanted != set()
    assert len(found) == len(wanted)


def test_a_page_as_a_table_and_one_with_nothing_on_it(agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("list", "--store", ingested.store, "-k", "2", "--offset", "3")
    assert "4 to 5, newest first" in result.stdout
    result = agentmem("list", "--store", ingested.store, "--offset", "1000")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "agentmem: no memory matches after the first 1000\n"
    result = agentmem("list", "--store", ingested.store, "--user-id", "nobody", "--json")
    assert (result.exit_code, result.json()) == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "-k", "0"),
        ("list", "--offset", "-1"),
        ("list", "--where", "nothing"),
        ("get",),
        ("history",),
        ("delete",),
        ("delete", "--yes"),
        ("delete", "a", "--user-id", "maya", "--yes"),
        ("delete", "maya-0001"),
        ("delete", "--user-id", "maya"),
        ("export", "--output", "no/such/folder"),
    ],
)
def test_what_can_not_be_meant_is_a_usage_error_and_changes_nothing(
    agentmem: Cli, ingested: Ingested, arguments: tuple[str, ...]
) -> None:
    result = agentmem(*arguments, "--store", ingested.store)
    assert result.exit_code == 2
    assert result.error()
    assert len(listed(agentmem, ingested.store)) == len(ingested.memories)


def test_a_history_holds_both_texts_of_a_change_and_none_after_deletion(agentmem: Cli) -> None:
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add("red apple", id="a")
        mem.add("green pear", id="a")
    events = agentmem("history", "a", "--store", "store", "--json").json()
    assert [set(event) for event in events] == [{"id", "event", "previous_text", "text", "at", "changes"}] * 2
    assert [(event["event"], event["previous_text"], event["text"]) for event in events] == [
        ("add", None, "red apple"),
        ("update", "red apple", "green pear"),
    ]
    table = agentmem("history", "a", "--store", "store").stdout
    assert "red apple" in table
    assert "green pear" in table
    result = agentmem("delete", "a", "--yes", "--store", "store")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "agentmem: deleted 1 of 1 memory from store\n"
    after = agentmem("history", "a", "--store", "store")
    assert after.exit_code == 0
    assert "delete" in after.stdout
    assert "apple" not in after.stdout
    assert agentmem("get", "a", "--store", "store").exit_code == 1


@pytest.mark.parametrize(
    ("ids", "deleted", "not_found", "exit_code"),
    [
        (["maya-0001"], 1, 0, 0),
        (["maya-0001", "maya-0002", "maya-0001"], 2, 0, 0),
        (["nothing"], 0, 1, 1),
        (["maya-0001", "nothing"], 1, 1, 1),
    ],
)
def test_memories_are_deleted_by_id(
    agentmem: Cli, filled: str, ingested: Ingested, ids: list[str], deleted: int, not_found: int, exit_code: int
) -> None:
    result = agentmem("delete", *ids, "--yes", "--json", "--store", filled)
    assert (result.exit_code, result.json()) == (exit_code, {"deleted": deleted, "not_found": not_found})
    left = listed(agentmem, filled)
    assert len(left) == len(ingested.memories) - deleted
    assert not set(left) & set(ids)


def test_memories_are_deleted_by_filter_and_a_filter_that_none_matches_is_no_error(
    agentmem: Cli, filled: str, ingested: Ingested
) -> None:
    of_maya = [memory["id"] for memory in said(ingested) if memory.get("user_id") == "maya"]
    result = agentmem("delete", "--user-id", "maya", "-y", "--json", "--store", filled)
    assert (result.exit_code, result.json()) == (0, {"deleted": len(of_maya), "not_found": 0})
    assert set(listed(agentmem, filled)) == {memory["id"] for memory in said(ingested)} - set(of_maya)
    result = agentmem("delete", "--user-id", "maya", "--json", "--store", filled)
    assert (result.exit_code, result.json()) == (0, {"deleted": 0, "not_found": 0})
    assert agentmem("verify", "--store", filled).exit_code == 0


@pytest.mark.parametrize("vectors", [[], ["--vectors"]])
def test_an_export_goes_to_standard_output_or_a_file_alike(
    agentmem: Cli, ingested: Ingested, vectors: list[str]
) -> None:
    piped = agentmem("export", "--store", ingested.store, *vectors)
    assert (piped.exit_code, piped.stderr) == (0, "")
    named = agentmem("export", "--store", ingested.store, "--output", "out.jsonl", *vectors)
    assert (named.exit_code, named.stdout) == (0, "")
    assert named.stderr == f"agentmem: wrote {len(ingested.memories)} memories to out.jsonl\n"
    assert (agentmem.folder / "out.jsonl").read_text(encoding="utf-8") == piped.stdout
    rows = [json.loads(line) for line in piped.stdout.splitlines()]
    assert all(("agentmem_vector" in row) == bool(vectors) for row in rows)
    for row in rows:
        row.pop("agentmem_vector", None)
    assert without_times(rows) == without_times(said(ingested))
    counted = agentmem("export", "--store", ingested.store, "-o", "out.jsonl", "--json")
    assert (counted.stdout, json.loads(counted.stderr)) == ("", {"exported": len(rows), "damaged": []})


def test_an_export_through_a_pipe_is_the_same_store_without_embedding(agentmem: Cli, ingested: Ingested) -> None:
    piped = agentmem("export", "--vectors", "--store", ingested.store).stdout.encode()
    taken = agentmem("ingest", "-", "--store", "copy", "--json", "--progress", "none", stdin=piped)
    report = taken.json()
    assert (taken.exit_code, report["added"], report["embedded"]) == (0, len(ingested.memories), 0)
    assert agentmem("export", "--vectors", "--store", "copy").stdout.encode() == piped
    without_vectors = agentmem("export", "--store", "copy").stdout.encode()
    back = agentmem("ingest", "-", "--store", "copy", "--json", stdin=without_vectors)
    assert back.json()["unchanged"] == len(ingested.memories)
    question = ("search", "Which painkiller does he react badly to?", "--json", "--store")
    expected, copied = agentmem(*question, ingested.store).json(), agentmem(*question, "copy").json()
    assert [hit["id"] for hit in copied] == [hit["id"] for hit in expected]
    assert [hit["score"] for hit in copied] == pytest.approx([hit["score"] for hit in expected], abs=1e-6)


def test_whoever_reads_the_head_of_an_export_has_seen_enough(agentmem: Cli, ingested: Ingested) -> None:
    process = agentmem.start("export", "--vectors", "--store", ingested.store)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.close()
    assert process.stdout.readline().startswith(b'{"id":"')
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (0, b"")
    process.stderr.close()


@pytest.mark.parametrize("arguments", [("list",), ("get", HOSTILE), ("history", HOSTILE), ("stats",)])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_terminal_obeys_no_memory(agentmem: Cli, hostile: str, arguments: tuple[str, ...], flags: list[str]) -> None:
    result = agentmem(*arguments, *flags, "--store", hostile, variables={"COLUMNS": "300"})
    assert result.exit_code == 0
    assert_inert(result.stdout + result.stderr)
    for shown in ("[bold red]x[/]", "[link=http://h]y[/link]", ":smile:"):
        assert shown in result.stdout


def test_a_memory_that_a_terminal_would_obey_can_be_deleted(agentmem: Cli, hostile: str) -> None:
    assert agentmem("delete", HOSTILE, "--yes", "--store", hostile).exit_code == 0
    assert listed(agentmem, hostile) == []
