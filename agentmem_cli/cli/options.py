"""Options that several commands share."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from agentmem_cli.errors import InvalidMemoryError, UsageError

if TYPE_CHECKING:
    from agentmem_cli.records.memory import Scope
    from agentmem_cli.search.query import Mode, Ranking
import re
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from agentmem_cli.records.filter import SearchFilter
    from agentmem_cli.records.values import JsonScalar, JsonValue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentmem_cli.cli.progress import making_view

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem
    from agentmem_cli.embedding.base import Device


StoreOption: TypeAlias = Annotated[
    str, typer.Option("--store", envvar="AGENTMEM_STORE", help="The store's folder.", show_default=True)
]
ModelOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", help="Embedding model, by name or alias; by default the store's own, or minilm."),
]
ModelPathOption: TypeAlias = Annotated[
    str | None, typer.Option("--model-path", help="A local model folder: ONNX weights, tokenizer.json, config.json.")
]
ThreadsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--threads",
        envvar="AGENTMEM_THREADS",
        min=1,
        max=256,
        help="Threads that embed; by default one per core.",
    ),
]
DeviceOption: TypeAlias = Annotated[
    Literal["cpu", "cuda"],
    typer.Option("--device", help="The device that the model runs on; cuda needs fastembed-gpu."),
]
EmbedderUrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--embedder-url",
        metavar="URL",
        help="An OpenAI-compatible endpoint, such as http://127.0.0.1:8080/v1; --model is then a name that it knows, "
        "and the key comes from AGENTMEM_EMBEDDER_KEY.",
    ),
]
AgentOption: TypeAlias = Annotated[str | None, typer.Option("--agent-id", help="Agent of the memories.")]
UserOption: TypeAlias = Annotated[str | None, typer.Option("--user-id", help="User of the memories.")]
RunOption: TypeAlias = Annotated[str | None, typer.Option("--run-id", help="Run or conversation of the memories.")]
TypeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--memory-type",
        help="episodic, semantic, procedural, working, core, resource, knowledge or contextual.",
    ),
]
WhereOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="A condition on metadata: KEY=VALUE, or with !=, <, <=, >, >=; 'KEY in [...]', 'KEY not in [...]', "
        "'KEY exists', 'KEY not exists'. VALUE is JSON (3, true, null) or a string; a.b is b in a. "
        "Repeat for more.",
    ),
]
SinceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Created then or later: 2025-03-01, 2025-03-01T09:30:00Z (UTC), or 7d (seven days ago; s, m, h, d, w).",
    ),
]
UntilOption: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Created before then, written like --since.")
]
ModeOption: TypeAlias = Annotated[
    Literal["hybrid", "vector", "text"],
    typer.Option("--mode", help="Search by meaning and words, by meaning alone (vector), or by words alone (text)."),
]
NeighbourShareOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--neighbour-share",
        min=0,
        max=1,
        help="The share of its score that a memory lends to its neighbours in its run.",
    ),
]
HalfLifeOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--recency-half-life", metavar="SPAN", help="Halve the score for every SPAN of age: 12h, 30d, 8w."),
]
ImportanceOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--importance-weight", min=0, max=1, help="Multiply scores by 1 - weight + weight x importance (or 0.5)."
    ),
]
DedupeOption: TypeAlias = Annotated[bool, typer.Option("--dedupe", help="Fold near-duplicates into the best of them.")]
ContextOption: TypeAlias = Annotated[
    int, typer.Option("--context", min=0, metavar="N", help="Show the N memories before and after each in its run.")
]
WaitOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--wait", min=0, metavar="SECONDS", help="How long to wait for another process that writes to the store."
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
QuietOption: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result and errors.")]


def ranking(
    mode: "Mode",
    neighbour_share: float,
    recency_half_life: str | None,
    importance_weight: float,
    dedupe: bool,
    context: int,
) -> "Ranking":
    """The ranking that options ask for. Raises UsageError."""
    from agentmem_cli.records.times import parse_span
    from agentmem_cli.search.query import Ranking

    half_life_s = None
    if recency_half_life is not None:
        half_life_s = parse_span("--recency-half-life", recency_half_life).total_seconds()
    return Ranking(mode, neighbour_share, half_life_s, importance_weight, dedupe, context)


def scope(agent_id: str | None, user_id: str | None, run_id: str | None, memory_type: str | None) -> "Scope":
    """The scope that options name. Raises UsageError."""
    from agentmem_cli.records.memory import Scope

    try:
        return Scope(agent_id, user_id, run_id, memory_type)
    except InvalidMemoryError as error:
        raise UsageError(str(error)) from error


_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'  # a key as a JSON string: any key can be written so
_COMPARED: Final = re.compile(
    rf'\s*(?P<key>{_QUOTED}|(?!")(?:(?!!=)[^=<>])+?)\s*(?P<operator>!=|<=|>=|=|<|>)\s*(?P<value>.*?)\s*', re.DOTALL
)
_WORDED: Final = re.compile(
    rf'\s*(?P<key>{_QUOTED}|[^\s"=<>][^\s=<>]*)\s+(?P<not>not\s+)?(?:exists|in\s*(?P<list>\[.*\]))\s*', re.DOTALL
)


def filter_of(
    agent_id: str | None,
    user_id: str | None,
    run_id: str | None,
    memory_type: str | None,
    where: list[str] | None,
    since: str | None,
    until: str | None,
) -> "SearchFilter":
    """The filter that options ask for. Raises UsageError."""
    from agentmem_cli.records.filter import SearchFilter

    return SearchFilter.of(agent_id, user_id, run_id, memory_type, parse_conditions(where), since, until)


def parse_conditions(arguments: list[str] | None) -> "dict[str, dict[str, JsonScalar | list[JsonScalar]]]":
    """The operators and operands by key: VALUE is JSON where it is a scalar of it, or else a string.

    Raises UsageError.
    """
    conditions: dict[str, dict[str, JsonScalar | list[JsonScalar]]] = {}
    for argument in arguments or []:
        key, operator, operand = _condition(argument)
        asked = conditions.setdefault(key, {})
        if operator in asked:
            raise UsageError(f"--where {argument}: {operator} is given twice for {key}: several values go in one 'in'")
        asked[operator] = operand
    return conditions


def _condition(argument: str) -> "tuple[str, str, JsonScalar | list[JsonScalar]]":
    worded, compared = _WORDED.fullmatch(argument), _COMPARED.fullmatch(argument)
    if worded is not None:
        key, negation = _key(argument, worded["key"]), "not " if worded["not"] else ""
        if worded["list"] is None:
            return key, "exists", not negation
        return key, f"{negation}in", _list(argument, worded["list"])
    if compared is not None:
        return _key(argument, compared["key"]), compared["operator"], _scalar(argument, compared["value"])
    raise UsageError(
        f"--where {argument}: write it as KEY=VALUE, such as topic=food; or with !=, <, <=, >, >=, 'in [...]', 'exists'"
    )


def _key(argument: str, key: str) -> str:
    if not key.startswith('"'):
        return key
    try:
        return str(orjson.loads(key))
    except orjson.JSONDecodeError as error:
        raise UsageError(f"--where {argument}: a key in quotes must be a JSON string, and {key} is not") from error


def _list(argument: str, value: str) -> "list[JsonScalar]":
    try:
        values: list[JsonScalar] = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UsageError(f'--where {argument}: write the list as JSON, such as [1, 2] or ["a", "b"]') from error
    return values


def _scalar(argument: str, value: str) -> "JsonScalar":
    try:
        parsed: JsonScalar | list[JsonValue] | dict[str, JsonValue] = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    if isinstance(parsed, (list, dict)):
        raise UsageError(f"--where {argument}: VALUE is a string, a number, true, false or null")
    return parsed


@contextmanager
def existing_store(
    path: str,
    model: str | None = None,
    model_path: str | None = None,
    embedder_url: str | None = None,
    threads: int | None = None,
    device: "Device" = "cpu",
    wait_s: float = 0.0,
) -> "Iterator[AgentMem]":
    """Opens it, shows how far a model is that has to be made for it, and closes it. Raises StoreNotFoundError."""
    from agentmem_cli.api import AgentMem

    with (
        making_view() as on_progress,
        AgentMem(
            path,
            model=model,
            model_path=model_path,
            embedder_url=embedder_url,
            create=False,
            threads=threads,
            device=device,
            wait_s=wait_s,
            on_model_progress=on_progress,
        ) as mem,
    ):
        yield mem
