"""The tables of many clients at once, and of recall against latency."""

from collections.abc import Sequence
from typing import Final

from agentmem_cli.bench.figures import (
    CallsFigures,
    ClientsFigures,
    EfFigures,
    Figures,
    ProcessesFigures,
    WorkersFigures,
)
from agentmem_cli.report.document import NONE, Cell, Facts, Row, Table, interval_text, or_none, table
from agentmem_cli.report.translations import Words

EARLIER_ADDS_PER_S: Final = 2500.0  # Phase 1 of the earlier report, with threads that add in its fast mode


def clients_tables(figures: Figures, words: Words) -> list[Table]:
    """The tables for which there are measurements."""
    found = []
    if figures.clients:
        found += [_adds(figures.clients, words), _searches(figures, words)]
    if figures.processes is not None:
        found.append(_processes(figures.processes, words))
    if figures.workers:
        found.append(_workers(figures.workers, words))
    if figures.ef:
        found.append(_ef(figures.ef, words))
    return found


def _adds(clients: Sequence[ClientsFigures], words: Words) -> Table:
    calls = [(run.clients, run.adds) for run in clients]
    best = max(clients, key=lambda run: run.adds.calls_per_s)
    best_rate = f"{best.adds.calls_per_s:,.0f}"
    facts = [
        *_gain(calls, words),
        (words("clients.earlier"), words("clients.answer", EARLIER_ADDS_PER_S, best_rate, best.clients)),
    ]
    rows = [(str(count), figures) for count, figures in calls]
    return _calls(words, words("clients.adds"), rows, words("clients.adds_caption"), facts)


def _searches(figures: Figures, words: Words) -> Table:
    calls = [(run.clients, run.searches) for run in figures.clients]
    facts = _gain(calls, words)
    store = figures.stores[-1] if figures.stores else None
    if store is not None and store.graph_recall_at_10 is not None:
        facts.append((words("rest.recall"), words("rest.exact", store.graph_recall_at_10)))
    rows = [(str(count), found) for count, found in calls]
    title = words("clients.searches", 0 if store is None else store.memories)
    return _calls(words, title, rows, words("clients.searches_caption"), facts)


def _processes(run: ProcessesFigures, words: Words) -> Table:
    rows = [
        (words("processes.search", run.readers), run.searches_alone),
        (words("processes.search_beside", run.readers), run.searches_beside_writer),
        (words("processes.add"), run.adds_alone),
        (words("processes.add_beside", run.readers), run.adds_beside_readers),
    ]
    title = words("processes.title", run.memories)
    return _calls(words, title, rows, words("processes.caption"), [])


def _workers(runs: Sequence[WorkersFigures], words: Words) -> Table:
    rows: list[Row] = [
        [
            str(run.workers),
            Cell(f"{run.memories_per_s:,.0f}", strong=True),
            interval_text(words, run.memories_per_s_interval, ",.0f"),
            NONE if run.ratio is None else f"{run.ratio:.2f}x",
            interval_text(words, run.ratio_interval, ".2f"),
        ]
        for run in runs
    ]
    title, caption = words("workers.title", runs[0].memories), words("workers.caption")
    return table(
        words, "workers", title, ("who",), ("rate", "interval", "ratio", "ratio_interval"), rows, caption=caption
    )


def _calls(words: Words, title: str, calls: Sequence[tuple[str, CallsFigures]], caption: str, facts: Facts) -> Table:
    rows: list[Row] = [
        [
            who,
            Cell(f"{figures.calls_per_s:,.0f}", strong=True),
            interval_text(words, figures.calls_per_s_interval, ",.0f"),
            NONE if figures.ratio is None else f"{figures.ratio:.2f}x",
            *(
                or_none(",.2f", value_ms)
                for value_ms in (figures.latencies.p50_ms, figures.latencies.p95_ms, figures.latencies.p99_ms)
            ),
        ]
        for who, figures in calls
    ]
    columns = ("rate", "interval", "ratio", "p50", "p95", "p99")
    return table(words, "calls", title, ("who",), columns, rows, caption=caption, facts=facts)


def _gain(calls: Sequence[tuple[int, CallsFigures]], words: Words) -> Facts:
    """The ratio of the most clients to the fewest, with its interval."""
    most, figures = calls[-1]
    if figures.ratio is None:
        return []
    sure = interval_text(words, figures.ratio_interval, ".2f")
    return [(words("clients.gain", most, calls[0][0]), words("clients.ratio", figures.ratio, sure))]


def _ef(runs: Sequence[EfFigures], words: Words) -> Table:
    rows: list[Row] = [
        [
            Cell(str(run.ef), strong=bool(run.used_by)),
            ", ".join(words(f"ef.{mode}") for mode in run.used_by),
            Cell(f"{run.recall_at_10:.4f}", strong=bool(run.used_by)),
            or_none(",.3f", run.search.p50_ms),
            or_none(",.3f", run.search.p95_ms),
        ]
        for run in runs
    ]
    title, caption = words("ef.title", runs[0].memories), words("ef.caption")
    return table(words, "ef", title, ("ef", "used"), ("recall", "p50", "p95"), rows, caption=caption)
