"""Progress of an ingest on stderr: a bar, occasional lines, or JSON lines."""

import re
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final

import orjson

from agentmem_cli.cli.output import say, stderr_console
from agentmem_cli.cli.output_file import Output
from agentmem_cli.errors import RejectedLineError
from agentmem_cli.ingest.options import Observer, Progress
from agentmem_cli.records.memory import Position, Rejection
from agentmem_cli.support.safe_text import inert_json, printable

if TYPE_CHECKING:
    from rich.progress import TaskID

_LINE_EVERY_S: Final = 10.0
_TELLING_SHARE: Final = 0.05  # of a file, from which on its rate foretells the time left
_MOST_SHOWN: Final = 20  # rejected lines, and then kinds of reasons
_VARIES: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\d+')  # from line to line, for one kind of reason


class View(AbstractContextManager["View"], ABC):
    """Shows the progress of an ingest; between commits only with `shows_embedding`."""

    shows_embedding: bool = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, file: str, size_bytes: int | None) -> None:
        """A file has been opened."""

    def embedding(self, source_bytes: int) -> None:
        """So many bytes of the file are embedded."""

    @abstractmethod
    def committed(self, progress: Progress) -> None:
        """A batch is durable."""

    def line(self, text: str) -> None:
        """Prints a line next to the progress."""
        print(printable(text), file=sys.stderr, flush=True)


class IngestObserver(Observer, AbstractContextManager["IngestObserver"]):
    """Passes commits to a view, and prints rejected lines and writes them to a file.

    The file is replaced if the ingest completes or stops at a rejected line; otherwise the old file stays.
    """

    def __init__(self, view: View, rejects: Output | None, *, quiet: bool, names_rejected: bool) -> None:
        """With `quiet`, it leaves out everything but rejections and warnings."""
        self.stored: int = 0
        self.watches_embedding: bool = view.shows_embedding
        self._view = view
        self._quiet = quiet
        self._rejections = _Rejections() if names_rejected else None
        self._stack = ExitStack()
        self._rejects = None if rejects is None else self._stack.enter_context(rejects.opened())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rejections is not None:
            for line in self._rejections.summary(complete=self._rejects is not None):
                self._view.line(line)
        if isinstance(error, RejectedLineError):
            self._stack.close()
        else:
            self._stack.__exit__(kind, error, trace)

    def started(self, file: str, earlier: Position | None, size_bytes: int | None) -> None:
        if earlier is not None and not earlier.complete and not self._quiet:
            self._view.line(f"{file}: an earlier ingest stopped early; its memories are not embedded again")
        self._view.started(file, size_bytes)

    def noted(self, text: str, *, warning: bool) -> None:
        if warning or not self._quiet:
            self._view.line(text)

    def rejected(self, rejection: Rejection) -> None:
        if self._rejections is not None and self._rejections.is_shown(rejection):
            self._view.line(f"{rejection.place}: rejected: {rejection.reason}")
        if self._rejects is not None:
            row = {
                "file": rejection.file,
                rejection.unit: rejection.line,
                "reason": rejection.reason,
                "raw": rejection.raw.decode(errors="backslashreplace"),
            }
            self._rejects.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def embedding(self, source_bytes: int) -> None:
        self._view.embedding(source_bytes)

    def committed(self, progress: Progress) -> None:
        self.stored = progress.stored
        self._view.committed(progress)


class _Rejections:
    """Counts rejections by kind of reason; the first are shown, and the others summed up."""

    def __init__(self) -> None:
        self._shown = 0
        self._others: Counter[str] = Counter()
        self._examples: dict[str, str] = {}  # a reason of each kind

    def is_shown(self, rejection: Rejection) -> bool:
        """Counts a rejection, and tells whether it is one of the first."""
        if self._shown < _MOST_SHOWN:
            self._shown += 1
            return True
        kind = _VARIES.sub("", rejection.reason)
        if kind not in self._examples:
            kind = kind if len(self._examples) < _MOST_SHOWN else ""
            self._examples.setdefault(kind, rejection.reason if kind else "other reasons")
        self._others[kind] += 1
        return False

    def summary(self, *, complete: bool) -> Iterator[str]:
        """Lines about the rejections that were not shown; `complete` if a file has them all."""
        if self._others:
            advice = "" if complete else "; --rejects FILE writes all of them"
            yield f"{self._others.total():,} more were rejected, not shown here{advice}:"
            for kind, count in self._others.most_common():
                yield f"  {count:,} times: {self._examples[kind]}"


class NoView(View):
    """Shows nothing."""

    def committed(self, progress: Progress) -> None:
        return None


class JsonView(View):
    """One JSON object per commit."""

    def committed(self, progress: Progress) -> None:
        row = {
            "event": "committed",
            "file": progress.position.file,
            "line": progress.position.line,
            "memories": progress.stored,
        }
        print(inert_json(orjson.dumps(row).decode()), file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        # Messages are JSON lines too, so that programs can parse the stream.
        row = {"event": "message", "message": text}
        print(inert_json(orjson.dumps(row).decode()), file=sys.stderr, flush=True)


class LinesView(View):
    """Occasional lines, for logs."""

    def __init__(self) -> None:
        self._start = self._shown_at = time.monotonic()

    def committed(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._shown_at >= _LINE_EVERY_S:
            self._shown_at = now
            stored, line = progress.stored, progress.position.line
            say(f"{progress.position.file}: line {line}, {stored} memories, {stored / (now - self._start):.0f}/s")


class BarView(View):
    """A Rich bar: share of the file that is embedded, memories/s, tokens/s and, after 5 %, time left."""

    shows_embedding = True

    def __init__(self) -> None:
        from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar: RichProgress = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rates]}", markup=False),
            TextColumn("{task.fields[left]}", markup=False),
            console=stderr_console(),
            transient=True,
        )
        self._task: TaskID | None = None
        self._start = self._started_at = time.monotonic()
        self._size_bytes: int | None = None

    def __enter__(self) -> "BarView":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def started(self, file: str, size_bytes: int | None) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(printable(file), total=size_bytes, rates="starting", left="")
        self._started_at = time.monotonic()
        self._size_bytes = size_bytes

    def embedding(self, source_bytes: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=source_bytes, left=self._left(source_bytes))

    def committed(self, progress: Progress) -> None:
        if self._task is None:
            return
        spent_s = max(time.monotonic() - self._start, 1e-9)
        report = progress.report
        rates = f"{progress.stored} memories, {progress.stored / spent_s:.0f}/s, {report.tokens / spent_s:.0f} tokens/s"
        self._bar.update(self._task, rates=rates)
        self.embedding(max(progress.source_bytes, int(self._bar.tasks[0].completed)))

    def line(self, text: str) -> None:
        self._bar.console.print(printable(text))

    def _left(self, source_bytes: int) -> str:
        """The time left, from the rate since the file was opened; empty as long as little is known."""
        if not self._size_bytes or source_bytes < _TELLING_SHARE * self._size_bytes:
            return ""
        spent_s = time.monotonic() - self._started_at
        left_s = round(spent_s * (self._size_bytes - source_bytes) / source_bytes)
        return f"{timedelta(seconds=left_s)} left"


def view_for(progress: str) -> View:
    """The view for `--progress`; `auto` is a bar on a terminal and occasional lines elsewhere."""
    if progress == "none":
        return NoView()
    if progress == "jsonl":
        return JsonView()
    return BarView() if sys.stderr.isatty() else LinesView()
