"""Gates: new results compared with a base, bounds on figures of speed, and bounds on the quality of searches."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from agentmem_cli.bench.figures import COUNTED, HIGHER_IS_BETTER, Figures, K, MeasureKey, figures_of, measures_of
from agentmem_cli.bench.phases import PhaseFigure, phase_figures
from agentmem_cli.bench.result import BenchResult, ModelResult
from agentmem_cli.bench.verdict import LEAST_SAMPLES, NOT_CERTAIN, Outcome, Verdict, outcome_of_bound
from agentmem_cli.bench.workload import BenchOptions
from agentmem_cli.errors import UsageError
from agentmem_cli.search.evaluation import Comparison, Run
from agentmem_cli.store.base import MIN_INDEXED
from agentmem_cli.support.safe_text import printable
from agentmem_cli.support.statistics import (
    Estimate,
    Interval,
    bootstrap_interval,
    bootstrap_ratio,
    median,
    paired_ratio,
)

_GIB: Final = 2**30

Samples: TypeAlias = Mapping[MeasureKey, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name (a file or an installation), and the version that measured it."""

    name: str
    agentmem: str


Condition: TypeAlias = Literal[
    "cpu",
    "cores",
    "memory, GiB",
    "system",
    "device",
    "stores",
    "threads",
    "models",
    "workload",
    "texts",
    "complete",
    "agentmem",
    "repeats",
    "warm-up",
]


@dataclass(frozen=True, slots=True)
class Difference:
    """A condition in which the sides of a comparison differ."""

    condition: Condition
    base: str
    new: str

    def __str__(self) -> str:
        return f"{self.condition}: {self.base} against {self.new}"


