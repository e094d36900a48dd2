"""Ingests and re-embeddings by many machines: this process reads, and workers on a Ray cluster embed and write.

The reader hands out blocks, which are batches of memories, and each is committed in one transaction with its mark. It
starts no block while another one under way has one of its ids. So for each id the committed blocks are a beginning of
the input, in its order, also where this process dies: the later line wins, whatever the order of arrival.

Workers are replaced, never trusted: where one dies, with its machine or alone, its blocks go to others, and a block
that was committed before is found by its mark. What was done is counted in the store. Ray itself tries nothing again.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from agentmem_cli import errors
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder, EmbedderSpec, OnShare, Vectors, embed_checked
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.chunking import Chunking
from agentmem_cli.errors import AgentMemError, ClusterError, ModelNotFoundError, StoreMismatchError, UsageError
from agentmem_cli.ingest.batches import Batch
from agentmem_cli.ingest.options import RayPlace
from agentmem_cli.ingest.overlap import done
from agentmem_cli.ingest.pipeline import Pipeline, Ready, count
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.memory import Memory, Position
from agentmem_cli.store import open_store
from agentmem_cli.store.base import BatchCounts, Block, MemoryStore, Plan, SharedStore

_PER_WORKER: Final = 2  # calls under way: one that runs, and the next
_TRIES: Final = 5  # of a call whose worker dies
_STARTS: Final = 20  # of workers that die before they are ready, one after the other
_ANSWER_S: Final = 10.0  # in which a cluster must answer
_FIRST_WORKER_S: Final = 300.0
_LOOK_EVERY_S: Final = 0.02
_MOVE_EVERY_S: Final = 1.0
_LEAST_TEXTS: Final = 16  # of a call that embeds
_OBJECTS_BYTES: Final = 1 << 28  # of the memory in which a Ray of this machine alone keeps blocks

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Setup:
    """What workers need to know; without a `url`, they only embed. `embedder` is one of the user's own."""

    spec: EmbedderSpec
    choice: ModelChoice
    embedder: Embedder | None = field(repr=False, default=None)
    url: str | None = field(repr=False, default=None)
    chunking: Chunking | None = None
    whole_records: bool = False

    @property
    def threads(self) -> int:
        """The threads that each worker embeds with."""
        return self.choice.threads or 1


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a worker: the name of its class, and its message with the machine."""

    kind: str
    message: str

    def error(self) -> AgentMemError:
        """The error, in this process."""
        kind: type[AgentMemError] = getattr(errors, self.kind)
        return kind(self.message)


class Worker:
    """Embeds texts and commits blocks, in a process of its own on any machine.

    Its errors are results: Ray would print an exception with its traceback.
    """

    def __init__(self) -> None:
        self._setup: Setup | None = None
        self._store: MemoryStore | None = None
        self._embedder: Embedder | None = None

    def open(self, setup: Setup) -> Failure | None:
        """Connects to the store. Ray keeps no record of the arguments of calls: so a password is in none."""
        self._setup, self._embedder = setup, setup.embedder
        return _result(self._open)

    def commit(self, block: Block, memories: Sequence[Memory]) -> IngestReport | Failure:
        """Commits a block, unless it is done, and returns what that did."""
        return _result(lambda: self._commit(block, memories))

    def embed(self, texts: Sequence[str]) -> tuple[Vectors, NDArray[np.bool_]] | Failure:
        """The vectors (n, dim) of n texts, and (n,) whether each was cut."""

        def embed() -> tuple[Vectors, NDArray[np.bool_]]:
            embedded = embed_checked(self._loaded(), texts)
            return embedded.vectors, embedded.cut

        return _result(embed)

    def _open(self) -> None:
        setup = self._given()
        if setup.url is not None:
            self._store = open_store(setup.url, create=False)
            self._store.open_for_writing(setup.spec.stored())

    def _commit(self, block: Block, memories: Sequence[Memory]) -> IngestReport:
        setup, store = self._given(), self._store
        assert store is not None
        pipeline = _BlockPipeline(
            store, setup.spec, self._loaded, chunking=setup.chunking, whole_records=setup.whole_records
        )
        pipeline.block = block
        pipeline.commit(memories, Ready())
        return pipeline.report

    def _given(self) -> Setup:
        assert self._setup is not None
        return self._setup

    def _loaded(self) -> Embedder:
        if self._embedder is None:
            setup = self._given()
            choice = replace(setup.choice, threads=setup.threads)
            try:
                self._embedder = catalog.load(setup.spec, choice)
            except ModelNotFoundError:
                if setup.spec.name != catalog.STATIC_MODEL:
                    raise
                catalog.resolve(ModelChoice(catalog.STATIC_MODEL))  # each machine makes its own
                self._embedder = catalog.load(setup.spec, choice)
        spec = self._embedder.spec
        if spec.fingerprint() != self._given().spec.fingerprint():
            raise StoreMismatchError(
                f"model {spec.name} there is not the one that the ingest uses: install the same agentmem-cli and models"
            )
        return self._embedder


class _BlockPipeline(Pipeline):
    """A pipeline that commits one block."""

    block: Block

    def _write(
        self, plan: Plan, vectors: Vectors, position: Position | None, cut: Sequence[int], given: Collection[str]
    ) -> tuple[BatchCounts, int]:
        assert isinstance(self.store, SharedStore)
        return self.store.commit_block(self.block, plan, vectors, cut, given)


def _result(work: Callable[[], _T]) -> "_T | Failure":
    try:
        return work()
    except AgentMemError as error:
        kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        return Failure(kind.__name__, f"worker on {socket.gethostname()}: {error}")


class _Method(Protocol):
    def remote(self, *arguments: object) -> object: ...


@dataclass(eq=False, slots=True)
class _Call:
    """Work for a worker, in the order of its numbers where ids are the same. The future says whether it was done; it is
    not where another one has failed before."""

    number: int
    method: str
    arguments: tuple[object, ...]
    ids: frozenset[str]
    settle: Callable[[object], None]
    future: "Future[bool]" = field(default_factory=Future)
    tries: int = 0


@dataclass(eq=False, slots=True)
class _Hired:
    """A worker of the pool, and its calls under way, in order."""

    handle: object
    calls: list[_Call] = field(default_factory=list)

    def method(self, name: str) -> _Method:
        return cast("_Method", getattr(self.handle, name))


class Workers:
    """A pool of workers on a Ray cluster, with at most two calls under way for each."""

    def __init__(self, place: RayPlace, setup: Setup) -> None:
        """Connects to the cluster, or starts one on this machine; the workers start meanwhile.

        Raises UsageError, ClusterError.
        """
        self._setup = setup
        self._ray, self._is_ours = connected(place, setup.threads)
        resources: dict[str, float] = self._ray.cluster_resources()
        is_cuda = setup.choice.device == "cuda"
        room = resources.get("GPU", 0) if is_cuda else resources.get("CPU", 0) // setup.threads
        self.count: int = place.workers or max(1, int(room))
        self._class = self._ray.remote(Worker).options(
            num_cpus=setup.threads, num_gpus=int(is_cuda), max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._changed = threading.Condition()
        self._waiting: list[_Call] = []
        self._hired: list[_Hired] = []
        self._opening: dict[object, _Hired] = {}  # by the result of `open`
        self._running: dict[object, tuple[_Hired, _Call]] = {}  # by its result
        self._busy_ids: set[str] = set()  # of the calls under way
        self._numbers = 0
        self._vain_starts = 0
        self._error: AgentMemError | None = None  # the first
        self._is_told = False
        self._closed = False
        self._without_since_s = time.monotonic()
        for _ in range(self.count):
            self._hire()
        self._thread = threading.Thread(target=self._watch, name="agentmem-workers", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self, method: str, arguments: tuple[object, ...], settle: Callable[[_T], None], ids: Collection[str] = ()
    ) -> "Future[bool]":
        """Has a worker do something; `settle` gets the result in a thread, before the future is done.

        A call waits for those before it that have one of its `ids`. The future has the first error of the pool, or says
        whether the call was done.
        """
        with self._changed:
            self._numbers += 1
            call = _Call(self._numbers, method, arguments, frozenset(ids), cast("Callable[[object], None]", settle))
            if self._error is not None and not self._is_told:
                self._is_told = True
                call.future.set_exception(self._error)
            elif self._error is not None or self._closed:
                call.future.set_result(False)
            else:
                self._waiting.append(call)
                self._changed.notify_all()
            return call.future

    def embed(self, texts: Sequence[str]) -> tuple[Vectors, NDArray[np.bool_]]:
        """The vectors (n, dim) of n texts, and (n,) whether each was cut. Raises AgentMemError."""
        size = max(_LEAST_TEXTS, ceil(len(texts) / (_PER_WORKER * self.count)))
        starts = range(0, len(texts), size)
        parts: dict[int, tuple[Vectors, NDArray[np.bool_]]] = {}

        def settle(start: int) -> Callable[[tuple[Vectors, NDArray[np.bool_]]], None]:
            return lambda part: parts.update({start: part})

        calls = [self.submit("embed", (list(texts[start : start + size]),), settle(start)) for start in starts]
        are_done = [call.result() for call in calls]  # all: one of them may have the error
        if not all(are_done):
            raise ClusterError("the workers have stopped: run the same command again to continue")
        return np.concatenate([parts[start][0] for start in starts]), np.concatenate([parts[s][1] for s in starts])

    def stop(self) -> None:
        """Ends the workers at once, and gives up their calls."""
        with self._changed:
            self._closed = True
            hired = [*self._hired, *self._opening.values()]
            calls = [*self._waiting, *(call for _, call in self._running.values())]
            self._waiting, self._hired, self._opening, self._running = [], [], {}, {}
            for worker in hired:
                with suppress(Exception):  # it may be dead, or its cluster
                    self._ray.kill(worker.handle)
            for call in calls:
                call.future.set_result(False)
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the workers, and leaves the cluster, or ends it where it was started here."""
        self.stop()
        self._thread.join()
        if self._is_ours:
            self._ray.shutdown()

    # In the thread that watches, or for a caller that holds the lock

    def _watch(self) -> None:
        while not self._closed:
            with self._changed:
                self._check_for_workers()
                awaited = [*self._running, *self._opening]
                if not awaited:
                    self._changed.wait(_LOOK_EVERY_S)
            try:
                ready = self._ray.wait(awaited, num_returns=1, timeout=_LOOK_EVERY_S)[0] if awaited else []
                with self._changed:
                    for reference in ready:
                        self._take(reference)
                    self._hand_out()
            except Exception as error:  # noqa: BLE001 - whatever Ray raises when it has lost the cluster
                with self._changed:
                    self._waiting += [call for _, call in self._running.values()]
                    self._running, self._opening, self._hired = {}, {}, []
                    self._fail(ClusterError(f"the Ray cluster is lost: {_one_line(error)}: check it, and try again"))

    def _hire(self) -> None:
        worker = _Hired(self._class.remote())
        try:
            self._opening[worker.method("open").remote(self._setup)] = worker
        except TypeError as error:  # an embedder of the user's own
            raise UsageError(f"the embedder can't be sent to workers: {_one_line(error)}: name a model") from error

    def _take(self, reference: object) -> None:
        """Takes what a worker has answered."""
        worker = self._opening.pop(reference, None)
        if worker is None and reference not in self._running:
            return  # it was given up
        try:
            answer: object = self._ray.get(reference)
        except self._ray.exceptions.RayActorError:
            self._replace(worker or self._running[reference][0])
            return
        except self._ray.exceptions.RayError as error:
            answer = Failure(
                "ClusterError",
                f"a worker failed: {_one_line(error)}: install the same Python and agentmem-cli[ray,postgres] on all "
                "machines of the cluster",
            )
        if worker is None:
            worker, call = self._running.pop(reference)
            worker.calls.remove(call)
            self._busy_ids -= call.ids
            if isinstance(answer, Failure):
                self._fail(answer.error(), call)
                return
            call.settle(answer)
            call.future.set_result(True)
        elif isinstance(answer, Failure):
            self._fail(answer.error())
        else:
            self._vain_starts = 0
            self._hired.append(worker)

    def _replace(self, dead: _Hired) -> None:
        """Starts a worker in place of a dead one, whose calls go to others."""
        with suppress(Exception):  # it may be out of reach alone
            self._ray.kill(dead.handle)
        if dead in self._hired:
            self._hired.remove(dead)
        else:
            self._vain_starts += 1
        if not self._hired:
            self._without_since_s = time.monotonic()
        self._running = {key: running for key, running in self._running.items() if running[0] is not dead}
        for call in dead.calls:
            self._busy_ids -= call.ids
        for call in dead.calls[:1]:
            call.tries += 1
        self._waiting = sorted([*dead.calls, *self._waiting], key=lambda call: call.number)
        if self._vain_starts >= _STARTS or any(call.tries >= _TRIES for call in dead.calls):
            self._fail(ClusterError("workers die again and again: look at their memory limits and at Ray's logs"))
        else:
            self._hire()

    def _hand_out(self) -> None:
        """Starts calls in their order, but for those that wait for one with the same ids."""
        kept_ids = set[str]()
        for call in list(self._waiting):
            worker = min(self._hired, key=lambda hired: len(hired.calls), default=None)
            if worker is None or len(worker.calls) >= _PER_WORKER:
                return
            if call.ids.isdisjoint(self._busy_ids) and call.ids.isdisjoint(kept_ids):
                self._running[worker.method(call.method).remote(*call.arguments)] = worker, call
                self._waiting.remove(call)
                self._busy_ids |= call.ids
                worker.calls.append(call)
            else:
                kept_ids |= call.ids

    def _check_for_workers(self) -> None:
        if not self._hired and self._error is None and time.monotonic() - self._without_since_s > _FIRST_WORKER_S:
            self._fail(
                ClusterError(
                    f"no worker has started within {_FIRST_WORKER_S:.0f} s: the Ray cluster has no free CPU, or fewer "
                    f"than {self._setup.threads} on each machine: see 'ray status'"
                )
            )

    def _fail(self, error: AgentMemError, call: _Call | None = None) -> None:
        """Passes the first error on, to the call that failed if there is one, and gives up what has not started."""
        given_up, self._waiting = self._waiting, []
        if call is not None:
            given_up.insert(0, call)
        elif not given_up:
            given_up = sorted((running for _, running in self._running.values()), key=lambda running: running.number)
            self._running = {}
        self._error = self._error or error
        for other in given_up:
            if self._is_told:
                other.future.set_result(False)
            else:
                self._is_told = True
                other.future.set_exception(self._error)


