"""The messages of chats: what each says, who said it, and which branch of a conversation counts."""

from collections.abc import Iterator, Mapping
from typing import Final

from agentmem_cli.records.formats.format import Fields
from agentmem_cli.records.values import JsonValue

ROLES: Final[Mapping[str, str]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
OPTIONAL_ROLES: Final = ("system", "tool")
_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text"})


def turns(
    role: str,
    content: JsonValue,
    include: frozenset[str],
    shared: Fields,
    *,
    id: str | None = None,
    name: str | None = None,
) -> Iterator[Fields]:
    """The memories of a message: its text, and the results of tools in it, each with the `shared` fields.

    Messages without text are left out, and so are those of OPTIONAL_ROLES that are not in `include`.
    """
    role = ROLES.get(role.lower(), role)
    said = [(role, name or role, text_of(content))]
    if isinstance(content, list):
        results = [part for part in content if isinstance(part, dict) and part.get("type") == "tool_result"]
        said += [("tool", "tool", text_of(part.get("content"))) for part in results]
    given = shared.get("metadata")
    metadata = {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else {}
    for number, (who, speaker, text) in enumerate(said):
        if text.strip() and (who not in OPTIONAL_ROLES or who in include):
            yield {
                **shared,
                **({} if id is None else {"id": f"{id}:{number}" if number else id}),
                "text": text,
                "speaker": speaker,
                "metadata": {**metadata, "role": who},
            }


def text_of(content: JsonValue) -> str:
    """The text of a message's content: a string, or a list of strings and blocks; empty if it has none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts: list[JsonValue] = []
    for part in content:
        if isinstance(part, dict):
            parts.append(part.get("text") if part.get("type") in _TEXT_PARTS else None)
        else:
            parts.append(part)
    return "\n".join(part for part in parts if isinstance(part, str) and part)


def branch(parents: Mapping[str, str | None], leaf: str) -> list[str]:
    """The way to a leaf of a tree, by the parent of each node; a cycle or a missing node ends it."""
    path: dict[str, None] = {}
    at: str | None = leaf
    while at is not None and at in parents and at not in path:
        path[at] = None
        at = parents[at]
    return list(path)[::-1]
