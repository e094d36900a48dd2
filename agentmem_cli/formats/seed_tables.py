"""The tables that the seed's report has: batches, single against batch, and the targets."""

from typing import Final

from agentmem_cli.bench import verdict
from agentmem_cli.bench.figures import BatchFigures, ComparisonFigures, Figures
from agentmem_cli.bench.verdict import TargetVerdict
from agentmem_cli.formats.building import Row, interval_text, table
from agentmem_cli.formats.document import Cell, Facts, Table
from agentmem_cli.formats.wording import Words

_GOOD_SPEEDUP: Final = 3.0  # the seed's report calls 3 to 5 times good, and near its target


def tables(figures: Figures, words: Words) -> list[Table]:
    """Batches, and single against batch, as far as they were measured; their intervals where these have no column."""
    found = []
    if figures.batches:
        found.append(_batches(figures.batches, words))
    if figures.comparison is not None:
        found.append(_comparison(figures.comparison, words))
    if words("intervals.title") and figures.batches:
        found.append(_intervals(figures, words))
    return found


def verdicts(figures: Figures, words: Words) -> list[Table]:
    """What was reached, and the targets."""
    if figures.best is None:
        return []
    return [_targets(figures.targets, _actual(figures.best, words), words)]


def _batches(batches: list[BatchFigures], words: Words) -> Table:
    rows: list[Row] = [
        [
            str(batch.batch_size),
            words("total", batch.total_ms),
            interval_text(words, batch.total_ms_interval, ",.1f"),
            words("each", batch.ms_per_memory),
            Cell(words("ops", batch.ops_per_s), strong=True),
            f"{batch.target_ratio:.0%}",
        ]
        for batch in batches
    ]
    columns = ("size", "total", "interval", "each", "ops", "target")
    return table(words, "batches", words("batches.title"), (), columns, rows, caption=words("batches.caption"))


def _comparison(comparison: ComparisonFigures, words: Words) -> Table:
    speedups = {"single": Cell(words("comparison.one")), "batch": Cell(f"{comparison.speedup:.2f}x", strong=True)}
    rows: list[Row] = [
        [
            words(f"comparison.{name}"),
            words("total", mode.total_ms),
            interval_text(words, mode.total_ms_interval, ",.1f"),
            words("ops", mode.ops_per_s),
            speedups[name],
        ]
        for name, mode in (("single", comparison.single), ("batch", comparison.batch))
    ]
    return table(
        words,
        "comparison",
        words("comparison.title", comparison.memories),
        ("mode",),
        ("total", "interval", "ops", "speedup"),
        rows,
        facts=[
            (words("comparison.saved"), f"{comparison.time_saved_ratio:.1%}"),
            (words("comparison.sure"), interval_text(words, comparison.speedup_interval, ".2f")),
            (words("comparison.effect"), words(f"effect.{_effect(comparison.speedup)}")),
        ],
    )


def _effect(speedup: float) -> str:
    if speedup >= verdict.TARGET_SPEEDUP:
        return "excellent"
    if speedup >= _GOOD_SPEEDUP:
        return "good"
    return "some" if speedup >= 1 else "none"


def _intervals(figures: Figures, words: Words) -> Table:
    rows: list[Row] = [
        [
            words("intervals.batch", batch.batch_size),
            f"{interval_text(words, batch.total_ms_interval, '.1f')} ms",
            f"{interval_text(words, batch.ops_per_s_interval, '.1f')} ops/s",
        ]
        for batch in figures.batches
    ]
    comparison = figures.comparison
    if comparison is not None:
        for name, mode in (("single", comparison.single), ("batch", comparison.batch)):
            rows.append([words(f"comparison.{name}"), f"{interval_text(words, mode.total_ms_interval, '.1f')} ms", "-"])
    speedup = None if comparison is None else comparison.speedup_interval
    facts = [] if speedup is None else [(words("comparison.speedup"), f"{interval_text(words, speedup, '.2f')} x")]
    return table(words, "intervals", words("intervals.title"), ("what",), ("total", "ops"), rows, facts=facts)


def _actual(best: BatchFigures, words: Words) -> Facts:
    reached = "reached" if best.ops_per_s >= verdict.TARGET_OPS_PER_S else "missed"
    return [
        (words("actual.figure"), words("actual.of_batch", best.ops_per_s, best.batch_size)),
        (words("actual.target"), words("actual.wanted", verdict.TARGET_OPS_PER_S)),
        (words("actual.gap"), words(f"actual.{reached}", best.target_ratio)),
    ]


def _targets(targets: list[TargetVerdict], actual: Facts, words: Words) -> Table:
    rows: list[Row] = [
        [
            words(f"target.{verdict.name}"),
            words(f"wanted.{verdict.name}", verdict.target),
            words(f"measured.{verdict.name}", verdict.actual),
            Cell(words(f"verdict.{_verdict(verdict)}"), mood="good" if verdict.met else "bad"),
        ]
        for verdict in targets
    ]
    columns = ("wanted", "measured", "verdict")
    return table(words, "targets", words("targets.title"), ("target",), columns, rows, facts=actual)


def _verdict(verdict: TargetVerdict) -> str:
    if verdict.met:
        return "met"
    return "near" if verdict.name == "speedup" and verdict.actual >= _GOOD_SPEEDUP else "missed"
