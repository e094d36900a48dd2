"""The tools of the MCP server: what a model can do, what it can't reach, and what it is told when it errs."""

from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from agentmem_cli import AgentMem, Scope
from agentmem_cli.integrations.mcp import MemoryTools
from tests.fakes import FakeEmbedder

READING: Final = ["search_memories", "get_memory", "list_memories"]
WRITING: Final = ["add_memory", "update_memory", "delete_memory"]


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def mem(tmp_path: Path, embedder: FakeEmbedder) -> AgentMem:
    """A store with memories of two users; nobody writes to it."""
    with AgentMem(tmp_path / "store", embedder=embedder) as opened:
        opened.add("Maya eats no cashews", id="maya-1", user_id="maya", metadata={"topic": "food"}, importance=0.5)
        opened.add("Kenji eats no cashews", id="kenji-1", user_id="kenji", metadata={"topic": "food"})
    return AgentMem(tmp_path / "store", embedder=embedder)


def done(tools: MemoryTools, name: str, **arguments: object) -> Any:  # noqa: ANN401 - the tests say what it is
    """The result of a call that must succeed, after a check that it is as its schema says."""
    result = tools.call(name, arguments)
    assert not result.is_error, result.content
    (schema,) = [tool.output_schema for tool in tools.listed if tool.name == name]
    assert schema is not None
    jsonschema.validate(result.structured_content, schema)
    return result.structured_content


def refused(tools: MemoryTools, name: str, **arguments: object) -> str:
    """The error of a call that must fail: one line."""
    result = tools.call(name, arguments)
    assert result.is_error
    assert result.structured_content is None
    (content,) = result.content
    assert content.type == "text"
    assert len(content.text.splitlines()) == 1
    assert content.text.startswith("error: ")
    return content.text


def texts(result: dict[str, list[dict[str, str]]]) -> list[str]:
    """The texts of the memories of a result."""
    return [memory["text"] for memory in result["memories"]]


def test_what_a_model_remembers_it_finds_changes_and_forgets(mem: AgentMem) -> None:
    tools = MemoryTools(mem, Scope())
    made = done(tools, "add_memory", text="Li hikes on weekends", user_id="li", metadata={"topic": "sport"})["memory"]
    assert (made["text"], made["user_id"], made["metadata"]) == ("Li hikes on weekends", "li", {"topic": "sport"})
    (found,) = done(tools, "search_memories", query="who hikes", where={"topic": "sport"}, since="1d")["memories"]
    assert (found["id"], found["score"] > 0) == (made["id"], True)
    changed = done(tools, "update_memory", id=made["id"], text="Li hikes on Mondays", metadata=None)["memory"]
    assert (changed["text"], changed["user_id"], "metadata" in changed) == ("Li hikes on Mondays", "li", False)
    assert done(tools, "get_memory", id=made["id"])["memory"] == changed
    assert texts(done(tools, "list_memories", limit=1)) == ["Li hikes on Mondays"]
    assert texts(done(tools, "list_memories", limit=9, offset=1)) == ["Kenji eats no cashews", "Maya eats no cashews"]
    assert [event.event for event in mem.history(made["id"])] == ["add", "update"]
    assert done(tools, "delete_memory", id=made["id"]) == {"deleted": made["id"]}
    assert "there is no memory" in refused(tools, "get_memory", id=made["id"])


def test_a_fact_that_is_added_twice_is_one_memory_and_loses_no_later_change(mem: AgentMem) -> None:
    tools = MemoryTools(mem, Scope(user_id="maya"))
    first = done(tools, "add_memory", text="Maya rows")["memory"]
    done(tools, "update_memory", id=first["id"], importance=0.9)
    assert done(tools, "add_memory", text="Maya rows")["memory"] == {**first, "importance": 0.9}
    assert len(mem) == 3


def test_no_call_leaves_the_scope_of_the_server(mem: AgentMem) -> None:
    tools = MemoryTools(mem, Scope(user_id="maya"))
    kenji = mem.get("kenji-1")
    for tool in tools.listed:
        assert "user_id" not in tool.input_schema["properties"]
    assert texts(done(tools, "search_memories", query="Kenji eats no cashews", limit=100)) == ["Maya eats no cashews"]
    assert texts(done(tools, "list_memories")) == ["Maya eats no cashews"]
    for name, more in (("get_memory", {}), ("update_memory", {"text": "mine"}), ("delete_memory", {})):
        missing = refused(tools, name, id="nothing", **more)
        assert refused(tools, name, id="kenji-1", **more) == missing.replace("nothing", "kenji-1")
    for name, given in (("search_memories", {"query": "x"}), ("list_memories", {}), ("add_memory", {"text": "x"})):
        for user in ("kenji", "maya", None):
            assert "user_id is fixed" in refused(tools, name, user_id=user, **given)
    assert "user_id" in refused(tools, "update_memory", id="maya-1", user_id="kenji")
    assert done(tools, "add_memory", text="Kenji is mine", agent_id="a")["memory"]["user_id"] == "maya"
    assert mem.get("kenji-1") == kenji
    assert [memory.scope.user_id for memory in mem.export()] == ["maya", "kenji", "maya"]


