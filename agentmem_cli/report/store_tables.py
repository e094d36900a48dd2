"""Results -> what Rich prints. Text that came from outside goes through `printable`, and is never markup."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table

from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.report.tables import inert as _inert
from agentmem_cli.report.tables import plain_table as _table
from agentmem_cli.store.base import Finding, StoreStats
from agentmem_cli.support.safe_text import printable

if TYPE_CHECKING:
    from agentmem_cli.embedding.catalog import CatalogEntry
from datetime import datetime
from typing import Final

import orjson
from rich.text import Text

from agentmem_cli.records.jsonl import dump_memory
from agentmem_cli.records.memory import HistoryEvent, Hit, Memory, Scope, ScoreParts
from agentmem_cli.records.values import JsonValue
from agentmem_cli.report.tables import inert, plain_table
from agentmem_cli.search.evaluation import DEPTH, METRICS, Comparison, Estimate, JudgedQuery, Run


def ingest_table(report: IngestReport, store: str, model: str, dry_run: bool) -> Table:
    """What an ingest did, a figure a row."""
    title = "Dry run: nothing was stored" if dry_run else "Ingested"
    table = _table(f"{title} · {store} · {model}", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name in ("read", "added", "updated", "unchanged", "rejected", "embedded", "reused", "truncated"):
        table.add_row(name, f"{getattr(report, name):,}")
    if report.chunks:
        table.add_row("chunks of long memories", f"{report.chunks:,}")
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
    totals.add_row("chunks of long memories", f"{stats.chunks:,}")
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
    table.caption = f"{len(hits)} result{'' if len(hits) == 1 else 's'}{none_left}"
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
    found = inert(hit.text if hit.chunk is None else f"… {hit.chunk} …")
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


_NAMES: Final = {"mrr": "MRR", "ndcg@10": "nDCG@10"}
_COMPARED: Final = ("recall@10", "ndcg@10")  # of the metrics; --json has all
_SHOWN_IDS: Final = 3
_SHOWN_CHARS: Final = 120
_TITLE_WIDTH: Final = 60


def evaluation_report(runs: Sequence[Run], compared: Sequence[Comparison], worst: int) -> list[RenderableType]:
    """The figures, store by store; how runs differ; the worst queries of the first run."""
    stores = dict.fromkeys(run.store for run in runs)
    tables = [_figures_table([run for run in runs if run.store == store]) for store in stores]
    if compared:
        tables.append(_differences_table(compared))
    if worst:
        tables.append(_worst_table(runs[0].evaluation.worst(worst), runs[0].mode))
    return list(tables)


def _figures_table(runs: Sequence[Run]) -> Table:
    """The runs of one store, a column each."""
    first = runs[0]
    table = plain_table(f"{len(first.evaluation.judged):,} queries · {first.store} · {first.model}")
    table.min_width = _TITLE_WIDTH
    table.add_column("")
    for run in runs:
        table.add_column(run.mode, justify="right")
    for metric in METRICS:
        table.add_row(_NAMES.get(metric, metric), *(_estimate(run.evaluation.estimates[metric]) for run in runs))
    table.caption = f"means and their 95 % intervals (bootstrap); MRR is of the first {DEPTH}"
    return table


def _estimate(estimate: Estimate) -> Text:
    interval = f" {estimate.interval.low:.3f}-{estimate.interval.high:.3f}"
    return Text.assemble((f"{estimate.mean:.3f}", "bold"), (interval, "dim"))


def _differences_table(compared: Sequence[Comparison]) -> Table:
    table = plain_table("Differences, query by query")
    table.add_column("", overflow="fold")
    table.add_column("")
    for heading in ("mean", "95 % interval", "wins", "losses", "ties"):
        table.add_column(heading, justify="right", no_wrap=True)
    for comparison in compared:
        for metric in _COMPARED:
            found = comparison.differences[metric]
            table.add_row(
                inert(_compared(comparison)) if metric == _COMPARED[0] else "",
                _NAMES.get(metric, metric),
                Text(f"{found.mean:+.3f}", style="bold" if found.is_clear else ""),
                f"{found.interval.low:+.3f} to {found.interval.high:+.3f}",
                f"{found.wins:,}",
                f"{found.losses:,}",
                f"{found.ties:,}",
            )
    table.caption = "bold where 0 is outside the interval (paired bootstrap)"
    return table


def _compared(comparison: Comparison) -> str:
    run, base = comparison.run, comparison.base
    if run.store == base.store:
        return f"{run.mode} - {base.mode}"
    return f"{run.mode}: {run.store} - {base.store}"


def _worst_table(worst: Sequence[JudgedQuery], name: str) -> Table:
    table = plain_table(f"The worst queries ({name})")
    table.add_column("query, and what should come", overflow="fold", ratio=1)
    table.add_column("nDCG@10", justify="right")
    table.add_column("first at", justify="right")
    table.add_column("what came first", overflow="fold", ratio=1)
    for judged in worst:
        query, first = judged.query, judged.first
        wanted = ", ".join(query.relevant[:_SHOWN_IDS]) + (", ..." if len(query.relevant) > _SHOWN_IDS else "")
        table.add_row(
            _with_id(_cut(query.query.text), wanted),
            f"{judged.figures['ndcg@10']:.3f}",
            "-" if judged.first_rank is None else str(judged.first_rank),
            "nothing" if first is None else _with_id(_cut(first.text), first.id),
        )
    table.caption = f"first at: the rank of the first relevant memory; - is not among the first {DEPTH}"
    return table


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _with_id(text: str, identity: str) -> Text:
    return Text.assemble(inert(text), "\n", (printable(identity), "dim"))
