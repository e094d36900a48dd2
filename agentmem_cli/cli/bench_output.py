"""What `agentmem bench` and its sub-commands write: files, the summary of a CI run, JUnit XML."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from agentmem_cli.errors import UsageError
from agentmem_cli.report.translations import Lang, Words

if TYPE_CHECKING:
    from agentmem_cli.bench.gates import GateReport
    from agentmem_cli.bench.verdict import Verdict
    from agentmem_cli.cli.output_file import Output
    from agentmem_cli.report.bench_report import Measured
    from agentmem_cli.report.document import Document

_SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"

ResultFilesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Write the result to FILE, as .json, .md, .csv or .html. Repeat for more. An interrupted run writes its "
        "results so far.",
    ),
]
VerdictFilesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--output", metavar="FILE", help="Write the verdicts to FILE, as .json, .md or .html. Repeat for more."
    ),
]
LangOption: TypeAlias = Annotated[Lang, typer.Option("--lang", help="The language of the report.")]
SummaryOption: TypeAlias = Annotated[
    bool,
    typer.Option("--github-summary", help=f"Append the report to ${_SUMMARY_VARIABLE}, which GitHub Actions sets."),
]
JunitOption: TypeAlias = Annotated[
    str | None, typer.Option("--junit", metavar="FILE", help="Write the verdicts to FILE, as JUnit XML.")
]


def inputs_of(workload: str, *others: str | None) -> list[str]:
    """The files and folders that a benchmark reads: its workload, if that is a file, and those in `others`."""
    from agentmem_cli.bench.workload import MIXED, PHASE4

    named = None if workload in (PHASE4, MIXED) else workload
    return [name for name in (named, *others) if name is not None]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a command besides the terminal, and their language. None of them may be one of `inputs`."""

    files: Sequence[str]
    inputs: Sequence[str]
    words: Words
    github_summary: bool = False
    junit: str | None = None

    def check_for_results(self) -> None:
        """Raises UsageError, before anything is measured, if an output can't be written."""
        from agentmem_cli.report.export import check_result_file

        self._check()
        for name in self.files:
            check_result_file(name)

    def check_for_verdicts(self) -> None:
        """As `check_for_results`, for the formats of verdicts."""
        from agentmem_cli.report.export import check_verdict_file

        self._check()
        for name in self.files:
            check_verdict_file(name)

    def write_files(self, measured: "Measured") -> None:
        """Writes the files, JSON first: it holds everything. Raises AgentMemError."""
        from agentmem_cli.report.export import is_json, result_as_file

        for name in sorted(self.files, key=is_json, reverse=True):
            self._output(name).write(result_as_file(measured, name, self.words))

    def write_result(self, measured: "Measured") -> None:
        """Writes all outputs of a result. JUnit XML has the verdicts on bounds, or else those on the targets."""
        from agentmem_cli.report.bench_report import bench_document
        from agentmem_cli.report.junit import of_targets

        self.write_files(measured)
        self._summarize(bench_document(measured, self.words))
        self._write_junit("agentmem bench", measured.verdicts or of_targets(measured), strict=False)

    def write_verdicts(self, report: "GateReport", *, strict: bool = False) -> None:
        """Writes all outputs of a comparison. Raises AgentMemError."""
        from agentmem_cli.report.export import verdicts_as_file
        from agentmem_cli.report.gate_report import gate_document

        for name in self.files:
            self._output(name).write(verdicts_as_file(report, name, self.words))
        self._summarize(gate_document(report, self.words))
        self._write_junit("agentmem bench, new against base", report.verdicts, strict=strict)

    def _check(self) -> None:
        for name in self.files:
            self._output(name).check()
        if self.junit is not None:
            self._output(self.junit, "--junit").check()
        if self.github_summary:
            self._summary().check()

    def _summarize(self, document: "Document") -> None:
        from agentmem_cli.report.markdown import markdown

        if self.github_summary:
            self._summary().write(markdown(document).encode())

    def _write_junit(self, suite: str, verdicts: "Sequence[Verdict]", *, strict: bool) -> None:
        from agentmem_cli.report.junit import junit_xml

        if self.junit is not None:
            self._output(self.junit, "--junit").write(junit_xml(suite, verdicts, strict=strict))

    def _summary(self) -> "Output":
        name = os.environ.get(_SUMMARY_VARIABLE)
        if not name:
            raise UsageError(f"--github-summary: {_SUMMARY_VARIABLE} is not set: GitHub Actions sets it in its steps")
        return self._output(name, "--github-summary", appends=True)

    def _output(self, name: str, option: str = "--output", *, appends: bool = False) -> "Output":
        from agentmem_cli.cli.output_file import Output

        return Output(name, option, self.inputs, appends=appends)
