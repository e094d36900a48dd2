"""The result of a benchmark as plain data: raw samples and their conditions. `figures` derives everything else.

A result file is this data as JSON. It also holds the figures of each model, for other programs; `result_file` ignores
them and derives them again. Times are in seconds, in the order of measurement; sizes are in bytes.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

SCHEMA_VERSION: Final = 1

WarningKind: TypeAlias = Literal[
    "noisy",
    "drift",
    "load",
    "few-samples",
    "unknown-tokens",
    "truncated",
    "duplicates",
    "labels",
    "no-disk",
    "slowed",
    "earlier",
]


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine and the versions.

    `thread_variables` are the environment variables, if set, that limit the threads of numerical libraries.
    """

    agentmem: str
    python: str
    platform: str
    cpu: str
    cores: int
    versions: dict[str, str]
    memory_bytes: int | None = None
    thread_variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """The options of the benchmark; `threads` is None if unknown, `queries` is a file name, `store` the database of the
    stores, without a password, or None for a temporary folder.

    With `max_time_s` there may be more repeats than `repeats`, if bounds were not certain.
    """

    sizes: list[int]
    singles: int
    repeats: int
    warmup: int
    scale: list[int] = field(default_factory=list)
    threads: int | None = None
    device: str = "cpu"
    queries: str | None = None
    max_time_s: float | None = None
    clients: list[int] = field(default_factory=list)
    processes: int = 0
    ef: list[int] = field(default_factory=list)
    store: str | None = None
    on: str | None = None
    workers: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """The texts. `sha256` is the checksum of their lines; `duplicates` is the number of lines left out.

    `repeats_ratio` is the share of memories with the text of another one in the same batch.
    """

    name: str
    memories: int
    sha256: str = ""
    duplicates: int = 0
    repeats_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Machine:
    """The performance of the machine itself, measured before each repeat.

    `sgemm_flop_per_s` is the best rate of large float32 matrix products on all cores. `fsync_s` are the durations of
    writes of 4 KiB with an fsync, in the folder of the stores. `load_average` is that of the minute before the run.
    `steal_ratio` is the share of processor time that the host of a virtual machine gave to others.
    """

    sgemm_flop_per_s: list[float] = field(default_factory=list)
    fsync_s: list[list[float]] = field(default_factory=list)
    load_average: float | None = None
    steal_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model. `flop_per_token` is None if unknown."""

    name: str
    revision: str
    dim: int | None = None
    precision: str = ""
    token_limit: int | None = None
    flop_per_token: int | None = None


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Token counts of a number of texts; `tokens` are those that the model read, special tokens included."""

    texts: int
    tokens: int
    special_tokens: int
    unknown_tokens: int
    truncated: int


@dataclass(frozen=True, slots=True)
class IngestSample:
    """One ingest of a batch, from bytes until it is durable and searchable, and its stages.

    `parse` turns JSON into memories, `plan` finds what changes in the store, `tokenize` and `embed` are the model's
    time, and `commit` is the durable transaction. `cpu_s` is the processor time of all threads; None if unknown.
    """

    total_s: float
    stages_s: dict[str, float]
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class BatchRun:
    """Batches of one size, one sample per repeat, each in a fresh store."""

    batch_size: int
    counts: TokenCounts
    samples: list[IngestSample]


