"""What commands with reports write besides the terminal: files, the summary of a CI run, JUnit XML."""

import os
from collections.abc import Callable, Sequence
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

VerdictFilesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--output", metavar="FILE", help="Write the verdicts to FILE, as .json, .md or .html. Repeat for more."
    ),
]
SummaryOption: TypeAlias = Annotated[
    bool,
    typer.Option("--github-summary", help=f"Append the report to ${_SUMMARY_VARIABLE}, which GitHub Actions sets."),
]
JunitOption: TypeAlias = Annotated[
    str | None, typer.Option("--junit", metavar="FILE", help="Write the verdicts to FILE, as JUnit XML.")
]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a command besides the terminal, and their language.

    None of them may be one of `inputs` or lie in the store in `store`.
    """

    files: Sequence[str]
    inputs: Sequence[str]
    words: Words
    github_summary: bool = False
    junit: str | None = None
    store: str | None = None

    def check(self, check_format: Callable[[str], None]) -> None:
        """Raises UsageError, before the command does its work, if an output can't be written.

        `check_format` raises it for the name of a file in a format that the report does not have.
        """
        for name in self.files:
            self._output(name).check()
        if self.junit is not None:
            self._output(self.junit, "--junit").check()
        if self.github_summary:
            self._summary().check()
        for name in self.files:
            check_format(name)

    def write_files(self, as_file: Callable[[str], bytes]) -> None:
        """Writes the files, JSON first: it holds everything. `as_file` gives the content for a name."""
        from agentmem_cli.report.export import is_json

        for name in sorted(self.files, key=is_json, reverse=True):
            self._output(name).write(as_file(name))

    def summarize(self, document: "Document") -> None:
        """Appends a report to the summary of the CI run, if that is asked for."""
        from agentmem_cli.report.markdown import markdown

        if self.github_summary:
            self._summary().write(markdown(document).encode())

    def write_junit(
        self, suite: str, verdicts: "Sequence[Verdict]", missing: "Sequence[str]" = (), *, strict: bool = False
    ) -> None:
        """Writes verdicts and missing metrics as JUnit XML, if that is asked for."""
        from agentmem_cli.report.export import junit_xml

        if self.junit is not None:
            self._output(self.junit, "--junit").write(junit_xml(suite, verdicts, missing, strict=strict))

    def _summary(self) -> "Output":
        name = os.environ.get(_SUMMARY_VARIABLE)
        if not name:
            raise UsageError(f"--github-summary: {_SUMMARY_VARIABLE} is not set: GitHub Actions sets it in its steps")
        return self._output(name, "--github-summary", appends=True)

    def _output(self, name: str, option: str = "--output", *, appends: bool = False) -> "Output":
        from agentmem_cli.cli.output_file import Output

        return Output(name, option, self.inputs, self.store, appends=appends)


ResultFilesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Write the result to FILE, as .json, .md, .csv, .html or .gab.json (for github-action-benchmark). Repeat "
        "for more. An interrupted run writes its results so far.",
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

    def write_result(self, measured: "Measured", *, strict: bool = False) -> None:
        """Writes all outputs of a result. JUnit XML has the verdicts on bounds, or else those on the targets."""
        from agentmem_cli.report.bench_report import bench_document
        from agentmem_cli.report.export import of_targets

        self.write_measured(measured)
        self.summarize(bench_document(measured, self.words))
        self.write_junit("agentmem bench", measured.verdicts or of_targets(measured), strict=strict)

    def write_verdicts(self, report: "GateReport", *, strict: bool = False) -> None:
        """Writes all outputs of a comparison. Raises AgentMemError."""
        from agentmem_cli.report.export import verdicts_as_file
        from agentmem_cli.report.gate_report import gate_document

        self.write_files(lambda name: verdicts_as_file(report, name, self.words))
        self.summarize(gate_document(report, self.words))
        self.write_junit("agentmem bench, new against base", report.verdicts, report.missing, strict=strict)
