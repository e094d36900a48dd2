"""Results -> what Rich prints. Text that came from outside goes through `printable`, and is never markup."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table

from agentmem_cli.records.memory import IngestReport
from agentmem_cli.store.embedded.maintenance import StoreStats
from agentmem_cli.store.embedded.verify import Finding
from agentmem_cli.support.safe_text import printable
from agentmem_cli.tables import inert as _inert
from agentmem_cli.tables import plain_table as _table

if TYPE_CHECKING:
    from agentmem_cli.embedding.catalog import CatalogEntry


def ingest_table(report: IngestReport, store: str, model: str, dry_run: bool) -> Table:
    """What an ingest did, a figure a row."""
    title = "Dry run: nothing was stored" if dry_run else "Ingested"
    table = _table(f"{title} · {store} · {model}", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name in ("read", "added", "updated", "unchanged", "rejected", "embedded", "reused", "truncated"):
        table.add_row(name, f"{getattr(report, name):,}")
    if report.windows:
        table.add_row("windows of long memories", f"{report.windows:,}")
    table.add_row("tokens the model does not know", f"{report.unknown_token_ratio:.1%}")
    for stage, spent_s in report.stages_s.items():
        table.add_row(f"{stage}, s", f"{spent_s:.3f}")
    table.add_row("total, s", f"{report.elapsed_s:.3f}")
    table.add_row("memories/s", f"{report.memories_per_s:,.0f}")
    return table


def stats_tables(stats: StoreStats, store: str) -> list[RenderableType]:
    """What a store holds."""
    totals = _table(f"Store {store}", show_header=False)
    totals.add_column("")
    totals.add_column("", overflow="fold")
    totals.add_row("memories", f"{stats.memories:,}")
    totals.add_row("memories longer than the model reads", f"{stats.truncated:,}")
    totals.add_row("vectors (distinct texts)", f"{stats.vectors:,}")
    totals.add_row("windows of long memories", f"{stats.windows:,}")
    totals.add_row("history events", f"{stats.history_events:,}")
    totals.add_row("model", _inert(f"{stats.embedder['name']}, {stats.embedder['dim']} dims"))
    totals.add_row("graph", ", ".join(f"{name} {value}" for name, value in stats.graph.items()))
    for file, size_bytes in stats.bytes_by_file.items():
        totals.add_row(f"{printable(file)}, bytes", f"{size_bytes:,}")
    totals.add_row("all files, bytes", f"{stats.total_bytes:,}")
    scopes = _table("Memories by scope (the largest)")
    for heading in ("scope", "value", "memories"):
        scopes.add_column(heading, justify="right" if heading == "memories" else "left")
    for scope, counts in stats.by_scope.items():
        for value, memories in counts.items():
            scopes.add_row(scope, _inert(value or "(not said)"), f"{memories:,}")
    return [totals, scopes]


def findings_table(findings: Sequence[Finding]) -> Table:
    """What is wrong with a store."""
    table = _table(f"{len(findings)} findings")
    for heading in ("where", "what", "can be rebuilt"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(_inert(finding.where), _inert(finding.what), "yes" if finding.repairable else "no")
    return table


def models_table(entries: "Sequence[CatalogEntry]") -> Table:
    """The catalogue of models."""
    table = _table(None)
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