def _one_line(error: BaseException) -> str:
    """The innermost cause of an error of Ray, whose own message has a traceback."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return _one_line(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}".rstrip(": ")


def connected(place: RayPlace, threads: int) -> tuple[ModuleType, bool]:
    """Ray, connected to a cluster, and whether that was done here. Raises UsageError, ClusterError."""
    address = place.address or os.environ.get("RAY_ADDRESS") or None
    settings = {"RAY_USAGE_STATS_ENABLED": "0"}
    if address is None or _is_here(address):
        # Ray would take the machine's own address for 127.0.0.1, unless it believes that there are no other machines.
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    with _environment(settings), _signals_kept():
        try:
            import ray
        except ImportError as error:
            raise UsageError("--on ray needs the extra ray: pip install 'agentmem-cli[ray,postgres]'") from error
        if ray.is_initialized():
            return ray, False
        try:
            _check_reachable(address)
            if address is None:
                ray.init(
                    address="local",
                    num_cpus=max(os.cpu_count() or 1, threads * (place.workers or 1)),
                    object_store_memory=_OBJECTS_BYTES,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            else:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except ImportError as error:
            raise UsageError(f"--on {address} needs Ray's client: pip install 'ray[client]'") from error
        except Exception as error:  # of many kinds
            said = (
                "Ray can't start on this machine: {}: try again where more of its cores are free, or set RAY_TMPDIR to "
                "a folder with a short path"
                if address is None
                else f"Ray cluster at {address} can't be reached: {{}}: check the address and the cluster"
            )
            raise ClusterError(said.format(_one_line(error).rstrip("."))) from error
    return ray, True


def _is_here(address: str) -> bool:
    return address.removeprefix("ray://").rpartition(":")[0] in ("127.0.0.1", "localhost")


def _check_reachable(address: str | None) -> None:
    """Raises OSError for an address that nothing answers at, which Ray would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Variables that are set meanwhile, unless the user has set them."""
    new = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keeps the handlers of signals, which Ray replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


class RayWriter:
    """Makes batches durable by workers on a Ray cluster; a `Writer`. It connects when it gets its first memories."""

    def __init__(
        self, place: RayPlace, setup: Setup, pipeline: Pipeline, store: SharedStore, paths: Sequence[str]
    ) -> None:
        self._place = place
        self._setup = setup
        self._pipeline = pipeline
        self._store = store
        files = [path for path in paths if path != "-"]
        self._inputs = [f"{socket.gethostname()}:{Path(path).resolve()}" for path in files]
        self._workers: Workers | None = None
        self._job = ""
        self._blocks = 0
        self._reached: dict[str, Position] = {}  # of the inputs, and not stored yet
        self._moved_at_s = 0.0

    def __enter__(self) -> "RayWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._workers is not None:
            self._workers.close()

    @property
    def most_under_way(self) -> int:
        """See `Writer`."""
        return _PER_WORKER * (1 if self._workers is None else self._workers.count)

    def submit(self, batch: Batch, on_share: OnShare | None) -> "Future[int | None]":
        """See `Writer`; `on_share` is not called."""
        report = self._pipeline.report
        if not batch.memories:
            return done(report.stored)
        if self._workers is None:
            with self._pipeline.stage("start"):
                self._workers = Workers(self._place, replace(self._setup, url=self._store.url_with_password))
            self._job = self._store.start_job(self._inputs)
        self._blocks += 1
        stored: Future[int | None] = Future()
        ids = {memory.id for memory in batch.memories}
        block = Block(self._job, self._blocks)
        call = self._workers.submit("commit", (block, batch.memories), report.add, ids)

        def pass_on(call: "Future[bool]") -> None:
            error = call.exception()
            if error is not None:
                stored.set_exception(error)
            else:
                stored.set_result(report.stored if call.result() else None)

        call.add_done_callback(pass_on)
        return stored

    def reached(self, position: Position) -> None:
        """See `Writer`."""
        self._reached[position.file] = position
        if time.monotonic() - self._moved_at_s > _MOVE_EVERY_S:
            self._move()

    def stop(self) -> None:
        """See `Writer`; what the store has of the job is then the report's."""
        if self._workers is not None:
            self._workers.stop()
        if self._job:
            job, self._job = self._job, ""
            self._move()
            report, of_blocks = self._pipeline.report, self._store.end_job(job)
            report.added = report.updated = report.unchanged = report.embedded = report.reused = 0
            report.truncated = report.chunks = 0
            count(report, *of_blocks)

    def _move(self) -> None:
        positions, self._reached = list(self._reached.values()), {}
        self._store.move(positions)
        self._moved_at_s = time.monotonic()
