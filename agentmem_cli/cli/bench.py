"""`agentmem bench`: how fast this machine ingests memories.

The functions import the benchmark and the reports, which bring numpy and msgspec: `bench --help` needs neither.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentmem_cli.cli import bench_gates, options, report_output
from agentmem_cli.cli.help import Command, Group
from agentmem_cli.cli.output import print_json, print_rich, steps_view
from agentmem_cli.cli.report_output import BenchOutputs, JunitOption, SummaryOption
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import AgentMemError, UsageError
from agentmem_cli.report.translations import Words
from agentmem_cli.support.failpoints import slowdown

if TYPE_CHECKING:
    from agentmem_cli.bench.measure import Labelled
    from agentmem_cli.bench.result import BenchResult
    from agentmem_cli.bench.runner import Bench, Subject
    from agentmem_cli.bench.workload import Workload


def show(
    result: Annotated[str, typer.Argument(metavar="RESULT", help="A result that bench --output FILE.json wrote.")],
    json: options.JsonOption = False,
    output: report_output.ResultFilesOption = None,
    lang: report_output.LangOption = "en",
    github_summary: SummaryOption = False,
    junit: JunitOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Show a result that bench wrote as JSON, or convert it to other formats."""
    from agentmem_cli.bench.result_file import read_file
    from agentmem_cli.report.bench_report import with_figures

    words = Words(lang)
    outputs = BenchOutputs(output or [], [result], words, github_summary, junit)
    outputs.check_for_results()
    contents = read_file(result)
    measured = with_figures(contents)
    outputs.write_result(measured)
    if json:
        from agentmem_cli.bench.result_file import as_document

        print_json(as_document(contents))
    else:
        from agentmem_cli.report.terminal import bench_report

        print_rich(*bench_report(measured, words))


app: Final = typer.Typer(rich_markup_mode=None, cls=Group)
app.command("compare", cls=Command)(bench_gates.compare)
app.command("ab", cls=Command)(bench_gates.ab)
app.command("show", cls=Command)(show)


