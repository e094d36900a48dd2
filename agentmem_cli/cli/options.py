"""The options that several commands share, each declared once, and how a command opens a store with them.

A command takes a group of options as one parameter, such as `filter: FilterOptions`. The parameters of the function
that makes the group's value declare its options. `expanded` shows them to Typer in place of the one parameter.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from agentmem_cli.cli.output import making_view
from agentmem_cli.embedding.choice import MAX_THREADS, Device, ModelChoice

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem

Command: TypeAlias = Callable[..., None]
_STORES_OWN: Final = ModelChoice()


@dataclass(frozen=True, slots=True)
class Group:
    """Marks a parameter as a group of options: the parameters of `make` are the options, its result is the value."""

    make: Callable[..., object]


def expanded(command: Command) -> Command:
    """The command with the options of its groups as parameters of their own."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[Group, list[str]]] = {}
    for parameter in inspect.signature(command).parameters.values():
        marks = getattr(parameter.annotation, "__metadata__", ())
        group = next((mark for mark in marks if isinstance(mark, Group)), None)
        if group is None:
            parameters.append(parameter)
            continue
        options = inspect.signature(group.make).parameters.values()
        parameters += [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
        groups[parameter.name] = group, [option.name for option in options]

    def run(**given: object) -> None:
        values = {
            name: group.make(**{option: given.pop(option) for option in options})
            for name, (group, options) in groups.items()
        }
        command(**given, **values)

    update_wrapper(run, command)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what Typer reads
    return run


StoreOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--store", envvar="AGENTMEM_STORE", help="The store's folder, or postgresql://USER@HOST/DB.", show_default=True
    ),
]
WaitOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--wait", min=0, metavar="SECONDS", help="How long to wait for another process that writes to the store."
    ),
]
TtlOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--ttl", metavar="SPAN", help="Expire this long from now, unless expires_at is given: 12h, 30d, 8w."),
]
OnOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="CLUSTER",
        help="Embed and write by workers on Ray: ray (of this machine), ray://HOST:PORT or ray:HOST:PORT. "
        "See 'agentmem guide beyond-one-machine'.",
    ),
]
WorkersOption: TypeAlias = Annotated[
    int | None, typer.Option("--workers", min=1, help="Workers on the cluster; by default one per CPU.")
]
LimitOption: TypeAlias = Annotated[
    int, typer.Option("--limit", "-k", min=1, help="The maximum number of memories to print.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
QuietOption: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result and errors.")]
ModelPathOption: TypeAlias = Annotated[
    str | None, typer.Option("--model-path", help="A local model folder: ONNX weights, tokenizer.json, config.json.")
]


def _model(
    model: Annotated[
        str | None,
        typer.Option("--model", help="Embedding model, by name or alias; by default the store's own, or minilm."),
    ] = None,
    model_path: ModelPathOption = None,
    embedder_url: Annotated[
        str | None,
        typer.Option(
            "--embedder-url",
            metavar="URL",
            help="An OpenAI-compatible endpoint, such as http://127.0.0.1:8080/v1. --model selects one of its models, "
            "and AGENTMEM_EMBEDDER_KEY holds its key.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            envvar="AGENTMEM_THREADS",
            min=1,
            max=MAX_THREADS,
            help="Threads that embed; by default one per core.",
        ),
    ] = None,
    device: Annotated[
        Device, typer.Option("--device", help="The device that the model runs on; cuda needs fastembed-gpu.")
    ] = "cpu",
) -> ModelChoice:
    return ModelChoice(model, model_path, embedder_url, device, threads)


ModelOptions: TypeAlias = Annotated[ModelChoice, Group(_model)]


@contextmanager
def opened_store(
    path: str, choice: ModelChoice = _STORES_OWN, *, create: bool = False, wait_s: float = 0.0, quiet: bool = False
) -> "Iterator[AgentMem]":
    """Opens a store and closes it at the end; shows progress, unless `quiet`, while a model is made for it.

    Raises StoreNotFoundError if there is no store, unless `create`.
    """
    from agentmem_cli.api import AgentMem  # numpy, hnswlib and SQLite, which no --help waits for

    with (
        making_view(quiet) as on_progress,
        AgentMem(
            path,
            model=choice.name,
            model_path=choice.path,
            embedder_url=choice.url,
            create=create,
            threads=choice.threads,
            device=choice.device,
            wait_s=wait_s,
            on_model_progress=on_progress,
        ) as mem,
    ):
        yield mem
