"""`agentmem mcp`: a store as an MCP server."""

import re
import signal
import socket
import sys
from typing import Annotated, Final

import typer

from agentmem_cli.cli import filter_options, options
from agentmem_cli.cli.options import opened_store
from agentmem_cli.cli.output import say
from agentmem_cli.errors import AgentMemError, StoreNotFoundError, UsageError

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_ADDRESS: Final = re.compile(r"(?:(?P<host>[^:\[\]]+|\[[^\[\]]+\]):)?(?P<port>\d{1,5})")


@options.expanded
def mcp(
    *,
    store: options.StoreOption = ".agentmem",
    scope: filter_options.ScopeOptions,
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer no tools that write.")] = False,
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            metavar="[HOST:]PORT",
            help="Serve clients of this machine at http://HOST:PORT/mcp instead of one client on standard input.",
        ),
    ] = None,
    wait: options.WaitOption = 10,
    model: options.ModelOptions,
    quiet: options.QuietOption = False,
) -> None:
    """Serve a store to AI agents, as an MCP server.

    The client starts this command: see 'agentmem guide agents'. --user-id and the like fix the scope: the agent reads
    and writes only memories that have it.
    """
    host, port = ("", 0) if http is None else _address(http)
    try:
        from agentmem_cli.integrations.mcp import MemoryTools, serve_http, serve_stdio
    except ImportError as error:
        raise UsageError("agentmem mcp needs the MCP SDK: pip install 'agentmem-cli[mcp]'") from error

    if http is None and sys.stdin is None:
        raise UsageError("standard input is closed: an MCP client starts this command, or give --http PORT")
    with opened_store(store, model, create=not read_only, wait_s=wait, quiet=quiet) as mem:
        try:
            mem.list_memories(limit=1)
        except StoreNotFoundError:  # now, so that the client's log shows what is wrong with the place
            mem.open()
            mem.close()
        tools = MemoryTools(mem, scope, read_only=read_only, wait_s=wait)
        if http is None:
            # A thread waits for the next line of the client, which can't be interrupted. What is committed is durable.
            for interruption in (signal.SIGINT, signal.SIGTERM):
                signal.signal(interruption, signal.SIG_DFL)
            if sys.stdin.isatty() and not quiet:
                say("waiting for an MCP client on standard input: see 'agentmem guide agents'; Ctrl-C ends the server")
            serve_stdio(tools)
            return
        with _listening(host, port) as listening:
            if not quiet:
                port = listening.getsockname()[1]
                say(f"store {mem.location} is served at http://{_shown(host)}:{port}/mcp; Ctrl-C ends the server")
            serve_http(tools, host, listening)


def _address(given: str) -> tuple[str, int]:
    """The host and port of `--http`. Raises UsageError."""
    address = _ADDRESS.fullmatch(given)
    if address is None or int(address["port"]) > 65535:
        raise UsageError(f"--http {given}: give a port, such as 8765, or 127.0.0.1:8765")
    host = (address["host"] or "127.0.0.1").strip("[]")
    if host not in _LOOPBACK:
        raise UsageError(f"--http {given}: the server has no password, so it listens on 127.0.0.1, localhost or [::1]")
    return host, int(address["port"])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises AgentMemError."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise AgentMemError(
            f"--http {_shown(host)}:{port} can't be used: {error.strerror}: give another port"
        ) from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
