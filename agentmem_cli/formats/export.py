"""A benchmark's result -> the content of a file, by the file's ending."""

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Final

from agentmem_cli.bench.gate import Verdict
from agentmem_cli.bench.result import BenchResult
from agentmem_cli.bench.writing import as_bytes
from agentmem_cli.errors import UsageError
from agentmem_cli.formats.bench_document import bench_document
from agentmem_cli.formats.figure import check_matplotlib
from agentmem_cli.formats.markdown import markdown
from agentmem_cli.formats.rows import csv_text
from agentmem_cli.formats.wording import Words

JSON: Final = ".json"
_HTML: Final = ".html"


def check_ending(name: str) -> None:
    """Raises UsageError for a file whose ending names no format, or one that can't be made here."""
    ending = _ending(name)
    if ending not in _FORMATS:
        raise UsageError(f"--output {name}: the ending says which format, and is one of {', '.join(_FORMATS)}")
    if ending == _HTML:
        check_matplotlib()


def as_file(result: BenchResult, name: str, words: Words, verdicts: Sequence[Verdict] = ()) -> bytes:
    """The result as a file of this name has it, with what a gate says of it. Raises UsageError like `check_ending`."""
    check_ending(name)
    return _FORMATS[_ending(name)](result, words, verdicts)


def is_json(name: str) -> bool:
    """Whether a file of this name holds the result itself."""
    return _ending(name) == JSON


def _ending(name: str) -> str:
    return PurePath(name).suffix.lower()


def _json(result: BenchResult, _words: Words, _verdicts: Sequence[Verdict]) -> bytes:
    return as_bytes(result)


def _csv(result: BenchResult, _words: Words, _verdicts: Sequence[Verdict]) -> bytes:
    return csv_text(result).encode()


def _markdown(result: BenchResult, words: Words, verdicts: Sequence[Verdict]) -> bytes:
    return markdown(bench_document(result, words, verdicts)).encode()


def _html(result: BenchResult, words: Words, verdicts: Sequence[Verdict]) -> bytes:
    from agentmem_cli.formats.page import html
    from agentmem_cli.formats.plots import plots

    return html(bench_document(result, words, verdicts), plots(result, words)).encode()


_FORMATS: Final[dict[str, Callable[[BenchResult, Words, Sequence[Verdict]], bytes]]] = {
    JSON: _json,
    ".md": _markdown,
    ".csv": _csv,
    _HTML: _html,
}
