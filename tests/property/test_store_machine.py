"""Any sequence of changes, searches, reopenings, damages and kills leaves the store equal to a dictionary."""

import json
import math
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentmem_cli import AgentMem, Memory, Scope
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.values import JsonScalar
from agentmem_cli.store.embedded import snapshot
from agentmem_cli.support import failpoints
from tests.fakes import FakeEmbedder
from tests.stores import embedded

_MODEL = FakeEmbedder()
_USERS = ("ana", "bo")
_ids = st.sampled_from("abcdefgh")
_texts = st.lists(st.sampled_from(["red", "apple", "blue", "whale", "tea", "rain"]), min_size=1, max_size=3).map(
    " ".join
)
_COMMIT_STEPS = [step for step in failpoints.STEPS if step.startswith("commit.")]
_users = st.sampled_from([None, *_USERS])
_values: st.SearchStrategy[JsonScalar] = st.sampled_from([0, 1, "1", True, None])
_metadata = st.dictionaries(st.sampled_from(["n", "m"]), _values, max_size=2)


_PAST, _FUTURE = datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2999, 1, 1, tzinfo=timezone.utc)
_expiries = st.sampled_from([None, None, _PAST, _FUTURE])


def _memory(
    identity: str, text: str, user: str | None, metadata: Mapping[str, JsonScalar], expires_at: datetime | None
) -> Memory:
    return Memory(text, id=identity, scope=Scope(user_id=user), metadata=dict(metadata), expires_at=expires_at)


_memories = st.builds(_memory, _ids, _texts, _users, _metadata, _expiries)


def _content(memory: Memory) -> tuple[str, Scope, str]:
    return memory.text, memory.scope, json.dumps(memory.metadata, sort_keys=True)


def _is_alive(memory: Memory) -> bool:
    return memory.expires_at != _PAST


def _matches(memory: Memory, user: str | None, where: Mapping[str, JsonScalar]) -> bool:
    return (user is None or memory.scope.user_id == user) and all(
        key in memory.metadata and json.dumps(memory.metadata[key]) == json.dumps(value) for key, value in where.items()
    )


def _share_of_words(text: str, query: str, texts: set[str]) -> float:
    """The share of a query's words that a text has, each weighted by how rare it is among the texts."""
    having = {word: sum(word in other.split() for other in texts) for word in set(query.split())}
    weights = {word: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for word, n in having.items()}
    whole = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word in text.split()) / whole if whole else 0.0


