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
# The keys of a field that a conversation can have for its messages.
_SHARED: Final = (
    ("created_at", *TIME_KEYS),
    *((own, *others) for own, others in SCOPE_KEYS.items() if own != "run_id"),
)


def _memories(element: Element) -> Iterator[Fields]:
    if "messages" not in element.fields:
        yield from _turns(element.fields, {}, _run(element, ""), element.include)
        return
    run = run_named_by(element.fields) or _id(element.fields) or _run(element, f"-{element.position}")
    for message in objects("messages", list_at(element.fields, "messages")):
        yield from _turns(message, element.fields, run, element.include)


def _turns(given: Fields, conversation: Fields, run: str | None, include: frozenset[str]) -> Iterator[Fields]:
    message = langchain.as_message(given)
    role = message.get("role")
    if not isinstance(role, str) or not role:
        names = ", ".join(shown(key) for key in list(given)[:12])
        raise InvalidMemoryError(f'not a chat message: it has no "role"; its keys are {names or "none"}')
    fields: dict[str, JsonValue] = {key: value for key, value in message.items() if key not in _LEFT_OUT}
    for keys in _SHARED:
        if not any(key in message for key in keys):
            fields.update({key: conversation[key] for key in keys if key in conversation})
    own_run = run_named_by(message)
    if own_run is None:
        fields["run_id"] = run
    run = own_run or run
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
