"""A store in PostgreSQL gives what an embedded store gives: the same ids in order, fields and events."""

import random
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from agentmem_cli.api import AgentMem
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.records.filter import SearchFilter, Where
from agentmem_cli.records.memory import Hit, Memory, Scope
from agentmem_cli.search.query import Mode
from tests.fakes import FakeEmbedder

_WORDS: Final = (
    *("apple", "pear", "whale", "river", "stone", "cloud", "garden", "running", "runs", "coffee", "tea", "it's"),
    *("Zürich", "naïve", "今日", "記憶", "天気"),
)
_QUERIES: Final = (
    *("apple river", "what did Ann say of running", "今日", "coffee on 2024-01-01", "it's naive zurich", "記"),
)
_SPEAKERS: Final = ("Ann: ", "Bo Li: ", "")
_START: Final = datetime(2024, 1, 1, tzinfo=timezone.utc)
_MODES: Final[tuple[Mode, ...]] = ("hybrid", "meaning", "words")
_FILTERS: Final[tuple[dict[str, str], ...]] = ({}, {"user_id": "u1"}, {"run_id": "r2"}, {"memory_type": "episodic"})
_WHERES: Final[tuple[Where, ...]] = (
    {"n": 3},
    {"n": {">=": 2, "<": 4}},
    {"n": {"!=": 3}},
    {"kind": {"in": ["a", "ü"]}},
    {"kind": {">": "a"}},
    {"deep.er": True},
    {"deep": {"exists": True}},
    {"deep.er": {"not in": [True, None]}},
    {"big": 1e22},
    {"list": {"exists": False}},
    {"none": None},
    {"n": "3"},
    {"n": {"in": [2**64 - 1, 3.0]}},
)


class Pair(NamedTuple):
    """The same store twice."""

    embedded: AgentMem
    postgres: AgentMem

    def both(self) -> tuple[AgentMem, AgentMem]:
        return self.embedded, self.postgres


@pytest.fixture
def pair(tmp_path: Path, postgres_url: str) -> Iterator[Pair]:
    with (
        AgentMem(tmp_path / "store", embedder=FakeEmbedder(), index="off") as embedded,
        AgentMem(postgres_url, embedder=FakeEmbedder()) as postgres,
    ):
        yield Pair(embedded, postgres)


def _memories(count: int, seed: int) -> list[Memory]:
    rng = random.Random(seed)
    return [
        Memory(
            text=f"{rng.choice(_SPEAKERS)}{' '.join(rng.choices(_WORDS, k=rng.choice([2, 5, 9])))} number{i}",
            id=f"m{i}",
            scope=Scope(
                rng.choice([None, "agent"]),
                rng.choice([None, "u1", "u2"]),
                rng.choice([None, "r1", "r2"]),
                rng.choice([None, "episodic"]),
            ),
            importance=rng.choice([None, 0.25, 1.0]),
            created_at=_START + timedelta(hours=rng.randrange(40)),
            metadata=rng.choice(
                [
                    {},
                    {"n": rng.randrange(5), "kind": rng.choice(["a", "b", "ü"])},
                    {"deep": {"er": rng.choice([True, False, None])}, "none": None},
                    {"big": 1e22, "list": [1, 2], "n": "3"},
                ]
            ),
            speaker=rng.choice([None, None, "Cy"]),
        )
        for i in range(count)
    ]


def _assert_alike(pair: Pair, query: str, **options: object) -> None:
    expected, found = (mem.search(query, 30, **options) for mem in pair.both())  # type: ignore[arg-type]
    assert [hit.id for hit in found] == [hit.id for hit in expected], (query, options)
    for one, other in zip(expected, found, strict=True):
        assert other.score == pytest.approx(one.score, abs=1e-6), (query, options)
        assert _fields(other) == _fields(one)


def _fields(hit: Hit) -> dict[str, object]:
    fields = asdict(hit)
    return {name: value for name, value in fields.items() if name not in ("score", "parts")}


