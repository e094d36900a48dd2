"""Where `agentmem bench` and its sub-commands write what they found: files, the summary of a CI run, JUnit."""

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
        help="Write the result here, as .json, .md, .csv or .html; may be repeated. An interrupted run writes what it "
        "has.",
    ),
]
VerdictFilesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--output", metavar="FILE", help="Write the verdicts here, as .json, .md or .html; may be repeated."),
]
LangOption: TypeAlias = Annotated[Lang, typer.Option("--lang", help="The language of the report.")]
SummaryOption: TypeAlias = Annotated[
    bool,
    typer.Option("--github-summary", help=f"Append the report to ${_SUMMARY_VARIABLE}, as GitHub Actions sets it."),
]
JunitOption: TypeAlias = Annotated[
    str | None, typer.Option("--junit", metavar="FILE", help="Write the verdicts here, as JUnit XML.")
]


def inputs_of(workload: str, *others: str | None) -> list[str]:
    """The files and folders that a benchmark reads: its workload where that is a file, and those that options name."""
    from agentmem_cli.bench.workload import MIXED, PHASE4

    named = None if workload in (PHASE4, MIXED) else workload
    return [name for name in (named, *others) if name is not None]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written beside the terminal, in which language, by a command that reads `inputs`."""

    files: Sequence[str]
    inputs: Sequence[str]
    words: Words
    github_summary: bool = False
    junit: str | None = None

    def check_for_results(self) -> None:
        """Raises UsageError where something can't be written, before anybody waits for it."""
        from agentmem_cli.report.export import check_result_file

        self._check()
        for name in self.files:
            check_result_file(name)

    def check_for_verdicts(self) -> None:
        """The same for verdicts, which have other formats."""
        from agentmem_cli.report.export import check_verdict_file

        self._check()
        for name in self.files:
            check_verdict_file(name)

    def write_files(self, measured: "Measured") -> None:
        """Writes the files; JSON first, which has all that the others are made of. Raises AgentMemError."""
        from agentmem_cli.report.export import is_json, result_as_file

        for name in sorted(self.files, key=is_json, reverse=True):
            self._output(name).write(result_as_file(measured, name, self.words))

    def write_result(self, measured: "Measured") -> None:
        """Writes everything of a result; JUnit has the verdicts, or those of the targets where no bound is set."""
        from agentmem_cli.report.bench_report import bench_document
        from agentmem_cli.report.junit import of_targets

        self.write_files(measured)
        self._summarize(bench_document(measured, self.words))
        self._write_junit("agentmem bench", measured.verdicts or of_targets(measured), strict=False)

    def write_verdicts(self, report: "GateReport", *, strict: bool = False) -> None:
        """Writes everything of a comparison. Raises AgentMemError."""
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
            raise UsageError(f"--github-summary: {_SUMMARY_VARIABLE} is not set, as it is in a step of GitHub Actions")
        return self._output(name, "--github-summary", appends=True)

    def _output(self, name: str, option: str = "--output", *, appends: bool = False) -> "Output":
        from agentmem_cli.cli.output_file import Output

        return Output(name, option, self.inputs, appends=appends)
