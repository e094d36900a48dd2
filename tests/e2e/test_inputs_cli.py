"""The files that people have, from the command line: one line says what a file is taken for, and few what is wrong."""

import json
import zipfile
from pathlib import Path

import pytest

from agentmem_cli import AgentMem
from tests.e2e.conftest import Cli
from tests.fakes import FakeEmbedder


@pytest.fixture
def known(agentmem: Cli) -> str:
    """A store that knows the text "known", by a model that is never asked."""
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add("known", id="first")
    return "store"


def memories(agentmem: Cli) -> dict[str, str | None]:
    with AgentMem(agentmem.folder / "store", create=False) as mem:
        return {memory.id: memory.scope.user_id for memory in mem.export() if memory.id != "first"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '{"results": [{"id": "m", "memory": "known", "hash": "h", "user_id": "maya"}]}', "mem0 memories"),
        ("a.csv", "id,text,user\nm,known,maya\n", 'values separated by ","'),
        ("a.json", '[{"id": "m", "text": "known", "userId": "maya"}]', "a JSON array of memories"),
    ],
)
def test_a_file_is_recognised_and_one_line_says_as_what(
    name: str, content: str, said: str, agentmem: Cli, known: str
) -> None:
    (agentmem.folder / name).write_text(content)
    result = agentmem("ingest", name, "--store", known, "--json")
    assert (result.exit_code, result.json()["added"]) == (0, 1)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{name}: read as {said}")
    assert memories(agentmem) == {"m": "maya"}
    assert agentmem("ingest", name, "--store", known, "--json", "--quiet").stderr == ""
    assert agentmem("ingest", name, "--store", known, "--json").json()["unchanged"] == 1


def test_the_advice_that_the_line_gives_is_an_option_that_works(agentmem: Cli, known: str) -> None:
    agentmem.write("a.jsonl", {"content": "known", "id": "m"})
    line = agentmem("ingest", "a.jsonl", "--store", known).stderr
    assert line == 'a.jsonl: read as JSONL with the text in "content" (--text-field content)\n'
    again = agentmem("ingest", "a.jsonl", "--store", known, "--text-field", "content", "--json")
    assert (again.stderr, again.json()["unchanged"]) == ("", 1)


def test_an_export_that_came_as_a_zip_file_is_read_as_it_came(agentmem: Cli, known: str) -> None:
    message = {"uuid": "m", "sender": "human", "content": [{"type": "text", "text": "known"}]}
    with zipfile.ZipFile(agentmem.folder / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([{"uuid": "c", "chat_messages": [message]}]))
        archive.writestr("users.json", "[]")
    result = agentmem("ingest", "data.zip", "--store", known, "--user-id", "maya", "--json")
    assert result.json()["added"] == 1
    assert memories(agentmem) == {"m": "maya"}


def test_a_file_without_memories_is_said_to_have_none(agentmem: Cli) -> None:
    (agentmem.folder / "a.jsonl").write_bytes(b"")
    result = agentmem("ingest", "a.jsonl", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "a.jsonl: there are no memories in it\n")


@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"Dear Maya,\nI am well.\n", b"id,note\n" + b"1,x\n" * 50_000])
def test_what_can_not_be_read_is_one_error_and_nothing_else(content: bytes, agentmem: Cli) -> None:
    (agentmem.folder / "a").write_bytes(content)
    result = agentmem("ingest", "a")
    assert result.exit_code == 1
    assert result.error().startswith("a: ")
    assert not (agentmem.folder / ".agentmem").exists()


def test_a_store_that_is_given_as_an_input_is_named_with_the_command_that_reads_it(agentmem: Cli, known: str) -> None:
    result = agentmem("ingest", known)
    assert (result.exit_code, result.error()) == (
        2,
        "store is an agentmem store: 'agentmem export --store store' writes its memories",
    )


