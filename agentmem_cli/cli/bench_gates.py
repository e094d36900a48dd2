"""`agentmem bench compare`, `agentmem bench ab`, and the bounds of `agentmem bench`.

The functions import the benchmark and the reports, which bring numpy and msgspec: `bench --help` needs neither.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from agentmem_cli.cli import options, report_output
from agentmem_cli.cli.output import print_json, print_rich, say, steps_view
from agentmem_cli.cli.report_output import BenchOutputs, JunitOption, SummaryOption, VerdictFilesOption
from agentmem_cli.errors import AgentMemError, GateError, UsageError
from agentmem_cli.report.translations import Words

if TYPE_CHECKING:
    from agentmem_cli.bench.ab import AbRun
    from agentmem_cli.bench.gates import Bounds, GateReport
    from agentmem_cli.bench.result import BenchResult
    from agentmem_cli.bench.verdict import Verdict
    from agentmem_cli.bench.workload import BenchOptions

PROJECT: Final = "pyproject.toml"
MinOpsOption: TypeAlias = Annotated[
    float | None,
    typer.Option("--min-ops", help="Fail if the best batch size stores fewer memories per second."),
]
MaxMsOption: TypeAlias = Annotated[
    float | None, typer.Option("--max-ms", help="Fail if the best batch size takes more milliseconds per memory.")
]
MinSpeedupOption: TypeAlias = Annotated[
    float | None,
    typer.Option("--min-speedup", help="Fail if a batch is less than this many times faster than single adds."),
]
MinRecallOption: TypeAlias = Annotated[
    float | None,
    typer.Option("--min-recall", help="Fail if the graph finds a smaller share of the 10 nearest (recall@10)."),
]
_MaxRegressionOption: TypeAlias = Annotated[
    str, typer.Option("--max-regression", help="How much worse a metric may be, such as 10% or 0.1.")
]
StrictOption: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="Also exit with code 4 if a verdict is not certain.")
]
MaxTimeOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--max-time",
        metavar="SECONDS",
        help="Repeat more often than --repeats until every bound (without bounds: every target) is certain, for so "
        "long at most.",
    ),
]


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The result to compare with, written by bench --output.")],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="The new result, from the same machine, models and workload.")
    ],
    max_regression: _MaxRegressionOption = "10%",
    strict: StrictOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compare results of different machines, models or workloads.")
    ] = False,
    phase_names: Annotated[
        str | None,
        typer.Option(
            "--phase-names",
            metavar="BASE,NEW",
            help='Also show both as phases of a project, such as "Phase 1,Phase 4", with reasons for differences.',
        ),
    ] = None,
    json: options.JsonOption = False,
    output: VerdictFilesOption = None,
    lang: report_output.LangOption = "en",
    github_summary: SummaryOption = False,
    junit: JunitOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Compare two results.

    A metric has regressed if the whole 95 % interval of its ratio is worse than --max-regression allows; the exit code
    is then 4, as it is with --strict if NEW lacks a figure that BASE has. The interval reflects the spread within each
    run, not changes between processes or hours: on shared machines such as those of CI, use 'bench ab'.
    """
    from agentmem_cli.bench import gates
    from agentmem_cli.bench.result_file import read_file

    share = _share(max_regression)
    outputs = BenchOutputs(output or [], [base, new], Words(lang), github_summary, junit)
    outputs.check_for_verdicts()
    phases = None if phase_names is None else _phases(phase_names)
    results = read_file(base), read_file(new)
    different = gates.differences(*results)
    if different and not force:
        raise UsageError(
            f"{base} and {new} can't be compared: {'; '.join(map(str, different))} (--force compares them anyway)"
        )
    compare_results = gates.compare if phases is None else gates.compare_phases
    try:
        report = compare_results(*results, phases or (base, new), share)
    except ValueError as error:
        raise UsageError(f"{base} and {new} can't be compared: {error}") from error
    if not report.verdicts:
        raise UsageError(
            f"{base} and {new} have no figure in common: {base} has {', '.join(report.missing) or 'none'}, {new} has "
            f"{', '.join(report.added) or 'none'}"
        )
    _finish(report, strict, json, outputs)


