"""AsyncAgentMem does what AgentMem does, for many tasks at once."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem, AsyncAgentMem, BatchResult, Memory
from agentmem_cli.embedding.base import Embedded
from agentmem_cli.errors import EmbeddingError, InvalidMemoryError, StoreMismatchError, StoreNotFoundError
from agentmem_cli.store.embedded.lock import WriterLock
from tests.fakes import FakeEmbedder

_NOT_AWAITED: Final = {
    "another",
    "location",
    "model",
    "round_trips",
    "forget_parent",
    "ids_matching",
    "page_matching",
    "export_matching",
}


class _Embedder(FakeEmbedder):
    """Notes each batch, fails at the text "bad", and waits at the text "gate" until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.at_gate = threading.Event()
        self.gate = threading.Event()

    def embed(self, texts: Sequence[str]) -> Embedded:
        self.batches.append(list(texts))
        if "gate" in texts:
            self.at_gate.set()
            assert self.gate.wait(20)
        if "bad" in texts:
            raise EmbeddingError("a bad text")
        return super().embed(texts)


async def _until_at_gate(embedder: _Embedder) -> None:
    assert await asyncio.get_running_loop().run_in_executor(None, embedder.at_gate.wait, 20)


def test_adds_of_many_tasks_share_commits_and_each_has_its_own_result(tmp_path: Path) -> None:
    embedder = _Embedder()

    async def work(mem: AsyncAgentMem, number: int) -> None:
        assert await mem.add(f"text {number}", id=f"m{number}", user_id="ana") == f"m{number}"
        batch: list[dict[str, object]] = [{"id": f"m{number}", "text": "changed"}, {"id": f"n{number}", "text": "new"}]
        assert await mem.add_batch(batch) == BatchResult([f"m{number}", f"n{number}"], 1, 1, 0)

    async def run() -> None:
        async with AsyncAgentMem(tmp_path / "store", embedder=embedder, index="off") as mem:
            await asyncio.gather(*(work(mem, number) for number in range(50)))
            assert await mem.count() == 100

    asyncio.run(run())
    assert embedder.batches == [[f"text {number}" for number in range(50)], ["changed", "new"]]


def test_tasks_that_have_their_results_share_the_next_commit_with_those_that_came_meanwhile(tmp_path: Path) -> None:
    embedder = _Embedder()

    async def twice(mem: AsyncAgentMem) -> None:
        await mem.add("gate")
        await mem.add("again")

    async def run() -> None:
        async with AsyncAgentMem(tmp_path / "store", embedder=embedder, index="off") as mem:
            first = asyncio.create_task(twice(mem))
            await _until_at_gate(embedder)
            meanwhile = asyncio.create_task(mem.add("meanwhile"))
            await asyncio.sleep(0)
            embedder.gate.set()
            await asyncio.gather(first, meanwhile)

    asyncio.run(run())
    assert embedder.batches == [["gate"], ["meanwhile", "again"]]


def test_an_error_reaches_its_own_task(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncAgentMem(tmp_path / "store", embedder=_Embedder(), index="off") as mem:
            adds = [mem.add(text, id=text or None) for text in ("one", "bad", "", "two")]
            one, bad, empty, two = await asyncio.gather(*adds, return_exceptions=True)
            assert (one, two) == ("one", "two")
            assert isinstance(bad, EmbeddingError)
            assert isinstance(empty, InvalidMemoryError)
            assert sorted([memory.text async for memory in mem.export()]) == ["one", "two"]

    asyncio.run(run())


def test_a_cancelled_add_leaves_the_others_and_the_store_whole(tmp_path: Path) -> None:
    embedder = _Embedder()

    async def run() -> None:
        async with AsyncAgentMem(tmp_path / "store", embedder=embedder, index="off") as mem:
            under_way = asyncio.create_task(mem.add("gate", id="gate"))
            await _until_at_gate(embedder)
            waiting = [asyncio.create_task(mem.add(text, id=text)) for text in ("one", "two")]
            await asyncio.sleep(0)
            for task in (under_way, waiting[0]):
                task.cancel()
            embedder.gate.set()
            done = await asyncio.gather(under_way, *waiting, return_exceptions=True)
            assert [isinstance(result, asyncio.CancelledError) for result in done] == [True, True, False]
            assert await mem.add("three", id="three") == "three"
            assert await mem.verify() == []
            # What was under way is stored, and what had not begun is not.
            assert [memory.id async for memory in mem.export()] == ["gate", "two", "three"]

    asyncio.run(run())


def test_closing_waits_for_the_adds_that_were_called_before_and_gives_the_lock_back(tmp_path: Path) -> None:
    embedder = _Embedder()

    async def run() -> None:
        mem = AsyncAgentMem(tmp_path / "store", embedder=embedder, index="off")
        adds = [asyncio.create_task(mem.add("gate", id="gate"))]
        await _until_at_gate(embedder)
        adds.append(asyncio.create_task(mem.add("next", id="next")))
        await asyncio.sleep(0)
        closing = asyncio.create_task(mem.close())
        await asyncio.sleep(0)
        embedder.gate.set()
        await closing
        assert [task.done() for task in adds] == [True, True]
        lock = WriterLock(tmp_path / "store" / "LOCK")
        lock.acquire()
        lock.release()
        assert await mem.add("after", id="after") == "after"
        await mem.close()

    asyncio.run(run())


def test_a_block_that_fails_closes_the_store(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncAgentMem(tmp_path / "store", embedder=FakeEmbedder(), index="off") as mem:
            await mem.add("one")
            raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(run())
    WriterLock(tmp_path / "store" / "LOCK").acquire()


def test_a_store_that_can_not_be_opened_fails_each_call_and_no_event_loop(tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(StoreNotFoundError):
            async with AsyncAgentMem(tmp_path / "store", create=False):
                pass
        mem = AsyncAgentMem(tmp_path / "store", create=False, embedder=FakeEmbedder())
        done = await asyncio.gather(mem.add("one"), mem.add("two"), mem.search("one"), return_exceptions=True)
        assert [type(result) for result in done] == [StoreNotFoundError] * 3
        await mem.close()

    asyncio.run(run())


def test_the_other_methods_are_those_of_agentmem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"id": "a", "text": "an apple", "user_id": "ana"}\n')

    async def run() -> None:
        async with AsyncAgentMem(tmp_path / "store", embedder=FakeEmbedder(), index="off") as mem:
            report = await mem.ingest([str(tmp_path / "file")])
            assert report.added == 1
            await mem.add("a pear", id="b")
            found = await asyncio.gather(*(mem.search("apple", k=1, user_id="ana") for _ in range(5)))
            assert [hits[0].id for hits in found] == ["a"] * 5
            memory = await mem.get("a")
            assert isinstance(memory, Memory)
            assert [event.event for event in await mem.history("a")] == ["add"]
            assert [memory.id for memory in await mem.list_memories(user_id="ana")] == ["a"]
            assert (await mem.stats()).memories == 2
            assert await mem.delete("a", "never") == 1
            with pytest.raises(StoreMismatchError):
                await mem.reembed(embedder=FakeEmbedder())
            assert await mem.count() == 1

    asyncio.run(run())


def test_no_method_is_missing() -> None:
    methods = {name for name in vars(AgentMem) if not name.startswith("_")} - _NOT_AWAITED
    assert methods <= set(vars(AsyncAgentMem))
    assert AsyncAgentMem.search.__doc__ == AgentMem.search.__doc__
