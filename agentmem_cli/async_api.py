"""AsyncAgentMem: AgentMem for asyncio."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import update_wrapper
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Concatenate, Final, ParamSpec, TypeVar

from agentmem_cli.api import DEFAULT_STORE, AgentMem, as_memories
from agentmem_cli.embedding.base import Embedder, OnProgress, no_progress
from agentmem_cli.embedding.choice import Device
from agentmem_cli.ingest.group import MOST_MEMORIES, Call, How
from agentmem_cli.records.filter import SearchFilter, Where
from agentmem_cli.records.jsonl import memory_from_fields
from agentmem_cli.records.memory import BatchResult, Memory
from agentmem_cli.records.times import expiry
from agentmem_cli.records.values import JsonValue
from agentmem_cli.store import shown_location
from agentmem_cli.store.base import Indexing

_EXPORTED_AT_ONCE: Final = 500

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _awaits(
    method: Callable[Concatenate[AgentMem, _P], _T],
) -> Callable[[Callable[..., None]], Callable[Concatenate["AsyncAgentMem", _P], Coroutine[None, None, _T]]]:
    """Makes of a function, which gives the name, a method of AgentMem that runs in a thread while it is awaited."""

    def decorated(
        named: Callable[..., None],
    ) -> Callable[Concatenate["AsyncAgentMem", _P], Coroutine[None, None, _T]]:
        async def call(self: "AsyncAgentMem", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
            return await self._run(lambda: method(self._opened(), *args, **kwargs))

        update_wrapper(call, method)
        call.__name__ = named.__name__
        call.__qualname__ = named.__qualname__
        return call

    return decorated


class AsyncAgentMem:
    """A store of memories for the tasks of one event loop: AgentMem, with methods that are awaited.

    The constructor takes what AgentMem takes and does nothing; the store is opened by `async with`, or by the first
    call, which raises what AgentMem raises. The methods do what those of AgentMem do and raise the same.

    Adds of many tasks are gathered: those that come while others are committed become durable together. All other calls
    run one after the other in one thread. A cancelled call is not undone: a memory whose `add` was cancelled may or may
    not have been stored, and the store is whole in both cases.
    """

    def __init__(
        self,
        path: str | Path = DEFAULT_STORE,
        *,
        model: str | None = None,
        model_path: str | None = None,
        embedder_url: str | None = None,
        embedder: Embedder | None = None,
        create: bool = True,
        threads: int | None = None,
        device: Device = "cpu",
        index: Indexing = "background",
        wait_s: float = 0.0,
        on_model_progress: OnProgress = no_progress,
    ) -> None:
        self._open: Callable[[], AgentMem] = lambda: AgentMem(
            path,
            model=model,
            model_path=model_path,
            embedder_url=embedder_url,
            embedder=embedder,
            create=create,
            threads=threads,
            device=device,
            index=index,
            wait_s=wait_s,
            on_model_progress=on_model_progress,
        )
        self._path = path
        self._mem: AgentMem | None = None
        self._opening = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "agentmem-calls")
        self._adding_thread = ThreadPoolExecutor(1, "agentmem-adds")
        self._waiting: list[tuple[Call, asyncio.Future[None]]] = []
        self._adding: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Async{self._mem!r}" if self._mem is not None else f"AsyncAgentMem({self.location!r}, not opened yet)"

    @property
    def location(self) -> str:
        """Where the store is: its folder, or its URL without the password."""
        return shown_location(self._path)

    async def __aenter__(self) -> "AsyncAgentMem":
        await self._run(self._opened)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._all_added()
        if self._mem is not None:
            await self._run(lambda: self._opened().__exit__(kind, error, trace))

    async def close(self) -> None:
        """Waits for the adds that were called before, releases the lock and brings the graph up to date.

        What was added is durable without it.
        """
        await self.__aexit__(None, None, None)

    async def add(
        self,
        text: str,
        *,
        id: str | None = None,
        agent_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        memory_type: str | None = None,
        importance: float | None = None,
        created_at: datetime | str | float | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        speaker: str | None = None,
        expires_at: datetime | str | float | None = None,
        ttl: timedelta | str | None = None,
        chunk: bool = False,
        replace: bool = False,
    ) -> str:
        """Adds or updates one memory, as `AgentMem.add`, and returns its id when it is durable."""
        fields = {
            "text": text,
            "id": id,
            "agent_id": agent_id,
            "user_id": user_id,
            "run_id": run_id,
            "memory_type": memory_type,
            "importance": importance,
            "created_at": created_at,
            "metadata": metadata,
            "speaker": speaker,
            "expires_at": expiry(expires_at, ttl),
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return (await self._added(Call([memory_from_fields(given)], How(chunk, replace)))).ids[0]

    async def add_batch(
        self, memories: Iterable[Memory | Mapping[str, object]], *, chunk: bool = False, replace: bool = False
    ) -> BatchResult:
        """Adds memories, all or none, as `AgentMem.add_batch`; returns when they are durable."""
        return await self._added(Call(as_memories(memories), How(chunk, replace)))

    async def export(
        self,
        *,
        agent_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        memory_type: str | None = None,
        where: Where | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        expired: bool = False,
        vectors: bool = False,
        on_damaged: Callable[[str], None] | None = None,
    ) -> AsyncIterator[Memory]:
        """The memories that match, in order of arrival, as `AgentMem.export`; `on_damaged` is called in a thread."""
        filter = SearchFilter.of(agent_id, user_id, run_id, memory_type, where, since, until, expired)
        memories = await self._run(
            lambda: self._opened().export_matching(filter, vectors=vectors, on_damaged=on_damaged)
        )
        while part := await self._run(lambda: list(islice(memories, _EXPORTED_AT_ONCE))):
            for memory in part:
                yield memory

    @_awaits(AgentMem.open)
    def open(self) -> None:
        """Awaits `AgentMem.open`."""

    @_awaits(AgentMem.load)
    def load(self) -> None:
        """Awaits `AgentMem.load`."""

    @_awaits(AgentMem.ingest)
    def ingest(self) -> None:
        """Awaits `AgentMem.ingest`."""

    @_awaits(AgentMem.search)
    def search(self) -> None:
        """Awaits `AgentMem.search`."""

    @_awaits(AgentMem.search_many)
    def search_many(self) -> None:
        """Awaits `AgentMem.search_many`."""

    @_awaits(AgentMem.evaluate)
    def evaluate(self) -> None:
        """Awaits `AgentMem.evaluate`."""

    @_awaits(AgentMem.advice)
    def advice(self) -> None:
        """Awaits `AgentMem.advice`."""

    @_awaits(AgentMem.update)
    def update(self) -> None:
        """Awaits `AgentMem.update`."""

    @_awaits(AgentMem.update_fields)
    def update_fields(self) -> None:
        """Awaits `AgentMem.update_fields`."""

    @_awaits(AgentMem.get)
    def get(self) -> None:
        """Awaits `AgentMem.get`."""

    @_awaits(AgentMem.history)
    def history(self) -> None:
        """Awaits `AgentMem.history`."""

    @_awaits(AgentMem.list_memories)
    def list_memories(self) -> None:
        """Awaits `AgentMem.list_memories`."""

    @_awaits(AgentMem.__len__)
    def count(self) -> None:
        """How many memories the store holds, as `len(AgentMem)`."""

    @_awaits(AgentMem.stats)
    def stats(self) -> None:
        """Awaits `AgentMem.stats`."""

    @_awaits(AgentMem.delete)
    def delete(self) -> None:
        """Awaits `AgentMem.delete`."""

    @_awaits(AgentMem.build_index)
    def build_index(self) -> None:
        """Awaits `AgentMem.build_index`."""

    @_awaits(AgentMem.verify)
    def verify(self) -> None:
        """Awaits `AgentMem.verify`."""

    @_awaits(AgentMem.repair)
    def repair(self) -> None:
        """Awaits `AgentMem.repair`."""

    @_awaits(AgentMem.compact)
    def compact(self) -> None:
        """Awaits `AgentMem.compact`."""

    @_awaits(AgentMem.reembed)
    def reembed(self) -> None:
        """Awaits `AgentMem.reembed`."""

    # Inside

    def _opened(self) -> AgentMem:
        """The store, in a thread."""
        with self._opening:
            if self._mem is None:
                self._mem = self._open()
            return self._mem

    async def _run(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _added(self, call: Call) -> BatchResult:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, done))
        if self._adding is None:
            self._adding = asyncio.create_task(self._add_waiting())
        await done
        return call.result()

    async def _add_waiting(self) -> None:
        """Commits what waits until nothing does; a commit has all that came during the one before."""
        under_way: list[tuple[Call, asyncio.Future[None]]] = []
        try:
            while self._waiting:
                under_way, self._waiting = self._waiting[:MOST_MEMORIES], self._waiting[MOST_MEMORIES:]
                calls = [call for call, done in under_way if not done.cancelled()]
                error = await self._run_adds(calls)
                for done in (done for _, done in under_way if not done.done()):
                    if error is None:
                        done.set_result(None)
                    else:
                        done.set_exception(error)
                await asyncio.sleep(0)  # those that have their results may add more: they join those that wait
        finally:
            self._adding = None
            for _, done in (*under_way, *self._waiting):
                done.cancel()  # unless it is done

    async def _run_adds(self, calls: Sequence[Call]) -> Exception | None:
        """Commits calls; the error is one that concerns them all, such as that the store can't be opened."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._adding_thread, self._commit, calls)
        except Exception as error:  # noqa: BLE001 - the callers get it
            return error
        return None

    def _commit(self, calls: Sequence[Call]) -> None:
        self._opened()._adds.commit(calls)

    async def _all_added(self) -> None:
        while self._adding is not None:
            await asyncio.wait([self._adding])
