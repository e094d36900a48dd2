"""Progress of making a model and of benchmarks, on stderr: a bar on a terminal, otherwise occasional lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from agentmem_cli.cli.output import say, stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from agentmem_cli.embedding.base import OnProgress

_LINE_EVERY_S: Final = 10.0


@contextmanager
def making_view(quiet: bool = False) -> "Iterator[OnProgress]":
    """A callback for the progress of making a model; shows nothing before its first call."""
    if quiet:
        yield lambda step, share: None
    elif sys.stderr.isatty():
        with ExitStack() as shown:
            yield _Bar(shown)
    else:
        yield _Lines()


class _Bar:
    """A Rich bar that is removed after the last step."""

    def __init__(self, shown: ExitStack) -> None:
        self._shown = shown
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, step: str, share: float) -> None:
        if self._bar is None or self._task is None:
            from rich.progress import Progress

            self._bar = self._shown.enter_context(Progress(console=stderr_console(), transient=True))
            self._task = self._bar.add_task("", total=1.0)
        self._bar.update(self._task, description=f"making the static model: {step}", completed=share)
        if share >= 1:
            self._shown.close()


class _Lines:
    """A first line, then a line at most every ten seconds."""

    def __init__(self) -> None:
        self._said_at: float | None = None

    def __call__(self, step: str, share: float) -> None:
        if self._said_at is None:
            say("making the static model: this takes a minute or two, once")
        elif time.monotonic() - self._said_at < _LINE_EVERY_S:
            return
        else:
            say(f"making the static model: {step}, {share:.0%}")
        self._said_at = time.monotonic()


@contextmanager
def steps_view(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A callback for the steps of a benchmark."""
    if quiet:
        yield lambda step: None
    elif sys.stderr.isatty():
        with stderr_console().status("starting") as status:
            yield status.update
    else:
        yield _StepLines()


class _StepLines:
    """A line at most every ten seconds."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, step: str) -> None:
        if time.monotonic() - self._said_at >= _LINE_EVERY_S:
            self._said_at = time.monotonic()
            say(f"bench: {step}")
