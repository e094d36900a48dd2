"""Output of all commands: results on stdout; messages and progress on stderr. Control characters are escaped."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from agentmem_cli.store import shown_location
from agentmem_cli.support.safe_text import inert_json, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

    from agentmem_cli.embedding.base import OnProgress
    from agentmem_cli.embedding.languages import ModelAdvice

INCOMPLETE: Final = 3  # done, but lines were rejected or damaged memories left out
INTERRUPTED: Final = 130
TERMINATED: Final = 143
_LINE_EVERY_S: Final = 10.0


class Terminated(BaseException):
    """Raised on SIGTERM; like KeyboardInterrupt, it rolls back an open transaction."""


def say(message: str) -> None:
    """Prints one line on stderr."""
    print(f"agentmem: {printable(message)}", file=sys.stderr, flush=True)


def advice_line(advice: "ModelAdvice", texts: str, store: str) -> str:
    """A warning that the model can't read some texts, with a remedy."""
    remedy = "choose a model of their language ('agentmem models')"
    if advice.better is not None:
        from agentmem_cli.embedding import multilingual

        first = "" if multilingual.is_installed() else f"{multilingual.INSTALL}, then "
        again = f"'agentmem reembed --store {shown_location(store)} --model {advice.better}'"
        remedy = f"{first}{again} (or --model with a new store) helps"
    return f"warning: {advice.said_of(texts)}: there, searches find words but not meaning; {remedy}"


def print_json(value: object) -> None:
    """Prints a JSON value on stdout, indented."""
    import orjson  # 5 ms, which no --help waits for

    sys.stdout.write(inert_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()) + "\n")


def print_jsonl(values: Iterable[object]) -> None:
    """Prints JSON values on stdout, one per line."""
    import orjson

    for value in values:
        sys.stdout.write(inert_json(orjson.dumps(value).decode()) + "\n")


def print_lines(texts: Iterable[str]) -> None:
    """Prints texts on stdout, one per line, with control characters escaped."""
    for text in texts:
        sys.stdout.write(printable(text) + "\n")


def print_rich(*renderables: "RenderableType") -> None:
    """Prints tables on stdout, in colour if it is a terminal."""
    console = stdout_console()
    for renderable in renderables:
        console.print(renderable)


def stdout_console() -> "Console":
    """A console on stdout that interprets no markup, emoji codes or links."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def stderr_console() -> "Console":
    """The same for stderr."""
    from rich.console import Console

    return Console(stderr=True, markup=False, emoji=False, highlight=False)


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
