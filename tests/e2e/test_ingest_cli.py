"""`agentmem ingest` does its job: memories of every kind of input end up in the store, and the report is true."""

import gzip
import json
from typing import Any, Final

import pytest

from agentmem_cli import AgentMem
from tests.e2e.conftest import EXAMPLES, MEMORIES, Cli, Ingested, Result, jsonl

REPORT_KEYS: Final = {
    "read",
    "added",
    "updated",
    "unchanged",
    "rejected",
    "embedded",
    "unindexed",
    "indexing",
    "reused",
    "truncated",
    "chunks",
    "tokens",
    "unknown_token_ratio",
    "better_model",
    "elapsed_s",
    "memories_per_s",
    "stages_s",
}
COUNTS: Final = ("read", "added", "updated", "unchanged", "rejected", "embedded", "reused", "truncated")
BAD_LINES: Final = {
    2: "not JSON: unexpected end of data",
    4: "not an object, but a list",
    5: 'no "text"',
    7: "text is empty",
    8: "text must be a string, not a number",
    10: 'memory_type "dreamlike" is unknown',
    11: "not JSON: NaN and Infinity are not JSON numbers",
    12: "invalid UTF-8 at byte 61",
    13: "user_id must be a string, not a number",
}


def counts(report: dict[str, Any]) -> dict[str, int]:
    """The counts of a report that aren't zero."""
    return {name: report[name] for name in COUNTS if report.get(name)}


def test_an_ingest_reports_what_became_of_every_line(ingested: Ingested) -> None:
    report = ingested.result.json()
    assert ingested.result.exit_code == 0
    assert ingested.result.stderr == ""
    assert set(report) == REPORT_KEYS
    assert counts(report) == {"read": 357, "added": 357, "embedded": 357}
    assert report["tokens"] > 357 * 3
    assert 0 < report["unknown_token_ratio"] < 0.2
    assert set(report["stages_s"]) == {"parse", "plan", "load", "tokenize", "embed", "commit", "index"}
    assert 0 < sum(report["stages_s"].values()) <= report["elapsed_s"]
    assert report["memories_per_s"] == pytest.approx(357 / report["elapsed_s"])


def test_a_second_ingest_changes_nothing(agentmem: Cli, filled: str) -> None:
    result = agentmem("ingest", MEMORIES, "--store", filled, "--json")
    report = result.json()
    assert result.exit_code == 0
    assert counts(report) == {"read": 357, "unchanged": 357}
    assert report["tokens"] == 0


def test_a_second_ingest_loads_no_model(agentmem: Cli, filled: str) -> None:
    stages_s = agentmem("ingest", MEMORIES, "--store", filled, "--json").json()["stages_s"]
    assert set(stages_s) == {"parse", "plan", "commit", "index"}


def test_a_line_with_a_stored_id_and_another_text_replaces_the_memory(
    agentmem: Cli, filled: str, ingested: Ingested
) -> None:
    new_text = ingested.memories[5]["text"]
    file = agentmem.write("new.jsonl", {"id": "maya-0001", "text": new_text})
    report = agentmem("ingest", file, "--store", filled, "--json").json()
    assert counts(report) == {"read": 1, "updated": 1, "reused": 1}
    with AgentMem(agentmem.folder / filled) as mem:
        memory = mem.get("maya-0001")
        assert memory is not None
        assert memory.text == new_text
        assert len(mem) == 357


def test_a_table_is_printed_where_no_json_is_asked_for(agentmem: Cli, filled: str) -> None:
    result = agentmem("ingest", MEMORIES, "--store", filled)
    rows = {tuple(line.rsplit(maxsplit=1)) for line in result.stdout.splitlines() if line.strip()}
    assert {(" read", "357"), (" unchanged", "357"), (" added", "0")} <= rows
    assert result.stderr == ""


@pytest.fixture(scope="module")
def bad_lines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Result]:
    """An ingest of the example with bad lines, and where it ran."""
    cli = Cli(tmp_path_factory.mktemp("bad"))
    (cli.folder / "bad.jsonl").write_bytes((EXAMPLES / "bad_lines.jsonl").read_bytes())
    options = ("--store", "store", "--json", "--progress", "none", "--rejects", "rejects.jsonl")
    return cli, cli("ingest", "bad.jsonl", *options)


