"""ChatGPT's data export: `conversations.json`, each conversation a tree of messages.

The current branch counts, as the page shows it: not what was edited or generated again. A conversation is a run.
"""

from collections.abc import Iterator
from typing import Final

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.formats.format import Element, Fields, Format, object_at, optional_text
from agentmem_cli.records.formats.messages import branch, turns
from agentmem_cli.records.values import JsonValue, shown

_TEXTS: Final = frozenset({"text", "multimodal_text"})
_TOOL_TEXTS: Final = frozenset({*_TEXTS, "code", "execution_output", "tether_quote"})


def _memories(element: Element) -> Iterator[Fields]:
    conversation, nodes = element.fields, object_at(element.fields, "mapping")
    leaf = optional_text(conversation, "current_node")
    if leaf is None or leaf not in nodes:
        raise InvalidMemoryError(f'"current_node" {shown(leaf or "")} is not in "mapping"')
    parents = {id: optional_text(_object(node), "parent") for id, node in nodes.items()}
    run = optional_text(conversation, "conversation_id") or optional_text(conversation, "id")
    for id in branch(parents, leaf):
        message = _object(_object(nodes[id]).get("message"))
        yield from _turns(message, id, run, conversation, element.include)


def _turns(
    message: Fields, node: str, run: str | None, conversation: Fields, include: frozenset[str]
) -> Iterator[Fields]:
    author, content = _object(message.get("author")), _object(message.get("content"))
    role, about = optional_text(author, "role"), _object(message.get("metadata"))
    if role is None or about.get("is_visually_hidden_from_conversation") is True:
        return
    if message.get("recipient") not in (None, "all"):  # a call of a tool
        role = "tool"
    if content.get("content_type") not in (_TOOL_TEXTS if role == "tool" else _TEXTS):
        return
    shared: dict[str, JsonValue] = {
        "run_id": run,
        "created_at": message.get("create_time") or conversation.get("create_time"),
        "metadata": {"title": optional_text(conversation, "title")},
    }
    said = content.get("parts") or content.get("text")
    yield from turns(role, said, include, shared, id=optional_text(message, "id") or node)


def _object(value: JsonValue) -> Fields:
    return value if isinstance(value, dict) else {}


FORMAT: Final = Format("ChatGPT conversations", (frozenset({"mapping", "current_node"}),), _memories)
