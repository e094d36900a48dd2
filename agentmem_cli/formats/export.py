"""A benchmark's result, or a gate's verdicts -> the content of a file, by the file's ending."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import PurePath
from typing import Final

import orjson

from agentmem_cli.bench.gates import GateReport
from agentmem_cli.bench.result_file import as_bytes
from agentmem_cli.errors import UsageError
from agentmem_cli.formats.bench_document import bench_document
from agentmem_cli.formats.figure import check_matplotlib
from agentmem_cli.formats.gate_document import gate_document
from agentmem_cli.formats.markdown import markdown
from agentmem_cli.formats.measured import Measured
from agentmem_cli.formats.page import html
from agentmem_cli.formats.rows import csv_text
from agentmem_cli.formats.wording import Words

_JSON: Final = ".json"
_HTML: Final = ".html"


def check_result_file(name: str) -> None:
    """Raises UsageError for a file whose ending names no format of a result, or one that can't be made here."""
    _check(name, _OF_RESULTS)
    if _ending(name) == _HTML:
        check_matplotlib()


def check_verdict_file(name: str) -> None:
    """Raises UsageError for a file whose ending names no format of verdicts."""
    _check(name, _OF_VERDICTS)


def result_as_file(measured: Measured, name: str, words: Words) -> bytes:
    """The result, and what a gate says of it, as a checked file of this name has it."""
    return _OF_RESULTS[_ending(name)](measured, words)


def verdicts_as_file(report: GateReport, name: str, words: Words) -> bytes:
    """The verdicts as a checked file of this name has them."""
    return _OF_VERDICTS[_ending(name)](report, words)


def is_json(name: str) -> bool:
    """Whether a file of this name holds all of it."""
    return _ending(name) == _JSON


def _check(name: str, formats: Iterable[str]) -> None:
    if _ending(name) not in formats:
        raise UsageError(f"--output {name}: its ending says which format: {', '.join(formats)}")


def _ending(name: str) -> str:
    return PurePath(name).suffix.lower()


def _page(measured: Measured, words: Words) -> str:
    from agentmem_cli.formats.plots import plots

    return html(bench_document(measured, words), plots(measured, words))


def _report_as_json(report: GateReport) -> bytes:
    return orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


_OF_RESULTS: Final[dict[str, Callable[[Measured, Words], bytes]]] = {
    _JSON: lambda measured, words: as_bytes(measured.result),
    ".md": lambda measured, words: markdown(bench_document(measured, words)).encode(),
    ".csv": lambda measured, words: csv_text(measured.result).encode(),
    _HTML: lambda measured, words: _page(measured, words).encode(),
}
_OF_VERDICTS: Final[dict[str, Callable[[GateReport, Words], bytes]]] = {
    _JSON: lambda report, words: _report_as_json(report),
    ".md": lambda report, words: markdown(gate_document(report, words)).encode(),
    _HTML: lambda report, words: html(gate_document(report, words), []).encode(),
}
