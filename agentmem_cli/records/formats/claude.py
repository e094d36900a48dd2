"""Claude's data export: `conversations.json`, each conversation with its `chat_messages`. A conversation is a run."""

from collections.abc import Iterator
from typing import Final

from agentmem_cli.records.formats.format import Element, Fields, Format, list_at, objects, optional_text, text_at
from agentmem_cli.records.formats.messages import branch, text_of, turns
from agentmem_cli.records.values import JsonValue


def _memories(element: Element) -> Iterator[Fields]:
    conversation = element.fields
    for message in _current(conversation):
        shared: dict[str, JsonValue] = {
            "run_id": optional_text(conversation, "uuid"),
            "created_at": message.get("created_at") or conversation.get("created_at"),
            "metadata": {"title": optional_text(conversation, "name")},
        }
        content = message.get("content")
        if not text_of(content) and not _has_tool_result(content):
            content = message.get("text")
        id = optional_text(message, "uuid")
        yield from turns(text_at(message, "sender"), content, element.include, shared, id=id)


def _current(conversation: Fields) -> list[Fields]:
    """The messages; of a conversation that names its last one, those on the way to it."""
    messages = list(objects("chat_messages", list_at(conversation, "chat_messages")))
    leaf = optional_text(conversation, "current_leaf_message_uuid")
    by_id = {id: message for message in messages if (id := optional_text(message, "uuid")) is not None}
    if leaf is None or leaf not in by_id:
        return messages
    parents = {id: optional_text(message, "parent_message_uuid") for id, message in by_id.items()}
    return [by_id[id] for id in branch(parents, leaf)]


def _has_tool_result(content: JsonValue) -> bool:
    blocks = content if isinstance(content, list) else []
    return any(isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks)


FORMAT: Final = Format("Claude conversations", (frozenset({"chat_messages"}),), _memories)
