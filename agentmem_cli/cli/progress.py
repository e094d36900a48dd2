"""What is shown while a model is made: a bar on a terminal, a line now and then elsewhere; all on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from agentmem_cli.cli.output import say, stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from agentmem_cli.embedding.base import OnProgress
from collections.abc import Callable

_LINE_EVERY_S: Final = 10.0


@contextmanager
def making_view(quiet: bool = False) -> "Iterator[OnProgress]":
    """What to tell of the progress of a model that is made; shows nothing until there is some."""
    if quiet:
        yield lambda step, share: None
    elif sys.stderr.isatty():
        with ExitStack() as shown:
            yield _Bar(shown)
    else:
        yield _Lines()


class _Bar:
    """A Rich bar, from the first step to the last: an ingest that follows shows its own."""

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
    """A line in a log at first, and then at most every ten seconds."""

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


_STEP_EVERY_S: Final = 10.0


@contextmanager
def steps_view(quiet: bool) -> Iterator[Callable[[str], None]]:
    """What to tell of each step."""
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
        if time.monotonic() - self._said_at >= _STEP_EVERY_S:
            self._said_at = time.monotonic()
            say(f"bench: {step}")
