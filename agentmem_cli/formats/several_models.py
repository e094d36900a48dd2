"""The tables of several models, side by side."""

from collections.abc import Sequence

from agentmem_cli.bench.figures import Figures
from agentmem_cli.bench.result import ModelResult
from agentmem_cli.formats.building import NONE, Row, interval_text, or_none, table
from agentmem_cli.formats.document import Cell, Table
from agentmem_cli.formats.model_tables import retrieval, scale
from agentmem_cli.formats.wording import Words


def tables(measured: Sequence[tuple[ModelResult, Figures]], words: Words) -> list[Table]:
    """Speed, cost and likeness side by side; then what each answered, and how its store grew."""
    named = [(model.model.name, figures) for model, figures in measured]
    return [
        _speeds(named, words),
        _costs(named, words),
        *(retrieval(name, figures.retrieval, words) for name, figures in named if figures.retrieval),
        *(scale(name, figures.stores, words) for name, figures in named if len(figures.stores) > 1),
    ]


def _speeds(named: Sequence[tuple[str, Figures]], words: Words) -> Table:
    first = named[0][1].best if named else None
    rows: list[Row] = []
    for name, figures in named:
        best, comparison = figures.best, figures.comparison
        rows.append(
            [
                name,
                Cell(or_none(",.0f", None if best is None else best.ops_per_s), strong=True),
                interval_text(words, None if best is None else best.ops_per_s_interval, ",.0f"),
                NONE if best is None or first is None else f"{best.ops_per_s / first.ops_per_s:.2f}x",
                NONE if comparison is None else f"{comparison.speedup:.1f}x",
            ]
        )
    columns = ("ops", "interval", "first", "single")
    return table(words, "models", words("models.title"), ("model",), columns, rows, caption=words("models.caption"))


def _costs(named: Sequence[tuple[str, Figures]], words: Words) -> Table:
    rows: list[Row] = []
    for name, figures in named:
        like, store = figures.likeness, figures.stores[-1] if figures.stores else None
        rows.append(
            [
                name,
                or_none(".2f", None if figures.cold_start_ms is None else figures.cold_start_ms / 1000),
                or_none(",.0f", None if store is None else store.peak_resident_bytes / 1e6),
                or_none(",.0f", None if store is None else store.bytes_per_memory),
                or_none(",.2f", None if store is None else store.search.p50_ms),
                or_none(".4f", None if like is None else like.median_cosine),
                or_none(".2f", None if like is None else like.shared_neighbours_at_10),
            ]
        )
    references = {figures.likeness.reference for _, figures in named if figures.likeness is not None}
    caption = words("costs.caption") + "".join(words("costs.reference", name) for name in sorted(references))
    columns = ("cold", "peak", "bytes", "search", "cosine", "near")
    return table(words, "costs", words("costs.title"), ("model",), columns, rows, caption=caption)
