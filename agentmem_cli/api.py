"""AgentMem: what a Python user opens, and what every command calls."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.embedding import catalog, static_files
from agentmem_cli.embedding.base import (
    Embedder,
    EmbedderSpec,
    OnProgress,
    Vectors,
    embed_checked,
    no_progress,
)
from agentmem_cli.embedding.choice import Device, ModelChoice
from agentmem_cli.embedding.chunking import Chunking
from agentmem_cli.embedding.languages import ModelAdvice
from agentmem_cli.errors import (
    AgentMemError,
    InvalidMemoryError,
    MemoryNotFoundError,
    ModelNotFoundError,
    StoreMismatchError,
    StoreNotFoundError,
    UsageError,
)
from agentmem_cli.ingest.files import Writer, ingest_files
from agentmem_cli.ingest.group import Call, GroupCommit, How
from agentmem_cli.ingest.options import IngestOptions, Observer, RayPlace
from agentmem_cli.ingest.pipeline import Pipeline, Ready, dry_pipeline
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.filter import SearchFilter, Where
from agentmem_cli.records.jsonl import cleared, memory_from_fields
from agentmem_cli.records.memory import BatchResult, HistoryEvent, Hit, Memory, Outcome
from agentmem_cli.records.times import bound, expiry, parse_span
from agentmem_cli.records.values import (
    JsonValue,
    check_amount,
    check_type,
    check_whole,
    is_encodable,
    is_possible_id,
    kind_of,
    shown,
)
from agentmem_cli.search.evaluation import Evaluation
from agentmem_cli.search.query import NEIGHBOUR_SHARE, LabelledQuery, Mode, Query, Ranking
from agentmem_cli.search.retrieve import Searcher
from agentmem_cli.store import open_store
from agentmem_cli.store.base import Finding, Indexing, SharedStore, StoreStats, Upkeep
from agentmem_cli.support.processes import abandon, tell_after_fork

DEFAULT_STORE: Final = ".agentmem"


class AgentMem:
    """A store of memories and its embedding model.

    `path` is a folder, or `postgresql://USER@HOST/DB?schema=NAME` (see `agentmem guide beyond-one-machine`).

    Choose the model with one of: `model`, a name or alias that `agentmem models` lists; `model_path`, a local model
    folder; `embedder_url`, an OpenAI-compatible endpoint, which serves `model`; `embedder`, an object of your own (see
    `agentmem_cli.embedding.base.Embedder`). Without any, a store uses the model that it was made with, and a new one
    all-MiniLM-L6-v2. The static model is made at its first use, which takes a minute or two; `on_model_progress` gets
    its progress, and the store keeps a copy. `threads` (one per core by default) and `device` apply to models of the
    catalogue. The first write creates the store; with `create=False` it must exist.

    `index` says what builds the graph that speeds up searches of a large store: a process of its own (`background`),
    the caller (`wait`: writing, ingesting and closing take longer), or nothing until `build_index` (`off`). A search
    finds every memory in each case: vectors that are not in the graph are scanned.

    Reading takes no lock. The first write takes the writer's lock, waits up to `wait_s` seconds for it, and keeps it
    until `close`. Several threads may share one object: its calls take turns, and what they add at the same time is
    committed together (see `agentmem_cli.ingest.group`). After a fork, the child's copy opens the
    store again; it can write once the parent has closed its own. Every method raises AgentMemError and its kinds only;
    see `agentmem_cli.errors`.
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
        """Opens a store. Raises StoreNotFoundError, StoreDamagedError, StoreMismatchError, ModelNotFoundError, and
        UsageError for a folder that is not empty and no store."""
        self._choice = ModelChoice(model, model_path, embedder_url, device, threads)
        if index not in get_args(Indexing):
            raise UsageError(f"index is {shown(str(index))}: it must be one of {', '.join(get_args(Indexing))}")
        check_amount("wait_s", wait_s)
        if embedder is not None and not isinstance(getattr(embedder, "spec", None), EmbedderSpec):
            raise UsageError(f"embedder must have a spec and embed texts, not be {kind_of(embedder)}: see Embedder")
        catalog.check_device(self._choice)
        self._store = open_store(path, create=create)
        self._searcher = Searcher(self._store, self.load)
        self._turn = threading.RLock()
        self._adds = GroupCommit(self._turn, self._commit)
        self._is_open = False  # set when `open` has done everything
        self._path = path
        self._index = index
        self._wait_s = wait_s
        self._embedder = embedder
        self._carries_model = embedder is None
        self._on_model_progress = on_model_progress
        tell_after_fork(self)
        try:
            self._spec = self._choose_spec()
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> "AgentMem":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._store.close()  # an interrupted caller does not wait for a graph

    def __repr__(self) -> str:
        with suppress(AgentMemError):  # it is no place to fail, or to wait for another thread
            if self._turn.acquire(blocking=False):
                try:
                    return f"AgentMem({self.location!r}, model={self._spec.name!r}, memories={self._store.count()})"
                finally:
                    self._turn.release()
        return f"AgentMem({self.location!r}, model={self._spec.name!r})"

    @property
    def location(self) -> str:
        """Where the store is: its folder, or its URL without the password."""
        return self._store.location

    def another(self, *, wait_s: float = 0.0) -> "AgentMem":
        """Another object for the same store with the same model in memory; it takes and returns the writer's lock by
        itself. Raises AgentMemError."""
        return AgentMem(self._path, embedder=self.load(), index=self._index, wait_s=wait_s)

    @property
    def round_trips(self) -> int:
        """How many requests this object has sent to the store's server; 0 for a folder."""
        return self._store.round_trips

    @property
    def model(self) -> EmbedderSpec:
        """The store's model, or the model that it will be made with."""
        return self._spec

    def open(self) -> None:
        """Takes the writer's lock and creates the store now instead of at the first write. Raises StoreBusyError."""
        with self._turn:
            if self._store.writing and self._is_open:
                return
            self._store.open_for_writing(self._spec.stored(), self._wait_s)
            folder = self._store.models_folder
            if self._carries_model and folder is not None:
                with suppress(ModelNotFoundError):  # raised when the model is needed: to delete, it is not
                    static_files.carry(self._spec, folder)
                if self._pinned().revision == self._spec.revision:
                    static_files.drop_others(self._spec, folder)
            self._is_open = True

    def forget_parent(self) -> None:
        """In a forked child: opens afresh for reading, and loads a model of its own."""
        self._turn = threading.RLock()
        self._adds = GroupCommit(self._turn, self._commit)
        if self._carries_model:
            abandon(self._embedder)  # its threads stayed in the parent
            self._embedder = None

    def close(self) -> None:
        """Commits what other threads wait to add, releases the lock and brings the graph up to date as `index` says.

        What was added is durable without it.
        """
        with self._turn:
            try:
                self._adds.commit_waiting()
                self._refresh_index()
            finally:
                self._store.close()

    def build_index(self) -> int:
        """Builds the graph now, and returns how many vectors are not in it: few, unless other processes keep writing.

        Needs no lock. Raises StoreError.
        """
        with self._turn:
            return self._store.build_index()

    def __len__(self) -> int:
        """How many memories the store holds, without those that have expired."""
        with self._turn:
            return self._store.count()

    def load(self) -> Embedder:
        """The embedder; loads the model the first time, which takes about a second. Raises ModelError."""
        with self._turn:
            return self._loaded()

    # Add and ingest

    def add(
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
        """Adds one memory, or updates the one with the same id, durably, and returns its id.

        An update merges: an argument of None keeps the stored value, unless the stored memory has expired. With
        `replace`, this is the whole memory. A memory expires at `expires_at`, or `ttl` from now (a timedelta, or such
        as `30d`): then no search, list, count or export finds it, and `get` returns None. With `chunk`, a memory that
        is longer than the model reads is split into chunks (see `IngestOptions`). Raises UsageError,
        InvalidMemoryError, StoreError, ModelError; nothing is stored then, unless an fsync failed (see
        `Pipeline.commit`).
        """
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
        return self.add_batch([memory_from_fields(given)], chunk=chunk, replace=replace).ids[0]

    def update(
        self,
        id: str,
        *,
        text: str | None = None,
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
        clear: Collection[str] = (),
        chunk: bool = False,
    ) -> Memory:
        """Changes fields of a stored memory durably, and returns the memory. An argument of None keeps its value,
        and `clear` names fields to empty.

        A memory that has expired can be brought back: give it a later expiry, or clear `expires_at`. Raises
        MemoryNotFoundError, UsageError where nothing is to change, InvalidMemoryError, StoreError, ModelError.
        """
        fields = {
            "text": text,
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
        given: dict[str, object] = {name: value for name, value in fields.items() if value is not None}
        return self.update_fields(id, {**cleared(clear, given), **given}, chunk=chunk)

    def update_fields(self, id: str, fields: Mapping[str, object], *, chunk: bool = False) -> Memory:
        """Changes fields of a stored memory as `update` does: those of a mapping with the keys of a JSONL line, where
        None empties a field."""
        if not fields:
            raise UsageError("nothing to update: give at least one field")
        with self._turn:
            self._open_existing()
            call = Call([self._updated(id, fields)], How(chunk))
            self._adds.commit([call])
            call.result()
            return self._stored(id)

    def add_batch(
        self, memories: Iterable[Memory | Mapping[str, object]], *, chunk: bool = False, replace: bool = False
    ) -> BatchResult:
        """Adds memories in one durable transaction, all or none: Memory objects, or mappings with the keys of a JSONL
        line.

        A memory whose id is stored, or came earlier in the batch, updates that one: fields that it leaves out keep
        their value, and None in a mapping empties a field. With `replace` it is the whole memory. `chunk` is as in
        `add`. Raises InvalidMemoryError, StoreError, ModelError.
        """
        call = Call(as_memories(memories), How(chunk, replace))
        self._adds.commit([call])
        return call.result()

    def ingest(
        self,
        paths: str | Path | Sequence[str | Path],
        options: IngestOptions | None = None,
        observer: Observer | None = None,
    ) -> IngestReport:
        """Ingests files of memories in durable batches; `-` is standard input. Their first bytes tell what they are.

        The store is created with its first memory: inputs without any leave no trace. The observer is called after
        each commit, and for each rejected line. Raises InputError, RejectedLineError, StoreError, ModelError; batches
        that were committed before stay.
        """
        options, observer = options or IngestOptions(), observer or Observer()
        paths = _files(paths)
        check_type("options", options, IngestOptions, "ingest(paths, IngestOptions(batch_size=100))")
        check_type("observer", observer, Observer, "ingest(paths, observer=YourObserver())")
        if options.on is not None:
            self._shared_store()
        start = time.perf_counter()
        with self._turn:
            if options.dry_run:
                with dry_pipeline(self._store, self._spec, whole_records=options.replace) as pipeline:
                    ingest_files(pipeline, paths, options, observer, lambda: None)
            else:
                if self._store.exists:
                    self.open()  # now: where another process writes, nothing is embedded in vain
                pipeline = self._pipeline(options.chunk, options.chunk_tokens, replace=options.replace)
                with self._elsewhere(options, pipeline, paths) as elsewhere:
                    ingest_files(
                        pipeline, paths, options, observer, lambda: self._refresh_index(more_to_come=True), elsewhere
                    )
                with pipeline.stage("index"):
                    self._refresh_index("wait" if options.wait_index else self._index)
                pipeline.report.unindexed = self._store.unindexed()
                pipeline.report.indexing = self._store.indexing and pipeline.report.unindexed > 0
        pipeline.report.elapsed_s = time.perf_counter() - start
        return pipeline.report

    # Search

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        agent_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        memory_type: str | None = None,
        where: Where | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        mode: Mode = "hybrid",
        neighbour_share: float = NEIGHBOUR_SHARE,
        recency_half_life: timedelta | str | None = None,
        importance_weight: float = 0.0,
        dedupe: bool = False,
        context: int = 0,
        min_score: float | None = None,
        now: datetime | str | None = None,
    ) -> list[Hit]:
        """The k memories that answer a query best, best first, among those that match every given scope and every
        condition of `where`, and were created at `since` or later and before `until`.

        `where` maps a key of metadata to the value that it must equal, or to operators and operands:
        `{"topic": "food", "turn": {">=": 3, "<": 9}, "kind": {"in": ["a", "b"]}, "seat": {"exists": True}}`. Values
        are compared only with values of their own type (3 is not "3"). `!=` and `not in` match everything that `=` and
        `in` do not, including memories without the key. `a.b` is a key of that name, or `b` in the object under `a`.
        Times are datetimes, ISO 8601 strings (UTC without a zone), or ages such as `7d` (s, m, h, d, w).

        The filter applies before the k best are taken: fewer are returned only where fewer match. `Ranking` describes
        the order; `min_score` leaves out hits with a lower score, and `now` is what "yesterday" in a query counts from.
        Raises UsageError for a blank query or k below 1, and ModelError, StoreError.
        """
        filter = SearchFilter.of(agent_id, user_id, run_id, memory_type, where, since, until)
        half_life_s = (
            None if recency_half_life is None else parse_span("recency_half_life", recency_half_life).total_seconds()
        )
        ranking = Ranking(
            mode, neighbour_share, half_life_s, importance_weight, dedupe, context, min_score, bound("now", now)
        )
        return self.search_many([Query(query, filter)], k, ranking)[0]

    def search_many(self, queries: Sequence[Query], k: int = 10, ranking: Ranking | None = None) -> list[list[Hit]]:
        """The hits of each query, in the order of the queries, which are embedded together."""
        check_whole("k", k, at_least=1)
        if ranking is not None:
            check_type("ranking", ranking, Ranking, "Ranking(mode='words')")
        for query in queries:
            if not isinstance(query, Query):
                raise UsageError(f"a query is a Query(text, filter), not {kind_of(query)}")
            _check_text(query.text)
        with self._turn:
            return self._searcher.hits(queries, k, ranking or Ranking())

    def evaluate(
        self, queries: Sequence[LabelledQuery], rankings: Sequence[Ranking] = (Ranking(),)
    ) -> list[Evaluation]:
        """How well each ranking finds the relevant memories of those queries that have relevant ids.

        Queries are embedded once for all rankings. `agentmem_cli.search.evaluation.compare` compares two of the
        results, query by query. Raises UsageError where no query has relevant ids, and ModelError, StoreError.
        """
        for query in queries:
            if query.relevant:
                _check_text(query.query.text)
        with self._turn:
            return self._searcher.evaluations(queries, rankings)

    def advice(self, queries: Sequence[str]) -> ModelAdvice | None:
        """Which model reads these queries and the newest memories, where this one can't; None where it can.

        Queries in Latin letters count as read. Raises ModelError, StoreError.
        """
        with self._turn:
            return self._searcher.advice(queries)

    # Look after

    def get(self, id: str) -> Memory | None:
        """The memory with this id, or None if it does not exist or has expired."""
        with self._turn:
            memory = self._store.get(id) if is_possible_id(id) else None
        return None if memory is None or memory.has_expired(datetime.now(timezone.utc)) else memory

    def history(self, id: str) -> list[HistoryEvent]:
        """The events of the memory with this id, oldest first; empty where it never existed."""
        with self._turn:
            return self._store.history(id) if is_possible_id(id) else []

    def list_memories(
        self,
        limit: int = 20,
        offset: int = 0,
        *,
        agent_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        memory_type: str | None = None,
        where: Where | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        expired: bool = False,
    ) -> list[Memory]:
        """The memories that match (as `search` has it), newest first: `limit` of them, after `offset`.

        With `expired`, those that have expired, and no others.
        """
        filter = SearchFilter.of(agent_id, user_id, run_id, memory_type, where, since, until, expired)
        return self.page_matching(filter, limit, offset)

    def page_matching(self, filter: SearchFilter, limit: int, offset: int) -> list[Memory]:
        """The memories that match, newest first: `limit` of them, after `offset`."""
        check_whole("limit", limit, at_least=1)
        check_whole("offset", offset, at_least=0)
        with self._turn:
            return self._store.page(filter, limit, offset)

    def ids_matching(self, filter: SearchFilter) -> list[str]:
        """The ids of all memories that match, in order of arrival."""
        with self._turn:
            return self._store.ids(filter)

    def stats(self) -> StoreStats:
        """What the store holds: counts by scope and type, bytes by file, the model, the state of the graph."""
        with self._turn:
            return self._store.stats()

    def delete(
        self,
        *ids: str,
        agent_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        memory_type: str | None = None,
        where: Where | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        expired: bool = False,
    ) -> int:
        """Removes memories durably, with their texts and vectors, and returns how many existed: those of these ids, or
        all that match (as `search` has it), expired ones included; with `expired`, these only.

        The history keeps that they existed and were deleted, not their texts. `compact` removes them from the files
        too. Raises UsageError for ids and a filter together.
        """
        filter = SearchFilter.of(agent_id, user_id, run_id, memory_type, where, since, until, expired)
        if ids and filter:
            raise UsageError("give either ids or a filter, not both: delete removes the memories of either")
        if len(ids) == 1 and isinstance(ids[0], (list, tuple, set)):
            raise UsageError("delete takes ids one by one: write delete(*ids) for a list of them")
        with self._turn:
            self._open_existing()
            given = [identity for identity in ids if is_possible_id(identity)]
            return self._store.delete(self.ids_matching(filter.with_expired()) if filter else given)

    def verify(self) -> list[Finding]:
        """Every fault of the store: empty where each row, vector and file is what was stored."""
        with self._turn:
            return self._upkeep().verify()

    def repair(self) -> None:
        """Rebuilds what is derived from memories and vectors. It can't repair damage to these."""
        with self._turn:
            self._open_existing()
            self._upkeep().repair()

    def compact(self) -> None:
        """Rewrites the store's files without what was removed or replaced. Needs as much free disk again.

        Raises StoreError where another process reads the store: what was removed is then still in its files.
        """
        with self._turn:
            self._open_existing()
            self._upkeep().compact()

    def export(
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
    ) -> Iterator[Memory]:
        """The memories that match (as `list_memories` has it), in order of arrival; with `vectors`, ingesting them
        elsewhere needs no embedding.

        Raises StoreDamagedError, which names it, at a memory that is not what was stored; with `on_damaged`, leaves
        such memories out and calls it with the id of each.
        """
        filter = SearchFilter.of(agent_id, user_id, run_id, memory_type, where, since, until, expired)
        return self.export_matching(filter, vectors=vectors, on_damaged=on_damaged)

    def export_matching(
        self, filter: SearchFilter, *, vectors: bool = False, on_damaged: Callable[[str], None] | None = None
    ) -> Iterator[Memory]:
        """The memories that match, as `export` gives them."""
        with self._turn:
            memories = self._store.memories(filter, vectors=vectors, on_damaged=on_damaged)
        yield from memories

    def reembed(
        self,
        model: str | None = None,
        *,
        model_path: str | None = None,
        embedder_url: str | None = None,
        embedder: Embedder | None = None,
        on_progress: Callable[[int], None] = lambda texts: None,
        on: str | None = None,
        workers: int | None = None,
    ) -> None:
        """Gives every memory a vector of another model, and pins the store to it.

        The old vectors stay in use until all new ones are made. After an interruption, the next call continues after
        the last durable batch of 1,000. Long memories keep their chunks. `on_progress` gets the number of texts of
        each batch. With `on`, `workers` on a Ray cluster embed (see `IngestOptions`).
        Raises ModelError, StoreError, ClusterError.
        """
        place = RayPlace.of(on, workers)
        if place is not None:
            self._shared_store()
        with self._turn:
            self._open_existing()
            choice = ModelChoice(model, model_path, embedder_url, self._choice.device, self._choice.threads)
            spec = embedder.spec if embedder is not None else self._resolve(choice)
            if spec.fingerprint() == self._spec.fingerprint():
                raise StoreMismatchError(f"store {self._store.location} holds vectors of {spec.name} already")
            folder = self._store.models_folder
            new = embedder or catalog.load(spec, choice)
            if embedder is None and folder is not None:
                static_files.carry(spec, folder)

            def embed(texts: Sequence[str]) -> tuple[Vectors, NDArray[np.bool_]]:
                embedded = embed_checked(new, texts)
                return embedded.vectors, embedded.cut

            try:
                if place is None:
                    self._store.reembed(spec.stored(), embed, on_progress)
                else:
                    from agentmem_cli.ingest import on_ray

                    with on_ray.Workers(place, on_ray.Setup(spec, choice, embedder)) as pool:
                        self._store.reembed(spec.stored(), pool.embed, on_progress)
            finally:
                if self._store.embedder() == spec.stored():  # also where the last step was interrupted
                    self._spec, self._embedder, self._carries_model = spec, new, embedder is None
            if folder is not None:
                static_files.drop_others(spec, folder)

    # Inside

    def _updated(self, identity: str, fields: Mapping[str, object]) -> Memory:
        """A stored memory with these fields changed: whole, as it may expire before it is written."""
        before, now = self._stored(identity), datetime.now(timezone.utc)
        memory = memory_from_fields({"text": before.text, **fields, "id": identity}).over(before)
        if before.has_expired(now) and memory.has_expired(now):
            raise MemoryNotFoundError(
                f"memory {identity} expired at {before.expires_at}: give it a later expires_at, or clear it, to bring "
                "it back"
            )
        return memory

    def _stored(self, identity: str) -> Memory:
        memory = self._store.get(identity) if is_possible_id(identity) else None
        if memory is None:
            raise MemoryNotFoundError(f"no memory {identity} in store {self._store.location}")
        return memory

    def _commit(self, memories: Sequence[Memory], how: How) -> Sequence[Outcome]:
        """Makes a batch durable, for a caller that holds the turn."""
        self.open()
        outcomes = self._pipeline(how.chunk, replace=how.replace).commit(memories, Ready())
        self._refresh_index(more_to_come=True)
        return outcomes

    def _loaded(self) -> Embedder:
        """The embedder, for a caller that holds the turn, or works for one that does."""
        if self._embedder is None:
            self._embedder = catalog.load(self._spec, self._choice, carried=self._store.models_folder)
        return self._embedder

    def _pipeline(self, chunk: bool, chunk_tokens: int | None = None, *, replace: bool) -> Pipeline:
        chunking = Chunking.of(self._spec, chunk_tokens) if chunk else None
        return Pipeline(self._store, self._spec, self._loaded, self.open, chunking=chunking, whole_records=replace)

    def _elsewhere(
        self, options: IngestOptions, pipeline: Pipeline, paths: Sequence[str]
    ) -> AbstractContextManager[Writer | None]:
        """What embeds and commits in place of this process, if that is asked for."""
        place = RayPlace.of(options.on, options.workers)
        if place is None:
            return nullcontext()
        from agentmem_cli.ingest import on_ray

        chunking = Chunking.of(self._spec, options.chunk_tokens) if options.chunk else None
        own = None if self._carries_model else self._embedder
        setup = on_ray.Setup(self._spec, self._choice, own, chunking=chunking, whole_records=options.replace)
        return on_ray.RayWriter(place, setup, pipeline, self._shared_store(), paths)

    def _shared_store(self) -> SharedStore:
        if not isinstance(self._store, SharedStore):
            raise UsageError(
                f"store {self._store.location} is a folder, which one process writes to: --on ray needs a store in "
                "PostgreSQL (--store postgresql://USER@HOST/DB)"
            )
        return self._store

    def _refresh_index(self, how: Indexing | None = None, *, more_to_come: bool = False) -> None:
        if self._store.writing:
            self._store.refresh_index(how or self._index, more_to_come=more_to_come)

    def _upkeep(self) -> Upkeep:
        if not isinstance(self._store, Upkeep):
            raise UsageError(f"store {self._store.location} is kept by its server: use the server's own tools")
        return self._store

    def _choose_spec(self) -> EmbedderSpec:
        choice = self._choice
        if self._embedder is not None:
            if choice.names_a_model:
                raise UsageError("give either embedder= or a model, not both")
            wanted = self._embedder.spec
        else:
            own = catalog.pinned(self._pinned(), choice) if self._store.exists else None
            if own is not None:
                return own
            if choice.name is not None and catalog.full_name(choice.name) == catalog.STATIC_MODEL:
                self._store.check_embedder({"name": catalog.STATIC_MODEL})  # so that it is not made in vain
            wanted = catalog.resolve(choice, on_progress=self._on_model_progress)
        if self._store.exists:
            self._store.check_embedder(wanted.fingerprint())
        return wanted

    def _pinned(self) -> EmbedderSpec:
        return EmbedderSpec.from_stored(self._store.embedder() or {})

    def _open_existing(self) -> None:
        if not self._store.exists:
            raise StoreNotFoundError.at(self._store.location)
        self.open()

    def _resolve(self, choice: ModelChoice) -> EmbedderSpec:
        spec = catalog.resolve(choice, on_progress=self._on_model_progress)
        return catalog.recognised(spec, self._known_specs())

    def _known_specs(self) -> list[EmbedderSpec]:
        """The store's own model, and that of an unfinished re-embedding."""
        staged = self._store.staged_embedder()
        return [self._spec, *([] if staged is None else [EmbedderSpec.from_stored(staged)])]


def as_memories(given: Iterable[Memory | Mapping[str, object]]) -> list[Memory]:
    """What `AgentMem.add_batch` takes, as memories. Raises UsageError, InvalidMemoryError."""
    if isinstance(given, (str, bytes, Memory, Mapping)) or not isinstance(given, Iterable):
        raise UsageError(f"add_batch takes a list of memories, not {kind_of(given)}: give [memory], or call add")
    return [as_memory(memory) for memory in given]


def _files(paths: str | Path | Sequence[str | Path]) -> list[str]:
    names = [paths] if isinstance(paths, (str, Path)) else paths
    if not isinstance(names, Iterable) or not all(isinstance(name, (str, Path)) for name in names):
        raise UsageError("ingest takes a path, or a list of paths: ingest('memories.jsonl')")
    return [str(name) for name in names]


def as_memory(given: Memory | Mapping[str, object]) -> Memory:
    """What `AgentMem.add_batch` takes, as a Memory. Raises InvalidMemoryError."""
    if isinstance(given, Memory):
        return given
    if not isinstance(given, Mapping):
        raise InvalidMemoryError(f"a memory is a Memory or a mapping, not {kind_of(given)}")
    return memory_from_fields(given)


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise UsageError(f"a query's text must be a string, not {kind_of(text)}")
    if not text.strip():
        raise UsageError("the query is empty: say what to search for")
    if not is_encodable(text):
        raise UsageError("the query is not valid text: it has bytes that aren't UTF-8")
