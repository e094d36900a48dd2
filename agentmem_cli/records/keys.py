"""The names that files give to the fields of a memory, and how they become agentmem's own. Standard library only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.memory import MEMORY_TYPES, Scope, from_microseconds, known_memory_type
from agentmem_cli.records.times import parse_time
from agentmem_cli.records.values import JsonValue, check_number, check_string, is_number, shown

TEXT_KEYS: Final = ("text", "memory", "content", "message", "body")
TIME_KEYS: Final = ("timestamp", "date", "time", "create_time", "createdAt")
SCOPE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "user_id": ("userId", "user"),
    "agent_id": ("agentId", "agent"),
    "run_id": (
        *("runId", "run", "session_id", "sessionId", "conversation_id", "conversationId", "thread_id", "threadId"),
    ),
    "memory_type": ("memoryType",),
}
_OTHER_NAMES: Final = frozenset((*TIME_KEYS, *(name for names in SCOPE_KEYS.values() for name in names)))
_OWN_NAMES: Final = frozenset(
    ("id", "text", *SCOPE_KEYS, "importance", "created_at", "expires_at", "metadata", "speaker", "agentmem_vector")
)
_KNOWN_TYPES: Final = frozenset(MEMORY_TYPES)
_MILLISECONDS_FROM: Final = 1e11  # as seconds, the year 5138
_MAX_SHOWN_KEYS: Final = 12
_SCALES: Final = (10, 100, 1000)


@dataclass(frozen=True, slots=True)
class Keys:
    """How the keys of a file become the fields of a memory.

    With `text_field`, a key or a path with dots, the text is there; else it is at the first of TEXT_KEYS. `defaults`
    are the scopes of memories without one. `type_map` maps names in lower case, which MEMORY_TYPES does not have, to
    those that it has. Importance is divided by `importance_scale`.
    """

    text_field: str | None = None
    defaults: Scope = field(default_factory=Scope)
    type_map: Mapping[str, str] = field(default_factory=dict)
    importance_scale: float = 1.0

    def settle(self, fields: dict[str, object]) -> str:
        """Gives the fields of a memory agentmem's own names, in place, and returns the key of its text.

        Another name counts where agentmem's own is missing and the value fits; otherwise it stays metadata. Raises
        InvalidMemoryError.
        """
        text_key = self._text_key(fields)
        if not _OTHER_NAMES.isdisjoint(fields):
            _rename(fields)
        # Each is looked at only where it is not as agentmem writes it: this runs for every line.
        identity = fields.get("id")
        if identity is not None and type(identity) is not str and text_key != "id":
            fields["id"] = _as_id(identity)
        memory_type = fields.get("memory_type")
        if type(memory_type) is str and memory_type not in _KNOWN_TYPES:
            fields["memory_type"] = self._memory_type(memory_type)
        importance = fields.get("importance")
        if importance is not None and (type(importance) is not float or self.importance_scale != 1 or importance > 1):
            fields["importance"] = self._importance(importance)
        return text_key

    def _text_key(self, fields: dict[str, object]) -> str:
        if self.text_field is not None:
            if fields.get(self.text_field) is None and "." in self.text_field:
                _lift(fields, self.text_field)
            if fields.get(self.text_field) is not None:
                return self.text_field
        elif fields.get("text") is not None:
            return "text"
        else:
            given = [key for key in TEXT_KEYS if fields.get(key) is not None]
            if given:
                return next((key for key in given if isinstance(fields[key], str)), given[0])
        raise InvalidMemoryError(f"no {shown(self.text_field or 'text')}: {_what_else(fields)}")

    def _memory_type(self, given: str) -> str:
        try:
            return self.type_map.get(given.lower()) or known_memory_type(given)
        except InvalidMemoryError as error:
            raise InvalidMemoryError(f"{error}; --type-map {shown(given)}=TYPE makes it one of these") from error

    def _importance(self, given: object) -> float:
        number = check_number("importance", given)
        importance = (number or 0.0) / self.importance_scale
        if not 0 <= importance <= 1:
            scale = next((scale for scale in _SCALES if 0 <= importance <= scale), None)
            advice = "" if scale is None else f"; --importance-scale {self.importance_scale * scale:g} divides it"
            raise InvalidMemoryError(f"importance {given} is not between 0 and 1{advice}")
        return importance


OWN_KEYS: Final = Keys()


def named_text_key(keys: Mapping[str, object]) -> str | None:
    """The first of these keys that can hold a text, in the order of TEXT_KEYS."""
    return next((key for key in TEXT_KEYS if isinstance(keys.get(key), str)), None)


def run_named_by(fields: Mapping[str, JsonValue]) -> str | None:
    """The run that an object names."""
    values = (fields.get(key) for key in ("run_id", *SCOPE_KEYS["run_id"]))
    return next((text for value in values if (text := _scalar_text(value))), None)


def _rename(fields: dict[str, object]) -> None:
    for own, others in SCOPE_KEYS.items():
        if own not in fields:
            for other in others:
                if text := _scalar_text(fields.get(other)):
                    fields[own] = text
                    del fields[other]
                    break
    if "created_at" not in fields:
        for other in TIME_KEYS:
            time = _time(fields.get(other))
            if time is not None:
                fields["created_at"] = time
                del fields[other]
                break


def _scalar_text(value: object) -> str:
    """A string, or a whole number as one; empty for other values."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int else ""


def _time(value: object) -> datetime | None:
    """The time that a value of another name says: ISO 8601, or seconds or milliseconds since 1970; else None."""
    try:
        if isinstance(value, str):
            return parse_time(value)
        if is_number(value):
            seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
            return from_microseconds(0) + timedelta(seconds=seconds)
    except (InvalidMemoryError, OverflowError):
        return None
    return None


def _as_id(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return check_string("id", value)


def _lift(fields: dict[str, object], path: str) -> None:
    """Moves what a path with dots leads to into a key of that name; objects that become empty go."""
    *outer, last = path.split(".")
    holders: list[dict[str, object]] = [fields]
    for key in outer:
        inner = holders[-1].get(key)
        if not isinstance(inner, dict):
            return
        holders.append(inner)
    if holders[-1].get(last) is None:
        return
    text = holders[-1].pop(last)
    for key, holder, inner in zip(reversed(outer), reversed(holders[:-1]), reversed(holders[1:]), strict=True):
        if not inner:
            del holder[key]
    fields[path] = text


def _what_else(fields: Mapping[str, object]) -> str:
    """The keys of an object, and the option that would take one as the text."""
    keys = ", ".join(shown(key) for key in list(fields)[:_MAX_SHOWN_KEYS]) or "none"
    more = ", …" if len(fields) > _MAX_SHOWN_KEYS else ""
    candidate = next(_paths_to_texts(fields), None)
    name = "KEY" if candidate is None else shown(candidate).strip('"')
    return f"its keys are {keys}{more}; name the one with the text, as in --text-field {name}"


def _paths_to_texts(fields: Mapping[str, object]) -> Iterator[str]:
    yield from (key for key, value in fields.items() if isinstance(value, str) and key not in _OWN_NAMES)
    for key, value in fields.items():
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner, text in value.items() if isinstance(text, str))
