"""`agentmem guide`: the long documentation, which is part of the package."""

import sys
from importlib.resources import files
from typing import Annotated, Final, Literal

import typer

from agentmem_cli.cli.options import QuietOption
from agentmem_cli.cli.output import print_rich
from agentmem_cli.errors import UsageError

TOPICS: Final = (
    "ingesting",
    "searching",
    "agents",
    "benchmarking",
    "gating-ci",
    "durability",
    "beyond-one-machine",
    "models",
    "how-it-works",
    "measurements",
    "contributing",
)
_CHINESE: Final = "quickstart.zh"


def guide(
    topic: Annotated[str | None, typer.Argument(metavar="[TOPIC]", help=f"One of {', '.join(TOPICS)}.")] = None,
    lang: Annotated[Literal["en", "zh"], typer.Option("--lang", help="zh: a quick start in Chinese.")] = "en",
    quiet: QuietOption = False,
) -> None:
    """Show a guide, or list the guides.

    The output is plain Markdown if it is not a terminal.
    """
    if lang == "zh":
        if topic is not None:
            raise UsageError("the guides are in English; 'agentmem guide --lang zh' is a quick start in Chinese")
        _show(_CHINESE)
    elif topic is None:
        for name in TOPICS:
            print(f"{name:<18} {_title(name)}")
        print("\n'agentmem guide TOPIC' shows one; 'agentmem guide --lang zh' is a quick start in Chinese")
    elif topic in TOPICS:
        _show(topic)
    else:
        raise UsageError(f"no guide is named {topic}: choose {', '.join(TOPICS)}")


def _text(name: str) -> str:
    return files("agentmem_cli.guides").joinpath(f"{name}.md").read_text(encoding="utf-8")


def _title(name: str) -> str:
    return _text(name).partition("\n")[0].lstrip("# ")


def _show(name: str) -> None:
    if not sys.stdout.isatty():
        print(_text(name), end="")
        return
    from rich.markdown import Markdown

    print_rich(Markdown(_text(name)))
