"""mem0's memories, as `get_all`, `search` and its exports give them."""

from collections.abc import Iterator
from typing import Final

from agentmem_cli.records.formats.format import Element, Fields, Format, optional_text, text_at
from agentmem_cli.records.values import JsonValue

_FIELDS: Final = ("id", "user_id", "agent_id", "run_id", "created_at")
_LEFT_OUT: Final = frozenset(
    {*_FIELDS, "memory", "metadata", "actor_id", "expiration_date", "score"}
)  # a score is of one search


def _memories(element: Element) -> Iterator[Fields]:
    fields = element.fields
    given = fields.get("metadata")
    others = {key: value for key, value in fields.items() if key not in _LEFT_OUT and value not in (None, [])}
    metadata: dict[str, JsonValue] = {**others, **(given if isinstance(given, dict) else {})}
    yield {
        "text": text_at(fields, "memory"),
        **{key: fields[key] for key in _FIELDS if fields.get(key) is not None},
        "speaker": optional_text(fields, "actor_id"),
        "expires_at": fields.get("expiration_date"),
        "metadata": metadata,
    }


FORMAT: Final = Format(
    "mem0 memories", (frozenset({"id", "memory", "hash"}), frozenset({"id", "memory", "categories"})), _memories
)
