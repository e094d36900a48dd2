"""What a batch of memories goes through: planned, its new texts embedded, committed; and the report of it."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from agentmem_cli.embedding.base import Embedder, EmbedderSpec, Vectors, embed_checked, is_unit
from agentmem_cli.failpoints import slowed
from agentmem_cli.memory import IngestReport, Memory, Position
from agentmem_cli.store.embedded import EmbeddedStore

Ready: TypeAlias = Mapping[str, Vectors]  # the vector (dim,) of a text


class Pipeline:
    """Takes memories into one store, batch by batch, and keeps the report; loads the embedder when a text needs it.

    One thread may embed ahead while another commits: each keeps its own figures of the report.
    """

    def __init__(
        self,
        store: EmbeddedStore,
        spec: EmbedderSpec,
        load_embedder: Callable[[], Embedder],
        kept_dims: int | None = None,
    ) -> None:
        """A dry run keeps one of a vector's dims, since nobody will search for it."""
        self.report = IngestReport()
        self._kept_dims = kept_dims
        self._store = store
        self._spec = spec
        self._load_embedder = load_embedder
        self._embedding = threading.Lock()

    @property
    def waits_for_model(self) -> bool:
        """Whether most of the time so far went into embedding: then other things are worth doing beside it.

        With a model that is quicker than the rest, threads only take turns at Python's lock, and lose by it.
        """
        spent_s = self.report.stages_s
        model_s = spent_s.get("tokenize", 0.0) + spent_s.get("embed", 0.0)
        return model_s > sum(spent_s.get(stage, 0.0) for stage in ("parse", "plan", "commit"))

    def embed_ahead(self, memories: Sequence[Memory], under_way: AbstractSet[str]) -> dict[str, Vectors]:
        """The vectors of the texts that a batch will most likely need: those that aren't stored, nor under way there.

        Raises ModelError.
        """
        latest = {memory.id: memory for memory in memories}.values()
        given = self._given_vectors(latest)
        texts = [memory.text for memory in latest if memory.text not in given and memory.text not in under_way]
        new = self._store.unknown_texts(texts)
        return dict(zip(new, self._embed(new), strict=True))

    def commit(self, memories: Sequence[Memory], ready: Ready, position: Position | None = None) -> None:
        """Makes a batch durable: when this returns, it is. What isn't `ready` is embedded.

        Raises StoreError, ModelError: nothing of the batch is stored then, but for one case: after a failed fsync
        nobody can tell, and the batch may be found later, whole.
        """
        with self._store.turn:
            with self.stage("plan"):
                plan = self._store.plan(memories)
            known = {**self._given_vectors(memories), **ready} if plan.new_texts else {}
            missing = [text for text in plan.new_texts if text not in known]
            if missing:
                known.update(zip(missing, self._embed(missing), strict=True))
            with self.stage("commit"):
                self._store.commit(plan, self._rows(plan.new_texts, known), position)
        embedded = sum(text in ready for text in plan.new_texts) + len(missing)
        self.report.added += plan.added
        self.report.updated += plan.updated
        self.report.unchanged += plan.unchanged
        self.report.embedded += embedded
        self.report.reused += plan.added + plan.updated - embedded

    def _rows(self, texts: Sequence[str], known: Ready) -> Vectors:
        if not texts:
            return np.empty((0, self._spec.dim), dtype=np.float32)
        return np.stack([known[text][: self._kept_dims] for text in texts])

    def _embed(self, texts: list[str]) -> Vectors:
        if not texts:
            return np.empty((0, self._spec.dim), dtype=np.float32)
        with self._embedding:
            with self.stage("load"):
                embedder = self._load_embedder()
            with self.stage("embed"):
                embedded = embed_checked(embedder, texts)
            if embedded.tokenize_s:
                self.add_to_stage("tokenize", embedded.tokenize_s)
                self.add_to_stage("embed", -embedded.tokenize_s)
            self.report.tokens += embedded.tokens
            self.report.special_tokens += embedded.special_tokens
            self.report.unknown_tokens += embedded.unknown_tokens
            self.report.truncated += embedded.truncated
        return embedded.vectors

    def _given_vectors(self, memories: Iterable[Memory]) -> dict[str, Vectors]:
        """The vectors that came with memories and are of this embedder, by text; damaged ones are made anew."""
        spec, given = self._spec, {}
        for memory in memories:
            vector = memory.vector
            if vector is not None and vector.revision == spec.revision and len(vector.float32) == 4 * spec.dim:
                row = np.frombuffer(vector.float32, dtype=np.float32)
                if is_unit(row):
                    given[memory.text] = row
        return given

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to a stage of the report. Stages overlap: together they may exceed the whole."""
        start = time.perf_counter()
        try:
            yield
        finally:
            slowed(name, start)
            self.add_to_stage(name, time.perf_counter() - start)

    def add_to_stage(self, name: str, spent_s: float) -> None:
        """Adds time to a stage of the report."""
        self.report.stages_s[name] = self.report.stages_s.get(name, 0.0) + spent_s
