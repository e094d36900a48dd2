"""`agentmem bench show`: a result that was written, shown again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentmem_cli.cli import bench_output, options
from agentmem_cli.cli.bench_output import Outputs
from agentmem_cli.cli.output import print_json, print_rich
from agentmem_cli.errors import UsageError
from agentmem_cli.report.translations import Words

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
    """Show a result that was written as JSON, of this version or an earlier one, and write it in other formats."""
    from agentmem_cli.report.bench_report import with_figures

    words = Words(lang)
    outputs = Outputs(output or [], [result], words, github_summary, junit)
    outputs.check_for_results()
    found = read(result)
    measured = with_figures(found)
    outputs.write_result(measured)
    if json:
        from agentmem_cli.bench.result_file import as_document

        print_json(as_document(found))
    else:
        from agentmem_cli.report.terminal import bench_report

        print_rich(*bench_report(measured, words))


def read(file: str) -> "BenchResult":
    """The result in a file. Raises UsageError."""
    from agentmem_cli.bench.result_file import read_result

    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: can't be read: {error.strerror}") from error
    return read_result(content, file)