@dataclass(frozen=True, slots=True)
class GateReport:
    """The result of a comparison.

    `rounds` is the number of pairs of runs, or None if two results were compared. `differences` lists conditions in
    which the sides differ; `missing` lists metrics that only the base has, `added` those that only the new side has.
    `phases` are the figures of both sides if these are phases of a project; `differences` then has all that may explain
    a change.
    """

    base: Side
    new: Side
    max_regression: float
    rounds: int | None
    verdicts: list[Verdict]
    differences: list[Difference] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    phases: list[PhaseFigure] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether a metric has regressed."""
        return any(verdict.has_failed for verdict in self.verdicts)


def compare(base: BenchResult, new: BenchResult, names: tuple[str, str], max_regression: float) -> GateReport:
    """Compares two results by the ratio of their medians.

    The interval reflects the spread of repeats within a process. It misses differences between processes, such as
    memory layout, and between hours; `compare_rounds` covers these.
    """
    mine, other = measures_of(base), _named_like(measures_of(new), base, new)
    return GateReport(
        base=Side(printable(names[0]), base.environment.agentmem),
        new=Side(printable(names[1]), new.environment.agentmem),
        max_regression=max_regression,
        rounds=None,
        verdicts=[
            _verdict(key, mine[key], other[key], _ratio(key, other[key], mine[key]), max_regression)
            for key in mine
            if key in other
        ],
        differences=differences(base, new),
        missing=[str(key) for key in mine if key not in other],
        added=[str(key) for key in other if key not in mine],
    )


def compare_phases(base: BenchResult, new: BenchResult, names: tuple[str, str], max_regression: float) -> GateReport:
    """As `compare`, for two phases of a project, with their figures and with all that may explain a change."""
    report = compare(base, new, names, max_regression)
    explained = [*report.differences, *_differing(_explaining(base), _explaining(new))]
    return replace(report, differences=explained, phases=phase_figures(base, new))


def compare_rounds(
    base: Sequence[BenchResult], new: Sequence[BenchResult], names: tuple[str, str], max_regression: float
) -> GateReport:
    """Compares results that were measured in turn, one pair per round, by the ratio within each round.

    Raises ValueError if there are no pairs.
    """
    mine, other = [measures_of(result) for result in base], [measures_of(result) for result in new]
    of_mine, of_other = _medians(mine), _medians(other)
    verdicts = []
    for key in (key for key in of_mine if key in of_other):
        ratios = [_turns_ratio(first[key], second[key]) for first, second in zip(mine, other, strict=True)]
        verdict = _verdict(key, of_mine[key], of_other[key], paired_ratio(ratios), max_regression)
        verdicts.append(replace(verdict, ratios=ratios))
    return GateReport(
        base=Side(printable(names[0]), base[0].environment.agentmem),
        new=Side(printable(names[1]), new[0].environment.agentmem),
        max_regression=max_regression,
        rounds=len(base),
        verdicts=verdicts,
        differences=differences(base[0], new[0]),
        missing=[str(key) for key in of_mine if key not in of_other],
        added=[str(key) for key in of_other if key not in of_mine],
    )


def outcome_of(interval: Interval | None, max_regression: float, *, higher_is_better: bool) -> Outcome:
    """The outcome for the interval of a ratio.

    It is `regressed` or `improved` if the whole interval is beyond 1 by more than `max_regression`, `ok` if no part of
    it is worse than that, and `inconclusive` otherwise.
    """
    if interval is None:
        return "inconclusive"
    least, most = 1 - max_regression, 1 + max_regression
    if interval.high < least or interval.low > most:
        return "improved" if (interval.low > most) == higher_is_better else "regressed"
    may_have_regressed = interval.low < least if higher_is_better else interval.high > most
    return "inconclusive" if may_have_regressed else "ok"


def told(verdict: Verdict) -> str:
    """A verdict in words: metric, ratio, interval and bound."""
    sure = (
        "too few samples" if verdict.interval is None else f"{verdict.interval.low:.3f} to {verdict.interval.high:.3f}"
    )
    return (
        f"{verdict.metric} {verdict.at} of {verdict.model} {_named(verdict.outcome)}: {verdict.figure:.3f} of the base "
        f"(95 %: {sure}), bound {verdict.bound:.3f}"
    )


def _named(outcome: Outcome) -> str:
    return NOT_CERTAIN if outcome == "inconclusive" else outcome


def differences(base: BenchResult, new: BenchResult) -> list[Difference]:
    """The conditions in which two results differ, such as machine, models, workload and options."""
    mine, other = _conditions(base), _conditions(new)
    if None not in (mine["texts"], other["texts"]):
        del mine["workload"]  # a file may have moved; the checksum of its texts decides
    return _differing(mine, other)


_Conditions: TypeAlias = dict[Condition, str | int | None]


def _differing(base: _Conditions, new: _Conditions) -> list[Difference]:
    return [
        Difference(name, str(base[name]), str(new[name]))
        for name in base
        if name in new and base[name] != new[name] and None not in (base[name], new[name])
    ]


def _explaining(result: BenchResult) -> _Conditions:
    """The conditions that may differ between two versions or runs, but may explain a change."""
    return {
        "agentmem": result.environment.agentmem,
        "repeats": result.repeats,
        "warm-up": result.config.warmup,
    }


def _conditions(result: BenchResult) -> _Conditions:
    """The conditions that must be equal; None if unknown. Releases of the system and of libraries may differ."""
    environment, config, workload = result.environment, result.config, result.workload
    return {
        "cpu": environment.cpu,
        "cores": environment.cores,
        "memory, GiB": None if environment.memory_bytes is None else round(environment.memory_bytes / _GIB),
        "system": environment.platform.partition("-")[0],
        "device": config.device,
        "stores": "a folder" if config.store is None else "a server",
        "threads": config.threads,
        "models": ", ".join(f"{measured.model.name} ({measured.model.revision[:12]})" for measured in result.models),
        "workload": workload.name,
        "texts": f"{workload.memories:,}, sha256 {workload.sha256[:12]}" if workload.sha256 else None,
        "complete": str(result.complete).lower(),
    }


def _named_like(new: Samples, base: BenchResult, result: BenchResult) -> Samples:
    """The samples under the base's names of models, paired in order: --force compares different models."""
    names = [measured.model.name for measured in base.models]
    others = [measured.model.name for measured in result.models]
    if set(names) & set(others):
        return new
    by_name = dict(zip(others, names, strict=False))
    return {replace(key, model=by_name.get(key.model, key.model)): samples for key, samples in new.items()}


