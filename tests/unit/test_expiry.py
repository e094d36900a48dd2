"""An expired memory is found by nothing, is counted, and can be brought back or deleted; its history says so."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, FieldChange, Memory, MemoryNotFoundError, Scope, UsageError
from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.search.query import MODES, LabelledQuery, Mode, Query
from tests.fakes import FakeEmbedder
from tests.searches import ALWAYS, walk_from
from tests.stores import embedded

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)
FUTURE = datetime(2999, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder(), index="off") as opened:
        yield opened


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Lets time pass for the store."""
    start_ns = time.time_ns()

    def pass_by(span: timedelta) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: start_ns + round(span.total_seconds() * 1e9))

    return pass_by


@pytest.fixture(params=["scan", "graph", "half of it in the graph"])
def half_expired(mem: AgentMem, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AgentMem:
    """Forty memories of one text or another; those with an even number have expired."""
    memories = [
        Memory(
            f"red apple {n // 2 % 5}",
            str(n),
            Scope(user_id="ana", run_id="r"),
            created_at=datetime(2024, 1, 1) + timedelta(hours=n),
            expires_at=FUTURE if n % 2 else PAST,
            speaker="Ana" if n % 2 else "Bo",
        )
        for n in range(40)
    ]
    in_graph = {"scan": 0, "graph": 40}.get(request.param, 20)
    mem.add_batch(memories[:in_graph])
    assert embedded(mem).refresh_graph(min_tail=1) == (in_graph > 0)
    mem.add_batch(memories[in_graph:])
    walk_from(monkeypatch, ALWAYS)
    return mem


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("user", [None, "ana"])
def test_no_search_finds_an_expired_memory_or_shows_it_beside_a_hit(
    half_expired: AgentMem, mode: Mode, user: str | None
) -> None:
    hits = half_expired.search("red apple 3 of Bo", 40, user_id=user, mode=mode, context=2)
    assert sorted(int(hit.id) for hit in hits) == list(range(1, 40, 2))
    assert all(int(memory.id) % 2 for hit in hits for memory in (*hit.before, *hit.after))
    assert [m.id for m in next(hit for hit in hits if hit.id == "9").before] == ["5", "7"]
    assert {hit.expires_at for hit in hits} == {FUTURE}
    folded = half_expired.search("red apple", 40, user_id=user, mode=mode, dedupe=True)
    assert all(int(i) % 2 for hit in folded for i in (hit.id, *hit.duplicates))


def test_nothing_else_finds_an_expired_memory_but_statistics_count_it(half_expired: AgentMem) -> None:
    odd = [str(n) for n in range(1, 40, 2)]
    assert [memory.id for memory in half_expired.list_memories(100)][::-1] == odd
    assert [memory.id for memory in half_expired.export()] == odd
    assert (half_expired.get("2"), len(half_expired)) == (None, 20)
    assert len(half_expired.list_memories(100, expired=True)) == len(list(half_expired.export(expired=True))) == 20
    stats = half_expired.stats()
    assert (stats.memories, stats.expired) == (40, 20)
    assert half_expired.verify() == []


def test_an_evaluation_counts_an_expired_memory_as_missing(mem: AgentMem) -> None:
    mem.add_batch([Memory("red apple", "a"), Memory("red pear", "b", expires_at=PAST)])
    (found,) = mem.evaluate([LabelledQuery(Query("red"), ("a", "b"))])
    assert found.missing == ("b",)


def test_a_memory_is_gone_from_the_next_search_after_it_has_expired(
    mem: AgentMem, later: Callable[[timedelta], None]
) -> None:
    mem.add("red apple", id="a", ttl="1h")
    mem.add("red apple", id="b", ttl=timedelta(days=2))
    mem.add("red apple", id="c")
    found = []
    for hours in (0, 2, 49):
        later(timedelta(hours=hours))
        found.append(sorted(hit.id for hit in mem.search("red apple")))
    assert found == [["a", "b", "c"], ["b", "c"], ["c"]]


def test_a_memory_whose_only_chunk_matches_is_not_found_after_its_expiry(mem: AgentMem) -> None:
    long = " ".join(["One more word about the weather."] * 10 + ["The red apple fell."])
    mem.add(long, id="long", expires_at=FUTURE, chunk=True)
    assert [hit.id for hit in mem.search("the red apple fell", mode="meaning")] == ["long"]
    mem.update("long", expires_at=PAST)
    assert all(mem.search("the red apple fell", mode=mode) == [] for mode in MODES)


def test_expired_memories_are_deleted_and_the_others_stay(half_expired: AgentMem) -> None:
    assert half_expired.delete(expired=True) == 20
    assert (half_expired.stats().memories, half_expired.stats().expired, len(half_expired)) == (20, 0, 20)
    assert [event.event for event in half_expired.history("2")] == ["add", "expire", "delete"]
    assert half_expired.history("2")[1].at == PAST
    assert [event.event for event in half_expired.history("3")] == ["add"]
    assert half_expired.verify() == []


def test_erasing_the_memories_of_a_user_erases_the_expired_ones_too(half_expired: AgentMem) -> None:
    half_expired.add("of somebody else", user_id="bo")
    assert half_expired.delete(user_id="ana") == 40
    assert half_expired.stats().memories == len(half_expired) == 1


def test_an_expired_memory_that_is_added_again_is_found_and_inherits_nothing(mem: AgentMem) -> None:
    mem.add("red apple", id="a", user_id="ana", metadata={"n": 1}, expires_at=PAST, created_at="2019-01-01")
    mem.add("red apple", id="a")
    memory = mem.get("a")
    assert memory is not None
    assert (memory.scope.user_id, memory.metadata, memory.expires_at) == (None, {}, None)
    assert memory.created_at is not None
    assert memory.created_at.year > 2019
    assert [hit.id for hit in mem.search("red apple")] == ["a"]


def test_an_update_moves_or_clears_the_expiry_and_keeps_the_rest(mem: AgentMem) -> None:
    mem.add("red apple", id="a", user_id="ana", ttl="1h")
    assert mem.update("a", expires_at="2999-01-01").expires_at == FUTURE
    mem.add("red pear", id="a")
    memory = mem.get("a")
    assert memory and (memory.expires_at, memory.scope.user_id) == (FUTURE, "ana")
    assert mem.update("a", clear=["expires_at"]).expires_at is None
    mem.add_batch([{"id": "a", "text": "red pear", "expires_at": FUTURE}])
    mem.add_batch([{"id": "a", "text": "red pear", "expires_at": None}])
    memory = mem.get("a")
    assert memory and (memory.expires_at, memory.scope.user_id) == (None, "ana")


def test_an_expired_memory_can_be_brought_back_whole_by_an_update_of_its_expiry(mem: AgentMem) -> None:
    mem.add("red apple", id="a", user_id="ana", metadata={"n": 1}, expires_at=PAST)
    with pytest.raises(MemoryNotFoundError, match=r"expired at 2020-01-01.*give it a later expires_at"):
        mem.update("a", importance=0.5)
    memory = mem.update("a", ttl="1h")
    assert (memory.scope.user_id, memory.metadata) == ("ana", {"n": 1})
    assert mem.get("a") == memory
    mem.update("a", expires_at=PAST)
    assert mem.update("a", clear=["expires_at"]).scope.user_id == "ana"
    assert len(mem.search("red apple")) == 1


def test_a_memory_that_expires_while_it_is_updated_keeps_what_the_update_leaves_out(
    mem: AgentMem, later: Callable[[timedelta], None]
) -> None:
    mem.add("red apple", id="a", user_id="ana", ttl="1h")
    later(timedelta(hours=2))  # for the store, which looks at the clock after the update has read the memory
    assert mem.update("a", importance=0.5).scope.user_id == "ana"


def test_the_history_tells_when_a_memory_expired_and_came_back(mem: AgentMem) -> None:
    mem.add("red apple", id="a", expires_at=PAST)
    mem.update("a", expires_at=FUTURE)
    mem.add("red apple", id="b", ttl="1h")
    events = mem.history("a")
    assert [(event.event, event.previous_text, event.text) for event in events] == [
        ("add", None, "red apple"),
        ("expire", "red apple", None),
        ("update", "red apple", "red apple"),
    ]
    assert events[1].at == PAST
    assert events[2].changes == {"expires_at": FieldChange(PAST.isoformat(), FUTURE.isoformat())}
    assert [event.event for event in mem.history("b")] == ["add"]


def test_a_line_says_when_it_expires_and_the_ttl_of_an_ingest_counts_for_the_others(
    mem: AgentMem, tmp_path: Path
) -> None:
    lines = [
        {"id": "given", "text": "a", "expires_at": 4102444800},
        {"id": "never", "text": "b", "expires_at": None},
        {"id": "left out", "text": "c"},
        {"text": "no id"},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for _ in range(2):  # the second ingest extends what the first began, and adds nothing
        before = datetime.now(timezone.utc)
        mem.ingest([str(tmp_path / "m.jsonl")], IngestOptions(ttl_s=3600))
        expiry = {memory.id: memory.expires_at for memory in mem.export()}
        assert len(expiry) == 4
        assert (expiry["given"], expiry["never"]) == (datetime(2100, 1, 1, tzinfo=timezone.utc), None)
        in_an_hour = expiry["left out"]
        assert in_an_hour is not None
        assert before <= in_an_hour - timedelta(hours=1) <= datetime.now(timezone.utc)


def test_a_memory_without_an_id_that_is_added_again_is_the_same_one_with_a_later_expiry(mem: AgentMem) -> None:
    first, second = mem.add("red apple", ttl="1h"), mem.add("red apple", expires_at=FUTURE)
    memory = mem.get(first)
    assert memory is not None
    assert (first, len(mem), memory.expires_at) == (second, 1, FUTURE)


def test_an_expiry_survives_an_export(mem: AgentMem, tmp_path: Path) -> None:
    mem.add("red apple", id="a", expires_at=FUTURE)
    mem.add("red pear", id="gone", expires_at=PAST)
    (exported,) = mem.export()
    assert parse_memory(json.dumps(exported.to_dict()).encode()) == exported
    with AgentMem(tmp_path / "copy", embedder=FakeEmbedder()) as copy:
        copy.add_batch([exported])
        memory = copy.get("a")
        assert memory and memory.expires_at == FUTURE


@pytest.mark.parametrize(
    ("ttl", "reason"),
    [
        ("0d", "it must be more than 0"),
        (timedelta(seconds=-1), "it must be more than 0"),
        ("999999999w", "out of range"),
        ("999999999d", "at most"),
        ("soon", "write it as 12h"),
    ],
)
def test_a_ttl_that_is_none_is_a_usage_error(mem: AgentMem, ttl: str | timedelta, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        mem.add("red apple", ttl=ttl)
    with pytest.raises(UsageError, match="give either expires_at or ttl"):
        mem.add("red apple", ttl="1h", expires_at=FUTURE)
    with pytest.raises(InvalidMemoryError, match=r"expires_at .* is not an ISO 8601 time"):
        mem.add("red apple", expires_at="tomorrow")
    with pytest.raises(UsageError, match="ttl"):
        IngestOptions(ttl_s=0)
    assert len(mem) == 0


def test_searches_of_a_store_without_expired_memories_are_not_filtered(mem: AgentMem) -> None:
    mem.add("red apple", ttl="1h")
    with embedded(mem).snapshot(SearchFilter(), None) as snapshot:
        assert snapshot is not None
        assert snapshot._matching is None
