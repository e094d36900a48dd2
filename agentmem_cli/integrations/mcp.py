"""An MCP server: a store as tools for the models of any client that speaks the Model Context Protocol.

The server reads through one AgentMem, whose model is loaded once. Each write opens the store for itself and closes it,
so that the writer's lock is free between calls.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Final, TypeAlias, TypeVar, cast

import anyio
import anyio.to_thread
import msgspec
import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from msgspec import UNSET, Meta, Struct, UnsetType

from agentmem_cli._version import __version__
from agentmem_cli.api import AgentMem
from agentmem_cli.errors import AgentMemError, MemoryNotFoundError, UsageError
from agentmem_cli.records.filter import SearchFilter, Where
from agentmem_cli.records.memory import MEMORY_TYPES, Memory, Scope
from agentmem_cli.records.values import JsonValue, shown
from agentmem_cli.search.query import Query

_S = TypeVar("_S", bound=Struct)
Result: TypeAlias = dict[str, JsonValue]

# What the tools take. The descriptions are for the models of clients.

_ANY: Final = Meta(extra_json_schema={"type": ["string", "number", "boolean", "null", "array", "object"]})
_Object: TypeAlias = dict[str, Annotated[object, _ANY]]
_Id: TypeAlias = Annotated[str, Meta(description="The memory's id, as the other tools return it.")]
_Limit: TypeAlias = Annotated[int, Meta(description="The maximum number of memories to return.", ge=1, le=100)]
_TYPES: Final = Meta(description="The kind of memory.", extra_json_schema={"enum": [*MEMORY_TYPES, None]})


class _Scoped(Struct, kw_only=True, forbid_unknown_fields=True):
    user_id: Annotated[str | None, Meta(description="The user that the memory is about.")] = None
    agent_id: Annotated[str | None, Meta(description="The agent that the memory belongs to.")] = None
    run_id: Annotated[str | None, Meta(description="The conversation that the memory is from.")] = None
    memory_type: Annotated[str | None, _TYPES] = None


class _Add(_Scoped, kw_only=True, forbid_unknown_fields=True):
    text: Annotated[str, Meta(description="One fact, in words that make sense on their own: with names and dates.")]
    metadata: Annotated[
        _Object | None, Meta(description='A JSON object to filter by later, such as {"topic": "food"}.')
    ] = None
    importance: Annotated[float | None, Meta(description="From 0 to 1.")] = None
    created_at: Annotated[str | None, Meta(description="The time of the fact, in ISO 8601; by default now.")] = None
    expires_at: Annotated[
        str | None, Meta(description="When to forget it, in ISO 8601; leave it out for facts that stay true.")
    ] = None


class _Update(Struct, kw_only=True, forbid_unknown_fields=True):
    id: _Id
    text: Annotated[str | UnsetType, Meta(description="The new text. The history keeps the old one.")] = UNSET
    metadata: Annotated[
        _Object | UnsetType | None, Meta(description="The new metadata, as a whole; null removes it.")
    ] = UNSET
    importance: Annotated[float | UnsetType | None, Meta(description="From 0 to 1; null removes it.")] = UNSET
    expires_at: Annotated[
        str | UnsetType | None, Meta(description="When to forget it, in ISO 8601; null keeps it for good.")
    ] = UNSET


class _One(Struct, kw_only=True, forbid_unknown_fields=True):
    id: _Id


class _Filtered(_Scoped, kw_only=True, forbid_unknown_fields=True):
    where: Annotated[
        _Object | None,
        Meta(
            description='Conditions on metadata: {"topic": "food"}, or with operators, {"year": {">=": 2024}}. '
            "The operators are =, !=, <, <=, >, >=, in, not in and exists."
        ),
    ] = None
    since: Annotated[
        str | None, Meta(description="Only memories from this time or later: 2025-03-01, or 7d for seven days ago.")
    ] = None
    until: Annotated[str | None, Meta(description="Only memories from before this time.")] = None


class _Search(_Filtered, kw_only=True, forbid_unknown_fields=True):
    query: Annotated[str, Meta(description="A question or statement in natural language.")]
    limit: _Limit = 10


class _List(_Filtered, kw_only=True, forbid_unknown_fields=True):
    limit: _Limit = 20
    offset: Annotated[int, Meta(description="The number of newest memories to skip.", ge=0)] = 0


# What the tools return.

_STRING: Final[Result] = {"type": "string"}
_TIME: Final[Result] = {"type": "string", "format": "date-time"}
_MEMORY: Final[Result] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "text", "speaker", *_Scoped.__struct_fields__), _STRING),
        **dict.fromkeys(("created_at", "expires_at"), _TIME),
        "score": {"type": "number", "description": "A higher score is better. Only search_memories returns it."},
        "metadata": {"type": "object"},
        "importance": {"type": "number"},
    },
    "required": ["id", "text", "created_at"],
}
_ONE_MEMORY: Final[Result] = {"memory": _MEMORY}
_MEMORIES: Final[Result] = {"memories": {"type": "array", "items": _MEMORY}}
_DELETED: Final[Result] = {"deleted": _STRING}


@dataclass(frozen=True, slots=True)
class _Tool:
    """A tool as clients see it, and what runs it on arguments. Raises AgentMemError and msgspec.ValidationError."""

    listed: Tool
    run: Callable[[Mapping[str, object]], Result]


class MemoryTools:
    """Tools over a store, within a scope that no call can leave.

    For a call, memories exist only where their scope has the values of `fixed`, and new memories get them. With
    `read_only`, there are no tools that write. A write waits up to `wait_s` seconds for another process that writes.
    """

    def __init__(self, mem: AgentMem, fixed: Scope, *, read_only: bool = False, wait_s: float = 0.0) -> None:
        self._mem = mem
        self._fixed = {name: value for name, value in asdict(fixed).items() if value is not None}
        self._wait_s = wait_s
        self._turn = threading.Lock()  # for the writes of this process; the writer's lock is for the others
        tools = [
            self._tool(
                "search_memories",
                "Search long-term memory by meaning and words, best first. Use it before you answer a question that "
                "something remembered could help with.",
                (_Search, self._search, _MEMORIES),
                ToolAnnotations(read_only_hint=True),
            ),
            self._tool(
                "get_memory", "Get one memory.", (_One, self._get, _ONE_MEMORY), ToolAnnotations(read_only_hint=True)
            ),
            self._tool(
                "list_memories",
                "List memories, newest first, one page at a time.",
                (_List, self._list, _MEMORIES),
                ToolAnnotations(read_only_hint=True),
            ),
        ]
        if not read_only:
            tools += [
                self._tool(
                    "add_memory",
                    "Remember one fact for later conversations. Search first: if a memory of it exists, update that.",
                    (_Add, self._add, _ONE_MEMORY),
                    ToolAnnotations(destructive_hint=False, idempotent_hint=True),
                ),
                self._tool(
                    "update_memory",
                    "Change a memory that is no longer right. Fields that are left out keep their values.",
                    (_Update, self._update, _ONE_MEMORY),
                    ToolAnnotations(idempotent_hint=True),
                ),
                self._tool(
                    "delete_memory",
                    "Delete a memory for good, for example when the user asks to forget it.",
                    (_One, self._delete, _DELETED),
                    ToolAnnotations(destructive_hint=True, idempotent_hint=True),
                ),
            ]
        self._tools = {tool.listed.name: tool for tool in tools}

    @property
    def listed(self) -> list[Tool]:
        """The tools, as clients see them."""
        return [tool.listed for tool in self._tools.values()]

    def call(self, name: str, arguments: Mapping[str, object]) -> CallToolResult:
        """The result of a tool, or an error of one line that tells the model what to do."""
        try:
            result = self._result(name, arguments)
        except (AgentMemError, msgspec.ValidationError) as error:
            return CallToolResult(content=[TextContent(type="text", text=f"error: {error}")], is_error=True)
        return CallToolResult(
            content=[TextContent(type="text", text=orjson.dumps(result).decode())], structured_content=result
        )

    def _result(self, name: str, arguments: Mapping[str, object]) -> Result:
        if name not in self._tools:
            raise UsageError(f"there is no tool {shown(name)}: use {', '.join(self._tools)}")
        fixed = sorted(self._fixed.keys() & arguments.keys())
        if fixed:
            raise UsageError(f"{fixed[0]} is fixed for this server: leave it out")
        return self._tools[name].run(arguments)

    def _tool(
        self,
        name: str,
        description: str,
        call: tuple[type[_S], Callable[[_S], Result], Result],
        hints: ToolAnnotations,
    ) -> _Tool:
        takes, run, returns = call
        (_,), schemas = msgspec.json.schema_components([takes])
        (schema,) = schemas.values()
        offered = [(field, about) for field, about in schema["properties"].items() if field not in self._fixed]
        schema["properties"] = dict(sorted(offered, key=lambda field: field[0] not in schema["required"]))
        listed = Tool(
            name=name,
            description=description,
            input_schema={key: value for key, value in schema.items() if key != "title"},
            output_schema={"type": "object", "properties": returns, "required": [*returns]},
            annotations=hints.model_copy(update={"open_world_hint": False}),
        )
        return _Tool(listed, lambda arguments: run(msgspec.convert(arguments, takes)))

    # Reading

    def _search(self, asked: _Search) -> Result:
        hits = self._mem.search_many([Query(asked.query, self._filter(asked))], asked.limit)[0]
        fields = (hit.to_dict() for hit in hits)
        return {"memories": [{name: value for name, value in hit.items() if value not in (None, {})} for hit in fields]}

    def _list(self, asked: _List) -> Result:
        memories = self._mem.page_matching(self._filter(asked), asked.limit, asked.offset)
        return {"memories": [memory.to_dict() for memory in memories]}

    def _get(self, asked: _One) -> Result:
        return {"memory": self._within(self._mem, asked.id).to_dict()}

    def _filter(self, asked: _Filtered) -> SearchFilter:
        scope = {name: getattr(asked, name) for name in _Scoped.__struct_fields__} | self._fixed
        return SearchFilter.of(where=cast(Where | None, asked.where), since=asked.since, until=asked.until, **scope)

    def _within(self, mem: AgentMem, identity: str) -> Memory:
        """The memory of this id. Raises MemoryNotFoundError where there is none in the scope."""
        memory = mem.get(identity)
        if memory is None or any(getattr(memory.scope, name) != value for name, value in self._fixed.items()):
            raise MemoryNotFoundError(
                f"there is no memory {shown(identity)}: search_memories and list_memories show the ids"
            )
        return memory

    # Writing

    def _add(self, asked: _Add) -> Result:
        with self._writer() as writer:
            given = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not None}
            (identity,) = writer.add_batch([given | self._fixed]).ids
            return {"memory": self._within(writer, identity).to_dict()}

    def _update(self, asked: _Update) -> Result:
        with self._writer() as writer:
            changes: dict[str, object] = msgspec.to_builtins(asked)
            identity = self._within(writer, str(changes.pop("id"))).id
            return {"memory": writer.update_fields(identity, changes).to_dict()}

    def _delete(self, asked: _One) -> Result:
        with self._writer() as writer:
            writer.delete(self._within(writer, asked.id).id)
        return {"deleted": asked.id}

    @contextmanager
    def _writer(self) -> Iterator[AgentMem]:
        """The store, with the writer's lock."""
        with self._turn, self._mem.another(wait_s=self._wait_s) as writer:
            writer.open()
            yield writer


def _server(tools: MemoryTools) -> "Server[dict[str, object]]":
    async def list_tools(
        _context: ServerRequestContext[dict[str, object]], _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=tools.listed)

    async def call_tool(
        _context: ServerRequestContext[dict[str, object]], params: CallToolRequestParams
    ) -> CallToolResult:
        return await anyio.to_thread.run_sync(tools.call, params.name, params.arguments or {})

    return Server(
        "agentmem",
        version=__version__,
        instructions="Long-term memory, which outlasts the conversation.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def serve_stdio(tools: MemoryTools) -> None:
    """Serves one client on standard input and output, until it closes them. Other output goes to standard error."""

    async def serve() -> None:
        server = _server(tools)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(serve)


def serve_http(tools: MemoryTools, host: str, listening: socket.socket) -> None:
    """Serves clients at `/mcp` on a socket of the loopback interface, until the process is interrupted.

    Requests of web pages and requests for other hosts are refused.
    """
    import uvicorn  # which takes a fifth of a second, and serves HTTP alone

    app = _server(tools).streamable_http_app(host=host)
    config = uvicorn.Config(app, log_level="warning")
    anyio.run(lambda: uvicorn.Server(config).serve(sockets=[listening]))
