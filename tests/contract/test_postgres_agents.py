"""Agents use a store in PostgreSQL as one in a folder: tools of MCP, LangGraph, asyncio, and processes that fork."""

import asyncio
import os

import pytest
from langgraph.store.base import SearchItem

from agentmem_cli import AgentMem, AsyncAgentMem, Scope
from agentmem_cli.integrations.langgraph import AgentMemStore
from agentmem_cli.integrations.mcp import MemoryTools
from tests.fakes import FakeEmbedder
from tests.postgres_server import IS_THERE, MISSING
from tests.unit.test_mcp_tools import done, texts

pytestmark = pytest.mark.skipif(not IS_THERE, reason=MISSING)


def test_a_model_writes_and_searches_through_tools_whose_url_has_a_password(postgres_url: str) -> None:
    url = postgres_url.replace("agentmem@", "agentmem:s3cr3t@")
    tools = MemoryTools(AgentMem(url, embedder=FakeEmbedder()), Scope(user_id="maya"))
    made = done(tools, "add_memory", text="Maya hikes on weekends")["memory"]
    assert texts(done(tools, "search_memories", query="who hikes")) == ["Maya hikes on weekends"]
    done(tools, "update_memory", id=made["id"], text="Maya hikes on Mondays")
    assert texts(done(tools, "list_memories")) == ["Maya hikes on Mondays"]
    assert done(tools, "delete_memory", id=made["id"]) == {"deleted": made["id"]}


def test_tasks_add_and_search_at_once(postgres_url: str) -> None:
    async def run() -> None:
        async with AsyncAgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
            await asyncio.gather(*(mem.add(f"text {i}", id=str(i)) for i in range(40)))
            hits = await asyncio.gather(*(mem.search(f"text {i}", 1, mode="meaning") for i in range(40)))
            assert [hit.id for (hit,) in hits] == [str(i) for i in range(40)]

    asyncio.run(run())


def test_items_of_langgraph_are_put_found_and_deleted(postgres_url: str) -> None:
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        store = AgentMemStore(mem)
        store.put(("memories", "maya"), "food", {"text": "eats no cashews"})
        (found,) = store.search(("memories",), query="cashews")
        assert isinstance(found, SearchItem)
        assert (found.namespace, found.key, found.value) == (("memories", "maya"), "food", {"text": "eats no cashews"})
        store.delete(("memories", "maya"), "food")
        assert store.get(("memories", "maya"), "food") is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_child_has_a_connection_of_its_own(postgres_url: str) -> None:
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        mem.add("red apple", id="a")
        child = os.fork()
        if child == 0:
            found = False
            try:
                mem.add("blue whale", id="b")
                found = [hit.id for hit in mem.search("blue whale", 1)] == ["b"]
            finally:
                os._exit(0 if found else 1)
        assert [hit.id for hit in mem.search("red apple", 1)] == ["a"]
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(mem) == 2
