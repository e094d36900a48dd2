"""A memory as a row of `memories.db`, and back, and whether it is still what was stored."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agentmem_cli.errors import AgentMemError
from agentmem_cli.records.jsonl import dump_memory, dump_metadata, load_metadata
from agentmem_cli.records.memory import Memory, Scope, from_microseconds
from agentmem_cli.records.values import JsonValue
from agentmem_cli.store.connection import Parameter
from agentmem_cli.store.rows import MemoryRow

UNREADABLE: Final = (AgentMemError, AttributeError, TypeError, ValueError, OverflowError)  # what a damaged row raises
MEMORY_COLUMNS: Final = (
    "m.id, m.text, m.agent_id, m.user_id, m.run_id, m.memory_type, m.importance, m.created_at_us, m.metadata"
)


def memory_parameters(row: MemoryRow) -> tuple[Parameter, ...]:
    """The values of a memory to write, in the order of the columns of `memories`, from `id` on."""
    memory, scope = row.memory, row.memory.scope
    return (
        memory.id,
        row.vector_id,
        memory.text,
        scope.agent_id,
        scope.user_id,
        scope.run_id,
        scope.memory_type,
        memory.importance,
        row.created_at_us,
        dump_metadata(memory.metadata),
        row.content,
        memory.run,
    )


def memory_of(row: Sequence) -> Memory:  # type: ignore[type-arg]
    """The memory in a row of MEMORY_COLUMNS."""
    identity, text, agent_id, user_id, run_id, memory_type, importance, created_at_us, metadata = row
    return Memory(
        text=text,
        id=identity,
        scope=Scope(agent_id, user_id, run_id, memory_type),
        importance=importance,
        created_at=from_microseconds(created_at_us),
        metadata=load_metadata(metadata),
    )


def as_given(memory: Memory, content: bytes) -> Memory:
    """A stored memory as it came: without its time, where the store filled that in."""
    untimed = memory.without_time()
    return untimed if untimed.content_digest() == content else memory


def fields_of(memory: Memory, created_at_us: int) -> dict[str, JsonValue]:
    """A memory's fields as JSON, as the history compares them: all but the id, and those alone that it has."""
    fields = dump_memory(replace(memory, created_at=from_microseconds(created_at_us), vector=None))
    del fields["id"]
    return fields


def is_as_stored(memory: Memory, content: bytes) -> bool:
    """Whether a memory has the content whose digest was stored; the digest leaves out a time that nobody gave."""
    return content == memory.content_digest() or content == memory.without_time().content_digest()