def test_every_field_of_the_scope_can_be_fixed(mem: AgentMem) -> None:
    tools = MemoryTools(mem, Scope("agent", "maya", "run", "core"))
    done(tools, "add_memory", text="Maya rows")
    (memory,) = done(tools, "list_memories")["memories"]
    assert [memory[name] for name in ("agent_id", "user_id", "run_id", "memory_type")] == [
        "agent",
        "maya",
        "run",
        "core",
    ]
    assert "there is no memory" in refused(tools, "get_memory", id="maya-1")


def test_a_server_that_only_reads_has_no_tools_that_write(mem: AgentMem) -> None:
    tools = MemoryTools(mem, Scope(), read_only=True)
    assert [tool.name for tool in tools.listed] == READING
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.listed)
    for name in WRITING:
        assert f'there is no tool "{name}": use search_memories' in refused(tools, name, id="maya-1", text="x")
    assert len(mem) == 2


def test_the_schemas_are_what_the_tools_take(mem: AgentMem) -> None:
    tools = MemoryTools(mem, Scope())
    assert [tool.name for tool in tools.listed] == READING + WRITING
    for tool in tools.listed:
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert (tool.input_schema["type"], tool.input_schema["additionalProperties"]) == ("object", False)
        assert tool.description
        assert all("description" in field for field in tool.input_schema["properties"].values()), tool.name


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("add_memory", {}, "required field `text`"),
        ("add_memory", {"text": 3}, "Expected `str`"),
        ("add_memory", {"text": " "}, "text is empty"),
        ("add_memory", {"text": "x", "colour": "red"}, "unknown field `colour`"),
        ("add_memory", {"text": "x", "memory_type": "dreamlike"}, 'memory_type "dreamlike" is unknown'),
        ("add_memory", {"text": "x", "created_at": "yesterday"}, "created_at"),
        ("add_memory", {"text": "x", "metadata": {"a": "\0"}}, "NUL"),
        ("add_memory", {"text": "x", "metadata": {"a": 2**80}}, "64 bits"),
        ("add_memory", {"text": "\ud800"}, "surrogate"),
        ("search_memories", {"query": ""}, "the query is empty"),
        ("search_memories", {"query": "x", "limit": 0}, ">= 1"),
        ("search_memories", {"query": "x", "limit": 10**6}, "<= 100"),
        ("search_memories", {"query": "x", "where": {"topic": {"like": "f"}}}, "like is not an operator"),
        ("search_memories", {"query": "x", "since": "soon"}, "since"),
        ("list_memories", {"offset": -1}, ">= 0"),
        ("get_memory", {"id": "\ud800"}, "there is no memory"),
        ("update_memory", {"id": "maya-1", "text": ""}, "text is empty"),
        ("nonsense", {}, "there is no tool"),
    ],
)
def test_a_mistake_is_a_line_that_says_what_to_do(
    mem: AgentMem, name: str, arguments: dict[str, object], reason: str
) -> None:
    before = list(mem.export())
    assert reason in refused(MemoryTools(mem, Scope()), name, **arguments)
    assert list(mem.export()) == before


def test_other_writers_have_their_turn_between_calls_and_are_named_when_they_do_not_give_it(
    mem: AgentMem, embedder: FakeEmbedder
) -> None:
    tools = MemoryTools(mem, Scope())
    done(tools, "add_memory", text="one")
    with AgentMem(mem.location, embedder=embedder) as other:
        other.add("two")
        assert "is being written by process" in refused(tools, "add_memory", text="three")
        assert "is being written by process" in refused(tools, "delete_memory", id="maya-1")
        assert len(done(tools, "search_memories", query="one two three", limit=100)["memories"]) == 4
    done(tools, "add_memory", text="three")
    assert len(mem) == 5


def test_the_model_is_loaded_once(mem: AgentMem, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, loaded = MemoryTools(mem, Scope()), mem.load()
    for number in range(3):
        done(tools, "add_memory", text=f"number {number}")
    assert loaded is mem.load()
    assert isinstance(loaded, FakeEmbedder)
    assert loaded.texts_embedded == 5  # each text once, by this one
