"""Chat messages with a role and content, as OpenAI, Anthropic and LangChain have them: one by one, or in `messages`.

A turn is a memory. A conversation is a run; a message's own id is unique in its conversation only.
"""

from collections.abc import Iterator
from typing import Final

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.formats import langchain
from agentmem_cli.records.formats.format import Element, Fields, Format, list_at, objects
from agentmem_cli.records.formats.messages import turns
from agentmem_cli.records.keys import SCOPE_KEYS, TIME_KEYS, run_named_by
from agentmem_cli.records.values import JsonValue, shown

# Of a message: read here, or about how it was made and not about what it says.
_LEFT_OUT: Final = frozenset(
    {
        *("role", "content", "name", "id", "type", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"),
        *(
            "annotations",
            "logprobs",
            "additional_kwargs",
            "response_metadata",
            "usage_metadata",
            "stop_reason",
            "usage",
        ),
    }
)
# What a conversation says of all its messages.
_SHARED: Final = frozenset(
    ("created_at", *TIME_KEYS, *(key for own, others in SCOPE_KEYS.items() for key in (own, *others)))
)


def _memories(element: Element) -> Iterator[Fields]:
    if "messages" not in element.fields:
        yield from _turns(element.fields, {}, _run(element, ""), element.include)
        return
    shared = {key: value for key, value in element.fields.items() if key in _SHARED}
    run = run_named_by(element.fields) or _id(element.fields) or _run(element, f"-{element.position}")
    for message in objects("messages", list_at(element.fields, "messages")):
        yield from _turns(message, shared, run, element.include)


def _turns(given: Fields, shared: Fields, run: str | None, include: frozenset[str]) -> Iterator[Fields]:
    message = langchain.as_message(given)
    role = message.get("role")
    if not isinstance(role, str) or not role:
        keys = ", ".join(shown(key) for key in list(given)[:12])
        raise InvalidMemoryError(f'not a chat message: it has no "role"; its keys are {keys or "none"}')
    run = run_named_by(message) or run
    fields: dict[str, JsonValue] = {**shared, **{k: v for k, v in message.items() if k not in _LEFT_OUT}}
    if run is not None and run_named_by(message) is None:
        fields["run_id"] = run
    name, id = message.get("name"), _id(message)
    yield from turns(
        role,
        message.get("content"),
        include,
        fields,
        id=None if id is None else f"{run}:{id}" if run else id,
        name=name if isinstance(name, str) else None,
    )


def _run(element: Element, end: str) -> str | None:
    return f"{element.file_stem}{end}" if element.names_runs else None


def _id(fields: Fields) -> str | None:
    id = fields.get("id")
    return str(id) if isinstance(id, (str, int)) and not isinstance(id, bool) and id != "" else None


FORMAT: Final = Format("chat messages", (frozenset({"role", "content"}), frozenset({"messages"})), _memories)
LANGCHAIN: Final = Format("LangChain messages", langchain.SHAPES, _memories)
