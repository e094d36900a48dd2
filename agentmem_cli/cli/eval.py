"""`agentmem eval`: how good the answers to labelled queries are, and whether they are good enough."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from agentmem_cli.cli import filter_options, options
from agentmem_cli.cli.options import opened_store
from agentmem_cli.cli.output import print_json, print_rich, say, stderr_console
from agentmem_cli.cli.report_output import JunitOption, Outputs, SummaryOption, VerdictFilesOption
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import GateError, UsageError
from agentmem_cli.records.formats.names import QueryFormatName
from agentmem_cli.report.translations import Words
from agentmem_cli.search.query import MODES, LabelledQuery, Mode, Ranking
from agentmem_cli.store import shown_location
from agentmem_cli.support.amounts import counted
from agentmem_cli.support.safe_text import printable

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem
    from agentmem_cli.bench.verdict import Verdict
    from agentmem_cli.search.evaluation import Comparison, Run


@options.expanded
def evaluate(
    command: typer.Context,
    *,
    file: Annotated[
        str,
        typer.Argument(
            help="JSONL, plain or gzip; - is standard input. A line has query, relevant (a list of ids) and, as "
            "filters, agent_id, user_id, run_id and memory_type.",
            metavar="FILE",
        ),
    ],
    format: Annotated[
        QueryFormatName | None,
        typer.Option("--format", help="Read FILE as a published data set instead of JSONL."),
    ] = None,
    store: options.StoreOption = ".agentmem",
    modes: Annotated[
        str,
        typer.Option(
            "--modes",
            help="Search modes to compare, separated by commas; the first is the base of comparison, and what bounds "
            "apply to.",
        ),
    ] = "hybrid,meaning,words",
    ranking: filter_options.RankingOptions,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="STORE", help="Another store of the same memories, for example with another model."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="KEY", help="Break the figures down by a key of the queries' lines."),
    ] = None,
    worst: Annotated[int, typer.Option("--worst", min=0, help="The number of worst queries to list.")] = 5,
    minimum: Annotated[
        list[str] | None,
        typer.Option(
            "--min",
            metavar="METRIC=VALUE",
            help="Fail if the whole 95 % interval of a metric is below VALUE: ndcg@10=0.5. Repeat for more.",
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            "--max-loss",
            min=0,
            max=1,
            metavar="VALUE",
            help="Fail if nDCG@10 is certain to be lower than that of --against by more than VALUE.",
        ),
    ] = None,
    model: options.ModelOptions,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    output: VerdictFilesOption = None,
    github_summary: SummaryOption = False,
    junit: JunitOption = None,
) -> None:
    """Measure the quality of searches with labelled queries.

    Prints recall, MRR and nDCG with 95 % intervals, and what to do. Modes and stores are compared query by query.
    Queries without relevant ids are left out. --mode measures that mode alone. The exit code is 4 if a bound is missed
    for certain.
    """
    from agentmem_cli.report.evaluation_report import (
        Evaluated,
        evaluation_as_file,
        evaluation_document,
        evaluation_json,
    )
    from agentmem_cli.report.export import check_verdict_file
    from agentmem_cli.report.terminal import renderables
    from agentmem_cli.search.query_file import read_queries

    asked_modes = _asked_modes(command, modes, ranking)
    bounds = dict(map(_bound, minimum or []))
    if against == store:
        raise UsageError(f"--against {shown_location(against)} is the same store: give another one")
    if max_loss is not None and against is None:
        raise UsageError("--max-loss needs a store to compare with: give --against STORE")
    inputs = [name for name in (file, against, model.path) if name is not None]
    outputs = Outputs(output or [], inputs, Words(), github_summary, junit, store)
    outputs.check(check_verdict_file)
    queries = list(read_queries(file, format=format))
    if not any(query.relevant for query in queries):
        raise UsageError(f'{file}: no query has relevant ids: add them as "relevant"')
    rankings = [replace(ranking, mode=mode) for mode in asked_modes]
    with (
        nullcontext()
        if against is None
        else opened_store(against, ModelChoice(device=model.device, threads=model.threads)) as other,
        opened_store(store, model) as mem,
    ):
        runs = _runs(mem, store, queries, rankings, quiet)
        if against is not None and other is not None:
            runs += _runs(other, against, queries, rankings, quiet)
    compared = _comparisons(runs, len(asked_modes))
    evaluated = Evaluated.of(runs, compared, _verdicts(runs, compared, bounds, max_loss), by=by, worst=worst)
    document = evaluation_document(evaluated)
    for warning in evaluated.warnings:
        say(f"warning: {warning}")
    outputs.write_files(lambda name: evaluation_as_file(evaluated, name))
    outputs.summarize(document)
    outputs.write_junit("agentmem eval", evaluated.verdicts)
    if json:
        print_json(evaluation_json(evaluated))
    else:
        print_rich(*renderables(replace(document, warnings=[])))
    _judge(evaluated.verdicts)


def _asked_modes(command: typer.Context, argument: str, ranking: Ranking) -> list[Mode]:
    """The modes of --modes or, where it is given, that of --mode alone."""
    given = {
        name
        for name in ("mode", "modes")
        if (source := command.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }
    if given == {"mode", "modes"}:
        raise UsageError("give either --mode, to measure one, or --modes, to compare several")
    return [ranking.mode] if given == {"mode"} else _modes(argument)


def _modes(argument: str) -> list[Mode]:
    names = [name.strip() for name in argument.split(",")]
    asked_modes = [mode for name in names for mode in MODES if mode == name]
    if len(asked_modes) < len(names) or len(set(asked_modes)) < len(asked_modes):
        raise UsageError(f"--modes {argument}: give one or more of {', '.join(MODES)}, each once, separated by commas")
    return asked_modes


def _bound(argument: str) -> tuple[str, float]:
    """A metric and the bound on it."""
    from agentmem_cli.search.evaluation import METRICS

    metric, _, value = argument.lower().partition("=")
    try:
        bound = float(value)
    except ValueError:
        bound = -1.0
    if metric not in METRICS or not 0 <= bound <= 1:
        raise UsageError(
            f"--min {argument}: give METRIC=VALUE, such as ndcg@10=0.5; a metric is one of {', '.join(METRICS)}, and a "
            "value is between 0 and 1"
        )
    return metric, bound


def _runs(
    mem: "AgentMem", store: str, queries: Sequence[LabelledQuery], rankings: Sequence[Ranking], quiet: bool
) -> "list[Run]":
    from agentmem_cli.search.evaluation import Run

    with _spinner(f"running {counted(len(queries), 'query')} on {shown_location(store)}", quiet):
        evaluations = mem.evaluate(queries, rankings)
    return [
        Run(shown_location(store), mem.model.name, ranking.mode, evaluation)
        for ranking, evaluation in zip(rankings, evaluations, strict=True)
    ]


def _spinner(what: str, quiet: bool) -> AbstractContextManager[object]:
    if quiet or not sys.stderr.isatty():
        return nullcontext()
    return stderr_console().status(printable(what))


def _comparisons(runs: "Sequence[Run]", modes: int) -> "list[Comparison]":
    """Each mode compared with the first, and the other store with the first store in the same mode."""
    from agentmem_cli.search.evaluation import Comparison, compare

    pairs = [(run, runs[0]) for run in runs[1:modes]] + list(zip(runs[modes:], runs, strict=False))
    return [Comparison(run, base, compare(run.evaluation, base.evaluation)) for run, base in pairs]


def _verdicts(
    runs: "Sequence[Run]", compared: "Sequence[Comparison]", bounds: dict[str, float], max_loss: float | None
) -> "list[Verdict]":
    """The verdicts on the first run, and on what it loses against the other store."""
    from agentmem_cli.bench.gates import check_bounds, check_loss

    verdicts = check_bounds(runs[0], bounds)
    if max_loss is not None:
        against = next(pair for pair in compared if pair.base is runs[0] and pair.run.store != runs[0].store)
        verdicts.append(check_loss(against, max_loss))
    return verdicts


def _judge(verdicts: "Sequence[Verdict]") -> None:
    """Says which bounds are not certain to be met. Raises GateError if one is missed."""
    from agentmem_cli.bench.verdict import NOT_CERTAIN
    from agentmem_cli.report.export import told

    for verdict in verdicts:
        if not verdict.is_certain:
            say(f"{NOT_CERTAIN}: {told(verdict)}; more queries would decide")
    failures = [told(verdict) for verdict in verdicts if verdict.has_failed]
    if failures:
        raise GateError(f"gate: {'; '.join(failures)}")
