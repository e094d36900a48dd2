"""`agentmem search` finds the right memories, in the format asked for, of those that match."""

import json
from typing import Any, Final

import pytest

from agentmem_cli import AgentMem, StoreNotFoundError
from agentmem_cli.store.embedded.lock import WriterLock
from tests.e2e.conftest import EXAMPLES, Cli, Ingested, Result, assert_inert
from tests.fakes import FakeEmbedder

_EMPTY: Final = "agentmem: store store is empty: add memories with 'agentmem ingest FILE' or 'agentmem add TEXT'\n"
HIT_KEYS: Final = [
    "id",
    "score",
    "text",
    "agent_id",
    "user_id",
    "run_id",
    "memory_type",
    "importance",
    "created_at",
    "metadata",
    "speaker",
]
QUERIES: Final = {
    query["query"]: query
    for query in map(json.loads, (EXAMPLES / "queries.jsonl").read_text(encoding="utf-8").splitlines())
}
HOSTILE: Final = "[bold red]x[/] [link=http://h]y[/link] :smile: \x1b[31m \x9b31m \u202e \x07 \n z"


@pytest.mark.parametrize(
    "query",
    [
        "Where do I find her EpiPen in an emergency?",
        "When is the baby expected?",
    ],
)
def test_a_question_in_other_words_finds_its_memory(query: str, agentmem: Cli, ingested: Ingested) -> None:
    wanted = QUERIES[query]
    result = agentmem("search", query, "-k", "5", "--user-id", wanted["user_id"], "--store", ingested.store, "--json")
    hits = result.json()
    assert result.exit_code == 0
    assert len(hits) == 5
    assert set(wanted["relevant"]) & {hit["id"] for hit in hits}
    assert {hit["user_id"] for hit in hits} == {wanted["user_id"]}


def test_json_holds_all_of_a_memory(agentmem: Cli, ingested: Ingested) -> None:
    memory = ingested.memories[0]
    hits = agentmem("search", memory["text"], "--store", ingested.store, "--json").json()
    assert len(hits) == 10
    assert list(hits[0]) == HIT_KEYS
    assert hits[0].pop("score") == pytest.approx(1.0, abs=1e-3)
    assert hits[0] == {**memory, "run_id": None, "speaker": None, "created_at": "2025-01-07T08:42:10+00:00"}
    scores = [hit["score"] for hit in hits[1:]]
    assert scores == sorted(scores, reverse=True)


def matching(memories: list[dict[str, Any]], **wanted: object) -> set[str]:
    """The ids of the memories that have all of these."""
    return {memory["id"] for memory in memories if all(memory.get(key) == value for key, value in wanted.items())}


def test_filters_hold_together_and_come_before_the_nearest_are_taken(agentmem: Cli, ingested: Ingested) -> None:
    filters = ("--user-id", "maya", "--memory-type", "core", "--where", "confirmed=true", "--where", "topic=family")
    hits = agentmem("search", "pistachios", "-k", "100", *filters, "--store", ingested.store, "--json").json()
    confirmed = [memory for memory in ingested.memories if memory.get("metadata", {}).get("confirmed") is True]
    of_family = [memory for memory in confirmed if memory["metadata"].get("topic") == "family"]
    assert {hit["id"] for hit in hits} == matching(of_family, user_id="maya", memory_type="core")
    assert 0 < len(hits) < 100


def test_agent_and_run_filter_too(agentmem: Cli, ingested: Ingested) -> None:
    scope = {"agent_id": "coder", "run_id": "2025-02-05-b"}
    options = ("--agent-id", scope["agent_id"], "--run-id", scope["run_id"], "-k", "100")
    hits = agentmem("search", "review", *options, "--store", ingested.store, "--json").json()
    assert len(hits) == sum(all(memory.get(key) == scope[key] for key in scope) for memory in ingested.memories) > 0
    assert {(hit["agent_id"], hit["run_id"]) for hit in hits} == {("coder", "2025-02-05-b")}


@pytest.mark.parametrize(
    "filters",
    [
        ("--user-id", "nobody"),
        ("--where", "confirmed=1"),
        ("--where", 'confirmed="true"'),
        ("--user-id", "maya", "--agent-id", "coder"),
    ],
    ids=" ".join,
)
def test_where_no_memory_matches_the_result_is_empty(
    filters: tuple[str, ...], agentmem: Cli, ingested: Ingested
) -> None:
    result = agentmem("search", "tea", *filters, "--store", ingested.store, "--json")
    assert (result.exit_code, result.json()) == (0, [])
    assert result.stderr == "agentmem: none of the 357 memories matches the filters\n"


