"""`agentmem eval`: how good the answers to labelled queries are."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.opening import opened_store
from agentmem_cli.cli.output import print_json, print_rich, say, stderr_console
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import UsageError
from agentmem_cli.search.query import MODES, LabelledQuery, Mode, Ranking, read_queries
from agentmem_cli.support.safe_text import printable

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem
    from agentmem_cli.search.evaluation import Comparison, Difference, JudgedQuery, Run


@options.expanded
def evaluate(
    *,
    file: Annotated[
        str,
        typer.Argument(
            help="JSONL, plain or gzip; - is standard input. A line has query, relevant (a list of ids) and, as "
            "filters, agent_id, user_id, run_id and memory_type.",
            metavar="FILE",
        ),
    ],
    format: options.FormatOption = None,
    store: options.StoreOption = ".agentmem",
    modes: Annotated[
        str,
        typer.Option("--modes", help="Search modes, separated by commas; the first is the base of comparison."),
    ] = "hybrid,vector,text",
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="STORE", help="Another store of the same memories, for example with another model."
        ),
    ] = None,
    worst: Annotated[int, typer.Option("--worst", min=0, help="The number of worst queries to list.")] = 5,
    model: options.ModelOptions,
    json: options.JsonOption = False,
) -> None:
    """Measure the quality of searches with labelled queries.

    Prints recall, MRR and nDCG with 95 % intervals. Modes and stores are compared query by query. Queries without
    relevant ids are left out.
    """
    asked_modes = _modes(modes)
    if against == store:
        raise UsageError(f"--against {against} is the same store: give another one")
    queries = list(read_queries(file, format=format))
    if not any(query.relevant for query in queries):
        raise UsageError(f'{file}: none of the {len(queries)} queries has relevant ids: add them as "relevant"')
    with (
        nullcontext()
        if against is None
        else opened_store(against, ModelChoice(device=model.device, threads=model.threads)) as other,
        opened_store(store, model) as mem,
    ):
        runs = _runs(mem, store, queries, asked_modes)
        if against is not None and other is not None:
            runs += _runs(other, against, queries, asked_modes)
    for warning in _warnings(runs):
        say(f"warning: {warning}")
    compared = _comparisons(runs, len(asked_modes))
    if json:
        print_json(_as_json(runs, compared))
    else:
        from agentmem_cli.report.evaluation_tables import evaluation_report  # numpy

        print_rich(*evaluation_report(runs, compared, worst))


def _modes(argument: str) -> list[Mode]:
    names = [name.strip() for name in argument.split(",")]
    asked_modes = [mode for name in names for mode in MODES if mode == name]
    if len(asked_modes) < len(names) or len(set(asked_modes)) < len(asked_modes):
        raise UsageError(f"--modes {argument}: give one or more of {', '.join(MODES)}, each once, separated by commas")
    return asked_modes


def _runs(mem: "AgentMem", store: str, queries: Sequence[LabelledQuery], modes: Sequence[Mode]) -> "list[Run]":
    from agentmem_cli.search.evaluation import Run

    with _spinner(f"running {len(queries)} queries on {store}"):
        evaluations = mem.evaluate(queries, [Ranking(mode) for mode in modes])
    return [Run(store, mem.model.name, mode, evaluation) for mode, evaluation in zip(modes, evaluations, strict=True)]


def _spinner(what: str) -> AbstractContextManager[object]:
    if not sys.stderr.isatty():
        return nullcontext()
    return stderr_console().status(printable(what))


def _warnings(runs: "Sequence[Run]") -> list[str]:
    return list(dict.fromkeys(f"{run.store}: {warning}" for run in runs for warning in run.evaluation.warnings))


def _comparisons(runs: "Sequence[Run]", modes: int) -> "list[Comparison]":
    """Each mode compared with the first, and the other store with the first store in the same mode."""
    from agentmem_cli.search.evaluation import Comparison, compare

    pairs = [(run, runs[0]) for run in runs[1:modes]] + list(zip(runs[modes:], runs, strict=False))
    return [Comparison(run, base, compare(run.evaluation, base.evaluation)) for run, base in pairs]


def _as_json(runs: "Sequence[Run]", compared: "Sequence[Comparison]") -> dict[str, object]:
    return {
        "queries": len(runs[0].evaluation.judged),
        "unlabelled": runs[0].evaluation.unlabelled,
        "warnings": _warnings(runs),
        "runs": [
            {
                **_name(run),
                "missing": run.evaluation.missing,
                "metrics": {
                    name: {"mean": estimate.mean, **asdict(estimate.interval)}
                    for name, estimate in run.evaluation.estimates.items()
                },
                "per_query": [_judged(judged) for judged in run.evaluation.judged],
            }
            for run in runs
        ],
        "comparisons": [
            {"run": _name(pair.run), "base": _name(pair.base), "metrics": _differences(pair.differences)}
            for pair in compared
        ],
    }


def _name(run: "Run") -> dict[str, str]:
    return {"store": run.store, "model": run.model, "mode": run.mode}


def _judged(judged: "JudgedQuery") -> dict[str, object]:
    query, first = judged.query, judged.first
    scope = {name: value for name, value in asdict(query.query.filter.scope).items() if value is not None}
    return {
        "query": query.query.text,
        **scope,
        "relevant": query.relevant,
        **judged.figures,
        "first_relevant_rank": judged.first_rank,
        "first_hit": None if first is None else {"id": first.id, "score": first.score, "text": first.text},
    }


def _differences(by_metric: "Mapping[str, Difference]") -> dict[str, object]:
    return {
        name: {
            "mean": difference.mean,
            **asdict(difference.interval),
            "wins": difference.wins,
            "losses": difference.losses,
            "ties": difference.ties,
        }
        for name, difference in by_metric.items()
    }