def _medians(rounds: Sequence[Samples]) -> Samples:
    """The medians of the rounds, for each metric that every round has."""
    return {key: [median(one[key]) for one in rounds] for key in rounds[0] if all(key in one for one in rounds)}


def _turns_ratio(base: Sequence[float], new: Sequence[float]) -> float:
    """The ratio of the sides of a round: the median of the ratios of samples that were taken in turn."""
    if len(base) != len(new):
        return median(new) / median(base)
    return median([mine / other for mine, other in zip(new, base, strict=True)])


def _verdict(
    key: MeasureKey, base: Sequence[float], new: Sequence[float], estimate: Estimate, max_regression: float
) -> Verdict:
    higher_is_better = key.metric in HIGHER_IS_BETTER
    return Verdict(
        model=key.model,
        metric=key.metric,
        at=key.at,
        figure=estimate.figure,
        bound=1 - max_regression if higher_is_better else 1 + max_regression,
        interval=estimate.interval,
        outcome=outcome_of(estimate.interval, max_regression, higher_is_better=higher_is_better),
        higher_is_better=higher_is_better,
        base=median(base),
        new=median(new),
        base_samples=list(base),
        new_samples=list(new),
    )


def _ratio(key: MeasureKey, new: Sequence[float], base: Sequence[float]) -> Estimate:
    """The ratio of the medians of two sides. Metrics that are counted, not timed, are exact."""
    ratio = median(new) / median(base)
    if key.metric in COUNTED:
        return Estimate(ratio, Interval(ratio, ratio))
    is_sure = min(len(new), len(base)) >= LEAST_SAMPLES
    return Estimate(ratio, bootstrap_ratio(new, base, "median", paired=False) if is_sure else None)


TABLE: Final = "tool.agentmem.gate"
_Bound: TypeAlias = Annotated[float, msgspec.Meta(gt=0)] | None


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Bounds on figures; None if not set.

    Throughput and time are those of the best batch size. Recall is that of the graph of the largest store, compared
    with an exact scan.
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
    """The part of a `pyproject.toml` that agentmem reads."""

    tool: _Tool = msgspec.field(default_factory=_Tool)


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure for a bound, with its interval; the value is None if it was not measured."""

    value: float | None
    interval: Interval | None
    at: str


def read_bounds(project: Path) -> Bounds:
    """The bounds in a `pyproject.toml`; no bounds if it has no such file or table. Raises UsageError."""
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
    """The bounds, overridden by options; `given` has the options by name, without dashes. Raises UsageError."""
    options = {name: bound for name, bound in given.items() if bound is not None}
    try:
        return msgspec.convert({**msgspec.to_builtins(bounds), **options}, Bounds)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at ")
        name = next(name for name in options if name in at)
        raise UsageError(f"--{name} {options[name]:g}: {reason}") from error


def require_measured(bounds: Bounds, options: BenchOptions) -> None:
    """Raises UsageError, before anything is measured, for a bound on a figure that these options don't measure."""
    if bounds.min_recall is not None and options.store_sizes[-1] < MIN_INDEXED:
        raise UsageError(
            f"the gate needs recall, and a store of {options.store_sizes[-1]} memories has no graph: "
            f"give --scale {MIN_INDEXED} or more"
        )


def check(result: BenchResult, bounds: Bounds) -> list[Verdict]:
    """A verdict for each model and each bound that is set. Raises UsageError if a figure was not measured."""
    return [verdict for measured in result.models for verdict in _check_model(result, measured, bounds)]


def is_decided(result: BenchResult, bounds: Bounds) -> bool:
    """Whether further repeats are of no use: each bound on times or, without such bounds, each target is certain."""
    verdicts = check(result, msgspec.structs.replace(bounds, min_recall=None))
    outcomes = [verdict.outcome for verdict in verdicts]
    if not verdicts:
        outcomes = [target.outcome for model in result.models for target in figures_of(result, model).targets]
    return "inconclusive" not in outcomes


def missed(verdict: Verdict) -> str:
    """A missed bound in words: metric, figure, interval and bound."""
    side = "less" if verdict.higher_is_better else "more"
    return f"{_measured(verdict)} is {side} than {_written(verdict.bound)}"