@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_many_rejected_lines_are_few_lines_and_a_count(options: tuple[str, ...], agentmem: Cli) -> None:
    rows = [{"text": "known", "created_at": f"day {number}"} for number in range(3_000)]
    agentmem.write("a.jsonl", *({"id": "x"} for _ in range(21)), *rows, *({"text": ""} for _ in range(9)))
    result = agentmem("ingest", "a.jsonl", "--dry-run", "--rejects", "r.jsonl", *options)
    said = result.stderr.splitlines()
    assert result.exit_code == 3
    assert [line.partition(": rejected")[0] for line in said[:20]] == [f"a.jsonl:{number}" for number in range(1, 21)]
    assert said[20] == "3,010 more were rejected, not shown here:"
    assert said[21] == '  3,000 times: created_at "day 0" is not an ISO 8601 time'
    assert said[22] == "  9 times: text is empty"
    assert said[23].startswith('  1 times: no "text": its keys are "id"')
    assert len(said) == 24
    assert len(Path(agentmem.folder / "r.jsonl").read_text().splitlines()) == 3_030
    assert "; --rejects FILE writes all of them:" in agentmem("ingest", "a.jsonl", "--dry-run").stderr


def test_reasons_without_end_are_counted_together(agentmem: Cli) -> None:
    keys = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(300)]
    agentmem.write("a.jsonl", *({f"{key}": "known"} for key in keys))  # the advice names the key
    said = agentmem("ingest", "a.jsonl", "--dry-run").stderr.splitlines()
    assert len(said) == 20 + 1 + 21
    assert said[21] == "  260 times: other reasons"


def test_types_are_mapped_and_importance_is_scaled(agentmem: Cli, known: str) -> None:
    agentmem.write("a.jsonl", {"id": "m", "text": "known", "memory_type": "Preference", "importance": 7})
    options = ("--type-map", "preference=Semantic", "--importance-scale", "10")
    assert agentmem("ingest", "a.jsonl", "--store", known, *options).exit_code == 0
    with AgentMem(agentmem.folder / known, create=False) as mem:
        memory = mem.get("m")
    assert memory is not None
    assert (memory.scope.memory_type, memory.importance) == ("semantic", 0.7)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--type-map", "preference"), "--type-map preference: write it as NAME=TYPE, such as preference=semantic"),
        (("--type-map", "a=b"), "type map: b is not a memory type: it is one of episodic, semantic"),
        (("--importance-scale", "0"), "importance scale 0.0 is not a number above 0"),
        (("--include", "bot"), "include bot: the roles to include are system and tool"),
        (("--format", "chat", "--text-field", "x"), "the format chat says where the text is: leave out the text field"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(options: tuple[str, ...], error: str, agentmem: Cli) -> None:
    result = agentmem("ingest", "-", *options)
    assert result.exit_code == 2
    assert result.error().startswith(error)


def test_a_dry_run_reports_only_what_it_has_found_out(agentmem: Cli) -> None:
    agentmem.write("a.jsonl", {"text": "one"}, {"text": "two"})
    counted = ["read", "added", "updated", "unchanged", "rejected", "embedded", "reused"]
    assert list(agentmem("ingest", "a.jsonl", "--dry-run", "--json").json()) == counted
    rows = [row.split() for row in agentmem("ingest", "a.jsonl", "--dry-run").stdout.splitlines()]
    assert [row[0] for row in rows if len(row) == 2 and row[1].isdigit()] == counted


def test_rejections_as_json_lines_stay_json_lines(agentmem: Cli) -> None:
    agentmem.write("a.jsonl", *({"id": "x"} for _ in range(30)))
    result = agentmem("ingest", "a.jsonl", "--dry-run", "--progress", "jsonl")
    rows = [json.loads(line) for line in result.stderr.splitlines()]
    assert {row["event"] for row in rows} <= {"message", "committed"}
    assert sum(row["event"] == "message" for row in rows) == 22
