"""AgentMem: what a Python user opens, and what every command calls."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, TypeAlias

from agentmem_cli.embedding import catalog, static_files
from agentmem_cli.embedding.base import Device, Embedder, EmbedderSpec, OnProgress, no_progress
from agentmem_cli.embedding.chunking import Chunking
from agentmem_cli.errors import InvalidMemoryError, ModelNotFoundError, StoreNotFoundError, UsageError
from agentmem_cli.ingest.files import IngestOptions, Observer, dry_run_store, ingest_files
from agentmem_cli.ingest.pipeline import Pipeline, Ready
from agentmem_cli.records.jsonl import memory_from_fields
from agentmem_cli.records.memory import BatchResult, HistoryEvent, IngestReport, Memory
from agentmem_cli.records.values import JsonValue, is_possible_id, kind_of
from agentmem_cli.searching import StoreSearch
from agentmem_cli.store.embedded.folder import check_unused, path_of
from agentmem_cli.store.embedded.graph_builder import MIN_TAIL
from agentmem_cli.store.embedded.store import EmbeddedStore
from agentmem_cli.support.processes import abandon, tell_after_fork
from agentmem_cli.upkeep import StoreUpkeep

DEFAULT_STORE: Final = ".agentmem"
_WRITING_MIN_TAIL: Final = 10_000  # while memories keep coming, the graph is left alone for longer than at the end
Indexing: TypeAlias = Literal["background", "wait", "off"]


class AgentMem(StoreSearch, StoreUpkeep):
    """A store of memories in a folder, and the embedding model that its vectors are of.

    `model` is a name or alias of `agentmem models`; `model_path` a local model folder; `embedder_url` an
    OpenAI-compatible endpoint, of which `model` is then a model's name; `embedder` an object of your own (see
    `agentmem_cli.embedding.base.Embedder`). With none of them it is the model that the store was made with, or
    all-MiniLM-L6-v2. The static model is made at its first use, in a minute or two: `on_model_progress` is told how far
    that is. A store keeps a copy of it. `threads` (as many as there are cores, by default) and `device` say how a model
    of the catalogue runs. The store is made at the first write; with `create=False` it must be there already.

    `index` says who builds the graph that makes searches of a large store quick: a process of its own (`background`),
    the caller (`wait`: writing, ingesting and closing take longer), or nobody (`off`, until `build_index`). A search
    finds every memory all the same: what isn't in the graph is scanned.

    Reading takes no lock. The first write takes the writer's lock, waiting `wait_s` for it, and keeps it until `close`.
    One object may be used from several threads: its calls take turns. After a fork the child's copy opens the store
    afresh: it reads, and writes once the parent has closed its own. Every method raises AgentMemError and its kinds,
    and nothing else of its own; see `agentmem_cli.errors`.
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
        catalog.check_use(threads, device)
        self._store = EmbeddedStore(path_of(path))
        self.path = self._store.folder
        self._turn = threading.RLock()
        self._is_open = False  # and all is done that goes with it
        self._threads = threads
        self._device = device
        self._index = index
        self._wait_s = wait_s
        self._embedder = embedder
        self._embedder_url = embedder_url
        self._carries_model = embedder is None
        self._on_model_progress = on_model_progress
        tell_after_fork(self)
        if not self._store.exists:
            if not create:
                raise StoreNotFoundError(f"no store at {self.path}: make one with 'agentmem ingest', or check --store")
            check_unused(self.path)
        try:
            self._spec = self._choose_spec(model, model_path, embedder_url)
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
            self._store.close()  # whoever is being interrupted doesn't wait for a graph

    @property
    def model(self) -> EmbedderSpec:
        """The model whose vectors the store holds, or will hold."""
        return self._spec

    def open(self) -> None:
        """Takes the writer's lock and makes the store now, rather than at the first write. Raises StoreBusyError."""
        with self._turn:
            if self._store.writing and self._is_open:
                return
            self._store.open_for_writing(self._spec.stored(), self._wait_s)
            if self._carries_model:
                with suppress(ModelNotFoundError):  # said when it is needed: to delete, it is not
                    static_files.carry(self._spec, self._models_folder)
                if self._pinned().revision == self._spec.revision:
                    static_files.drop_others(self._spec, self._models_folder)
            self._is_open = True

    def forget_parent(self) -> None:
        """In a forked child: opens afresh for reading, and loads a model of its own."""
        self._turn = threading.RLock()
        if self._carries_model:
            abandon(self._embedder)  # its threads stayed in the parent
            self._embedder = None

    def close(self) -> None:
        """Gives the lock back; what was added is durable without it. The graph is left to who `index` says."""
        with self._turn:
            try:
                self._refresh_graph()
            finally:
                self._store.close()

    def build_index(self) -> int:
        """Builds the graph now, and returns how many vectors are still not in it: few, unless others keep writing.

        Needs no lock. Raises StoreError.
        """
        with self._turn:
            return self._store.build_graph()

    def __len__(self) -> int:
        """How many memories the store holds."""
        with self._turn:
            return self._store.count()

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
        chunk: bool = False,
        replace: bool = False,
    ) -> str:
        """Adds one memory, or updates the one of the same id, and returns its id; when it returns, it is durable.

        An update keeps what it does not give: a field that is None here keeps its value, unless `replace` makes this
        the whole memory. With `chunk`, a memory that is longer than the model reads is split into windows (see
        `IngestOptions`). Raises InvalidMemoryError, StoreError, ModelError; nothing is stored then, unless an fsync
        failed (see `Pipeline.commit`).
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
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return self.add_batch([memory_from_fields(given)], chunk=chunk, replace=replace).ids[0]

    def add_batch(
        self, memories: Iterable[Memory | Mapping[str, object]], *, chunk: bool = False, replace: bool = False
    ) -> BatchResult:
        """Adds memories in one durable transaction, all or none: Memory objects, or mappings as a JSONL line has them.

        A memory of an id that is stored, or that came earlier in the batch, updates that one: fields that it leaves
        out keep their value, and None in a mapping empties a field. With `replace` it is the whole memory. `chunk` is
        as in `add`. Raises InvalidMemoryError, StoreError, ModelError.
        """
        batch = [_as_memory(memory) for memory in memories]
        with self._turn:
            self.open()
            pipeline = self._pipeline(chunk, replace=replace)
            pipeline.commit(batch, Ready())
            self._refresh_graph(_WRITING_MIN_TAIL)
        report = pipeline.report
        return BatchResult([memory.id for memory in batch], report.added, report.updated, report.unchanged)

    def ingest(
        self, paths: Sequence[str], options: IngestOptions | None = None, observer: Observer | None = None
    ) -> IngestReport:
        """Takes JSONL files in (plain or gzip; `-` is standard input), batch by durable batch.

        The store is made when the first memory is to be stored: inputs without any leave no trace.
        The observer is told of every commit after it is durable, and of every rejected line. Raises InputError,
        RejectedLineError, StoreError, ModelError; batches that were committed before stay.
        """
        options, observer = options or IngestOptions(), observer or Observer()
        start = time.perf_counter()
        with self._turn:
            if options.dry_run:
                with dry_run_store(self._store, self._spec) as (scratch, embedder):
                    pipeline = Pipeline(
                        scratch, self._spec, lambda: embedder, kept_dims=1, whole_records=options.replace
                    )
                    ingest_files(pipeline, scratch, paths, options, observer)
            else:
                if self._store.exists:
                    self.open()  # now, so that nothing is read and embedded for a store that another process writes
                pipeline = self._pipeline(options.chunk, options.chunk_tokens, replace=options.replace)
                ingest_files(pipeline, self._store, paths, options, observer, self.open, self._index_meanwhile)
                with pipeline.stage("index"):
                    self._refresh_graph(wait=options.wait_index)
                pipeline.report.unindexed = self._store.unindexed()
                pipeline.report.indexing = self._store.indexing and pipeline.report.unindexed > 0
        pipeline.report.elapsed_s = time.perf_counter() - start
        return pipeline.report

    def get(self, id: str) -> Memory | None:
        """The memory of this id, or None."""
        with self._turn:
            return self._store.get(id) if is_possible_id(id) else None

    def history(self, id: str) -> list[HistoryEvent]:
        """What happened to the memory of this id, oldest first; empty where there never was one."""
        with self._turn:
            return self._store.history(id) if is_possible_id(id) else []

    def load(self) -> Embedder:
        """The embedder; loads the model the first time, which takes about a second. Raises ModelError."""
        with self._turn:
            return self._loaded()

    def _loaded(self) -> Embedder:
        """The embedder, for those who have the turn, or whose caller has it and waits for them."""
        if self._embedder is None:
            self._embedder = catalog.load(
                self._spec, self._threads, self._device, carried=self._models_folder, embedder_url=self._embedder_url
            )
        return self._embedder

    def _pipeline(self, chunk: bool, window_tokens: int | None = None, *, replace: bool) -> Pipeline:
        chunking = Chunking.of(self._spec, window_tokens) if chunk else None
        return Pipeline(self._store, self._spec, self._loaded, chunking=chunking, whole_records=replace)

    def _index_meanwhile(self) -> None:
        self._refresh_graph(_WRITING_MIN_TAIL)

    def _refresh_graph(self, min_tail: int = MIN_TAIL, *, wait: bool = False) -> None:
        if not self._store.writing:
            return
        if wait or self._index == "wait":
            self._store.refresh_graph(min_tail)
        elif self._index == "background":
            self._store.refresh_graph_soon(min_tail)

    def _choose_spec(self, model: str | None, model_path: str | None, embedder_url: str | None) -> EmbedderSpec:
        if self._embedder is not None:
            if (model, model_path, embedder_url) != (None, None, None):
                raise UsageError("an embedder of your own and a model are two models: give one of them")
            wanted = self._embedder.spec
        else:
            own = catalog.pinned(self._pinned(), model, model_path, embedder_url) if self._store.exists else None
            if own is not None:
                return own
            if model is not None and catalog.full_name(model) == catalog.STATIC_MODEL:
                self._store.check_embedder({"name": catalog.STATIC_MODEL})  # before it is made for nothing
            wanted = catalog.resolve(model, model_path, embedder_url, on_progress=self._on_model_progress)
        if self._store.exists:
            self._store.check_embedder(wanted.fingerprint())
        return wanted

    def _pinned(self) -> EmbedderSpec:
        return EmbedderSpec.from_stored(self._store.embedder() or {})


def _as_memory(given: Memory | Mapping[str, object]) -> Memory:
    if isinstance(given, Memory):
        return given
    if not isinstance(given, Mapping):
        raise InvalidMemoryError(f"a memory is a Memory or a mapping, not {kind_of(given)}")
    return memory_from_fields(given)
