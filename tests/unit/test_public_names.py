"""What a user meets in a signature can be imported from `agentmem_cli`."""

import asyncio
import dataclasses
import inspect
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

import agentmem_cli
from agentmem_cli import AgentMem, AsyncAgentMem, LabelledQuery, Query
from tests.fakes import FakeEmbedder

_CLASSES = [value for name in agentmem_cli.__all__ if isinstance(value := getattr(agentmem_cli, name), type)]


def _signatures(kind: type) -> Iterator[dict[str, object]]:
    """The annotations of a class and of its public methods and properties."""
    if dataclasses.is_dataclass(kind):
        yield get_type_hints(kind)
    for name, member in vars(kind).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        is_own = inspect.isfunction(function) and function.__qualname__ == f"{kind.__qualname__}.{name}"
        if is_own and (name == "__init__" or not name.startswith("_")):
            yield get_type_hints(function)


def _types(hint: object) -> Iterator[type]:
    for part in (hint, get_origin(hint)):
        if isinstance(part, type):
            yield part
    for argument in get_args(hint):
        for inner in argument if isinstance(argument, (list, tuple)) else [argument]:
            yield from _types(inner)


@pytest.mark.parametrize("kind", _CLASSES, ids=lambda kind: kind.__name__)
def test_every_type_of_a_public_signature_can_be_imported_from_the_package(kind: type) -> None:
    met = {found for hints in _signatures(kind) for hint in hints.values() for found in _types(hint)}
    ours = {found.__name__ for found in met if found.__module__.startswith("agentmem_cli")}
    assert ours <= set(agentmem_cli.__all__)


@pytest.mark.parametrize("name", agentmem_cli.__all__)
def test_each_name_that_the_package_lists_is_there(name: str) -> None:
    assert getattr(agentmem_cli, name) is not None


def test_what_a_user_gets_back_can_be_written_as_json(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        result = mem.add_batch([{"id": "a", "text": "red apple", "run_id": "r", "metadata": {"n": [1]}}])
        mem.add("green pear", id="b", run_id="r")
        (tmp_path / "m.jsonl").write_text('{"text": "blue plum"}')
        report = mem.ingest(tmp_path / "m.jsonl")
        (hit,) = mem.search("red apple", 1, context=1)
        memory = mem.get("a")
        assert memory is not None
        (evaluation,) = mem.evaluate([LabelledQuery(Query("red apple"), ("a", "gone"))])
        results = (result, report, hit, memory, mem.history("a")[0], mem.stats(), evaluation)
        written = [json.loads(json.dumps(one.to_dict())) for one in results]
    assert [fields.get("id") for fields in written] == [None, None, "a", "a", "a", None, None]
    assert (written[6]["metrics"]["recall@1"]["mean"], written[6]["per_query"][0]["first_hit"]["id"]) == (0.5, "a")
    assert written[0] == {"ids": ["a"], "added": 1, "updated": 0, "unchanged": 0}
    assert (written[1]["added"], written[2]["after"][0]["id"], written[5]["memories"]) == (1, "b", 3)
    assert ("parts" in written[2], "parts" in hit.to_dict(explain=True)) == (False, True)


def test_an_open_store_says_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add("red apple")
        assert repr(mem) == f"AgentMem('{folder}', model='fake', memories=1)"
        with mem._turn, ThreadPoolExecutor(1) as other:  # which does not wait for this one
            assert other.submit(repr, mem).result(20) == f"AgentMem('{folder}', model='fake')"

    async def named() -> tuple[str, str]:
        mem = AsyncAgentMem(folder, embedder=FakeEmbedder())
        before = repr(mem)
        async with mem:
            return before, repr(mem)

    closed, opened = asyncio.run(named())
    assert (closed, opened) == (
        f"AsyncAgentMem('{folder}', not opened yet)",
        f"AsyncAgentMem('{folder}', model='fake', memories=1)",
    )
