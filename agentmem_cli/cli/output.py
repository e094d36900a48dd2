"""Output of all commands: results on stdout, everything else on stderr, control characters escaped."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import orjson

from agentmem_cli.support.safe_text import inert_json, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from agentmem_cli.embedding.languages import ModelAdvice

INCOMPLETE: Final = 3  # done, but lines were rejected or damaged memories left out
INTERRUPTED: Final = 130
TERMINATED: Final = 143


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
        remedy = (
            f"{first}'agentmem reembed --store {store} --model {advice.better}' (or --model with a new store) helps"
        )
    return f"warning: {advice.said_of(texts)}: there, searches find words but not meaning; {remedy}"


def print_json(value: object) -> None:
    """Prints a JSON value on stdout, indented."""
    sys.stdout.write(inert_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()) + "\n")


def print_jsonl(values: Iterable[object]) -> None:
    """Prints JSON values on stdout, one per line."""
    for value in values:
        sys.stdout.write(inert_json(orjson.dumps(value).decode()) + "\n")


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
