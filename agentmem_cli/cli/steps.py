"""What is shown while something is measured: its step on a terminal, a line now and then elsewhere; all on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from agentmem_cli.cli.output import say, stderr_console

_LINE_EVERY_S: Final = 10.0


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
        if time.monotonic() - self._said_at >= _LINE_EVERY_S:
            self._said_at = time.monotonic()
            say(f"bench: {step}")
