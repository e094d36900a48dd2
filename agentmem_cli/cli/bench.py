"""`agentmem bench`: how fast this machine takes memories in."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.output import print_json, print_rich, say, stderr_console
from agentmem_cli.errors import UsageError

if TYPE_CHECKING:
    from agentmem_cli.bench.result import BenchResult

_LINE_EVERY_S: Final = 10.0


def bench(
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
    repeats: Annotated[int, typer.Option("--repeats", help="How often each thing is measured.")] = 5,
    warmup: Annotated[int, typer.Option("--warmup", help="How many rounds come before, and don't count.")] = 1,
    workload: Annotated[
        str,
        typer.Option("--workload", help="phase4 (the strings of the report this answers), mixed, or a JSONL file."),
    ] = "phase4",
    json: options.JsonOption = False,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write the result here, as JSON.")
    ] = None,
    quiet: options.QuietOption = False,
) -> None:
    """Measure how fast memories are taken in: parsed, embedded, durable and searchable, by batch size and one by one.

    Every repeat runs in a fresh store after a warm-up; the figures are medians.
    """
    from agentmem_cli.bench.runner import BenchOptions, run_benches
    from agentmem_cli.bench.workload import make_workload
    from agentmem_cli.embedding import catalog

    if models is not None and (model is not None or model_path is not None):
        raise UsageError("--models says which models are measured: leave out --model and --model-path")
    bench_options = BenchOptions(_sizes(sizes), compare, repeats, warmup)
    if output is not None and not Path(output).absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no such folder")
    if output is not None and Path(output).is_dir():
        raise UsageError(f"--output {output} is a folder: give a file in it")
    texts = make_workload(workload, max(bench_options.sizes), compare)
    with _steps(quiet) as on_step:
        on_step("loading the model")
        names = [model] if models is None else _models(models)

        def making(step: str, share: float) -> None:
            on_step(f"{step}, {share:.0%}")

        specs = [catalog.resolve(name, model_path, embedder_url, on_progress=making) for name in names]
        embedders = [catalog.load(spec, threads, device, embedder_url=embedder_url) for spec in specs]
        results = run_benches(embedders, texts, bench_options, on_step)
    result = results[0] if models is None else {"models": results}
    if output is not None:
        _write(result, output)
    if json:
        print_json(result)
    else:
        from agentmem_cli.report import bench_report, models_report

        print_rich(*(bench_report(results[0]) if models is None else models_report(results)))


def _sizes(argument: str) -> list[int]:
    try:
        return [int(size) for size in argument.split(",")]
    except ValueError as error:
        raise UsageError(f"--sizes {argument}: give whole numbers separated by commas, such as 10,100,1000") from error


def _models(argument: str) -> list[str]:
    names = [name.strip() for name in argument.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"--models {argument}: give different names separated by commas, such as minilm,minilm-static")
    return names


def _write(result: "BenchResult | dict[str, list[BenchResult]]", output: str) -> None:
    try:
        Path(output).write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise UsageError(f"--output {output}: can't be written: {error.strerror}") from error


@contextmanager
def _steps(quiet: bool) -> Iterator[Callable[[str], None]]:
    if quiet:
        yield lambda step: None
    elif sys.stderr.isatty():
        with stderr_console().status("starting") as status:
            yield status.update
    else:
        yield _LinesNowAndThen()


class _LinesNowAndThen:
    """A line in a log at most every ten seconds."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, step: str) -> None:
        if time.monotonic() - self._said_at >= _LINE_EVERY_S:
            self._said_at = time.monotonic()
            say(f"bench: {step}")
