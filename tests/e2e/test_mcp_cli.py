"""`agentmem mcp` as a process: the SDK's client, a client of others, several clients, kills, and what is refused."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import CallToolResult

from tests.e2e.conftest import Cli
from tests.e2e.test_readme import GUIDES, blocks

MODEL: Final = ("--model", "minilm-static")
_PID_FIRST: Final = 'echo $$ > "$0"; exec "$@"'


def server(cli: Cli, *options: str | Path) -> StdioServerParameters:
    """How a client starts the server, which writes its process id to `pid` first."""
    command = cli._command(("mcp", *options))
    return StdioServerParameters(
        command="/bin/sh", args=["-c", _PID_FIRST, "pid", *command], env=cli._environment(None), cwd=cli.folder
    )


def kill_server(cli: Cli) -> None:
    """Kills the server that was started last."""
    os.kill(int((cli.folder / "pid").read_text()), signal.SIGKILL)


def connected(
    target: StdioServerParameters | str, work: Callable[[Client], Awaitable[None]], mode: str = "auto"
) -> None:
    """Connects the SDK's client, and works with it."""

    async def run() -> None:
        async with Client(target, mode=mode, read_timeout_seconds=60) as client:
            await work(client)

    asyncio.run(run())


def content(result: CallToolResult) -> Any:  # noqa: ANN401 - the tests say what it is
    """The structured content of a result, after a check that the text says the same."""
    assert not result.is_error, result.content
    (block,) = result.content
    assert block.type == "text"
    assert json.loads(block.text) == result.structured_content
    return result.structured_content


def texts(result: CallToolResult) -> list[str]:
    """The texts of the memories that a call returned."""
    return [memory["text"] for memory in content(result)["memories"]]


def test_a_client_remembers_finds_and_forgets_and_other_processes_see_it(static: Cli) -> None:
    async def work(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools if "user_id" in tool.input_schema["properties"]] == []
        made = content(await client.call_tool("add_memory", {"text": "word1 word2", "metadata": {"n": 1}}))["memory"]
        assert static("list", "--user-id", "maya", "--json").json()[0]["id"] == made["id"]
        written = static("add", "word3", "--user-id", "maya", "-q")  # the lock is free between calls
        assert written.exit_code == 0, written.stderr
        assert sorted(texts(await client.call_tool("search_memories", {"query": "word1"}))) == ["word1 word2", "word3"]
        assert (await client.call_tool("get_memory", {"id": "none"})).is_error
        content(await client.call_tool("delete_memory", {"id": made["id"]}))
        assert texts(await client.call_tool("list_memories", {})) == ["word3"]

    connected(server(static, *MODEL, "--user-id", "maya"), work)


def test_what_was_acknowledged_survives_a_kill_of_the_server(static: Cli) -> None:
    acknowledged: list[str] = []

    async def until_killed(client: Client) -> None:
        with pytest.raises(MCPError):
            for number in count():
                made = content(await client.call_tool("add_memory", {"text": f"word{number}"}))
                acknowledged.append(made["memory"]["id"])
                if number == 5:
                    asyncio.get_running_loop().call_later(0.05, kill_server, static)  # during one of the next adds

    async def again(client: Client) -> None:
        listed = content(await client.call_tool("list_memories", {"limit": 100}))["memories"]
        assert {memory["id"] for memory in listed} >= set(acknowledged)
        assert texts(await client.call_tool("search_memories", {"query": "word3", "limit": 1})) == ["word3"]

    connected(server(static, *MODEL), until_killed)
    assert len(acknowledged) > 5
    connected(server(static), again, "legacy")  # as clients connect that are older than the SDK
    assert static("verify").exit_code == 0


def test_standard_output_is_the_protocol_alone_and_its_end_ends_the_server(static: Cli) -> None:
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    lines = (
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "add_memory", "arguments": {"text": "word1"}},
        },
    )
    process = static.start("mcp", *MODEL)
    assert process.stdin is not None
    assert process.stdout is not None
    for line in lines:
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[0]["result"]["serverInfo"]["name"] == "agentmem"
    assert answers[1]["result"]["isError"] is False
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, b"", b"")


def test_a_server_that_waits_for_its_client_ends_when_it_is_told_to(static: Cli) -> None:
    process = static.start("mcp", *MODEL)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
    process.stdin.flush()
    process.stdout.readline()
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()