@app.callback(invoke_without_command=True)
@options.expanded
def bench(
    *,
    context: typer.Context,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Batch sizes, 10 to 1000, separated by commas.")
    ] = "10,50,100,500,1000",
    model: options.ModelOptions,
    models: Annotated[
        str | None,
        typer.Option("--models", help="Several models, separated by commas, measured in turn."),
    ] = None,
    singles: Annotated[
        int, typer.Option("--singles", help="The number of memories to add one by one and in one batch, 10 to 1000.")
    ] = 100,
    repeats: Annotated[
        int, typer.Option("--repeats", help="The number of times that each measurement is repeated.")
    ] = 5,
    warmup: Annotated[int, typer.Option("--warmup", help="The number of warm-up rounds, which do not count.")] = 1,
    workload: Annotated[
        str,
        typer.Option("--workload", help="phase4 (the short strings of an earlier report), mixed, or a JSONL file."),
    ] = "phase4",
    repeats_of_text: Annotated[
        float,
        typer.Option(
            "--repeats-of-text",
            metavar="SHARE",
            help="The share of the memories of a batch that have the text of another one, such as 0.5.",
        ),
    ] = 0.0,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="SIZES",
            help="Also measure a store that grows to these sizes, such as 1000,10000,100000.",
        ),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Also measure the answers to labelled queries (see eval) from the memories of the --workload file.",
        ),
    ] = None,
    clients: Annotated[
        str | None,
        typer.Option(
            "--clients",
            metavar="NUMBERS",
            help="Also measure adds and searches by these numbers of threads at once, such as 1,4,10,32.",
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option("--processes", metavar="N", help="Also measure N processes that search while another one adds."),
    ] = 0,
    ef: Annotated[
        str | None,
        typer.Option(
            "--ef",
            metavar="VALUES",
            help="Also measure recall against latency of the graph with these values of ef, such as 16,32,64,128,256.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help="Measure stores in a database, postgresql://USER@HOST/DB, in schemas of their own that are dropped.",
        ),
    ] = None,
    on: options.OnOption = None,
    workers: Annotated[
        str | None,
        typer.Option(
            "--workers",
            metavar="NUMBERS",
            help="With --on: also measure ingests by these numbers of workers, such as 1,2,4.",
        ),
    ] = None,
    advise: Annotated[
        bool,
        typer.Option("--advise", help="Also try what would make it faster, in turn with the base: a minute or two."),
    ] = False,
    server_latency: Annotated[
        float,
        typer.Option(
            "--server-latency",
            min=0,
            max=10_000,
            metavar="MS",
            help="With --advise: try an embeddings server that answers each request after this time.",
        ),
    ] = 50.0,
    min_ops: bench_gates.MinOpsOption = None,
    max_ms: bench_gates.MaxMsOption = None,
    min_speedup: bench_gates.MinSpeedupOption = None,
    min_recall: bench_gates.MinRecallOption = None,
    strict: bench_gates.StrictOption = False,
    max_time: bench_gates.MaxTimeOption = None,
    json: options.JsonOption = False,
    output: report_output.ResultFilesOption = None,
    lang: report_output.LangOption = "en",
    github_summary: SummaryOption = False,
    junit: JunitOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Measure how fast memories are ingested.

    The time runs from the bytes of a line until the memory is durable and searchable, by batch size and one by one.
    Every repeat uses a fresh store, after a warm-up; the figures are medians with 95 % intervals. At the end, each
    model fills a store in a separate process, which measures its cold start, its searches and its memory use.

    A bound on a figure is an option here or a line of [tool.agentmem.gate] in pyproject.toml. It is met or missed if
    the whole 95 % interval says so, and not certain otherwise. The exit code is 4 if a bound is missed.
    """
    if context.invoked_subcommand is not None:
        bench_gates.refuse_options_of(context)
        return
    from agentmem_cli.bench.ab import in_turn
    from agentmem_cli.bench.runner import Bench
    from agentmem_cli.bench.workload import BenchOptions, make_workload
    from agentmem_cli.report.bench_report import with_figures
    from agentmem_cli.support.machine import usable_cores

    if models is not None and (model.name is not None or model.path is not None):
        raise UsageError("--models replaces --model and --model-path: leave those out")
    if advise and models is not None:
        raise UsageError("--advise is about one model: give --model in place of --models")
    if advise and store is not None:
        raise UsageError("--advise tries remedies on stores in a folder: leave out --store, or --advise")
    for option, given in (("--clients", clients), ("--processes", processes), ("--ef", ef), ("--on", on)):
        if given and models is not None:
            raise UsageError(f"{option} is about one model: give --model in place of --models")
    words = Words(lang)
    inputs = report_output.inputs_of(workload, queries, model.path, bench_gates.PROJECT)
    outputs = BenchOutputs(output or [], inputs, words, github_summary, junit)
    outputs.check_for_results()
    bench_options = BenchOptions(
        _numbers("--sizes", sizes),
        singles,
        repeats,
        warmup,
        scale=[] if scale is None else _numbers("--scale", scale),
        threads=model.threads or usable_cores(),
        device=model.device,
        labelled=None if queries is None else _labelled(workload, queries),
        max_time_s=max_time,
        clients=[] if clients is None else _numbers("--clients", clients),
        processes=processes,
        ef=[] if ef is None else _numbers("--ef", ef),
        store=store,
        on=on,
        workers=[] if workers is None else _numbers("--workers", workers),
    )
    bounds = bench_gates.bounds_of(
        {"min-ops": min_ops, "max-ms": max_ms, "min-speedup": min_speedup, "min-recall": min_recall}, bench_options
    )
    slowdown()
    texts = make_workload(workload, bench_options.memories, singles, repeats_ratio=repeats_of_text)
    with steps_view(quiet) as on_step:
        choices = [model] if models is None else [replace(model, name=name) for name in _names(models)]
        subjects = [_subject(choice, on_step) for choice in choices]
        is_decided = partial(bench_gates.is_decided, bounds=bounds)
        result = _run(Bench(subjects, texts, bench_options, in_turn(on_step), is_decided), outputs)
        if advise:
            result = _advised(result, model, texts, on_step, server_latency)
    try:
        verdicts = bench_gates.checked(result, bounds)
    except UsageError:
        outputs.write_measured(with_figures(result))  # keep the measurements even if a bound is invalid
        raise
    measured = with_figures(result, verdicts)
    outputs.write_result(measured, strict=strict)
    if json:
        from agentmem_cli.bench.result_file import as_document

        print_json({**as_document(result), **({"gate": verdicts} if verdicts else {})})
    else:
        from agentmem_cli.report.terminal import bench_report

        print_rich(*bench_report(measured, words))
    bench_gates.require_met(verdicts, result.repeats, strict)


def _labelled(workload: str, queries: str) -> "Labelled":
    from agentmem_cli.bench.measure import labelled
    from agentmem_cli.bench.workload import MIXED, PHASE4

    if workload in (PHASE4, MIXED):
        raise UsageError(f"--queries needs memories with ids, which {workload} does not have: give --workload FILE")
    return labelled(workload, queries)


def _subject(choice: ModelChoice, on_step: Callable[[str], None]) -> "Subject":
    """A model to measure: it is downloaded or made now if necessary, and loaded later."""
    from agentmem_cli.bench.growth import grow_alone
    from agentmem_cli.bench.runner import Subject
    from agentmem_cli.embedding import catalog

    spec = catalog.resolve(choice, on_progress=lambda step, share: on_step(f"{step}, {share:.0%}"))
    return Subject(partial(catalog.load, spec, choice), partial(grow_alone, spec, choice), choice)


def _run(bench: "Bench", outputs: BenchOutputs) -> "BenchResult":
    """Runs a benchmark. If it is interrupted, writes the result so far."""
    from agentmem_cli.report.bench_report import with_figures

    try:
        return bench.run()
    except BaseException:
        if bench.has_samples:
            with suppress(AgentMemError):  # the reason of the interruption matters more
                outputs.write_measured(with_figures(bench.result()))
        raise


def _advised(
    result: "BenchResult",
    choice: ModelChoice,
    texts: "Workload",
    on_step: Callable[[str], None],
    server_latency_ms: float,
) -> "BenchResult":
    from agentmem_cli.bench.place import Place
    from agentmem_cli.bench.remedies import advised

    with TemporaryDirectory(prefix="agentmem-bench-") as folder:
        return advised(result, choice, texts, Place(Path(folder)), on_step, server_latency_ms)


def _numbers(option: str, argument: str) -> list[int]:
    try:
        return [int(number) for number in argument.split(",")]
    except ValueError as error:
        raise UsageError(f"{option} {argument}: give whole numbers separated by commas, such as 10,100,1000") from error


def _names(argument: str) -> list[str]:
    names = [name.strip() for name in argument.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"--models {argument}: give different names separated by commas, such as minilm,minilm-static")
    return names
