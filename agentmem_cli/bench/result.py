"""What a benchmark measured, as plain data: raw samples, and what they belong to. `figures` derives the rest.

A result file is this, as JSON, with `figures` beside each model's samples for those who read it without us; `reading`
ignores them and derives them again. Times are seconds, in the order they were measured; sizes are bytes.

Version 2: raw samples of every stage, several models in one result, warnings as values. Version 1, which `reading`
takes too, had one model, figures for data, and strings for warnings.
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
    """Where it was measured, and with which versions.

    `thread_variables` are those that tell numerical libraries how many threads they may have, as far as they are set.
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
    """What was asked for; `threads` are how many may embed, None where that isn't known; `queries` a file."""

    sizes: list[int]
    compare: int
    repeats: int
    warmup: int
    scale: list[int] = field(default_factory=list)
    threads: int | None = None
    device: str = "cpu"
    queries: str | None = None


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """Which texts it was measured on. `sha256` is of their lines; `duplicates` lines of a file were left out."""

    name: str
    memories: int
    sha256: str = ""
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine itself could do meanwhile, an entry a repeat, measured before it.

    `sgemm_flop_per_s` is the best of some large float32 matrix products on all cores. `fsync_s` are writes of 4 KiB,
    each followed by an fsync, where the stores were made. `load_average` is of the minute before; `steal_ratio` the
    share of its processor time that a virtual machine did not get.
    """

    sgemm_flop_per_s: list[float] = field(default_factory=list)
    fsync_s: list[list[float]] = field(default_factory=list)
    load_average: float | None = None
    steal_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Which model made the vectors. `flop_per_token` is None where it isn't known."""

    name: str
    revision: str
    dim: int | None = None
    precision: str = ""
    token_limit: int | None = None
    flop_per_token: int | None = None


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What the tokenizer made of so many texts: `tokens` that the model read, special ones included."""

    texts: int
    tokens: int
    special_tokens: int
    unknown_tokens: int
    truncated: int


@dataclass(frozen=True, slots=True)
class IngestSample:
    """One ingest of a batch, from bytes to durable and searchable, and the parts of it that were timed.

    `parse` is JSON to memories, `plan` what they change in the store, `tokenize`, `embed` the rest of the model's time,
    and `commit` one durable transaction.
    """

    total_s: float
    stages_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class BatchRun:
    """Batches of one size, each the first of a fresh store, a sample a repeat."""

    batch_size: int
    counts: TokenCounts
    samples: list[IngestSample]


@dataclass(frozen=True, slots=True)
class AddSample:
    """Memories added one by one to a fresh store: how long each call took until it was durable, and all of them."""

    total_s: float
    latencies_s: list[float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same memories one by one, each durable, against all in one batch: in turn within each repeat."""

    memories: int
    single: list[AddSample]
    batch: list[IngestSample]


@dataclass(frozen=True, slots=True)
class ColdStart:
    """A process that had nothing loaded: until it ran, until the model was loaded, until a first batch was durable.

    `process_s` is None where the model was loaded in a process that did other things before.
    """

    process_s: float | None
    load_s: float
    first_batch_s: float
    memories: int


@dataclass(frozen=True, slots=True)
class StorePoint:
    """A store that has grown to so many memories.

    `added` memories came in `ingest_s`, in batches that became durable `batches_s` after one another. `index_s` is the
    building of the graph after that, None where the store is too small for one. `searches_s` are searches for 10, one
    at a time, once the graph is there. `bytes` are of all the store's files, `peak_resident_bytes` of the process.
    `graph_found` says for each query how many of its 10 nearest vectors the graph found (by their distance: equals
    count alike), against an exact scan; it is empty where there is no graph.
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


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like another model's vectors of the same texts this model's are.

    `cosines` are between the two vectors of each text, empty where the two have not as many dims. `shared_neighbours`
    says of each text how many of the 10 texts nearest to it by the other model are so by this one.
    """

    reference: str
    cosines: list[float]
    shared_neighbours: list[int]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Labelled queries asked of a store of all memories of the workload's file, in one mode of searching.

    `figures` are each query's, by metric (see `agentmem_cli.search.evaluation.METRICS`). `unlabelled` queries had no
    relevant ids; `missing` relevant ids are of no memory, and count as not found.
    """

    mode: str
    figures: dict[str, list[float]]
    unlabelled: int
    missing: int


@dataclass(frozen=True, slots=True)
class ModelResult:
    """All that was measured of one model."""

    model: ModelFacts
    batches: list[BatchRun] = field(default_factory=list)
    comparison: Comparison | None = None
    cold_start: ColdStart | None = None
    stores: list[StorePoint] = field(default_factory=list)
    likeness: Likeness | None = None
    retrieval: list[Retrieval] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BenchWarning:
    """A doubt about a result: its kind, a sentence, the model it is about if it is about one, and its figures."""

    kind: WarningKind
    message: str
    model: str | None = None
    data: dict[str, float | str | list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """One run of `agentmem bench`; `complete` is false where it was interrupted, and holds what was done by then."""

    schema_version: int = SCHEMA_VERSION
    complete: bool
    started_at: str | None
    environment: Environment
    config: Config
    workload: WorkloadFacts
    machine: Machine
    models: list[ModelResult]
    warnings: list[BenchWarning]
