"""The steps of a batch: plan, embed its new texts, commit; and the report."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from agentmem_cli.embedding.base import (
    Embedded,
    Embedder,
    EmbedderSpec,
    OnShare,
    Vectors,
    embed_checked,
    is_unit,
    none_cut,
)
from agentmem_cli.embedding.chunking import Chunking, chunks
from agentmem_cli.embedding.languages import letters_by_script
from agentmem_cli.errors import PlanOutdatedError
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.memory import Memory, Outcome, Position, Span, StoredVector
from agentmem_cli.store.base import BatchCounts, MemoryStore, Plan
from agentmem_cli.support.failpoints import slowed


class TextVector(NamedTuple):
    """A text's vector (dim,), and whether the text is longer than the model reads."""

    vector: Vectors
    cut: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """What was done for a batch in advance: vectors by text, and the chunks of texts, or None where not done."""

    vectors: Mapping[str, TextVector] = field(default_factory=dict)
    splits: Mapping[str, Sequence[Span]] | None = None


_CHARS_PER_TOKEN: Final = 4
_PLANS: Final = 10  # of a batch, where other writers change the same memories


class Pipeline:
    """Stores memories, batch by batch, and keeps the report. Loads the embedder when a text needs it.

    One thread may embed ahead while another commits: each keeps its own figures of the report.
    """

    def __init__(
        self,
        store: MemoryStore,
        spec: EmbedderSpec,
        load_embedder: Callable[[], Embedder],
        open_for_writing: Callable[[], None] = lambda: None,
        kept_dims: int | None = None,
        chunking: Chunking | None = None,
        whole_records: bool = False,
    ) -> None:
        """`open_for_writing` opens the store for writing. With `chunking`, long memories are split into chunks; with
        `whole_records`, an update replaces the whole memory.

        A dry run keeps one of a vector's dims: nobody will search for it.
        """
        self.report: IngestReport = IngestReport()
        self.store = store
        self.open_for_writing = open_for_writing
        self._kept_dims = kept_dims
        self._chunking = chunking
        self._whole_records = whole_records
        self._spec = spec
        self._load_embedder = load_embedder
        self._embedding = threading.Lock()

    @property
    def waits(self) -> bool:
        """Whether most of the time so far went into embedding, or a server commits: then reading, embedding and
        committing overlap.

        With a faster model and a store in this process, threads only compete for Python's lock, and are slower.
        """
        if self.store.commits_elsewhere:
            return True
        spent_s = self.report.stages_s
        model_s = spent_s.get("tokenize", 0.0) + spent_s.get("embed", 0.0)
        return model_s > sum(spent_s.get(stage, 0.0) for stage in ("parse", "plan", "commit"))

    def embed_ahead(
        self, memories: Sequence[Memory], before: Iterable[Memory], on_share: OnShare | None = None
    ) -> Ready:
        """What a batch will most likely need: the vectors of texts that are neither stored nor in the batches `before`
        it, which are being committed.

        Raises ModelError.
        """
        latest, under_way = _latest(memories), {memory.text for memory in before}
        given, splits = self._given_vectors(latest), self._splits(latest)
        texts = [memory.text for memory in latest if memory.text not in under_way]
        texts += [part for text in texts for part in _parts(text, splits)]
        new = self.store.unknown_texts(text for text in texts if text not in given)
        return Ready(self._embed(new, on_share), splits)

    def commit(
        self,
        memories: Sequence[Memory],
        ready: Ready,
        position: Position | None = None,
        on_share: OnShare | None = None,
    ) -> Sequence[Outcome]:
        """Makes a batch durable, and says what became of each memory. Texts that are not `ready` are embedded.

        Raises StoreError, ModelError. Nothing of the batch is stored then, with one exception: after a failed fsync
        the result is unknown, and the whole batch may appear later.
        """
        with self.store.turn:
            for _ in range(_PLANS - 1):
                with suppress(PlanOutdatedError):
                    return self._commit(memories, ready, position, on_share)
            return self._commit(memories, ready, position, on_share)

    def _commit(
        self, memories: Sequence[Memory], ready: Ready, position: Position | None, on_share: OnShare | None
    ) -> Sequence[Outcome]:
        splits = self._splits(_latest(memories)) if ready.splits is None else ready.splits
        with self.stage("plan"):
            plan = self.store.plan(memories, splits, whole_records=self._whole_records)
        texts = plan.texts_to_embed
        given = self._given_vectors(memories) if texts else {}
        known = {**given, **ready.vectors}
        known.update(self._embed([text for text in texts if text not in known], on_share))
        with self.stage("commit"):
            cut = [row for row, text in enumerate(texts) if known[text].cut]
            counts, embedded = self._write(plan, self._rows(texts, known), position, cut, given)
        count(self.report, counts, embedded)
        return plan.outcomes

    def _write(
        self, plan: Plan, vectors: Vectors, position: Position | None, cut: Sequence[int], given: Collection[str]
    ) -> tuple[BatchCounts, int]:
        """What a commit did, and how many texts it has that are not `given` with their vectors."""
        counts = self.store.commit(plan, vectors, position, cut)
        return counts, sum(text not in given for text in plan.new_texts)

    def _rows(self, texts: Sequence[str], known: Mapping[str, TextVector]) -> Vectors:
        if not texts:
            return np.empty((0, self._spec.dim), dtype=np.float32)
        return np.stack([known[text].vector[: self._kept_dims] for text in texts])

    def _embed(self, texts: list[str], on_share: OnShare | None = None) -> dict[str, TextVector]:
        if not texts:
            return {}
        with self._embedding:
            with self.stage("load"):
                embedder = self._load_embedder()
            with self.stage("embed"):
                embedded = embed_checked(embedder, texts, on_share)
            if embedded.tokenize_s:
                self.add_to_stage("tokenize", embedded.tokenize_s)
                self.add_to_stage("embed", -embedded.tokenize_s)
            self.report.tokens += embedded.tokens
            self.report.special_tokens += embedded.special_tokens
            self.report.unknown_tokens += embedded.unknown_tokens
            read_chars = _CHARS_PER_TOKEN * self._spec.token_limit  # of a cut text, like its tokens
            self.report.letters += letters_by_script(
                text[:read_chars] if cut else text for text, cut in zip(texts, embedded.cut, strict=True)
            )
        vectors = zip(texts, embedded.vectors, embedded.cut, strict=True)
        return {text: TextVector(vector, bool(cut)) for text, vector, cut in vectors}

    def _splits(self, memories: Iterable[Memory]) -> dict[str, list[Span]]:
        """The chunks of texts: those that came with them, or new ones where texts are to be split."""
        if self._chunking is None:
            given = ((memory, self._usable(memory)) for memory in memories)
            return {
                memory.text: [(chunk.start, chunk.stop) for chunk in vector.chunks]
                for memory, vector in given
                if vector is not None and vector.chunks
            }
        texts = [memory.text for memory in memories if self._chunking.may_split(memory.text)]
        if not texts:
            return {}
        with self._embedding, self.stage("load"):
            embedder = self._load_embedder()
        with self.stage("split"):
            return {text: chunks(embedder, text, self._chunking) for text in texts}

    def _given_vectors(self, memories: Iterable[Memory]) -> dict[str, TextVector]:
        """The vectors of this embedder that came with memories, by text; damaged ones are left out, to be embedded
        again."""
        given = {}
        for memory in memories:
            vector = self._usable(memory)
            if vector is None:
                continue
            given[memory.text] = TextVector(np.frombuffer(vector.float32, dtype=np.float32), vector.cut)
            for chunk in vector.chunks:
                row = np.frombuffer(chunk.float32, dtype=np.float32)
                given.setdefault(memory.text[chunk.start : chunk.stop], TextVector(row, cut=False))
        return given

    def _usable(self, memory: Memory) -> StoredVector | None:
        """The vector that came with a memory, if it and its chunks' vectors are valid."""
        vector = memory.vector
        if vector is None or vector.revision != self._spec.revision:
            return None
        rows = [vector.float32, *(chunk.float32 for chunk in vector.chunks)]
        stops = [chunk.stop for chunk in vector.chunks]
        whole = all(len(row) == 4 * self._spec.dim and is_unit(np.frombuffer(row, np.float32)) for row in rows)
        return vector if whole and max(stops, default=0) <= len(memory.text) else None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to a stage of the report. Stages overlap: their sum may exceed the elapsed
        time."""
        start = time.perf_counter()
        try:
            yield
        finally:
            slowed(name, start)
            self.add_to_stage(name, time.perf_counter() - start)

    def add_to_stage(self, name: str, spent_s: float) -> None:
        """Adds time to a stage of the report."""
        self.report.stages_s[name] = self.report.stages_s.get(name, 0.0) + spent_s


def count(report: IngestReport, counts: BatchCounts, embedded: int) -> None:
    """Adds to a report what commits did, and how many texts were embedded for them."""
    report.added += counts.added
    report.updated += counts.updated
    report.unchanged += counts.unchanged
    report.embedded += embedded
    report.reused += counts.added + counts.updated - embedded
    report.truncated += counts.truncated
    report.chunks += counts.chunks


def _latest(memories: Iterable[Memory]) -> list[Memory]:
    """The last memory of each id."""
    return list({memory.id: memory for memory in memories}.values())


def _parts(text: str, splits: Mapping[str, Sequence[Span]]) -> list[str]:
    return [text[start:stop] for start, stop in splits.get(text, ())]


@contextmanager
def dry_pipeline(store: MemoryStore, spec: EmbedderSpec, *, whole_records: bool) -> Iterator[Pipeline]:
    """A pipeline that finds out what an ingest would do: it embeds nothing, and commits to a scratch store."""
    with store.dry_run(spec.fingerprint()) as scratch:
        yield Pipeline(scratch, spec, lambda: _NoEmbedder(spec), kept_dims=1, whole_records=whole_records)


class _NoEmbedder:
    """Gives every text the same vector; an Embedder."""

    def __init__(self, spec: EmbedderSpec) -> None:
        self.spec = spec

    def embed(self, texts: Sequence[str]) -> Embedded:
        return Embedded(np.ones((len(texts), self.spec.dim), dtype=np.float32), 0, 0, 0, none_cut(len(texts)))

    def embed_query(self, query: str) -> Vectors:
        return np.ones(self.spec.dim, dtype=np.float32)
