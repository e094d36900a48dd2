"""Results -> what Rich prints. Text that came from outside goes through `printable`, and is never markup."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from agentmem_cli.bench.result import BenchResult, Comparison
from agentmem_cli.memory import IngestReport
from agentmem_cli.printable import printable
from agentmem_cli.store.keeper import StoreStats
from agentmem_cli.store.verify import Finding
from agentmem_cli.tables import inert as _inert
from agentmem_cli.tables import plain_table as _table

if TYPE_CHECKING:
    from agentmem_cli.embedding.entries import CatalogEntry


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


def bench_report(result: BenchResult) -> list[RenderableType]:
    """The tables of the seed report, with what they were measured on above, and the targets below."""
    return [
        _bench_header(result),
        _batch_table(result),
        _comparison_table(result.comparison),
        _targets_table(result),
        *(Text(f"Warning: {printable(warning)}", style="yellow") for warning in result.warnings),
    ]


def models_report(results: Sequence[BenchResult]) -> list[RenderableType]:
    """Several models side by side, the first one's rate as the measure of the others'."""
    table = _table("Models: measured in turn within each repeat, on the same memories")
    table.add_column("model", overflow="fold")
    for heading in ("ops/s", "min to max", "ms each", "x first", "x single"):
        table.add_column(heading, justify="right", no_wrap=True)
    bests = [max(result.batches, key=lambda batch: batch.ops_per_s) for result in results]
    for result, best in zip(results, bests, strict=True):
        rates = [best.memories / sample_s for sample_s in best.samples_s]
        table.add_row(
            _inert(result.config.model),
            Text(f"{best.ops_per_s:,.0f}", style="bold"),
            f"{min(rates):,.0f} to {max(rates):,.0f}",
            f"{best.ms_per_memory:.3f}",
            f"{best.ops_per_s / bests[0].ops_per_s:.2f}x",
            f"{result.comparison.speedup:.1f}x",
        )
    table.caption = "the best batch size of each; x first: against the first model; x single: against adds one by one"
    warnings = dict.fromkeys(warning for result in results for warning in result.warnings)
    return [
        _bench_header(results[0], ", ".join(printable(result.config.model) for result in results)),
        table,
        *(Text(f"Warning: {printable(warning)}", style="yellow") for warning in warnings),
    ]


def _bench_header(result: BenchResult, models: str | None = None) -> Text:
    environment, config = result.environment, result.config
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    lines = [
        f"agentmem {environment.agentmem} · {models or f'{printable(config.model)} ({config.model_revision[:12]})'}",
        f"{environment.cpu}, {environment.cores} cores · {environment.platform} · Python {environment.python}",
        versions,
        f"workload {printable(config.workload)}: {config.tokens_per_memory:.1f} tokens a memory, "
        f"{config.unknown_token_ratio:.1%} unknown to the model · median of {config.repeats}, "
        f"fresh store each, after {config.warmup} warm-up",
    ]
    return Text("\n".join(lines))


def _batch_table(result: BenchResult) -> Table:
    table = _table("Batches: parsed, embedded, durable and searchable")
    for heading in ("batch size", "total, ms", "min to max, ms", "ms/memory", "ops/s", "% of target"):
        table.add_column(heading, justify="right", no_wrap=True)
    for batch in result.batches:
        table.add_row(
            str(batch.batch_size),
            f"{batch.total_ms:,.2f}",
            _spread(batch.samples_s),
            f"{batch.ms_per_memory:.3f}",
            Text(f"{batch.ops_per_s:,.2f}", style="bold"),
            f"{batch.target_ratio:.0%}",
        )
    table.caption = "total is the median; the target is 5,000 ops/s"
    return table


def _comparison_table(comparison: Comparison) -> Table:
    table = _table(f"Single against batch: the same {comparison.memories} memories")
    for heading in ("mode", "total, ms", "min to max, ms", "ops/s", "speed-up"):
        table.add_column(heading, justify="left" if heading == "mode" else "right", no_wrap=True)
    modes = (("one by one", comparison.single, 1.0), ("in one batch", comparison.batch, comparison.speedup))
    for name, mode, speedup in modes:
        table.add_row(
            name,
            f"{mode.total_ms:,.2f}",
            _spread(mode.samples_s),
            f"{mode.ops_per_s:,.2f}",
            Text(f"{speedup:.2f}x", style="bold"),
        )
    table.caption = f"time saved: {comparison.time_saved_ratio:.1%}"
    return table


def _targets_table(result: BenchResult) -> Table:
    table = _table("Targets")
    for heading in ("target", "wanted", "measured", "verdict"):
        table.add_column(heading, justify="right" if heading in ("wanted", "measured") else "left")
    wording = {
        "ops_per_s": ("throughput, best batch", ">= {:,.0f} ops/s", "{:,.2f} ops/s"),
        "ms_per_memory": ("latency, best batch", "< {:g} ms/memory", "{:.3f} ms/memory"),
        "speedup": ("batch against single", ">= {:g}x", "{:.2f}x"),
    }
    for verdict in result.targets:
        name, wanted, measured = wording[verdict.name]
        table.add_row(
            name,
            wanted.format(verdict.target),
            measured.format(verdict.actual),
            Text("met", style="bold green") if verdict.met else Text("missed", style="bold red"),
        )
    return table


def _spread(samples_s: Sequence[float]) -> str:
    return f"{1000 * min(samples_s):,.1f} to {1000 * max(samples_s):,.1f}"