def uncertain(verdict: Verdict, repeats: int) -> str:
    """A bound that `repeats` repeats do not decide, in words, and how many would."""
    side = "at least" if verdict.higher_is_better else "at most"
    return (
        f"{_measured(verdict)} is {NOT_CERTAIN} to be {side} {_written(verdict.bound)}: {_to_decide(verdict, repeats)}"
    )


_MOST_REPEATS: Final = 1000


def _to_decide(verdict: Verdict, repeats: int) -> str:
    """How many repeats would be enough, if the figure and the spread stay as they are."""
    if verdict.interval is None:
        return f"an interval needs at least {LEAST_SAMPLES} repeats"
    if verdict.metric == "recall":
        return "recall does not depend on the number of repeats"
    apart = abs(verdict.figure - verdict.bound)
    end = verdict.interval.low if verdict.figure > verdict.bound else verdict.interval.high
    needed = math.inf if apart == 0 else repeats * ((verdict.figure - end) / apart) ** 2
    if needed > _MOST_REPEATS:
        return f"more than {_MOST_REPEATS:,} repeats would be needed"
    return f"about {math.ceil(round(needed, 6))} repeats would decide (--repeats, or --max-time)"


def _measured(verdict: Verdict) -> str:
    interval = verdict.interval
    sure = "" if interval is None else f" (95 %: {_written(interval.low)} to {_written(interval.high)})"
    return f"{verdict.metric} of {verdict.model}, {verdict.at}: {_written(verdict.figure)}{sure}"


def _written(figure: float) -> str:
    return f"{figure:,.2f}".removesuffix(".00") if figure >= 10 else f"{figure:.4g}"


def _check_model(result: BenchResult, measured: ModelResult, bounds: Bounds) -> Iterator[Verdict]:
    figures = figures_of(result, measured)
    ops, ms = _best_batch(figures)
    gated = (
        ("ops_per_s", bounds.min_ops, True, ops, "--sizes"),
        ("ms_per_memory", bounds.max_ms, False, ms, "--sizes"),
        ("speedup", bounds.min_speedup, True, _speedup(figures), "--singles"),
        ("recall", bounds.min_recall, True, _recall(measured), f"--scale {MIN_INDEXED}"),
    )
    for metric, bound, higher_is_better, figure, option in gated:
        if bound is None:
            continue
        if figure.value is None:
            raise UsageError(f"the gate needs {metric} of {measured.model.name}, which {option} measures")
        outcome = outcome_of_bound(figure.interval, bound, higher_is_better=higher_is_better)
        name = measured.model.name
        yield Verdict(name, metric, figure.at, figure.value, bound, figure.interval, outcome, higher_is_better)


def _best_batch(figures: Figures) -> tuple[_Figure, _Figure]:
    best = figures.best
    if best is None:
        return _Figure(None, None, ""), _Figure(None, None, "")
    at = f"batch {best.batch_size}"
    return (
        _Figure(best.ops_per_s, best.ops_per_s_interval, at),
        _Figure(best.ms_per_memory, best.ms_per_memory_interval, at),
    )


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


LOSS_METRIC = "ndcg@10"


def check_bounds(run: Run, bounds: Mapping[str, float]) -> list[Verdict]:
    """A verdict for each bound, by metric, on the figures of a run."""
    verdicts = []
    for metric, bound in bounds.items():
        estimate = run.evaluation.estimates[metric]
        interval = estimate.interval if len(run.evaluation.judged) >= LEAST_SAMPLES else None
        outcome = outcome_of_bound(interval, bound, higher_is_better=True)
        verdicts.append(Verdict(run.model, metric, run.mode, estimate.mean, bound, interval, outcome, True))
    return verdicts


def check_loss(comparison: Comparison, max_loss: float) -> Verdict:
    """A verdict on how much lower nDCG@10 is in the base of a comparison than in the other run, query by query."""
    base, other, lost = comparison.base, comparison.run, comparison.differences[LOSS_METRIC]
    interval = lost.interval if lost.queries >= LEAST_SAMPLES else None
    outcome = outcome_of_bound(interval, max_loss, higher_is_better=False)
    at = f"{base.mode}, lost against {other.store}"
    return Verdict(base.model, LOSS_METRIC, at, lost.mean, max_loss, interval, outcome, False)
