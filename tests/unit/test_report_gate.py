"""Verdicts as tables: every metric has its name and unit, and names from outside are inert."""

from dataclasses import replace
from io import StringIO
from typing import get_args

from rich.console import Console, RenderableType

from agentmem_cli.bench.figures import Metric
from agentmem_cli.bench.gates import Bounds, check, compare
from agentmem_cli.bench.phases import phase_figures
from agentmem_cli.bench.verdict import Outcome
from agentmem_cli.report.bench_report import with_figures
from agentmem_cli.report.gate_report import METRICS, MOODS
from agentmem_cli.report.terminal import bench_report, comparison_report
from agentmem_cli.report.translations import LANGS, TEXTS
from agentmem_cli.search import evaluation
from tests.bench_results import bench_result, model_result
from tests.e2e.conftest import assert_inert

WILD = "a[red]\x1b[31m\u202e"


def shown(*renderables: RenderableType) -> str:
    console = Console(file=StringIO(), width=100, markup=False, emoji=False, highlight=False)
    console.print(*renderables)
    output = console.file
    assert isinstance(output, StringIO)
    return output.getvalue()


def test_every_metric_and_outcome_is_known() -> None:
    assert set(METRICS) == {*get_args(Metric), "ms_per_memory", "speedup", "recall", *evaluation.METRICS}
    assert set(MOODS) == set(get_args(Outcome))
    for key in (*(f"metric.{name}" for name in METRICS), *(f"outcome.{name}" for name in MOODS)):
        assert len(TEXTS[key]) == len(LANGS)


def test_bounds_are_shown_beside_the_figures_they_are_for() -> None:
    verdicts = check(bench_result(), Bounds(min_ops=6000, max_ms=1, min_recall=0.9))
    lines = shown(*bench_report(with_figures(bench_result(), verdicts))).splitlines()
    rows = {line.strip().split("  ")[0]: line.split() for line in lines}
    assert rows["ops/s, batch 1000"][-6:] == ["4,762", "to", "5,263", ">=", "6,000", "missed"]
    assert rows["ms/memory, batch 1000"][-3:] == ["<=", "1", "met"]
    assert rows["recall@10, of 1,000"][-1] == "met"


def test_names_from_outside_are_inert() -> None:
    models = model_result(WILD), model_result(f"{WILD}2")
    report = compare(bench_result(*models), bench_result(*models), (WILD, WILD), 0.1)
    phases = phase_figures(bench_result(*models), bench_result(*models))
    told = shown(*comparison_report(replace(report, missing=[WILD], phases=phases)))
    assert_inert(told)
    assert "[red]" in told
    verdicts = check(bench_result(*models), Bounds(min_ops=1))
    assert_inert(shown(*bench_report(with_figures(bench_result(*models), verdicts))))