def test_bad_lines_are_named_and_the_others_are_stored(bad_lines: tuple[Cli, Result]) -> None:
    cli, result = bad_lines
    assert result.exit_code == 3
    assert counts(result.json()) == {"read": 13, "added": 4, "rejected": 9, "embedded": 4}
    said = result.stderr.splitlines()
    assert len(said) == len(BAD_LINES)
    for line, (number, reason) in zip(said, BAD_LINES.items(), strict=True):
        assert line.startswith(f"bad.jsonl:{number}: rejected: {reason}")
    with AgentMem(cli.folder / "store") as mem:
        assert [mem.get(f"demo-00{number:02}") is not None for number in (1, 3, 8, 13)] == [True] * 4
        assert len(mem) == 4


def test_rejected_lines_are_written_down_as_they_came(bad_lines: tuple[Cli, Result]) -> None:
    cli, _ = bad_lines
    raw_lines = (cli.folder / "bad.jsonl").read_bytes().split(b"\n")
    rows = [json.loads(line) for line in (cli.folder / "rejects.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rows] == list(BAD_LINES)
    for row in rows:
        assert set(row) == {"file", "line", "reason", "raw"}
        assert row["file"] == "bad.jsonl"
        assert row["reason"].startswith(BAD_LINES[row["line"]])
        assert row["raw"] == raw_lines[row["line"] - 1].decode(errors="backslashreplace")


def test_on_error_fail_stops_at_the_first_bad_line_and_says_what_is_stored(
    agentmem: Cli, filled: str, ingested: Ingested
) -> None:
    file = agentmem.write("some.jsonl", *ingested.again(12), {"id": "bad"}, *ingested.again(1, first=12))
    result = agentmem("ingest", file, "--store", filled, "--batch-size", "10", "--on-error", "fail", "--quiet")
    assert result.exit_code == 1
    error = result.error()
    assert error.startswith('some.jsonl:13: no "text": its keys are "id"')
    assert error.endswith(": stopped there; the 12 memories before it are stored")
    with AgentMem(agentmem.folder / filled) as mem:
        assert len(mem) == 357 + 12


def test_a_rerun_says_where_the_earlier_one_stopped(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    file = agentmem.write("some.jsonl", *ingested.again(12), {"id": "bad"})
    agentmem("ingest", file, "--store", filled, "--on-error", "fail")
    result = agentmem("ingest", file, "--store", filled, "--json")
    assert "some.jsonl: an earlier ingest stopped early" in result.stderr
    assert counts(result.json()) == {"read": 13, "unchanged": 12, "rejected": 1}


@pytest.mark.parametrize("way", ["plain", "gzip", "stdin", "gzip on stdin", "BOM and CRLF", "no last line end"])
def test_every_kind_of_input_is_taken_in(way: str, agentmem: Cli, filled: str, ingested: Ingested) -> None:
    content = jsonl(*ingested.again(3))
    content = gzip.compress(content) if "gzip" in way else content
    content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") if "BOM" in way else content
    content = content.removesuffix(b"\n") if "no last" in way else content
    (agentmem.folder / "input").write_bytes(content)
    file, stdin = ("-", content) if "stdin" in way else ("input", b"")
    result = agentmem("ingest", file, "--store", filled, "--json", stdin=stdin)
    assert result.stderr == ""
    assert counts(result.json()) == {"read": 3, "added": 3, "reused": 3}


def test_another_text_field_and_default_scopes(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    text = ingested.memories[0]["text"]
    file = agentmem.write("a.jsonl", {"id": "a", "body": text}, {"id": "b", "body": text, "user_id": "own", "x": 1})
    scopes = ("--agent-id", "a1", "--user-id", "u1", "--run-id", "r1", "--memory-type", "core")
    assert agentmem("ingest", file, "--store", filled, "--text-field", "body", *scopes).exit_code == 0
    with AgentMem(agentmem.folder / filled) as mem:
        first, second = mem.get("a"), mem.get("b")
    assert first is not None
    assert second is not None
    assert (first.text, second.text) == (text, text)
    assert (first.scope.agent_id, first.scope.user_id, first.scope.run_id) == ("a1", "u1", "r1")
    assert (first.scope.memory_type, second.scope.memory_type) == ("core", "core")
    assert (second.scope.user_id, second.scope.agent_id) == ("own", "a1")
    assert second.metadata == {"x": 1}


def test_a_dry_run_reports_and_leaves_nothing_behind(agentmem: Cli) -> None:
    result = agentmem("ingest", MEMORIES, "--dry-run", "--store", "store", "--json")
    assert counts(result.json()) == {"read": 357, "added": 357, "embedded": 357}
    assert [path.name for path in agentmem.folder.iterdir()] == ["tmp"]
    assert list(agentmem.temporary.iterdir()) == []


def test_a_dry_run_on_a_store_tells_new_from_known(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    file = agentmem.write("some.jsonl", *ingested.memories[:3], *ingested.again(2), {"text": "A new text."})
    result = agentmem("ingest", file, "--dry-run", "--store", filled)
    assert "Dry run: nothing was stored" in result.stdout
    report = agentmem("ingest", file, "--dry-run", "--store", filled, "--json").json()
    assert counts(report) == {"read": 6, "added": 3, "unchanged": 3, "embedded": 1, "reused": 2}
    with AgentMem(agentmem.folder / filled) as mem:
        assert len(mem) == 357


@pytest.mark.parametrize(
    ("last_line", "expected"),
    [
        ({"id": "x", "text": ""}, Result(3, "", "some.jsonl:2: rejected: text is empty\n")),
        ({"text": "fine"}, Result(0, "", "")),
    ],
)
def test_quiet_hides_the_report_and_never_a_reason(last_line: dict[str, str], expected: Result, agentmem: Cli) -> None:
    file = agentmem.write("some.jsonl", {"memory": "one"}, last_line)
    assert agentmem("ingest", file, "--dry-run", "--quiet") == expected


def test_progress_as_jsonl_tells_of_every_durable_commit(agentmem: Cli, filled: str) -> None:
    (agentmem.folder / "m.jsonl").write_bytes(MEMORIES.read_bytes())
    options = ("--store", filled, "--batch-size", "100", "--progress", "jsonl", "--json")
    result = agentmem("ingest", "m.jsonl", *options)
    assert [json.loads(line) for line in result.stderr.splitlines()] == [
        {"event": "committed", "file": "m.jsonl", "line": line, "memories": line} for line in (100, 200, 300, 357)
    ]
    assert result.json()["read"] == 357


@pytest.mark.parametrize(
    ("options", "variable", "store"),
    [((), None, ".agentmem"), ((), "from-env", "from-env"), (("--store", "given"), "from-env", "given")],
)
def test_the_store_is_the_one_that_was_named(
    options: tuple[str, ...], variable: str | None, store: str, agentmem: Cli
) -> None:
    variables = {} if variable is None else {"AGENTMEM_STORE": variable}
    assert agentmem("ingest", "-", *options, stdin=jsonl({"text": "x"}), variables=variables).exit_code == 0
    assert {path.name for path in agentmem.folder.iterdir()} == {"tmp", store}


def test_only_the_owner_can_read_a_store(agentmem: Cli) -> None:
    agentmem("ingest", "-", "--store", "store", stdin=jsonl({"text": "x"}))
    store = agentmem.folder / "store"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (store, store / "memories.db", store / "LOCK")}
    assert modes == {"store": 0o700, "memories.db": 0o600, "LOCK": 0o600}


def test_two_files_go_into_one_store(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    files = [agentmem.write("a.jsonl", *ingested.again(2)), agentmem.write("b.jsonl", *ingested.again(2, first=2))]
    report = agentmem("ingest", *files, "--store", filled, "--json").json()
    assert counts(report) == {"read": 4, "added": 4, "reused": 4}


def test_a_missing_file_is_found_out_before_another_is_taken_in(agentmem: Cli) -> None:
    agentmem.write("a.jsonl", {"text": "fine"})
    result = agentmem("ingest", "a.jsonl", "missing.jsonl")
    assert result.exit_code == 2
    assert result.error() == "missing.jsonl: no such file"
    assert not (agentmem.folder / ".agentmem").exists()


def test_texts_in_a_language_that_the_model_does_not_know_bring_a_warning(agentmem: Cli) -> None:
    file = agentmem.write("zh.jsonl", {"text": "他喜欢在周末去爬山"}, {"text": "早晨他一般喝什么饮料"})
    result = agentmem("ingest", file, "--json", "--progress", "none")
    assert result.exit_code == 0
    assert result.json()["unknown_token_ratio"] > 0.2
    assert result.stderr.startswith("agentmem: warning: all-MiniLM-L6-v2 does not know ")