@options.expanded
def ab(
    *,
    base: Annotated[
        str,
        typer.Option(
            "--base", metavar="PATH", help="The agentmem to compare with: its executable or its virtual environment."
        ),
    ],
    head: Annotated[
        str | None, typer.Option("--head", metavar="PATH", help="The agentmem to judge; by default this one.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="The number of pairs of runs, at least 6.")] = 7,
    max_regression: _MaxRegressionOption = "10%",
    strict: StrictOption = False,
    sizes: Annotated[str, typer.Option("--sizes", help="As for bench.")] = "100",
    model: options.ModelOptions,
    singles: Annotated[int, typer.Option("--singles", help="As for bench.")] = 50,
    repeats: Annotated[int, typer.Option("--repeats", help="As for bench, in each process.")] = 9,
    workload: Annotated[str, typer.Option("--workload", help="As for bench.")] = "mixed",
    store: Annotated[str | None, typer.Option("--store", metavar="URL", help="As for bench.")] = None,
    json: options.JsonOption = False,
    output: VerdictFilesOption = None,
    lang: report_output.LangOption = "en",
    github_summary: SummaryOption = False,
    junit: JunitOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Measure two installations in turn and compare them.

    Each round runs both in separate processes, which take turns at every step; the first changes from round to round.
    Other load on the machine therefore affects both alike, so this gate suits shared machines. The exit code is 4 for
    a regression.
    """
    from agentmem_cli.bench.ab import AbRun, installation_at, this_installation

    arguments = ["--sizes", sizes, "--singles", str(singles), "--repeats", str(repeats), "--workload", _file(workload)]
    arguments += ["--device", model.device]
    for option, value in (
        ("--model", model.name),
        ("--model-path", None if model.path is None else _file(model.path)),
        ("--embedder-url", model.url),
        ("--threads", model.threads),
        ("--store", store),
    ):
        if value is not None:
            arguments += [option, str(value)]
    installations = installation_at(base), this_installation() if head is None else installation_at(head)
    inputs = report_output.inputs_of(workload, model.path, *(installed.command[0] for installed in installations))
    outputs = BenchOutputs(output or [], inputs, Words(lang), github_summary, junit)
    outputs.check_for_verdicts()
    with steps_view(quiet) as on_step:
        run = AbRun(*installations, arguments, rounds, _share(max_regression), on_step)
        report = _measured(run, outputs)
    _finish(report, strict, json, outputs)


def bounds_of(given: Mapping[str, float | None], measured: "BenchOptions") -> "Bounds":
    """The bounds of the project in this folder, overridden by options. Raises UsageError."""
    from agentmem_cli.bench.gates import overridden, read_bounds, require_measured

    bounds = overridden(read_bounds(Path(PROJECT)), given)
    require_measured(bounds, measured)
    return bounds


def checked(result: "BenchResult", bounds: "Bounds") -> "list[Verdict]":
    """The verdict on each bound. Raises UsageError."""
    from agentmem_cli.bench.gates import check

    return check(result, bounds)


def is_decided(result: "BenchResult", bounds: "Bounds") -> bool:
    """Whether further repeats would not change a verdict on the bounds."""
    from agentmem_cli.bench import gates

    return gates.is_decided(result, bounds)


def require_met(verdicts: "Sequence[Verdict]", repeats: int, strict: bool) -> None:
    """Raises GateError if a bound was missed or, if `strict`, is not certain; says what is not certain otherwise."""
    from agentmem_cli.bench.gates import missed, uncertain

    failures = [missed(verdict) for verdict in verdicts if verdict.has_failed]
    doubts = [uncertain(verdict, repeats) for verdict in verdicts if not verdict.is_certain]
    if strict:
        failures += doubts
    else:
        for doubt in doubts:
            say(doubt)
    if failures:
        raise GateError(f"gate: {'; '.join(failures)}")


def refuse_options_of(context: typer.Context) -> None:
    """Raises UsageError for options of bench before a sub-command, which would ignore them."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{option} is an option of bench: put options of {context.invoked_subcommand} after its name"
            )


def _measured(run: "AbRun", outputs: BenchOutputs) -> "GateReport":
    try:
        return run.run()
    except BaseException:
        if run.has_rounds:
            with suppress(AgentMemError):  # the reason of the interruption matters more
                outputs.write_verdicts(run.report())
        raise


def _finish(report: "GateReport", strict: bool, json: bool, outputs: BenchOutputs) -> None:
    """Shows and writes a report. Raises GateError if it fails the gate."""
    outputs.write_verdicts(report, strict=strict)
    if json:
        print_json(asdict(report))
    else:
        from agentmem_cli.report.terminal import comparison_report

        print_rich(*comparison_report(report, outputs.words))
    from agentmem_cli.bench.gates import told

    if not report.phases:
        for difference in report.differences:
            say(f"warning: not the same: {difference}")
    failures = [
        told(verdict) for verdict in report.verdicts if verdict.has_failed or (strict and not verdict.is_certain)
    ]
    if report.missing:
        lacks = f"{report.new.name} lacks {', '.join(report.missing)}, which {report.base.name} has"
        if strict:
            failures.append(lacks)
        else:
            say(f"warning: {lacks}")
    if failures:
        raise GateError(f"gate: {'; '.join(failures)}")


def _phases(names: str) -> tuple[str, str]:
    found = [name.strip() for name in names.split(",")]
    if len(found) != 2 or not all(found) or found[0] == found[1]:
        raise UsageError(f'--phase-names {names}: give two different names, such as "Phase 1,Phase 4"')
    return found[0], found[1]


def _share(argument: str) -> float:
    """10% or 0.1 as 0.1."""
    if re.fullmatch(r"\d+(\.\d*)?%|0?\.\d+|0", argument):
        share = float(argument.removesuffix("%")) / (100 if argument.endswith("%") else 1)
        if share < 1:
            return share
    raise UsageError(f"--max-regression {argument}: give a share such as 10% or 0.1")


def _file(argument: str) -> str:
    """The absolute path of a file; names of workloads stay as they are."""
    return str(Path(argument).absolute()) if Path(argument).exists() else argument
