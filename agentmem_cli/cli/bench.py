"""`agentmem bench`: how fast this machine takes memories in."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from agentmem_cli.cli import bench_gates, bench_output, options
from agentmem_cli.cli.bench_output import Outputs
from agentmem_cli.cli.output import print_json, print_rich
from agentmem_cli.cli.progress import steps_view
from agentmem_cli.errors import AgentMemError, UsageError
from agentmem_cli.report.translations import Words
from agentmem_cli.support.failpoints import slowdown

if TYPE_CHECKING:
    from agentmem_cli.bench.measure import Labelled
    from agentmem_cli.bench.result import BenchResult
    from agentmem_cli.bench.runner import Bench, Subject
    from agentmem_cli.embedding.base import Device
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentmem_cli.bench.result import BenchResult


def show(
    result: Annotated[str, typer.Argument(metavar="RESULT", help="A result of bench --output FILE.json.")],
    json: options.JsonOption = False,
    output: bench_output.ResultFilesOption = None,
    lang: bench_output.LangOption = "en",
    github_summary: bench_output.SummaryOption = False,
    junit: bench_output.JunitOption = None,
) -> None:
    """Show a result that was written as JSON, and write it in other formats."""
    from agentmem_cli.bench.result_file import read_file
    from agentmem_cli.report.bench_report import with_figures

    words = Words(lang)
    outputs = Outputs(output or [], [result], words, github_summary, junit)
    outputs.check_for_results()
    found = read_file(result)
    measured = with_figures(found)
    outputs.write_result(measured)
    if json:
        from agentmem_cli.bench.result_file import as_document

        print_json(as_document(found))
    else:
        from agentmem_cli.report.terminal import bench_report

        print_rich(*bench_report(measured, words))


app = typer.Typer(rich_markup_mode=None)
app.command("compare")(bench_gates.compare)
app.command("ab")(bench_gates.ab)
app.command("show")(show)


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Batch sizes, 10 to 1000, separated by commas.")
    ] = "10,50,100,500,1000",
    model: options.ModelOption = None,
    model_path: options.ModelPathOption = None,
    models: Annotated[
        str | None,
        typer.Option("--models", help="Several models, separated by commas: measured in turn, side by side."),
    ] = None,
    threads: options.ThreadsOption = None,
    device: options.DeviceOption = "cpu",
    embedder_url: options.EmbedderUrlOption = None,
    compare: Annotated[
        int, typer.Option("--compare", help="How many memories to add one by one and in one batch, 10 to 1000.")
    ] = 100,
    repeats: Annotated[int, typer.Option("--repeats", help="How often each measurement is repeated.")] = 5,
    warmup: Annotated[
        int, typer.Option("--warmup", help="How many warm-up rounds to run first; they do not count.")
    ] = 1,
    workload: Annotated[
        str,
        typer.Option("--workload", help="phase4 (short strings of an earlier report), mixed, or a JSONL file."),
    ] = "phase4",
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="SIZES",
            help="Also grow a store to these sizes, such as 1000,10000,100000, and measure it.",
        ),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Also answer labelled queries (see eval) from the --workload file, and measure the answers.",
        ),
    ] = None,
    min_ops: bench_gates.MinOpsOption = None,
    max_ms: bench_gates.MaxMsOption = None,
    min_speedup: bench_gates.MinSpeedupOption = None,
    min_recall: bench_gates.MinRecallOption = None,
    json: options.JsonOption = False,
    output: bench_output.ResultFilesOption = None,
    lang: bench_output.LangOption = "en",
    github_summary: bench_output.SummaryOption = False,
    junit: bench_output.JunitOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Measure how fast memories are taken in: parsed, embedded, durable and searchable, by batch size and one by one.

    Every repeat runs in a fresh store after a warm-up; the figures are medians with 95 % intervals. At the end each
    model fills a store in a process of its own, for its cold start, its searches and its memory.

    A bound on a figure, given here or in [tool.agentmem.gate] of pyproject.toml, makes it end with code 4 if missed.
    """
    if context.invoked_subcommand is not None:
        bench_gates.refuse_options_of(context)
        return
    from agentmem_cli.bench.ab import in_turn
    from agentmem_cli.bench.options import BenchOptions
    from agentmem_cli.bench.runner import Bench
    from agentmem_cli.bench.workload import make_workload
    from agentmem_cli.report.bench_report import with_figures
    from agentmem_cli.support.machine import usable_cores

    if models is not None and (model is not None or model_path is not None):
        raise UsageError("--models says which models are measured: leave out --model and --model-path")
    words = Words(lang)
    inputs = bench_output.inputs_of(workload, queries, model_path, bench_gates.PROJECT)
    outputs = Outputs(output or [], inputs, words, github_summary, junit)
    outputs.check_for_results()
    bench_options = BenchOptions(
        _numbers("--sizes", sizes),
        compare,
        repeats,
        warmup,
        scale=[] if scale is None else _numbers("--scale", scale),
        threads=threads or usable_cores(),
        device=device,
        labelled=None if queries is None else _labelled(workload, queries),
    )
    bounds = bench_gates.wanted_bounds(
        {"min-ops": min_ops, "max-ms": max_ms, "min-speedup": min_speedup, "min-recall": min_recall}, bench_options
    )
    slowdown()
    texts = make_workload(workload, bench_options.memories, compare)
    with steps_view(quiet) as on_step:
        names = [model] if models is None else _names(models)
        subjects = _subjects(names, model_path, threads, device, embedder_url, on_step)
        result = _run(Bench(subjects, texts, bench_options, in_turn(on_step)), outputs)
    try:
        verdicts = bench_gates.checked(result, bounds)
    except UsageError:
        outputs.write_files(with_figures(result))  # what was measured is kept, whatever a gate wants beside it
        raise
    measured = with_figures(result, verdicts)
    outputs.write_result(measured)
    if json:
        from agentmem_cli.bench.result_file import as_document

        print_json({**as_document(result), **({"gate": verdicts} if verdicts else {})})
    else:
        from agentmem_cli.report.terminal import bench_report

        print_rich(*bench_report(measured, words))
    bench_gates.close_if_missed(verdicts)


