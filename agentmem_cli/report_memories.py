"""Memories, single ones and lists of them -> what Rich prints."""

from collections.abc import Sequence
from datetime import datetime

import orjson
from rich.table import Table
from rich.text import Text

from agentmem_cli.records.jsonl import dump_memory
from agentmem_cli.records.memory import HistoryEvent, Hit, Memory, Scope, ScoreParts
from agentmem_cli.records.values import JsonValue
from agentmem_cli.support.safe_text import printable
from agentmem_cli.tables import inert, plain_table


def hits_table(hits: Sequence[Hit], k: int, memories: int, *, explain: bool = False) -> Table:
    """Hits, best first; what stands around a hit in its run stands around it here too."""
    table = plain_table(None)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("text", overflow="fold", ratio=1)
    table.add_column("scope", overflow="fold", max_width=18)
    table.add_column("time", no_wrap=True)
    for hit in hits:
        for memory in hit.before:
            table.add_row("", _around(memory))
        score = Text(f"{hit.score:.3f}")
        if explain:
            score.append("".join(f"\n{name} {value:.3f}" for name, value in _parts(hit.parts).items()), "dim")
        table.add_row(
            score,
            _found(hit),
            _scope(Scope(hit.agent_id, hit.user_id, hit.run_id, hit.memory_type)),
            _time(hit.created_at),
        )
        for memory in hit.after:
            table.add_row("", _around(memory))
    none_left = "" if len(hits) == k else f"; no other of the {memories:,} memories matches"
    table.caption = f"{len(hits)} of at most {k}{none_left}"
    return table


def _parts(parts: ScoreParts) -> dict[str, float]:
    """The parts of a score that had a say in it, by name."""
    said = {"meaning": parts.cosine, "words": parts.text}
    named = {name: value for name, value in said.items() if value is not None}
    if parts.neighbours:
        named["neighbours"] = parts.neighbours
    factors = {"recency x": parts.recency, "importance x": parts.importance}
    return named | {name: value for name, value in factors.items() if value != 1}


def _found(hit: Hit) -> Text:
    found = inert(hit.text if hit.passage is None else f"… {hit.passage} …")
    found.append(f"\n{printable(hit.id)}", "dim")
    if hit.duplicates:
        found.append(f"\nand like it: {', '.join(map(printable, hit.duplicates))}", "dim")
    return found


def _around(memory: Memory) -> Text:
    return Text(printable(memory.text), "dim")


def memories_table(memories: Sequence[Memory], offset: int) -> Table:
    """Memories, as they come."""
    table = plain_table(None)
    table.add_column("text", overflow="fold", ratio=1)
    table.add_column("scope", overflow="fold", max_width=18)
    table.add_column("time", no_wrap=True)
    for memory in memories:
        table.add_row(_text_and_id(memory.text, memory.id), _scope(memory.scope), _time(memory.created_at))
    table.caption = f"{offset + 1} to {offset + len(memories)}, newest first"
    return table


def memory_table(memory: Memory) -> Table:
    """One memory, a field a row."""
    table = plain_table(None, show_header=False)
    table.add_column("", style="dim")
    table.add_column("", overflow="fold", ratio=1)
    for name, value in dump_memory(memory).items():
        table.add_row(name, inert(value if isinstance(value, str) else orjson.dumps(value).decode()))
    return table


def history_table(events: Sequence[HistoryEvent]) -> Table:
    """What happened to a memory, oldest first."""
    table = plain_table(None)
    table.add_column("time", no_wrap=True)
    table.add_column("event", no_wrap=True)
    table.add_column("before", overflow="fold", ratio=1)
    table.add_column("after", overflow="fold", ratio=1)
    for event in events:
        before, after = (
            inert("\n".join(filter(None, (text, *(f"{name}: {_json(value)}" for name, value in fields)))))
            for text, fields in (
                (event.previous_text, [(name, change.before) for name, change in event.changes.items()]),
                (event.text, [(name, change.after) for name, change in event.changes.items()]),
            )
        )
        table.add_row(_time(event.at), event.event, before, after)
    return table


def _json(value: JsonValue) -> str:
    return "-" if value is None else orjson.dumps(value).decode()


def _text_and_id(text: str, identity: str) -> Text:
    return Text.assemble(inert(text), "\n", (printable(identity), "dim"))


def _scope(scope: Scope) -> Text:
    parts = (scope.user_id, scope.agent_id, scope.run_id, scope.memory_type)
    return Text("\n".join(printable(part) for part in parts if part))


def _time(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d}\n{time:%H:%M} UTC"
