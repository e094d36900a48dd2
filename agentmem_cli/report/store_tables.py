"""What a store holds and what commands did to it, as tables for Rich."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.memory import HistoryEvent, Hit, Memory, Scope, ScoreParts
from agentmem_cli.records.values import JsonValue
from agentmem_cli.report.tables import inert, plain_table, with_id
from agentmem_cli.support.amounts import counted
from agentmem_cli.support.safe_text import printable

if TYPE_CHECKING:  # these bring numpy and SQLite, which no --help waits for
    from agentmem_cli.embedding.catalog import CatalogEntry
    from agentmem_cli.store.base import Finding, StoreStats


def ingest_table(report: IngestReport, store: str, model: str, dry_run: bool) -> Table:
    """The report of an ingest, one figure per row."""
    title = "Dry run: nothing was stored" if dry_run else "Ingested"
    table = plain_table(f"{title} · {store} · {model}", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name in ("read", "added", "updated", "unchanged", "rejected", "embedded", "reused"):
        table.add_row(name, f"{getattr(report, name):,}")
    if dry_run:  # it has not seen the model
        table.min_width = 60  # so that the title is on one line
        return table
    table.add_row("truncated", f"{report.truncated:,}")
    if report.chunks:
        table.add_row("chunks of long memories", f"{report.chunks:,}")
    table.add_row("tokens the model does not know", f"{report.unknown_token_ratio:.1%}")
    for stage, spent_s in report.stages_s.items():
        table.add_row(f"{stage}, s", f"{spent_s:.3f}")
    table.add_row("total, s", f"{report.elapsed_s:.3f}")
    table.add_row("memories/s", f"{report.memories_per_s:,.0f}")
    return table


def stats_tables(stats: "StoreStats", store: str) -> list[RenderableType]:
    """The content of a store."""
    totals = plain_table(f"Store {store}", show_header=False)
    totals.add_column("")
    totals.add_column("", overflow="fold")
    totals.add_row("memories", f"{stats.memories:,}")
    if stats.expired:
        totals.add_row("of these expired", f"{stats.expired:,}")
    totals.add_row("memories longer than the model reads", f"{stats.truncated:,}")
    totals.add_row("vectors (distinct texts)", f"{stats.vectors:,}")
    totals.add_row("chunks of long memories", f"{stats.chunks:,}")
    totals.add_row("history events", f"{stats.history_events:,}")
    totals.add_row("model", inert(f"{stats.embedder['name']}, {stats.embedder['dim']} dims"))
    if stats.server:
        totals.add_row("server", inert(", ".join(f"{name} {value}" for name, value in stats.server.items())))
    totals.add_row("graph", ", ".join(f"{name} {value}" for name, value in stats.graph.items()))
    for file, size_bytes in stats.bytes_by_file.items():
        totals.add_row(f"{printable(file)}, bytes", f"{size_bytes:,}")
    totals.add_row("all files, bytes", f"{stats.total_bytes:,}")
    scopes = plain_table("Memories by scope (the largest)")
    for heading in ("scope", "value", "memories"):
        scopes.add_column(heading, justify="right" if heading == "memories" else "left")
    for scope, counts in stats.by_scope.items():
        for value, memories in counts.items():
            scopes.add_row(scope, inert(value or "(not said)"), f"{memories:,}")
    return [totals, scopes]


def findings_table(findings: "Sequence[Finding]") -> Table:
    """The findings about a store."""
    table = plain_table(counted(len(findings), "finding"))
    for heading in ("where", "what", "can be rebuilt"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(inert(finding.where), inert(finding.what), "yes" if finding.repairable else "no")
    return table


def models_table(entries: "Sequence[CatalogEntry]") -> Table:
    """The catalogue of models."""
    table = plain_table(None)
    table.add_column("name (alias)", overflow="fold")
    for column in ("dim", "tokens", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("licence", "from", "here"):
        table.add_column(column, no_wrap=True)
    for entry in entries:
        table.add_row(
            f"{entry.name} ({entry.alias})" if entry.alias else entry.name,
            str(entry.dim),
            "?" if entry.token_limit is None else str(entry.token_limit),
            "?" if entry.size_mb is None else f"{entry.size_mb:.0f}",
            entry.licence,
            entry.source.partition(",")[0],
            "yes" if entry.here else "no",
        )
    notes = [f"{entry.alias}: {entry.note}" for entry in entries if entry.note]
    table.caption = "\n".join(
        ["tokens: how much of a text it reads; --json says which package or repository it is from", *notes]
    )
    return table


def hits_table(hits: Sequence[Hit], k: int, memories: int, *, explain: bool = False) -> Table:
    """Hits, best first, each between the memories of its context."""
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
    others = "the store has no other" if len(hits) >= memories else f"no other of the {memories:,} memories matches"
    table.caption = counted(len(hits), "result") + ("" if len(hits) == k else f"; {others}")
    return table


def _parts(parts: ScoreParts) -> dict[str, float]:
    """The parts of a score that contributed to it, by name."""
    shares = {"cosine": parts.cosine, "word_share": parts.word_share}
    named = {name: value for name, value in shares.items() if value is not None}
    added = {"meaning +": parts.meaning, "words +": parts.words, "neighbours +": parts.neighbours}
    named |= {name: value for name, value in added.items() if value}
    factors = {
        "speaker x": parts.speaker,
        "time x": parts.time,
        "recency x": parts.recency,
        "importance x": parts.importance,
    }
    return named | {name: value for name, value in factors.items() if value != 1}


def _found(hit: Hit) -> Text:
    found = inert(hit.text if hit.chunk is None else f"… {hit.chunk} …")
    found.append(f"\n{printable(hit.id)}", "dim")
    if hit.duplicates:
        found.append(f"\nand like it: {', '.join(map(printable, hit.duplicates))}", "dim")
    return found


def _around(memory: Memory) -> Text:
    return Text(printable(memory.text), "dim")


def memories_table(memories: Sequence[Memory], offset: int) -> Table:
    """Memories in the given order."""
    table = plain_table(None)
    table.add_column("text", overflow="fold", ratio=1)
    table.add_column("scope", overflow="fold", max_width=18)
    table.add_column("time", no_wrap=True)
    for memory in memories:
        table.add_row(with_id(memory.text, memory.id), _scope(memory.scope), _time(memory.created_at))
    table.caption = f"{offset + 1} to {offset + len(memories)}, newest first"
    return table


def memory_table(memory: Memory) -> Table:
    """One memory, one field per row."""
    table = plain_table(None, show_header=False)
    table.add_column("", style="dim")
    table.add_column("", overflow="fold", ratio=1)
    for name, value in memory.to_dict().items():
        table.add_row(name, inert(value if isinstance(value, str) else orjson.dumps(value).decode()))
    return table


def history_table(events: Sequence[HistoryEvent]) -> Table:
    """The history of a memory, oldest event first."""
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


def _scope(scope: Scope) -> Text:
    parts = (scope.user_id, scope.agent_id, scope.run_id, scope.memory_type)
    return Text("\n".join(printable(part) for part in parts if part))


def _time(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d}\n{time:%H:%M} UTC"
