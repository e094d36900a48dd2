"""Results -> what Rich prints. Text that came from outside goes through `printable`, and is never markup."""

from collections.abc import Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from agentmem_cli.bench.result import BenchResult, Comparison
from agentmem_cli.embedding.catalog import CatalogEntry
from agentmem_cli.memory import Hit, IngestReport
from agentmem_cli.printable import printable


def ingest_table(report: IngestReport, store: str, model: str, dry_run: bool) -> Table:
    """What an ingest did, a figure a row."""
    title = "Dry run: nothing was stored" if dry_run else "Ingested"
    table = _table(f"{title} · {store} · {model}", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name in ("read", "added", "updated", "unchanged", "rejected", "embedded", "reused", "truncated"):
        table.add_row(name, f"{getattr(report, name):,}")
    table.add_row("tokens the model does not know", f"{report.unknown_token_ratio:.1%}")
    for stage, spent_s in report.stages_s.items():
        table.add_row(f"{stage}, s", f"{spent_s:.3f}")
    table.add_row("total, s", f"{report.elapsed_s:.3f}")
    table.add_row("memories/s", f"{report.memories_per_s:,.0f}")
    return table


def hits_table(hits: Sequence[Hit], k: int, memories: int) -> Table:
    """Hits, best first."""
    table = _table(None)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("text", overflow="fold", ratio=1)
    table.add_column("scope", overflow="fold", max_width=18)
    table.add_column("time", no_wrap=True)
    for hit in hits:
        scope = [hit.user_id, hit.agent_id, hit.run_id, hit.memory_type]
        table.add_row(
            f"{hit.score:.3f}",
            Text.assemble(_inert(hit.text), "\n", (printable(hit.id), "dim")),
            Text("\n".join(printable(part) for part in scope if part)),
            f"{hit.created_at:%Y-%m-%d}\n{hit.created_at:%H:%M} UTC",
        )
    none_left = "" if len(hits) == k else f"; no other of the {memories:,} memories matches"
    table.caption = f"{len(hits)} of at most {k}{none_left}"
    return table


def models_table(entries: Sequence[CatalogEntry]) -> Table:
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
    table.caption = "tokens: how much of a text it reads; --json says which package or repository it is from"
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


def _bench_header(result: BenchResult) -> Text:
    environment, config = result.environment, result.config
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    lines = [
        f"agentmem {environment.agentmem} · {printable(config.model)} ({config.model_revision[:12]})",
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


def _table(title: str | None, *, show_header: bool = True) -> Table:
    return Table(
        title=None if title is None else _inert(title),
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_header=show_header,
    )


def _inert(text: str) -> Text:
    return Text(printable(text))