def test_clients_of_this_machine_share_a_server_over_http_and_web_pages_do_not(static: Cli) -> None:
    process = static.start("mcp", "--http", "0", *MODEL)
    assert process.stderr is not None
    announced = process.stderr.readline().decode()
    url = announced.partition(" at ")[2].partition(";")[0]

    async def work(client: Client) -> None:
        content(await client.call_tool("add_memory", {"text": "word1"}))
        assert texts(await client.call_tool("search_memories", {"query": "word1"})) == ["word1"]

    try:
        assert url.startswith("http://127.0.0.1:"), announced
        connected(url, work)
        connected(url, work)
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        accepted = {"Accept": "application/json, text/event-stream"}
        refused = [
            httpx.post(url, json=ping, headers={**accepted, **header}).status_code
            for header in ({"Origin": "https://evil.example"}, {"Host": "evil.example"})
        ]
        assert refused == [403, 421]
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert process.returncode in (130, -signal.SIGINT)
    assert (output, len(errors.splitlines())) == (b"", 2)  # the two refusals


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("0.0.0.0:8765", "has no password"),
        ("example.org:8765", "has no password"),
        ("127.0.0.1", "give a port"),
        ("127.0.0.1:99999", "give a port"),
        ("::1:8765", "give a port"),
    ],
)
def test_an_address_that_others_could_reach_is_a_usage_error(static: Cli, address: str, reason: str) -> None:
    result = static.process("mcp", "--http", address)  # which ends if it serves
    assert (result.exit_code, reason in result.error()) == (2, True)
    assert not (static.folder / ".agentmem").exists()


def test_a_port_in_use_is_an_error_of_one_line(static: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = static("mcp", *MODEL, "--http", str(taken.getsockname()[1]))
    assert (result.exit_code, "give another port" in result.error()) == (1, True)


def test_without_the_sdk_the_command_says_what_to_install(agentmem: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "agentmem_cli.integrations.mcp", raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.lowlevel", None)
    result = agentmem("mcp")
    assert (result.exit_code, result.error()) == (2, "agentmem mcp needs the MCP SDK: pip install 'agentmem-cli[mcp]'")


def test_a_server_that_only_reads_needs_a_store(static: Cli) -> None:
    assert "no store" in static("mcp", "--read-only").error()


def test_what_the_guide_has_to_paste_starts_the_server(static: Cli) -> None:
    pasted = [json.loads(block)["mcpServers"]["agentmem"] for _, block in blocks(GUIDES / "agents.md", "json")]
    assert len(pasted) == 3
    options = [entry["args"] for entry in pasted]
    assert all(arguments[:2] == ["mcp", "--store"] and Path(arguments[2]).is_absolute() for arguments in options)
    store = static.folder / "store"
    assert static("add", "word1", "--user-id", "maya", "--store", store, *MODEL).exit_code == 0

    async def work(client: Client) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools if "add" in tool.name] == []
        assert texts(await client.call_tool("search_memories", {"query": "word1"})) == ["word1"]

    (reading,) = [arguments[3:] for arguments in options if "--read-only" in arguments]
    connected(server(static, "--store", store, *reading), work)
    for arguments in options:
        assert "no store at" in static("mcp", *arguments[3:], "--read-only").error()


def test_a_client_that_nobody_here_wrote_adds_and_finds(static: Cli) -> None:
    inspector = _inspector()
    variables = static._environment(None)
    variables_of_server = chain.from_iterable(("-e", f"{name}={value}") for name, value in variables.items())
    started = [*variables_of_server, "--", *static._command(("mcp", *MODEL))]

    def call(method: str, *options: str) -> Any:  # noqa: ANN401 - the test says what it is
        done = subprocess.run(
            [inspector, "--cli", "--method", method, *options, *started],
            cwd=static.folder,
            env={**variables, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    tools = call("tools/list", "--strict")["tools"]
    assert {tool["name"] for tool in tools} >= {"add_memory", "search_memories"}
    made = call("tools/call", "--tool-name", "add_memory", "--tool-arg", "text=word1", "user_id=maya")
    memory = made["structuredContent"]["memory"]
    assert (memory["text"], memory["user_id"]) == ("word1", "maya")
    found = call("tools/call", "--tool-name", "search_memories", "--tool-arg", "query=word1", "limit=3")
    assert found["structuredContent"]["memories"][0]["id"] == memory["id"]


def _inspector() -> str:
    """The MCP Inspector, where npm has installed it."""
    local = GUIDES.parents[1] / "node_modules" / ".bin" / "mcp-inspector"
    found = str(local) if local.exists() else shutil.which("mcp-inspector")
    if found is None:
        pytest.skip("the MCP Inspector is not installed: see 'agentmem guide contributing'")
    return found
