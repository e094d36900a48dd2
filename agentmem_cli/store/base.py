"""The seam: what a store is to `api`, `ingest` and `search`, which use nothing beneath it.

A `MemoryStore` keeps memories and one vector per distinct text. A batch is planned, its new texts are embedded by the
caller, and `commit` makes it durable. A search asks a `Snapshot`. Within a store each distinct text has a number, its
text id, and each memory another, its `seq`, which grows in order of arrival.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import HistoryEvent, Memory, Outcome, Position, Span
from agentmem_cli.records.values import JsonValue

SAMPLED: Final = 256  # texts that the mean and the spread of cosines are estimated from
MIN_INDEXED: Final = 1000  # with fewer vectors a store builds no index: a scan takes no longer

Vector: TypeAlias = NDArray[np.float32]  # (dim,), of unit length
Vectors: TypeAlias = NDArray[np.float32]  # (n, dim)
Pin: TypeAlias = Mapping[str, str | int]  # what identifies the embedder that a store's vectors come from
Indexing: TypeAlias = Literal["background", "wait", "off"]
Neighbours: TypeAlias = tuple[list[int], list[int]]  # the memories before one in its run, and after it
_NOT_COMPARED: Final = ("folder", "probe")  # fields of a pin that may differ: where the model is
EmbedTexts: TypeAlias = Callable[[Sequence[str]], tuple[Vectors, NDArray[np.bool_]]]


def are_the_same(pinned: Pin, embedder: Pin) -> bool:
    """Whether an embedder makes the vectors that a store is pinned to, wherever its model is."""
    return all(pinned.get(key) == value for key, value in embedder.items() if key not in _NOT_COMPARED)


@dataclass(frozen=True, slots=True)
class TextScore:
    """The cosine of a text: that of its nearest vector, and the chunk which that vector is of, or None for the text."""

    score: float
    chunk: Span | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a search needs to know of a memory to rank it."""

    seq: int
    text_id: int
    created_at_us: int
    importance: float | None
    said_by: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """Up to SAMPLED texts of the memories that match, evenly spaced by text id.

    `vectors` (n, dim) are theirs, or those of chunks; `mean_words` is their mean length in words.
    """

    vectors: Vectors
    mean_words: float


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a commit did: memories that were added, updated, unchanged; of these, those with text beyond what the model
    reads; and the chunks that were written."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    truncated: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds. `memories` counts those that have `expired` too. `by_scope` has the largest scopes; "" stands
    for memories without one. `graph` describes the index: its state, how many vectors are in it, and how many a search
    scans.

    `chunks` are parts of long memories that have vectors of their own. `truncated` memories have text that no vector
    covers: they are longer than the model reads, and have no chunks, or chunks that are too long.

    `server` says which server keeps the store, and how durable its commits are; it is empty for a folder.
    """

    memories: int
    expired: int
    vectors: int
    chunks: int
    truncated: int
    history_events: int
    by_scope: dict[str, dict[str, int]]
    bytes_by_file: dict[str, int]
    embedder: dict[str, str | int]
    graph: dict[str, int | str]
    server: dict[str, str] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return sum(self.bytes_by_file.values())

    def to_dict(self) -> dict[str, JsonValue]:
        """The JSON object that `stats --json` prints."""
        return {**asdict(self), "total_bytes": self.total_bytes}


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a store: where, what, and whether it can be rebuilt from what is intact."""

    where: str
    what: str
    repairable: bool

    def to_dict(self) -> dict[str, JsonValue]:
        """The finding as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Block:
    """A batch of a job that several machines share; `number` is its place in the input."""

    job: str
    number: int


class BlockCounts(NamedTuple):
    """What blocks did, and how many of their texts the model embedded."""

    counts: BatchCounts
    embedded: int


class Plan(Protocol):
    """What a batch would change."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """What would become of each memory of the batch, in their order."""

    @property
    def new_texts(self) -> Sequence[str]:
        """The distinct texts of memories that need a vector, in order."""

    @property
    def texts_to_embed(self) -> Sequence[str]:
        """All that need a vector, `new_texts` first and then chunks, in the order that `commit` takes vectors in."""


class Snapshot(Protocol):
    """The memories that match a filter, as of one moment. Raises StoreError and its kinds."""

    def nearest(self, query: Vector, n: int) -> tuple[dict[int, TextScore], bool]:
        """The texts of the n vectors nearest to a query (dim,), by text id, and whether there may be more.

        An index may be approximate, and may name texts that no matching memory has.
        """

    def cosines(self, query: Vector, text_ids: Sequence[int]) -> dict[int, TextScore]:
        """The exact cosines of these texts and a query (dim,), their chunks included."""

    def vectors(self, text_ids: Sequence[int]) -> Vectors:
        """The vectors of these texts, (n, dim), in their order."""

    def sample(self) -> Sample:
        """A sample of the memories, the same for every search of the same memories."""

    def speakers(self, keys: Sequence[str]) -> list[str]:
        """Those who said two or more of the memories (see `Memory.said_by`), of the speakers with one of these keys
        (see `speaker_key`); at most 200."""

    def best_texts(self, query: str, n: int, k1: float) -> dict[int, float]:
        """The n texts with the highest share of the query's words, and their scores, by text id.

        The share counts how rare each word is among the memories that match. With `k1` = 0 it is the score, 0 to 1;
        otherwise the score is BM25 with this k1, divided by the weight of all words. Texts with none of the words are
        left out; among equals the lowest ids come first.
        """

    def text_scores(self, query: str, text_ids: Sequence[int], k1: float) -> dict[int, float]:
        """The scores of these texts."""

    def unspaced_weight(self, query: str) -> float:
        """The share of the query's words that are of scripts without spaces, by weight, 0 to 1."""

    def candidates(self, text_ids: Sequence[int]) -> list[Candidate]:
        """The matching memories that have these texts, in order of arrival."""

    def candidates_at(self, seqs: Sequence[int]) -> list[Candidate]:
        """Those of these memories that match, in order of arrival."""

    def around(self, seqs: Sequence[int], n: int) -> dict[int, Neighbours]:
        """For each of these memories, the n before and the n after it in its run and of its user, in the order of the
        run, whether they match or not, without expired ones."""

    def memories_at(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """These memories, by `seq`. Raises StoreDamagedError where one is not what was stored."""


class MemoryStore(Protocol):
    """A store of memories. One object serves several threads. Raises StoreError and its kinds.

    Reading needs no lock. `open_for_writing` makes the store where it is missing, and `close` ends what it began.
    """

    @property
    def location(self) -> str:
        """Where the store is, as messages name it: never with a password."""

    @property
    def models_folder(self) -> Path | None:
        """Where a copy of a static model is kept with the store; None where a store has no folder."""

    @property
    def turn(self) -> AbstractContextManager[object]:
        """Held from `plan` to `commit`, so that no other thread commits in between."""

    @property
    def commits_elsewhere(self) -> bool:
        """Whether a commit waits for another process, so that other work can overlap with it."""

    @property
    def round_trips(self) -> int:
        """How many requests it has sent to a server; 0 where there is none."""

    @property
    def exists(self) -> bool:
        """Whether the store has been made."""

    @property
    def writing(self) -> bool:
        """Whether this object is open for writing."""

    def open_for_writing(self, embedder: Pin, wait_s: float = 0.0) -> None:
        """Makes the store if it is missing, and opens it for writing, waiting `wait_s` for another writer where there
        may be one only.

        A store without vectors is pinned to this embedder when it gets its first. Raises UsageError where it can't be
        made there, StoreBusyError, StoreMismatchError where it has vectors of another embedder.
        """

    def close(self) -> None:
        """Closes the store. What was committed stays."""

    def embedder(self) -> dict[str, str | int] | None:
        """The embedder that the store is pinned to, or None where there is no store yet."""

    def check_embedder(self, embedder: Pin) -> None:
        """Raises StoreMismatchError where the store has vectors of another embedder."""

    # Writing

    def unknown_texts(self, texts: Iterable[str]) -> list[str]:
        """Those of these texts, each once and in order, that the store has no vector for."""

    def plan(
        self,
        memories: Iterable[Memory],
        splits: Mapping[str, Sequence[Span]] | None = None,
        *,
        whole_records: bool = False,
    ) -> Plan:
        """What these memories, taken in order, would change; reads only.

        A memory updates the stored one of its id: it replaces it with `whole_records` or where that one has expired,
        and otherwise keeps the fields that it leaves out (see `Memory.over`). `splits` gives the chunks of texts; the
        others keep theirs.
        """

    def commit(
        self, plan: Plan, vectors: Vectors, position: Position | None = None, cut: Iterable[int] = ()
    ) -> BatchCounts:
        """Makes the latest plan durable, whole or not at all, and says what it did.

        `vectors` (n, dim) are those of `plan.texts_to_embed`; `cut` are its rows whose texts were longer than the model
        reads. `position` is stored with the batch. `plan.outcomes` are then those that it really had. Raises
        StoreWriteError, and PlanOutdatedError where another writer has removed what the plan needs: plan the batch
        again. The store is then as it was.
        """

    def position(self, file: str) -> Position | None:
        """How far this input has been taken in, or None."""

    def delete(self, ids: Sequence[str]) -> int:
        """Removes memories durably, with their texts and vectors, and says how many there were.

        The history keeps that they existed.
        """

    def reembed(self, embedder: Pin, embed: EmbedTexts, on_staged: Callable[[int], None]) -> None:
        """Gives every text a vector of another embedder, and pins the store to it.

        `embed` maps n texts to unit vectors (n, dim) and (n,) whether each text is longer than the model reads. The old
        vectors stay in use until all new ones are durable; `on_staged` gets the number of each batch of these. Called
        again after an interruption, it continues with the first missing batch.
        """

    def staged_embedder(self) -> dict[str, str | int] | None:
        """The embedder that an unfinished `reembed` is for."""

    def dry_run(self, embedder: Pin) -> AbstractContextManager["MemoryStore"]:
        """A scratch store over this one: it plans against both, and keeps to itself what is committed to it."""

    # The index of vectors

    def refresh_index(self, how: Indexing, *, more_to_come: bool = False) -> None:
        """Brings the index up to date where it lacks enough vectors, in a process of its own or while the caller waits.

        With `more_to_come` more may be lacking than otherwise.
        """

    def build_index(self) -> int:
        """Builds the index of vectors now, and says how many are still not in it."""

    @property
    def indexing(self) -> bool:
        """Whether the index is being built for this object."""

    def unindexed(self) -> int:
        """How many vectors a search scans, beside the index, at most."""

    # Reading

    def count(self, filter: SearchFilter | None = None) -> int:
        """How many memories match; without a filter, all but those that have expired."""

    def any(self, filter: SearchFilter) -> bool:
        """Whether any memory matches."""

    def get(self, identity: str) -> Memory | None:
        """The memory of this id, also where it has expired, or None."""

    def history(self, identity: str) -> list[HistoryEvent]:
        """What happened to the memory of this id, oldest first."""

    def page(self, filter: SearchFilter, limit: int, offset: int) -> list[Memory]:
        """The memories that match, newest first: `limit` of them, after `offset`. Raises StoreNotFoundError."""

    def ids(self, filter: SearchFilter) -> list[str]:
        """The ids of all memories that match, in order of arrival. Raises StoreNotFoundError."""

    def memories(
        self, filter: SearchFilter, *, vectors: bool = False, on_damaged: Callable[[str], None] | None = None
    ) -> Iterator[Memory]:
        """The memories that match as of one moment, in order of arrival, with their vectors where asked for.

        Raises StoreNotFoundError, and StoreDamagedError at a memory that is not what was stored; with `on_damaged`, it
        leaves such memories out and calls that with the id of each.
        """

    def stats(self) -> StoreStats:
        """What the store holds, as of one moment. Raises StoreNotFoundError."""

    def snapshot(self, filter: SearchFilter, embedder: Pin | None) -> AbstractContextManager[Snapshot | None]:
        """The memories that match, as of one moment, to search among; None where there is no store yet.

        Raises StoreMismatchError where the store has vectors of another embedder than the query's.
        """


@runtime_checkable
class Upkeep(Protocol):
    """What a store can do that keeps its own files. A store whose server does this has no `Upkeep`."""

    def verify(self) -> list[Finding]:
        """Every fault: empty where each row, vector and file is what was stored."""

    def repair(self) -> None:
        """Rebuilds what is derived from memories and vectors."""

    def compact(self) -> None:
        """Rewrites the files without what was removed or replaced."""

    def index_ef(self, n: int) -> int:
        """The number of candidates that a search for the n nearest vectors keeps in the index (ef of an HNSW graph)."""

    def nearest_in_index(self, query: Vector, n: int, ef: int) -> NDArray[np.float32] | None:
        """The cosines of the n vectors nearest to a query (dim,) that the index finds with this ef, best first.

        For measurements. None where there is no index, or where it reaches fewer.
        """


@runtime_checkable
class SharedStore(Protocol):
    """What a store can do that many machines write to. A store in a folder has no `SharedStore`.

    A job is an ingest whose batches, its blocks, are committed by several machines in any order.
    """

    @property
    def url_with_password(self) -> str:
        """Where the store is for another machine: a secret."""

    def start_job(self, inputs: Sequence[str]) -> str:
        """Begins a job with these inputs, and ends earlier ones with one of them."""

    def commit_block(
        self, block: Block, plan: Plan, vectors: Vectors, cut: Iterable[int], given: Collection[str]
    ) -> BlockCounts:
        """As `MemoryStore.commit`, once for each block: one that is done already changes nothing.

        Returns what the block did, also where that was done before. `given` are texts whose vectors are not the
        model's work. Raises StoreError where the job has ended.
        """

    def end_job(self, job: str) -> BlockCounts:
        """Ends a job, and returns what its blocks did; none is committed afterwards."""

    def move(self, positions: Sequence[Position]) -> None:
        """Stores how far inputs have been taken in."""
