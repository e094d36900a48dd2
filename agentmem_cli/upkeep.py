"""What AgentMem does for a store besides taking in and searching: listing, removing, checking, moving, re-embedding."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from agentmem_cli.embedding import catalog, static_files
from agentmem_cli.embedding.base import Device, Embedder, EmbedderSpec, OnProgress, Vectors, embed_checked
from agentmem_cli.errors import StoreMismatchError, StoreNotFoundError
from agentmem_cli.records.filter import Where
from agentmem_cli.records.memory import Memory, SearchFilter
from agentmem_cli.records.values import check_whole, is_possible_id
from agentmem_cli.store.embedded.connection import MOST_ROWS
from agentmem_cli.store.embedded.folder import MODELS
from agentmem_cli.store.embedded.maintenance import Keeper, StoreStats, Upkeep
from agentmem_cli.store.embedded.store import EmbeddedStore
from agentmem_cli.store.embedded.verify import Finding


class StoreUpkeep:
    """The part of AgentMem that looks after a store. Every method raises StoreNotFoundError where there is none."""

    _store: EmbeddedStore
    _spec: EmbedderSpec
    _embedder: Embedder | None
    _threads: int | None
    _device: Device
    _turn: threading.RLock
    _carries_model: bool
    _on_model_progress: OnProgress

    @property
    def _models_folder(self) -> Path:
        """Where the store keeps its copy of a static model."""
        return self._store.folder / MODELS

    def open(self) -> None:
        """Takes the writer's lock."""
        raise NotImplementedError

    def _open_existing(self) -> None:
        if not self._store.exists:
            raise StoreNotFoundError(f"no store at {self._store.folder}: make one with 'agentmem ingest'")
        self.open()

    def stats(self) -> StoreStats:
        """What the store holds: counts by scope and type, bytes by file, the model, the state of the graph."""
        with self._turn:
            return Keeper(self._store).stats()

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
    ) -> list[Memory]:
        """The memories that match (as `search` has it), newest first: `limit` of them, after `offset`."""
        wanted = SearchFilter.of(agent_id, user_id, run_id, memory_type, where, since, until)
        return self.page_matching(wanted, limit, offset)

    def page_matching(self, wanted: SearchFilter, limit: int, offset: int) -> list[Memory]:
        """The memories that match, newest first: `limit` of them, after `offset`."""
        check_whole("limit", limit, at_least=1)
        check_whole("offset", offset, at_least=0)
        with self._turn:
            return Keeper(self._store).page(wanted, min(limit, MOST_ROWS), min(offset, MOST_ROWS))

    def ids_matching(self, wanted: SearchFilter) -> list[str]:
        """The ids of all memories that match, in the order of their arrival."""
        with self._turn:
            return Keeper(self._store).ids(wanted)

    def delete(self, *ids: str) -> int:
        """Removes memories durably, with their texts and vectors, and says how many were there.

        The history keeps that they were there and are deleted, not their texts. After `compact` they are gone from
        the files too.
        """
        with self._turn, self._store.turn:
            self._open_existing()
            return Keeper(self._store).delete([identity for identity in ids if is_possible_id(identity)])

    def verify(self) -> list[Finding]:
        """All that is wrong with the store: empty where every row, vector and file is what was stored."""
        with self._turn:
            return Keeper(self._store).verify()

    def repair(self) -> None:
        """Builds anew what is derived from memories and their vectors. Damage to these themselves stays as it is."""
        with self._turn, self._store.turn:
            self._open_existing()
            Keeper(self._store).repair()

    def compact(self) -> None:
        """Writes the store's files anew, without what was removed or replaced. Needs as much free disk again.

        Raises StoreError where somebody reads the store: what was removed is then still in its files.
        """
        with self._turn, self._store.turn:
            self._open_existing()
            Keeper(self._store).compact()

    def export(self, *, vectors: bool = False, on_damaged: Callable[[str], None] | None = None) -> Iterator[Memory]:
        """Every memory, in the order of its arrival; with `vectors`, taking them in elsewhere needs no embedding.

        Raises StoreDamagedError at a memory that is not what was stored, and names it; with `on_damaged`, it leaves
        such memories out, and calls that with the id of each.
        """
        with self._turn:
            memories = Keeper(self._store).memories(vectors=vectors, on_damaged=on_damaged)
        yield from memories

    def reembed(
        self,
        model: str | None = None,
        *,
        model_path: str | None = None,
        embedder_url: str | None = None,
        embedder: Embedder | None = None,
        on_progress: Callable[[int], None] = lambda texts: None,
    ) -> None:
        """Gives every memory a vector of another model, which the store is then pinned to.

        The old vectors stay in use until all new ones are made; cut off, it goes on from the last durable batch of
        1,000 when called again. Long memories keep their windows. `on_progress` is told how many texts became durable.
        Raises ModelError, StoreError.
        """
        with self._turn, self._store.turn:
            self._open_existing()
            spec = embedder.spec if embedder is not None else self._resolve(model, model_path, embedder_url)
            if spec.fingerprint() == self._spec.fingerprint():
                raise StoreMismatchError(f"store {self._store.folder} holds vectors of {spec.name} already")
            if embedder is not None:
                new = embedder
            else:
                new = catalog.load(spec, self._threads, self._device, embedder_url=embedder_url)
                static_files.carry(spec, self._models_folder)

            def embed(texts: Sequence[str]) -> tuple[Vectors, NDArray[np.bool_]]:
                embedded = embed_checked(new, texts)
                return embedded.vectors, embedded.cut

            try:
                Keeper(self._store).reembed(spec.stored(), embed, on_progress)
            finally:
                if self._store.embedder() == spec.stored():  # also where the last step was interrupted
                    self._store.vectors_of = spec.stored()
                    self._spec, self._embedder, self._carries_model = spec, new, embedder is None
            static_files.drop_others(spec, self._models_folder)

    def _resolve(self, model: str | None, model_path: str | None, embedder_url: str | None) -> EmbedderSpec:
        spec = catalog.resolve(model, model_path, embedder_url, on_progress=self._on_model_progress)
        return catalog.recognised(spec, self._known_specs())

    def _known_specs(self) -> list[EmbedderSpec]:
        """The store's own model, and the one that a re-embedding which was cut off is for."""
        staging_for = Upkeep(self._store.writer()).staging_for()
        staged = [] if staging_for is None else [EmbedderSpec.from_stored(orjson.loads(staging_for))]
        return [self._spec, *staged]