def test_searches_find_the_same_in_all_modes_and_filters(pair: Pair) -> None:
    for mem in pair.both():
        mem.add_batch(_memories(400, 1))
    for query in (
        "apple river",
        "what did Ann say of running",
        "今日",
        "coffee on 2024-01-01",
        "it's naive zurich",
        "記",
    ):
        for mode in _MODES:
            for scope in _FILTERS:
                _assert_alike(pair, query, mode=mode, **scope)
            for where in _WHERES:
                _assert_alike(pair, query, mode=mode, where=where)
        _assert_alike(pair, query, user_id="u2", dedupe=True, context=2)
        _assert_alike(pair, query, since="2024-01-01T05:00:00Z", until="2024-01-02", recency_half_life="1d", now=_START)
    for where in _WHERES:
        assert pair.postgres.ids_matching(_filter(where)) == pair.embedded.ids_matching(_filter(where)), where


def _filter(where: Where) -> SearchFilter:
    return SearchFilter.of(where=where)


def test_what_changes_a_store_changes_both_alike(pair: Pair) -> None:
    for mem in pair.both():
        mem.add_batch(_memories(150, 2))
        mem.add_batch(_memories(90, 3))
        mem.add_batch([{"id": "m1", "text": "a new text", "importance": None}, {"id": "m2", "text": "x"}], replace=True)
        mem.add_batch([{"id": "m3", "text": "kept", "user_id": None, "metadata": None}])
        mem.update("m4", text="updated", clear=["speaker"])
        mem.add("long " + " ".join(f"word{i}" for i in range(60)), id="long", chunk=True, created_at=_START)
        mem.add("word5", id="short", created_at=_START)
        mem.add("gone soon", id="old", expires_at="2020-01-01T00:00:00Z")
        assert mem.delete("m5", "m6", "nobody") == 2
        assert mem.delete(user_id="u2", memory_type="episodic") > 0
        mem.add("back again", id="m5", created_at=_START)
    one, other = pair.both()
    assert len(one) == len(other)
    for identity in [f"m{i}" for i in range(150)] + ["long", "short", "old"]:
        assert _undated(other, identity) == _undated(one, identity)
    stats, others = one.stats(), other.stats()
    for name in ("memories", "expired", "vectors", "chunks", "truncated", "history_events", "by_scope", "embedder"):
        assert getattr(others, name) == getattr(stats, name), name
    _assert_alike(pair, "word41 word42", mode="hybrid")
    _assert_alike(pair, "word41 word42", mode="meaning")
    _assert_alike(pair, "apple", mode="hybrid")
    exported, others_exported = (list(mem.export(vectors=True)) for mem in pair.both())
    assert [memory.id for memory in others_exported] == [memory.id for memory in exported]
    assert [memory.vector for memory in others_exported] == [memory.vector for memory in exported]
    assert [m.id for m in other.list_memories(500)][-5:] == [m.id for m in one.list_memories(500)][-5:]


def _undated(mem: AgentMem, identity: str) -> list[tuple[object, ...]]:
    changes = [
        (event.event, event.previous_text, event.text, {n: c for n, c in event.changes.items() if n != "created_at"})
        for event in mem.history(identity)
    ]
    memory = mem._store.get(identity)
    fields = {} if memory is None else {**memory.to_dict(), "created_at": None}
    return [*changes, (fields,)]


def test_a_dry_run_says_the_same_and_changes_nothing(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "new.jsonl"
    file.write_text('{"id": "m1", "text": "other"}\n{"id": "n", "text": "new"}\n{"text": "apple"}\n', encoding="utf-8")
    reports = []
    for mem in pair.both():
        mem.add_batch(_memories(20, 4))
        report = mem.ingest(file, IngestOptions(dry_run=True))
        reports.append((report.added, report.updated, report.unchanged, len(mem)))
    assert reports[0] == reports[1] == (2, 1, 0, 20)


def test_a_reembedding_gives_the_same_vectors_to_texts_and_chunks(pair: Pair) -> None:
    other = FakeEmbedder("other", dim=48)
    for mem in pair.both():
        mem.add_batch(_memories(60, 5))
        mem.add("long " + " ".join(f"word{i}" for i in range(60)), id="long", chunk=True, created_at=_START)
        mem.reembed(embedder=other)
        assert mem.model.name == "other"
    _assert_alike(pair, "apple river", mode="hybrid")
    _assert_alike(pair, "word50 word51", mode="meaning")
    exported, others = (list(mem.export(vectors=True)) for mem in pair.both())
    assert [memory.vector for memory in others] == [memory.vector for memory in exported]
