"""`agentmem stats`, `verify`, `compact` and `reembed`: what they print, and the exit code."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Memory
from agentmem_cli.embedding import minilm, model_files
from tests.e2e.conftest import Cli, Ingested, assert_inert
from tests.fakes import FakeEmbedder
from tests.stores import embedded


def change(store: Path, sql: str) -> None:
    connection = sqlite3.connect(store / "memories.db")
    with connection:
        connection.execute(sql)
    connection.close()


def test_stats_say_what_was_taken_in(agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("stats", "--store", ingested.store, "--json")
    stats = result.json()
    assert (result.exit_code, result.stderr) == (0, "")
    memories = ingested.memories
    assert stats["memories"] == stats["history_events"] == len(memories)
    assert stats["vectors"] == len({memory["text"] for memory in memories})
    users = [memory.get("user_id", "") for memory in memories]
    assert stats["by_scope"]["user_id"] == {user: users.count(user) for user in set(users)}
    assert set(stats["by_scope"]) == {"user_id", "agent_id", "run_id", "memory_type"}
    assert (stats["embedder"]["name"], stats["embedder"]["dim"]) == ("all-MiniLM-L6-v2", 384)
    assert stats["graph"] == {"state": "none: every vector is scanned", "vectors": 0, "scanned": stats["vectors"]}
    assert stats["bytes_by_file"]["memories.db"] == (ingested.store / "memories.db").stat().st_size
    assert stats["total_bytes"] == sum(stats["bytes_by_file"].values())


def test_stats_as_a_table(agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("stats", "--store", ingested.store)
    assert result.exit_code == 0
    for wanted in ("all-MiniLM-L6-v2, 384 dims", f"{len(ingested.memories):,}", "maya", "memories.db, bytes"):
        assert wanted in result.stdout


def test_a_whole_store_is_verified_as_whole(agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("verify", "--store", ingested.store)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"agentmem: store {ingested.store} is undamaged\n"
    result = agentmem("verify", "--store", ingested.store, "--json")
    assert (result.exit_code, result.json(), result.stderr) == (0, {"ok": True, "findings": []}, "")


@pytest.mark.parametrize("repair", [False, True])
def test_damage_to_a_memory_is_reported_and_stays(agentmem: Cli, filled: str, repair: bool) -> None:
    change(agentmem.folder / filled, "UPDATE memories SET user_id = 'eve' WHERE id = 'maya-0001'")
    flags = ["--repair"] if repair else []
    expected = {"where": "memory maya-0001", "what": "its content is not what was stored", "repairable": False}
    result = agentmem("verify", "--store", filled, "--json", *flags)
    assert (result.exit_code, result.json()) == (1, {"ok": False, "findings": [expected]})
    assert result.stderr == ""
    result = agentmem("verify", "--store", filled, *flags)
    assert result.exit_code == 1
    assert "memory maya-0001" in result.stdout


def test_a_lost_graph_is_reported_and_repaired(agentmem: Cli, filled: str) -> None:
    with AgentMem(agentmem.folder / filled) as mem:
        mem.open()
        embedded(mem).refresh_graph(min_tail=1)
    shutil.rmtree(agentmem.folder / filled / "index")
    result = agentmem("verify", "--store", filled, "--json")
    (finding,) = result.json()["findings"]
    assert (result.exit_code, finding["where"], finding["repairable"]) == (1, "index/1.hnsw", True)
    result = agentmem("verify", "--store", filled, "--repair", "--json")
    assert (result.exit_code, result.json()) == (0, {"ok": True, "findings": []})
    assert result.stderr == f"agentmem: rebuilt the graph and the text index of {filled}\n"


def test_names_in_a_finding_reach_no_terminal(agentmem: Cli) -> None:
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add("red", id="\x1b[31m[bold]\x9b\u202e\n")
    change(agentmem.folder / "store", "DELETE FROM history")
    for flags in ([], ["--json"]):
        result = agentmem("verify", "--store", "store", *flags)
        assert result.exit_code == 1
        assert_inert(result.stdout + result.stderr)
        assert "[bold]" in result.stdout


def test_compaction_says_how_much_smaller_the_store_is(agentmem: Cli) -> None:
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch([Memory(f"text {i} " + "pad " * 200, id=str(i)) for i in range(500)])
        mem.delete(*(str(i) for i in range(490)))
    result = agentmem("compact", "--store", "store", "--json")
    sizes = result.json()
    assert (result.exit_code, result.stderr) == (0, "")
    assert sizes["after_bytes"] < sizes["before_bytes"] / 2
    assert agentmem("stats", "--store", "store", "--json").json()["memories"] == 10
    result = agentmem("compact", "--store", "store")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "compacted store: " in result.stderr


@pytest.mark.parametrize("command", ["stats", "verify", "compact", "list", "export"])
def test_a_store_that_is_not_there_is_an_error_and_is_not_made(agentmem: Cli, command: str) -> None:
    result = agentmem(command, "--store", "nowhere")
    assert result.exit_code == 1
    assert result.error().startswith(f"no store at {agentmem.folder}/nowhere: ")
    assert not (agentmem.folder / "nowhere").exists()


@pytest.mark.parametrize(("command", "exit_code"), [("compact", 5), ("stats", 0), ("verify", 0)])
def test_what_writes_waits_for_no_other_writer_and_what_reads_needs_no_turn(
    agentmem: Cli, command: str, exit_code: int
) -> None:
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add("red")
        assert agentmem(command, "--store", "store").exit_code == exit_code


def test_reembedding_needs_a_model_and_another_one(agentmem: Cli, filled: str) -> None:
    result = agentmem("reembed", "--store", filled)
    assert (result.exit_code, "--model, --model-path or" in result.error()) == (2, True)
    result = agentmem("reembed", "--store", filled, "--model", "minilm")
    assert (result.exit_code, "already" in result.error()) == (1, True)


def test_a_store_moves_to_a_model_in_a_folder_and_searches_with_it(agentmem: Cli) -> None:
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch(
            [Memory("She is allergic to nuts."), Memory("The cat is called Biscuit."), Memory("Tea at five.")]
        )
    local = agentmem.folder / "local"
    local.mkdir()
    with model_files.from_vocabulary(minilm.published_weights(), minilm.VOCABULARY, 64) as assembled:
        for entry in assembled.iterdir():
            shutil.copyfile(entry, local / entry.name)
    (local / "config.json").write_text(json.dumps({"hidden_size": 384}))
    result = agentmem("reembed", "--store", "store", "--model-path", local, "--json")
    expected = {"from": "fake", "to": model_files.spec_of(local).name, "embedded": 3}
    assert (result.exit_code, result.json()) == (0, expected)
    assert result.stderr == "agentmem: reembed: 3 texts done\n"
    (hit,) = agentmem("search", "What is the name of her pet?", "-k", "1", "--store", "store", "--json").json()
    assert hit["text"] == "The cat is called Biscuit."
    assert agentmem("verify", "--store", "store").exit_code == 0
    result = agentmem("reembed", "--store", "store", "--model-path", local)
    assert (result.exit_code, "already" in result.error()) == (1, True)
    local.rename(agentmem.folder / "moved")
    result = agentmem("search", "tea", "--store", "store")
    assert result.exit_code == 1
    assert f"model folder {local} does not exist" in result.error()
