"""Warnings about a result, as values."""

from collections.abc import Iterator, Sequence
from typing import Final

from agentmem_cli.bench.result import BatchRun, BenchResult, BenchWarning, Machine, ModelResult
from agentmem_cli.bench.verdict import LEAST_SAMPLES
from agentmem_cli.embedding.languages import UNREAD_WARNING_RATIO
from agentmem_cli.support.failpoints import SLOWDOWN_VARIABLE, slowdown
from agentmem_cli.support.statistics import bootstrap_interval, drift, median, relative_spread

_NOISY: Final = 0.25  # the maximum width of an interval, as a share of the median
_MACHINE_NOISY: Final = 0.15  # the maximum relative spread of the measurements of the machine
_STOLEN: Final = 0.02
_DRIFTED: Final = 0.1
_LOADED: Final = 0.5  # of the cores
_NO_DISK_S: Final = 20e-6  # no disk is that fast


def warnings_of(result: BenchResult) -> list[BenchWarning]:
    """The warnings about a result; those about the machine and the workload come first."""
    warnings = [*_about_the_machine(result), *_about_the_workload(result)]
    for measured in result.models:
        warnings += [*_about_the_texts(measured), *_about_the_samples(measured, result.machine)]
    return [*warnings, *_about_the_labels(result)]


def _about_the_machine(result: BenchResult) -> Iterator[BenchWarning]:
    share = slowdown()
    if share:
        yield BenchWarning("slowed", f"{SLOWDOWN_VARIABLE} slows this run down by {share:.0%}", data={"share": share})
    load, cores = result.machine.load_average, result.environment.cores
    if load is not None and load > _LOADED * cores:
        yield BenchWarning(
            "load",
            f"the machine was busy when the run began: load average {load:.1f} on {cores} cores",
            data={"load_average": load, "cores": cores},
        )
    fsyncs_s = [spent_s for repeat in result.machine.fsync_s for spent_s in repeat]
    if fsyncs_s and median(fsyncs_s) < _NO_DISK_S:
        yield BenchWarning(
            "no-disk",
            "the temporary folder is not on a disk, so durable writes cost nothing: set TMPDIR to a folder on a disk",
            data={"fsync_s": median(fsyncs_s)},
        )


def _about_the_workload(result: BenchResult) -> Iterator[BenchWarning]:
    repeats, workload = result.repeats, result.workload
    if repeats < LEAST_SAMPLES:
        yield BenchWarning(
            "few-samples",
            f"{repeats} repeats are too few for 95 % intervals, so nothing about time is certain: use at least "
            f"{LEAST_SAMPLES}",
            data={"repeats": repeats},
        )
    if workload.duplicates:
        yield BenchWarning(
            "duplicates",
            f"{workload.duplicates} lines of {workload.name} repeat a text or an id and were left out: a store embeds "
            "each text only once, so they would have been faster",
            data={"duplicates": workload.duplicates},
        )


def _about_the_texts(measured: ModelResult) -> Iterator[BenchWarning]:
    name = measured.model.name
    if not measured.batches:
        return
    counts = max(measured.batches, key=lambda run: run.batch_size).counts
    own_tokens = counts.tokens - counts.special_tokens
    if own_tokens and counts.unknown_tokens / own_tokens > UNREAD_WARNING_RATIO:
        ratio = counts.unknown_tokens / own_tokens
        yield BenchWarning(
            "unknown-tokens",
            f"{ratio:.0%} of the workload's tokens are unknown to {name}: the speed is valid, but searches of such "
            "texts are not meaningful",
            name,
            {"unknown_token_ratio": ratio},
        )
    if counts.truncated:
        yield BenchWarning(
            "truncated",
            f"{counts.truncated} texts are longer than {name} reads, and were cut",
            name,
            {"truncated": counts.truncated},
        )


def _about_the_samples(measured: ModelResult, machine: Machine) -> Iterator[BenchWarning]:
    name = measured.model.name
    noisy = [run.batch_size for run in measured.batches if _is_noisy(_totals_s(run))]
    if noisy:
        sizes = ", ".join(map(str, noisy))
        yield BenchWarning(
            "noisy",
            f"noisy run of {name}: the median of batch size {sizes} is uncertain by more than {_NOISY:.0%} "
            f"({_reason(machine)})",
            name,
            {"batch_sizes": [float(size) for size in noisy]},
        )
    by_repeat = list(zip(*(_relative(_totals_s(run)) for run in measured.batches), strict=False))
    change = drift([sum(repeat) / len(repeat) for repeat in by_repeat])
    if abs(change) > _DRIFTED:
        slower = "slower" if change > 0 else "faster"
        also = drift([1 / rate for rate in machine.sgemm_flop_per_s])
        cause = ", and so did the arithmetic of the machine: heat or other load" if also * change > 0 else ""
        yield BenchWarning(
            "drift",
            f"the run of {name} became {slower} by {abs(change):.0%} from its first repeat to its last{cause}",
            name,
            {"change": change, "sgemm_change": also},
        )


def _about_the_labels(result: BenchResult) -> Iterator[BenchWarning]:
    """Warns once: all models and modes get the same queries."""
    asked = next((retrieval for measured in result.models for retrieval in measured.retrieval), None)
    if asked is not None and (asked.unlabelled or asked.missing):
        yield BenchWarning(
            "labels",
            f"{asked.unlabelled} queries have no relevant ids and were left out; {asked.missing} relevant ids "
            f"belong to no memory in {result.workload.name} and count as not found",
            data={"unlabelled": asked.unlabelled, "missing": asked.missing},
        )


def _reason(machine: Machine) -> str:
    """The measurements of the machine that varied too."""
    reasons = []
    if machine.steal_ratio is not None and machine.steal_ratio > _STOLEN:
        reasons.append(f"its host gave {machine.steal_ratio:.0%} of the processor time to others")
    if machine.sgemm_flop_per_s and relative_spread(machine.sgemm_flop_per_s) > _MACHINE_NOISY:
        reasons.append(f"its arithmetic alone varied by {relative_spread(machine.sgemm_flop_per_s):.0%}")
    fsyncs_s = [median(repeat) for repeat in machine.fsync_s]
    if fsyncs_s and relative_spread(fsyncs_s) > 2 * _MACHINE_NOISY:
        reasons.append(f"its fsyncs varied by {relative_spread(fsyncs_s):.0%}")
    return "the machine: " + ", ".join(reasons) if reasons else "the measurements of the machine were steady"


def _is_noisy(samples_s: Sequence[float]) -> bool:
    if len(samples_s) < LEAST_SAMPLES:
        return False
    interval = bootstrap_interval(samples_s, "median")
    return interval.high - interval.low > _NOISY * median(samples_s)


def _totals_s(run: BatchRun) -> list[float]:
    return [sample.total_s for sample in run.samples]


def _relative(samples_s: Sequence[float]) -> list[float]:
    middle = median(samples_s)
    return [sample_s / middle for sample_s in samples_s]
