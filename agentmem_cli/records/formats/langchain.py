"""LangChain's messages as `messages_to_dict`, `dumpd` and `model_dump` write them."""

from collections.abc import Mapping
from typing import Final

from agentmem_cli.records.formats.format import Fields
from agentmem_cli.records.values import JsonValue

SHAPES: Final = (
    frozenset({"type", "data.content"}),  # messages_to_dict
    frozenset({"lc", "kwargs.content"}),  # dumpd
    frozenset({"type", "content", "additional_kwargs"}),  # model_dump
)
_KEPT: Final = ("content", "name", "id")


def as_message(fields: Fields) -> Fields:
    """The message with `role` and `content` that a dump holds; what is not a dump stays as it is."""
    kind, inner = fields.get("type"), fields
    if isinstance(fields.get("data"), dict):
        inner = _object(fields["data"])
    elif "lc" in fields:
        inner = _object(fields.get("kwargs"))
        kind = inner.get("type") or _class_of(fields)
    elif "role" in fields or "additional_kwargs" not in fields:
        return fields
    role = inner.get("role") if kind == "chat" else kind
    return {"role": _without_chunk(role), **{key: inner[key] for key in _KEPT if inner.get(key) is not None}}


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _class_of(fields: Fields) -> str:
    """`human` for the path of HumanMessage."""
    path = fields.get("id")
    name = path[-1] if isinstance(path, list) and path else ""
    return str(name).removesuffix("Chunk").removesuffix("Message").lower()


def _without_chunk(role: JsonValue) -> JsonValue:
    return role.removesuffix("MessageChunk").lower() if isinstance(role, str) else role