def _labelled(workload: str, queries: str) -> "Labelled":
    from agentmem_cli.bench.measure import labelled
    from agentmem_cli.bench.workload import MIXED, PHASE4

    if workload in (PHASE4, MIXED):
        raise UsageError(f"--queries needs memories with ids, which {workload} does not have: give --workload FILE")
    return labelled(workload, queries)


def _subjects(
    names: "Sequence[str | None]",
    model_path: str | None,
    threads: int | None,
    device: "Device",
    embedder_url: str | None,
    on_step: Callable[[str], None],
) -> "list[Subject]":
    """The models, found or made, but not loaded."""
    from agentmem_cli.bench.growth import grow_alone, how
    from agentmem_cli.bench.runner import Subject
    from agentmem_cli.embedding import catalog

    def making(step: str, share: float) -> None:
        on_step(f"{step}, {share:.0%}")

    specs = [catalog.resolve(name, model_path, embedder_url, on_progress=making) for name in names]
    return [
        Subject(
            partial(catalog.load, spec, threads, device, embedder_url=embedder_url),
            partial(grow_alone, how(spec, threads, device, embedder_url)),
        )
        for spec in specs
    ]


def _run(bench: "Bench", outputs: Outputs) -> "BenchResult":
    """Runs it, and writes what there is of a result when it is cut short."""
    from agentmem_cli.report.bench_report import with_figures

    try:
        return bench.run()
    except BaseException:
        if bench.has_samples:
            with suppress(AgentMemError):  # why it was cut short is what the user is told
                outputs.write_files(with_figures(bench.result()))
        raise


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