class StoreMachine(RuleBasedStateMachine):
    """AgentMem beside the dictionaries that it must agree with."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.walk_vectors = snapshot.WALK_VECTORS
        self.mem = self._open()
        self.memories: dict[str, Memory] = {}
        self.events: dict[str, list[tuple[str, str | None, str | None]]] = {}
        self.damaged = False

    def teardown(self) -> None:
        snapshot.WALK_VECTORS = self.walk_vectors  # type: ignore[misc]
        self.mem.close()
        shutil.rmtree(self.folder)

    def _open(self) -> AgentMem:
        return AgentMem(self.folder / "store", embedder=FakeEmbedder())

    @property
    def alive(self) -> dict[str, Memory]:
        """The memories that have not expired."""
        return {identity: memory for identity, memory in self.memories.items() if _is_alive(memory)}

    def _take(self, memory: Memory, *, replace: bool = False) -> str:
        before = self.memories.get(memory.id)
        if before is not None and not replace and _is_alive(before):
            memory = Memory(
                memory.text,
                id=memory.id,
                scope=Scope(user_id=memory.scope.user_id or before.scope.user_id),
                metadata=memory.metadata or before.metadata,
                created_at=before.created_at,
                expires_at=memory.expires_at or before.expires_at,
            )
        if before is not None and _content(before) == _content(memory) and before.expires_at == memory.expires_at:
            return "unchanged"
        event = "add" if before is None else "update"
        self.memories[memory.id] = memory
        events = self.events.setdefault(memory.id, [])
        events.append((event, None if before is None else before.text, memory.text))
        if not _is_alive(memory):
            events.append(("expire", memory.text, None))
        return event

    @rule(memory=_memories)
    def add(self, memory: Memory) -> None:
        self._take(memory)
        scope, metadata = memory.scope, dict(memory.metadata) or None
        identity = self.mem.add(
            memory.text, id=memory.id, user_id=scope.user_id, metadata=metadata, expires_at=memory.expires_at
        )
        assert identity == memory.id

    @rule(batch=st.lists(_memories, max_size=12), replace=st.booleans())
    def add_batch(self, batch: list[Memory], replace: bool) -> None:
        became = [self._take(memory, replace=replace) for memory in batch]
        result = self.mem.add_batch(batch, replace=replace)
        assert result.ids == [memory.id for memory in batch]
        assert (result.added, result.updated, result.unchanged) == tuple(
            became.count(what) for what in ("add", "update", "unchanged")
        )

    @precondition(lambda self: self.memories)
    @rule(data=st.data())
    def add_one_that_is_there_again(self, data: st.DataObject) -> None:
        memory = self.memories[data.draw(st.sampled_from(sorted(self.memories)))]
        assert self.mem.add_batch([memory]).unchanged == 1

    @rule(ids=st.lists(_ids, max_size=4))
    def delete(self, ids: list[str]) -> None:
        self.mem.open()
        doomed = [identity for identity in dict.fromkeys(ids) if identity in self.memories]
        assert self.mem.delete(*ids) == len(doomed)
        self._forget(doomed)

    @rule()
    def delete_the_expired(self) -> None:
        self.mem.open()
        doomed = [identity for identity in self.memories if identity not in self.alive]
        assert self.mem.delete(expired=True) == len(doomed)
        self._forget(doomed)

    def _forget(self, doomed: list[str]) -> None:
        for identity in doomed:
            kept = [event for event, before, _ in self.events[identity] if event != "expire" or before is None]
            kept += [] if _is_alive(self.memories.pop(identity)) else ["expire"]
            self.events[identity] = [(event, None, None) for event in (*kept, "delete")]

    @rule()
    def compact(self) -> None:
        self.mem.open()
        self.mem.compact()
        self.damaged = False

    @rule()
    def repair(self) -> None:
        self.mem.open()
        self.mem.repair()
        self.damaged = False

    @rule(vectors=st.booleans())
    def export_into_a_fresh_store_and_go_on_there(self, vectors: bool) -> None:
        self.mem.open()
        embedder, fresh = FakeEmbedder(), self.folder / "fresh"
        with AgentMem(fresh, embedder=embedder) as other:
            other.open()
            result = other.add_batch(self.mem.export(vectors=vectors))
            assert result.ids == list(self.alive)
            exported = list(other.export())
            assert exported == list(self.mem.export())
        assert embedder.texts_embedded == (0 if vectors else len({memory.text for memory in self.alive.values()}))
        self.mem.close()
        shutil.rmtree(self.folder / "store")
        fresh.rename(self.folder / "store")
        self.mem = self._open()
        self.memories = {memory.id: memory for memory in exported}  # which now say when they came
        self.events = {identity: [("add", None, memory.text)] for identity, memory in self.memories.items()}
        self.damaged = False

    @rule(batch=st.lists(_memories, min_size=1, max_size=6), step=st.sampled_from(_COMMIT_STEPS))
    def another_process_is_killed_in_a_commit(self, batch: list[Memory], step: str) -> None:
        self.mem.close()
        child = os.fork()
        if child == 0:
            try:
                failpoints.hook = lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached == step else None
                self._open().add_batch(batch)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        if step == "commit.done":
            for memory in batch:
                self._take(memory)
        self.mem = self._open()

    @rule(query=_texts, k=st.integers(1, 10), user=_users, where=st.dictionaries(st.just("n"), _values, max_size=1))
    def search(self, query: str, k: int, user: str | None, where: dict[str, JsonScalar]) -> None:
        matching = {memory.id: memory for memory in self.alive.values() if _matches(memory, user, where)}
        cosines: dict[str, float] = {}
        if matching:
            vectors = _MODEL.embed([memory.text for memory in matching.values()]).vectors
            cosines = dict(zip(matching, (vectors @ _MODEL.embed_query(query)).tolist(), strict=True))
        hits = self.mem.search(query, k, user_id=user, where=where, mode="meaning")
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

    @rule(query=_texts, k=st.integers(1, 10), user=_users, where=st.dictionaries(st.just("n"), _values, max_size=1))
    def search_by_words(self, query: str, k: int, user: str | None, where: dict[str, JsonScalar]) -> None:
        matching = [memory for memory in self.alive.values() if _matches(memory, user, where)]
        scores = {memory.id: _share_of_words(memory.text, query, {m.text for m in matching}) for memory in matching}
        expected = sorted(((-score, list(self.memories).index(i)) for i, score in scores.items() if score))[:k]
        hits = self.mem.search(query, k, user_id=user, where=where, mode="words")
        assert [-hit.score for hit in hits] == pytest.approx([score for score, _ in expected])
        assert [scores[hit.id] for hit in hits] == pytest.approx([hit.score for hit in hits])

    @rule(query=_texts, k=st.integers(1, 10), user=_users)
    def search_by_both(self, query: str, k: int, user: str | None) -> None:
        hits = self.mem.search(query, k, user_id=user)
        matching = [memory for memory in self.alive.values() if _matches(memory, user, {})]
        assert len({hit.id for hit in hits}) == len(hits) == min(k, len(matching))
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    @rule(identity=_ids)
    def get(self, identity: str) -> None:
        stored, expected = self.mem.get(identity), self.alive.get(identity)
        assert (stored is None) == (expected is None)
        if stored is not None and expected is not None:
            assert _content(stored) == _content(expected)

    @rule(identity=_ids)
    def history(self, identity: str) -> None:
        events = [(event.event, event.previous_text, event.text) for event in self.mem.history(identity)]
        assert events == self.events.get(identity, [])

    @rule(limit=st.integers(1, 4), user=_users)
    def list_in_pages(self, limit: int, user: str | None) -> None:
        if not self.mem._store.exists:
            return
        listed: list[Memory] = []
        while page := self.mem.list_memories(limit, len(listed), user_id=user):
            listed += page
        matching = [memory.id for memory in self.alive.values() if _matches(memory, user, {})]
        assert sorted(memory.id for memory in listed) == sorted(matching)
        assert self.mem.ids_matching(SearchFilter(Scope(user_id=user))) == matching

    @rule()
    def close_and_reopen(self) -> None:
        self.mem.close()
        self.mem = self._open()

    @rule()
    def publish_a_graph(self) -> None:
        self.mem.open()
        embedded(self.mem).refresh_graph(min_tail=1)

    @rule(damage=st.sampled_from(["delete", "truncate", "flip"]), data=st.data())
    def damage_the_graph(self, damage: str, data: st.DataObject) -> None:
        graphs = list((self.folder / "store" / "index").glob("*.hnsw"))
        for graph in graphs:
            content = bytearray(graph.read_bytes())
            place = data.draw(st.integers(0, max(len(content) - 1, 0)))
            if damage == "delete" or not content:
                graph.unlink()
            elif damage == "truncate":
                graph.write_bytes(content[:place])
            else:
                content[place] ^= 1
                graph.write_bytes(content)
        self.damaged = self.damaged or bool(graphs)

    @rule(walk_vectors=st.sampled_from([0, 4000]))
    def prefer_the_graph_or_a_scan_under_filters(self, walk_vectors: int) -> None:
        snapshot.WALK_VECTORS = walk_vectors  # type: ignore[misc]

    @invariant()
    def as_many_memories_as_the_dictionary_has(self) -> None:
        assert len(self.mem) == len(self.alive)
        assert not self.mem._store.exists or self.mem.stats().memories == len(self.memories)

    @invariant()
    def nothing_is_wrong_but_what_was_damaged(self) -> None:
        if self.mem._store.exists:
            findings = self.mem.verify()
            assert all(finding.repairable for finding in findings)
            assert findings == [] or self.damaged

    @invariant()
    def one_vector_a_text(self) -> None:
        reader = embedded(self.mem).reader()
        if reader is not None:
            assert reader.vectors.count() == len({memory.text for memory in self.memories.values()})


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
