"""Any sequence of changes, searches, reopenings and lost graphs leaves the store equal to a dictionary."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentmem_cli import AgentMem, Memory, Scope
from agentmem_cli.memory import JsonScalar
from agentmem_cli.store import embedded
from tests.fakes import FakeEmbedder

_MODEL = FakeEmbedder()
_USERS = ("ana", "bo")
_ids = st.sampled_from("abcdefgh")
_texts = st.lists(st.sampled_from(["red", "apple", "blue", "whale", "tea", "rain"]), min_size=1, max_size=3).map(
    " ".join
)
_users = st.sampled_from([None, *_USERS])
_values: st.SearchStrategy[JsonScalar] = st.sampled_from([0, 1, "1", True, None])
_metadata = st.dictionaries(st.sampled_from(["n", "m"]), _values, max_size=2)


def _memory(identity: str, text: str, user: str | None, metadata: Mapping[str, JsonScalar]) -> Memory:
    return Memory(text, id=identity, scope=Scope(user_id=user), metadata=dict(metadata))


_memories = st.builds(_memory, _ids, _texts, _users, _metadata)


def _content(memory: Memory) -> tuple[str, Scope, str]:
    return memory.text, memory.scope, json.dumps(memory.metadata, sort_keys=True)


def _matches(memory: Memory, user: str | None, where: Mapping[str, JsonScalar]) -> bool:
    return (user is None or memory.scope.user_id == user) and all(
        key in memory.metadata and json.dumps(memory.metadata[key]) == json.dumps(value) for key, value in where.items()
    )


class StoreMachine(RuleBasedStateMachine):
    """AgentMem beside the dictionaries that it must agree with."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.exact_matches = embedded._EXACT_MATCHES
        self.mem = self._open()
        self.memories: dict[str, Memory] = {}
        self.events: dict[str, list[tuple[str, str | None, str]]] = {}

    def teardown(self) -> None:
        embedded._EXACT_MATCHES = self.exact_matches  # type: ignore[misc]
        self.mem.close()
        shutil.rmtree(self.folder)

    def _open(self) -> AgentMem:
        return AgentMem(self.folder / "store", embedder=FakeEmbedder())

    def _take(self, memory: Memory) -> str:
        before = self.memories.get(memory.id)
        if before is not None and _content(before) == _content(memory):
            return "unchanged"
        event = "add" if before is None else "update"
        self.memories[memory.id] = memory
        self.events.setdefault(memory.id, []).append((event, None if before is None else before.text, memory.text))
        return event

    @rule(memory=_memories)
    def add(self, memory: Memory) -> None:
        self._take(memory)
        scope, metadata = memory.scope, dict(memory.metadata)
        assert self.mem.add(memory.text, id=memory.id, user_id=scope.user_id, metadata=metadata) == memory.id

    @rule(batch=st.lists(_memories, max_size=12))
    def add_batch(self, batch: list[Memory]) -> None:
        became = [self._take(memory) for memory in batch]
        result = self.mem.add_batch(batch)
        assert result.ids == [memory.id for memory in batch]
        assert (result.added, result.updated, result.unchanged) == tuple(
            became.count(what) for what in ("add", "update", "unchanged")
        )

    @precondition(lambda self: self.memories)
    @rule(data=st.data())
    def add_one_that_is_there_again(self, data: st.DataObject) -> None:
        memory = self.memories[data.draw(st.sampled_from(sorted(self.memories)))]
        assert self.mem.add_batch([memory]).unchanged == 1

    @rule(query=_texts, k=st.integers(1, 10), user=_users, where=st.dictionaries(st.just("n"), _values, max_size=1))
    def search(self, query: str, k: int, user: str | None, where: dict[str, JsonScalar]) -> None:
        matching = {memory.id: memory for memory in self.memories.values() if _matches(memory, user, where)}
        cosines: dict[str, float] = {}
        if matching:
            vectors = _MODEL.embed([memory.text for memory in matching.values()]).vectors
            cosines = dict(zip(matching, (vectors @ _MODEL.embed_query(query)).tolist(), strict=True))
        hits = self.mem.search(query, k, user_id=user, where=where)
        assert len({hit.id for hit in hits}) == len(hits) == min(k, len(matching))
        assert [hit.score for hit in hits] == pytest.approx(sorted(cosines.values(), reverse=True)[:k], abs=1e-5)
        for hit in hits:
            assert hit.score == pytest.approx(cosines[hit.id], abs=1e-5)
            assert _content(Memory(hit.text, scope=Scope(user_id=hit.user_id), metadata=hit.metadata)) == _content(
                matching[hit.id]
            )
        arrivals = list(self.memories)
        for text in {hit.text for hit in hits}:
            places = [arrivals.index(hit.id) for hit in hits if hit.text == text]
            assert places == sorted(places)

    @rule(identity=_ids)
    def get(self, identity: str) -> None:
        stored, expected = self.mem.get(identity), self.memories.get(identity)
        assert (stored is None) == (expected is None)
        if stored is not None and expected is not None:
            assert _content(stored) == _content(expected)

    @precondition(lambda self: self.memories)
    @rule(data=st.data())
    def history(self, data: st.DataObject) -> None:
        identity = data.draw(st.sampled_from(sorted(self.memories)))
        events = [(event.event, event.previous_text, event.text) for event in self.mem.history(identity)]
        assert events == self.events[identity]

    @rule()
    def close_and_reopen(self) -> None:
        self.mem.close()
        self.mem = self._open()

    @rule()
    def publish_a_graph(self) -> None:
        self.mem.open()
        self.mem._store.refresh_graph(min_tail=1)

    @rule()
    def lose_the_graph(self) -> None:
        shutil.rmtree(self.folder / "store" / "index", ignore_errors=True)

    @rule(exact_matches=st.sampled_from([0, 20_000]))
    def prefer_the_graph_or_a_scan_under_filters(self, exact_matches: int) -> None:
        embedded._EXACT_MATCHES = exact_matches  # type: ignore[misc]

    @invariant()
    def as_many_memories_as_the_dictionary_has(self) -> None:
        assert len(self.mem) == len(self.memories)

    @invariant()
    def one_vector_a_text(self) -> None:
        reader = self.mem._store.reader()
        if reader is not None:
            assert reader.count_vectors() == len({memory.text for memory in self.memories.values()})


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
