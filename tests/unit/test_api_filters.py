"""Filters: they apply before the k are taken, compare type and value, and read no key or value as SQL."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, Memory, Scope, UsageError
from agentmem_cli.records.values import JsonScalar, JsonValue
from tests.fakes import FakeEmbedder
from tests.searches import ALWAYS, walk_from
from tests.stores import embedded

_MANY = 200
_RARE = ("17", "103", "199")


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as opened:
        yield opened


def _rare_or_common(number: int) -> Memory:
    rare = str(number) in _RARE
    return Memory(
        f"unlike anything {number}" if rare else f"red apple {number}",
        id=str(number),
        scope=Scope("agent-1", "ana", "run-1", "core") if rare else Scope("agent-2", "bo", "run-2", "working"),
        metadata={"rare": rare},
    )


@pytest.fixture(params=["scan", "graph", "graph asked with a filter", "half of it in the graph"])
def many(mem: AgentMem, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AgentMem:
    """Three memories far from the query among many near it, in a store without a graph, with one, and between."""
    memories = [_rare_or_common(number) for number in range(_MANY)]
    in_graph = {"scan": 0, "half of it in the graph": _MANY // 2}.get(request.param, _MANY)
    mem.add_batch(memories[:in_graph])
    assert embedded(mem).refresh_graph(min_tail=1) == (in_graph > 0)
    mem.add_batch(memories[in_graph:])
    if request.param not in ("scan", "graph"):
        walk_from(monkeypatch, ALWAYS)
    return mem


@pytest.mark.parametrize("k", [2, 1000])
def test_three_that_match_among_many_nearer_ones_are_found(many: AgentMem, k: int) -> None:
    found = [
        many.search("red apple", k, agent_id="agent-1"),
        many.search("red apple", k, user_id="ana"),
        many.search("red apple", k, run_id="run-1"),
        many.search("red apple", k, memory_type="core"),
        many.search("red apple", k, where={"rare": True}),
        many.search("red apple", k, user_id="ana", run_id="run-1", where={"rare": True}),
    ]
    for hits in found:
        assert {hit.id for hit in hits} <= set(_RARE)
        assert [hit.id for hit in hits] == [hit.id for hit in found[0]]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert len(hits) == min(k, 3)


def test_conditions_that_no_memory_meets_together_find_nothing(many: AgentMem) -> None:
    assert many.search("red apple", user_id="ana", agent_id="agent-2") == []
    assert many.search("red apple", user_id="bo", where={"rare": True}) == []
    assert many.search("red apple", user_id="nobody") == []
    assert many.search("red apple", where={"missing": True}) == []


def test_one_text_of_several_users_is_found_for_each_alone(many: AgentMem) -> None:
    many.add_batch(Memory("same text", id=f"of {user}", scope=Scope(user_id=user)) for user in ("u1", "u2", "u3"))
    assert [hit.id for hit in many.search("same text", 5, user_id="u2")] == ["of u2"]
    assert [hit.id for hit in many.search("same text", 3)] == ["of u1", "of u2", "of u3"]


_VALUES: dict[str, JsonValue] = {
    "integer": 1,
    "real": 1.0,
    "text": "1",
    "true": True,
    "false": False,
    "null": None,
    "zero": 0,
    "empty": "",
    "word true": "true",
    "word null": "null",
    "list": [1],
    "object": {"value": 1},
    "big": 2**53 + 1,
    "nearly big": 2**53,
    "tenth": 0.1,
    "decomposed": "u\u0308",
    "composed": "ü",
}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMem]:
    """A memory for each value, and one without the key."""
    with AgentMem(tmp_path_factory.mktemp("values") / "store", embedder=FakeEmbedder()) as opened:
        opened.add_batch(Memory(f"text {name}", id=name, metadata={"key": value}) for name, value in _VALUES.items())
        opened.add("text without the key", metadata={"other": 1})
        yield opened


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (1, {"integer", "real"}),
        ("1", {"text"}),
        (True, {"true"}),
        (False, {"false"}),
        (None, {"null"}),
        (0, {"zero"}),
        (-0.0, {"zero"}),
        ("", {"empty"}),
        ("true", {"word true"}),
        ("[1]", set()),
        (2**53 + 1, {"big"}),
        (0.1, {"tenth"}),
        ("ü", {"composed"}),
        (2, set()),
    ],
)
def test_a_value_matches_its_equals_of_the_same_type_alone(
    values: AgentMem, value: JsonScalar, found: set[str]
) -> None:
    assert {hit.id for hit in values.search("text", 100, where={"key": value})} == found


def test_numbers_at_the_edges_are_matched(mem: AgentMem) -> None:
    edges = [-(2**63), 2**63 - 1, 2**64 - 1, 1e300, 5e-324, 0.1 + 0.2, 1 / 3, -123456.789e-30]
    mem.add_batch(Memory("text", id=str(value), metadata={"key": value}) for value in edges)
    for value in edges:
        assert [hit.id for hit in mem.search("text", where={"key": value})] == [str(value)]


def test_a_key_inside_an_object_or_a_list_is_no_key_of_the_memory(mem: AgentMem) -> None:
    mem.add("text one", id="outside", metadata={"b": 1})
    mem.add("text two", id="inside", metadata={"a": {"b": 1}, "c": [{"b": 1}]})
    assert [hit.id for hit in mem.search("text", where={"b": 1})] == ["outside"]


@pytest.mark.parametrize("awkward", ["it's", "?1", "%", "' OR 1=1 --", '"; DROP TABLE memories; --', "記憶\n🧠"])
def test_ids_and_scopes_are_data_whatever_they_look_like(mem: AgentMem, awkward: str) -> None:
    mem.add("text one", id=awkward, agent_id=awkward, user_id=awkward, run_id=awkward)
    mem.add("text two", id="other", user_id="other")
    for hits in (
        mem.search("text", agent_id=awkward),
        mem.search("text", user_id=awkward),
        mem.search("text", run_id=awkward),
    ):
        assert [hit.id for hit in hits] == [awkward]
    stored = mem.get(awkward)
    assert stored is not None
    assert stored.scope == Scope(awkward, awkward, awkward)
    assert len(mem.history(awkward)) == 1


@pytest.mark.parametrize(
    "where", [{"a": 1, "b": "x"}, {"b": "x", "a": 1}, {"a": 1, "b": "x", "c": None}], ids=["ab", "ba", "abc"]
)
def test_every_condition_must_hold(mem: AgentMem, where: Mapping[str, JsonScalar]) -> None:
    mem.add("text 1", id="both", metadata={"a": 1, "b": "x", "c": None, "d": 4})
    mem.add("text 2", id="one", metadata={"a": 1, "b": "y", "c": None})
    mem.add("text 3", id="other", metadata={"b": "x"})
    assert [hit.id for hit in mem.search("text", where=where)] == ["both"]


def test_a_filter_reads_what_the_memory_says_now(mem: AgentMem) -> None:
    mem.add("text", id="a", user_id="ana", metadata={"state": "open"})
    mem.add("text", id="a", user_id="bo", metadata={"state": "closed"})
    assert mem.search("text", user_id="ana") == []
    assert mem.search("text", where={"state": "open"}) == []
    assert [hit.id for hit in mem.search("text", user_id="bo", where={"state": "closed"})] == ["a"]


def test_an_unknown_memory_type_is_refused_rather_than_matched_with_nothing(mem: AgentMem) -> None:
    with pytest.raises(UsageError, match="is unknown: it is one of"):
        mem.search("text", memory_type="episodc")


def test_one_user_s_memories_are_exported_or_deleted_and_those_of_others_stay(mem: AgentMem) -> None:
    for user in ("ana", "bo"):
        mem.add_batch(
            {
                "id": f"{user}{n}",
                "text": f"text {n}",
                "user_id": user,
                "metadata": {"n": n},
                "created_at": f"2024-01-0{n}",
            }
            for n in range(1, 6)
        )
    assert [memory.id for memory in mem.export(user_id="ana", where={"n": {">": 3}})] == ["ana4", "ana5"]
    assert [memory.id for memory in mem.export(since="2024-01-05", vectors=True)] == ["ana5", "bo5"]
    assert mem.delete(user_id="ana", until="2024-01-03") == 2
    assert mem.delete(user_id="ana") == 3
    assert [memory.id for memory in mem.export()] == ["bo1", "bo2", "bo3", "bo4", "bo5"]
    assert mem.delete() == 0
    assert len(mem) == 5
