"""The examples run as their users run them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import EXAMPLES

TURNS = ("My name is Maya and I am allergic to cashews.", "The half marathon is on 4 May.", "Suggest a snack.")


def run(example: str, *arguments: str | Path) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_agent_knows_in_a_new_process_what_it_was_told_in_an_earlier_one(tmp_path: Path) -> None:
    first = run("agent_memory.py", "--store", tmp_path / "store", "What am I allergic to?", *TURNS)
    assert first.startswith("(0 memories from earlier runs)")
    assert "agent: You have not told me yet." in first
    second = run("agent_memory.py", "--store", tmp_path / "store", "What am I allergic to?", "When do I run?")
    assert second.startswith("(2 memories from earlier runs)")
    assert f"agent: You told me: {TURNS[0]}" in second
    assert f"agent: You told me: {TURNS[1]}" in second


def test_a_langgraph_node_finds_what_another_put(tmp_path: Path) -> None:
    printed = run("langgraph_store.py", "--store", tmp_path / "store").splitlines()
    assert printed[1].endswith("Maya is allergic to cashews and pistachios.")
    assert printed[-2:] == [
        "health: ['allergy', 'allergy']",
        "namespaces: [('memories', 'kenji'), ('memories', 'maya')]",
    ]


def test_clients_of_the_service_add_search_and_delete_their_own_memories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testclient = pytest.importorskip("fastapi.testclient", reason="fastapi and httpx are not installed")
    monkeypatch.setenv("AGENTMEM_STORE", str(tmp_path / "store"))
    spec = importlib.util.spec_from_file_location("fastapi_app", EXAMPLES / "fastapi_app.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fastapi_app", example)  # FastAPI reads the types there
    spec.loader.exec_module(example)
    with testclient.TestClient(example.app) as client:
        made = client.post("/users/maya/memories", json={"text": "Maya eats no cashews", "metadata": {"topic": "food"}})
        assert made.status_code == 201
        client.post("/users/kenji/memories", json={"text": "Kenji eats no cashews"})
        (found,) = client.get("/users/maya/memories", params={"q": "cashews"}).json()
        assert (found["id"], found["text"]) == (made.json()["id"], "Maya eats no cashews")
        assert client.delete(f"/users/kenji/memories/{found['id']}").status_code == 404
        assert client.delete(f"/users/maya/memories/{found['id']}").status_code == 204
        assert client.get("/users/maya/memories", params={"q": "cashews"}).json() == []
        refused = client.post("/users/maya/memories", json={"text": " "})
        assert (refused.status_code, refused.json()) == (422, {"detail": "text is empty"})
