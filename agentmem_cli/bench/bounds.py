"""Absolute bounds: which are set, by options or in a project's `pyproject.toml`, and whether figures keep them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from agentmem_cli.bench.figures import Figures, K, figures_of
from agentmem_cli.bench.gate import Outcome, Verdict
from agentmem_cli.bench.options import BenchOptions
from agentmem_cli.bench.result import BenchResult, ModelResult
from agentmem_cli.errors import UsageError
from agentmem_cli.store.embedded.graph_builder import MIN_TAIL
from agentmem_cli.support.statistics import Interval, bootstrap_interval

TABLE: Final = "tool.agentmem.gate"
_Bound: TypeAlias = Annotated[float, msgspec.Meta(gt=0)] | None


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The least throughput of the best batch size, and so on; None for those that are not set.

    Recall is that of the graph in the largest store that has one, against an exact scan.
    """

    min_ops: _Bound = None
    max_ms: _Bound = None
    min_speedup: _Bound = None
    min_recall: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None


class _AgentMem(msgspec.Struct):
    gate: Bounds = Bounds()


class _Tool(msgspec.Struct):
    agentmem: _AgentMem = msgspec.field(default_factory=_AgentMem)


class _Project(msgspec.Struct):
    """What of a `pyproject.toml` is ours."""

    tool: _Tool = msgspec.field(default_factory=_Tool)


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure that a bound is held against, None where it was not measured, and its interval."""

    value: float | None
    interval: Interval | None
    at: str


def read_bounds(project: Path) -> Bounds:
    """The bounds in a `pyproject.toml`, none where there is no such file or table. Raises UsageError."""
    try:
        return msgspec.toml.decode(project.read_bytes(), type=_Project).tool.agentmem.gate
    except FileNotFoundError:
        return Bounds()
    except OSError as error:
        raise UsageError(f"{project}: can't be read: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise UsageError(f"{project}, [{TABLE}]: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{project} is not TOML: {error}") from error


def overridden(bounds: Bounds, given: Mapping[str, float | None]) -> Bounds:
    """The bounds, with those that options give, by their names without dashes before. Raises UsageError."""
    wanted = {name: bound for name, bound in given.items() if bound is not None}
    try:
        return msgspec.convert({**msgspec.to_builtins(bounds), **wanted}, Bounds)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at ")
        name = next(name for name in wanted if name in at)
        raise UsageError(f"--{name} {wanted[name]:g}: {reason}") from error


def require_measured(bounds: Bounds, options: BenchOptions) -> None:
    """Raises UsageError for a bound on what these options don't measure, before anybody waits for it."""
    if bounds.min_recall is not None and options.store_sizes[-1] < MIN_TAIL:
        raise UsageError(
            f"the gate wants recall, and a store of {options.store_sizes[-1]} memories has no graph: "
            f"give --scale {MIN_TAIL} or more"
        )


def check(result: BenchResult, bounds: Bounds) -> list[Verdict]:
    """A verdict a model and bound that is set, on medians. Raises UsageError for what was not measured."""
    return [verdict for measured in result.models for verdict in _check_model(result, measured, bounds)]


def missed(verdict: Verdict) -> str:
    """A missed bound as a clause: metric, figure, interval and bound."""
    interval = verdict.interval
    sure = "" if interval is None else f" (95 %: {_written(interval.low)} to {_written(interval.high)})"
    return (
        f"{verdict.metric} of {verdict.model}, {verdict.at}: {_written(verdict.figure)}{sure} is "
        f"{'less' if verdict.higher_is_better else 'more'} than {_written(verdict.bound)}"
    )


def _written(figure: float) -> str:
    return f"{figure:,.2f}".removesuffix(".00") if figure >= 10 else f"{figure:.4g}"


def _check_model(result: BenchResult, measured: ModelResult, bounds: Bounds) -> Iterator[Verdict]:
    figures = figures_of(result, measured)
    ops, ms = _best_batch(figures)
    gated = (
        ("ops_per_s", bounds.min_ops, True, ops, "--sizes"),
        ("ms_per_memory", bounds.max_ms, False, ms, "--sizes"),
        ("speedup", bounds.min_speedup, True, _speedup(figures), "--compare"),
        ("recall", bounds.min_recall, True, _recall(measured), f"--scale {MIN_TAIL}"),
    )
    for metric, bound, higher_is_better, figure, option in gated:
        if bound is None:
            continue
        if figure.value is None:
            raise UsageError(f"the gate wants {metric} of {measured.model.name}, which {option} measures")
        is_met = figure.value >= bound if higher_is_better else figure.value <= bound
        outcome: Outcome = "met" if is_met else "missed"
        name = measured.model.name
        yield Verdict(name, metric, figure.at, figure.value, bound, figure.interval, outcome, higher_is_better)


def _best_batch(figures: Figures) -> tuple[_Figure, _Figure]:
    best = figures.best
    if best is None:
        return _Figure(None, None, ""), _Figure(None, None, "")
    at, total = f"batch {best.batch_size}", best.total_ms_interval
    each = None if total is None else Interval(total.low / best.batch_size, total.high / best.batch_size)
    return _Figure(best.ops_per_s, best.ops_per_s_interval, at), _Figure(best.ms_per_memory, each, at)


def _speedup(figures: Figures) -> _Figure:
    compared = figures.comparison
    if compared is None:
        return _Figure(None, None, "")
    return _Figure(compared.speedup, compared.speedup_interval, f"of {compared.memories}")


def _recall(measured: ModelResult) -> _Figure:
    store = next((store for store in reversed(measured.stores) if store.graph_found), None)
    if store is None:
        return _Figure(None, None, "")
    shares = [found / K for found in store.graph_found]
    return _Figure(sum(shares) / len(shares), bootstrap_interval(shares, "mean"), f"of {store.memories:,}")