@pytest.mark.parametrize(("format_option", "stdout"), [("--json", "[]\n"), ("--jsonl", "")])
def test_an_empty_store_is_no_error(format_option: str, stdout: str, agentmem: Cli) -> None:
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.open()
    result = agentmem("search", "tea", "--store", "store", format_option)
    assert result == Result(
        0, stdout, "agentmem: store store is empty: add memories with 'agentmem ingest FILE' or 'agentmem add TEXT'\n"
    )


def test_a_missing_store_is_one_line_that_says_what_to_do(agentmem: Cli) -> None:
    result = agentmem("search", "tea", "--store", "nowhere")
    assert result.exit_code == 1
    assert result.error() == str(StoreNotFoundError.at(agentmem.folder / "nowhere"))
    assert not (agentmem.folder / "nowhere").exists()


def test_a_search_needs_no_lock_and_prints_a_table(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    lock = WriterLock(agentmem.folder / filled / "LOCK")
    lock.acquire()
    try:
        result = agentmem("search", "Which nuts must be kept off Maya's plate?", "-k", "1", "--store", filled)
    finally:
        lock.release()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Maya is allergic to cashews" in result.stdout
    assert "maya-0001" in result.stdout
    assert "1 result" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, dict[str, Any]]:
    """A store with a memory that would take over a terminal or a markup renderer, and that memory."""
    cli = Cli(tmp_path_factory.mktemp("hostile"))
    memory = {
        "id": f"id {HOSTILE}",
        "text": f"text {HOSTILE}",
        "agent_id": "\x1b]0;title\x07",
        "user_id": "[bold]\x1b[2J",
        "run_id": "\u2066\u200f\x7f",
        "memory_type": "core",
        "importance": 0.5,
        "metadata": {f"key {HOSTILE}": HOSTILE, "topic": "\u2028"},
    }
    assert cli("ingest", cli.write("h.jsonl", memory, {"text": "The ladder is in the shed."})).exit_code == 0
    return cli, memory


def test_json_of_hostile_text_is_inert_and_whole(hostile: tuple[Cli, dict[str, Any]]) -> None:
    cli, memory = hostile
    stdout = cli("search", memory["text"], "--json").stdout
    assert_inert(stdout)
    hit = json.loads(stdout)[0]
    assert {key: hit[key] for key in memory} == memory


def test_jsonl_of_hostile_text_is_one_inert_object_a_line(hostile: tuple[Cli, dict[str, Any]]) -> None:
    cli, memory = hostile
    stdout = cli("search", memory["text"], "--jsonl").stdout
    assert_inert(stdout)
    first, second = map(json.loads, stdout.splitlines())
    assert [list(first), list(second)] == [HIT_KEYS, HIT_KEYS]
    assert {key: first[key] for key in memory} == memory


def test_a_table_of_hostile_text_is_inert_and_shows_markup_as_text(hostile: tuple[Cli, dict[str, Any]]) -> None:
    cli, _ = hostile
    stdout = cli("search", "text", variables={"COLUMNS": "300"}).stdout
    assert_inert(stdout)
    escaped = "[bold red]x[/] [link=http://h]y[/link] :smile: \\u001b[31m \\u009b31m \\u202e \\u0007 \\n z"
    assert f"text {escaped}" in stdout
    assert f"id {escaped}" in stdout
    assert "\\u2066\\u200f\\u007f" in stdout


def test_ids_alone_come_one_a_line_in_the_order_of_the_hits(agentmem: Cli, ingested: Ingested) -> None:
    question = ("search", "What is Maya allergic to?", "-k", "3", "--store", ingested.store)
    found = [hit["id"] for hit in agentmem(*question, "--json").json()]
    assert agentmem(*question, "--ids") == Result(0, "".join(f"{identity}\n" for identity in found), "")


def test_a_quiet_search_prints_the_result_alone(agentmem: Cli, ingested: Ingested) -> None:
    assert agentmem("search", "喝茶", "--user-id", "nobody", "-q", "--store", ingested.store) == Result(0, "", "")
    assert agentmem("list", "--user-id", "nobody", "-q", "--store", ingested.store) == Result(0, "", "")
