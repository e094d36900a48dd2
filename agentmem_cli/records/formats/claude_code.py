"""Sessions of Claude Code: JSONL with a message or an event a line. A session is a run.

Side chains (conversations with subagents), meta messages and events are left out.
"""

from collections.abc import Iterator
from typing import Final

from agentmem_cli.records.formats.format import Element, Fields, Format, object_at, optional_text
from agentmem_cli.records.formats.messages import turns
from agentmem_cli.records.values import JsonValue

_CONTEXT: Final = {"cwd": "cwd", "gitBranch": "git_branch"}


def _memories(element: Element) -> Iterator[Fields]:
    entry = element.fields
    if entry.get("isSidechain") is True or entry.get("isMeta") is True:
        return
    kind = entry.get("type")
    if kind == "system":
        role, content = "system", entry.get("content")
    elif kind in ("user", "assistant"):
        message = object_at(entry, "message")
        role, content = optional_text(message, "role") or str(kind), message.get("content")
    else:
        return
    about: dict[str, JsonValue] = {ours: entry[key] for key, ours in _CONTEXT.items() if optional_text(entry, key)}
    shared: dict[str, JsonValue] = {
        "run_id": optional_text(entry, "sessionId"),
        "created_at": optional_text(entry, "timestamp"),
        "metadata": about,
    }
    yield from turns(role, content, element.include, shared, id=optional_text(entry, "uuid"))


FORMAT: Final = Format(
    "a Claude Code session",
    (
        frozenset({"type", "sessionId"}),
        frozenset({"type", "summary", "leafUuid"}),
        frozenset({"type", "snapshot", "messageId"}),
    ),
    _memories,
)
