"""`agentmem eval`: labelled questions -> how good the answers are."""

import sys
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.options import existing_store
from agentmem_cli.cli.output import print_json, print_rich, say, stderr_console
from agentmem_cli.errors import UsageError
from agentmem_cli.support.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from agentmem_cli.api import AgentMem
    from agentmem_cli.search.evaluation import Comparison, Difference, JudgedQuery, Run
    from agentmem_cli.search.query import LabelledQuery, Mode


def evaluate(
    file: Annotated[
        str,
        typer.Argument(
            help="JSONL: query, relevant (a list of ids) and, where it is said, agent_id, user_id, run_id and "
            "memory_type, which filter; plain or gzip; - is standard input.",
            metavar="FILE",
        ),
    ],
    store: options.StoreOption = ".agentmem",
    modes: Annotated[
        str,
        typer.Option("--modes", help="Modes of search, separated by commas; the others are compared with the first."),
    ] = "hybrid,vector,text",
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="STORE", help="Another store of the same memories, for example with another model."
        ),
    ] = None,
    worst: Annotated[int, typer.Option("--worst", min=0, help="How many of the worst queries to list.")] = 5,
    model: options.ModelOption = None,
    model_path: options.ModelPathOption = None,
    embedder_url: options.EmbedderUrlOption = None,
    threads: options.ThreadsOption = None,
    device: options.DeviceOption = "cpu",
    json: options.JsonOption = False,
) -> None:
    """Measure how well searches find what labelled queries ask for: recall, MRR and nDCG, with 95 % intervals.

    Modes and stores are compared query by query. Queries without relevant ids are left out.
    """
    from agentmem_cli.search.query import read_queries

    chosen = _modes(modes)
    if against == store:
        raise UsageError(f"--against {against} is the store itself: give another one")
    queries = list(read_queries(file))
    if not any(query.relevant for query in queries):
        raise UsageError(f"{file}: none of its {len(queries)} queries has relevant ids: there is nothing to evaluate")
    with (
        nullcontext() if against is None else existing_store(against, threads=threads, device=device) as other,
        existing_store(store, model, model_path, embedder_url, threads, device) as mem,
    ):
        runs = _runs(mem, store, queries, chosen)
        if against is not None and other is not None:
            runs += _runs(other, against, queries, chosen)
    for warning in _warnings(runs):
        say(f"warning: {warning}")
    compared = _comparisons(runs, len(chosen))
    if json:
        print_json(_as_json(runs, compared))
    else:
        from agentmem_cli.report.store_tables import evaluation_report

        print_rich(*evaluation_report(runs, compared, worst))


def _modes(argument: str) -> "list[Mode]":
    from agentmem_cli.search.query import MODES

    names = [name.strip() for name in argument.split(",")]
    chosen = [mode for name in names for mode in MODES if mode == name]
    if len(chosen) < len(names) or len(set(chosen)) < len(chosen):
        raise UsageError(f"--modes {argument}: give different ones of {', '.join(MODES)}, separated by commas")
    return chosen


def _runs(mem: "AgentMem", store: str, queries: "Sequence[LabelledQuery]", modes: "Sequence[Mode]") -> "list[Run]":
    from agentmem_cli.search.evaluation import Run
    from agentmem_cli.search.query import Ranking

    with _patience(f"asking {len(queries)} queries of {store}"):
        evaluations = mem.evaluate(queries, [Ranking(mode) for mode in modes])
    return [Run(store, mem.model.name, mode, found) for mode, found in zip(modes, evaluations, strict=True)]


def _patience(what: str) -> "AbstractContextManager[object]":
    if not sys.stderr.isatty():
        return nullcontext()
    return stderr_console().status(printable(what))


def _warnings(runs: "Sequence[Run]") -> list[str]:
    return list(dict.fromkeys(f"{run.store}: {warning}" for run in runs for warning in run.evaluation.warnings))


def _comparisons(runs: "Sequence[Run]", modes: int) -> "list[Comparison]":
    """The other modes with the first, and the other store with the first in the same mode."""
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
            {"run": _name(found.run), "base": _name(found.base), "metrics": _differences(found.differences)}
            for found in compared
        ],
    }


def _name(run: "Run") -> dict[str, str]:
    return {"store": run.store, "model": run.model, "mode": run.mode}


def _judged(judged: "JudgedQuery") -> dict[str, object]:
    query, first = judged.query, judged.first
    said = {name: value for name, value in asdict(query.query.filter.scope).items() if value is not None}
    return {
        "query": query.query.text,
        **said,
        "relevant": query.relevant,
        **judged.figures,
        "first_relevant_rank": judged.first_rank,
        "first_hit": None if first is None else {"id": first.id, "score": first.score, "text": first.text},
    }


def _differences(by_metric: "Mapping[str, Difference]") -> dict[str, object]:
    return {
        name: {
            "mean": found.mean,
            **asdict(found.interval),
            "wins": found.wins,
            "losses": found.losses,
            "ties": found.ties,
        }
        for name, found in by_metric.items()
    }
