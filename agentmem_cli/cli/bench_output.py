"""What `agentmem bench` and its sub-commands write besides the terminal."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from agentmem_cli.cli.report_output import Outputs
from agentmem_cli.report.translations import Lang

if TYPE_CHECKING:
    from agentmem_cli.bench.gates import GateReport
    from agentmem_cli.report.bench_report import Measured

ResultFilesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Write the result to FILE, as .json, .md, .csv or .html. Repeat for more. An interrupted run writes its "
        "results so far.",
    ),
]
LangOption: TypeAlias = Annotated[Lang, typer.Option("--lang", help="The language of the report.")]


def inputs_of(workload: str, *others: str | None) -> list[str]:
    """The files and folders that a benchmark reads: its workload, if that is a file, and those in `others`."""
    from agentmem_cli.bench.workload import MIXED, PHASE4

    named = None if workload in (PHASE4, MIXED) else workload
    return [name for name in (named, *others) if name is not None]


class BenchOutputs(Outputs):
    """The outputs of a benchmark or of a comparison of benchmarks."""

    __slots__ = ()

    def check_for_results(self) -> None:
        """Raises UsageError, before anything is measured, if an output can't be written."""
        from agentmem_cli.report.export import check_result_file

        self.check(check_result_file)

    def check_for_verdicts(self) -> None:
        """As `check_for_results`, for the formats of verdicts."""
        from agentmem_cli.report.export import check_verdict_file

        self.check(check_verdict_file)

    def write_measured(self, measured: "Measured") -> None:
        """Writes the files alone. Raises AgentMemError."""
        from agentmem_cli.report.export import result_as_file

        self.write_files(lambda name: result_as_file(measured, name, self.words))

    def write_result(self, measured: "Measured") -> None:
        """Writes all outputs of a result. JUnit XML has the verdicts on bounds, or else those on the targets."""
        from agentmem_cli.report.bench_report import bench_document
        from agentmem_cli.report.junit import of_targets

        self.write_measured(measured)
        self.summarize(bench_document(measured, self.words))
        self.write_junit("agentmem bench", measured.verdicts or of_targets(measured))

    def write_verdicts(self, report: "GateReport", *, strict: bool = False) -> None:
        """Writes all outputs of a comparison. Raises AgentMemError."""
        from agentmem_cli.report.export import verdicts_as_file
        from agentmem_cli.report.gate_report import gate_document

        self.write_files(lambda name: verdicts_as_file(report, name, self.words))
        self.summarize(gate_document(report, self.words))
        self.write_junit("agentmem bench, new against base", report.verdicts, strict=strict)