@dataclass(frozen=True, slots=True)
class CallsSample:
    """Calls of one client or of several at once: the time from the first to the last, and the duration of each."""

    total_s: float
    latencies_s: list[float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Memories added one by one, and as many equally long ones in one batch, in turn within each repeat.

    `counts` are the tokens of one batch: the texts may be shorter than those of `BatchRun`.
    """

    memories: int
    counts: TokenCounts
    single: list[CallsSample]
    batch: list[IngestSample]


@dataclass(frozen=True, slots=True)
class ColdStart:
    """A cold start: the start of the process, the loading of the model, and the first durable batch.

    `process_s` is None if the process already did other work.
    """

    process_s: float | None
    load_s: float
    first_batch_s: float
    memories: int


@dataclass(frozen=True, slots=True)
class SearchRun:
    """Searches for 10 memories in one mode, `filtered` to those of one user or among all: the duration of each, and the
    mean number of requests to the server."""

    mode: str
    filtered: bool
    latencies_s: list[float]
    round_trips: float


@dataclass(frozen=True, slots=True)
class StorePoint:
    """A store at one size of its growth.

    `added` memories were ingested in `ingest_s`; `batches_s` are the durations of its batches. `index_s` is the time to
    build the graph afterwards; None if the store is too small for one. `searches_s` are the durations of single
    searches for 10 memories, with the graph. `bytes` is the size of all the store's files, `peak_resident_bytes` the
    memory of the process. `graph_found` is, for each query, the number of its 10 nearest vectors (by distance, so ties
    count) that the graph found, compared with an exact scan; it is empty without a graph.

    A store on a server also has `searches` of one user and of all, and the server's versions and durability settings.
    """

    memories: int
    added: int
    ingest_s: float
    batches_s: list[float]
    index_s: float | None
    searches_s: list[float]
    bytes: int
    peak_resident_bytes: int
    graph_found: list[int]
    searches: list[SearchRun] = field(default_factory=list)
    server: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Likeness:
    """The similarity of this model's vectors to those of another model for the same texts.

    `cosines` are those of the two vectors of each text, empty if the dimensions differ. `shared_neighbours` is, for
    each text, the number of its 10 nearest texts that both models agree on.
    """

    reference: str
    cosines: list[float]
    shared_neighbours: list[int]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The answers to labelled queries in one search mode; the store holds all memories of the workload's file.

    `figures` are those of each query, by metric (see `agentmem_cli.search.evaluation.METRICS`). `unlabelled` is the
    number of queries without relevant ids. `missing` is the number of relevant ids that no memory has; they count as
    not found.
    """

    mode: str
    figures: dict[str, list[float]]
    unlabelled: int
    missing: int


@dataclass(frozen=True, slots=True)
class Remedy:
    """A remedy for slow ingests and its trial: durations of the same work without it and with it, in turn.

    `at` says how much of it, such as a share of repeated texts. `predicted_speedup` was derived before the trial from
    the stages of the run and the ceilings of the machine. `cosine` is the median of those of another model's vectors to
    this model's; None if it has others, or if the model stays.
    """

    name: str
    at: str
    predicted_speedup: float
    base_s: list[float]
    remedy_s: list[float]
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class ClientsRun:
    """Threads that share one AgentMem, a sample per round: durable adds to a fresh store, one memory each, and searches
    of the run's largest store."""

    clients: int
    adds: list[CallsSample]
    searches: list[CallsSample]


@dataclass(frozen=True, slots=True)
class ProcessesRun:
    """Processes that search a store while another process adds memories one by one, a sample per round.

    Each sample is of a window of time and has its own copy of the run's largest store, of `memories`. `readers` is the
    number of processes that search; a sample of theirs holds the calls of all of them.
    """

    readers: int
    memories: int
    searches_alone: list[CallsSample]
    searches_beside_writer: list[CallsSample]
    adds_alone: list[CallsSample]
    adds_beside_readers: list[CallsSample]


@dataclass(frozen=True, slots=True)
class WorkersRun:
    """Ingests of `memories` by this many workers on a Ray cluster, each into a fresh store: memories a second, a rate
    per round, from the first durable block to the last."""

    workers: int
    memories: int
    memories_per_s: list[float]


@dataclass(frozen=True, slots=True)
class EfRun:
    """Searches of the graph for the 10 nearest vectors with one `ef`, the number of candidates that a search keeps.

    `memories` are those of the store. `used_by` are the modes of searching for 10 memories that use this ef. `found` is
    as `StorePoint.graph_found`. `searches_s` are the durations of the searches, without the embedding of the query.
    """

    ef: int
    memories: int
    used_by: list[str]
    found: list[int]
    searches_s: list[float]


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The measurements of one model."""

    model: ModelFacts
    batches: list[BatchRun] = field(default_factory=list)
    comparison: Comparison | None = None
    cold_start: ColdStart | None = None
    stores: list[StorePoint] = field(default_factory=list)
    likeness: Likeness | None = None
    retrieval: list[Retrieval] = field(default_factory=list)
    remedies: list[Remedy] = field(default_factory=list)
    clients: list[ClientsRun] = field(default_factory=list)
    processes: ProcessesRun | None = None
    ef: list[EfRun] = field(default_factory=list)
    workers: list[WorkersRun] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BenchWarning:
    """A warning about a result: its kind, a sentence, the model if it is about one, and its figures."""

    kind: WarningKind
    message: str
    model: str | None = None
    data: dict[str, float | str | list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """A run of `agentmem bench`. If it was interrupted, `complete` is false and the result is partial."""

    schema_version: int = SCHEMA_VERSION
    complete: bool
    started_at: str | None
    environment: Environment
    config: Config
    workload: WorkloadFacts
    machine: Machine
    models: list[ModelResult]
    warnings: list[BenchWarning]

    @property
    def repeats(self) -> int:
        """The number of repeats that were completed; those asked for, if there are no batches."""
        counts = [len(run.samples) for measured in self.models for run in measured.batches]
        return min(counts, default=self.config.repeats)
