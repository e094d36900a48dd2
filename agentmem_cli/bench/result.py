"""What a benchmark measured, as it is printed and written: plain data, versioned."""

from dataclasses import dataclass, field
from typing import Final

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Environment:
    """Where it was measured, and with which versions."""

    agentmem: str
    python: str
    platform: str
    cpu: str
    cores: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Config:
    """What was asked for, and what the model made of the workload.

    `tokens_per_memory` counts special tokens; `unknown_token_ratio` does not.
    """

    model: str
    model_revision: str
    workload: str
    sizes: list[int]
    compare: int
    repeats: int
    warmup: int
    tokens_per_memory: float
    unknown_token_ratio: float
    truncated: int


@dataclass(frozen=True, slots=True)
class BatchMeasurement:
    """Batches of one size; figures are of the median sample, `stages_s` of the sample nearest to it."""

    batch_size: int
    memories: int
    samples_s: list[float]
    total_ms: float
    ms_per_memory: float
    ops_per_s: float
    target_ratio: float
    stages_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class ModeMeasurement:
    """One way of adding the same memories; figures are of the median sample."""

    total_ms: float
    ops_per_s: float
    samples_s: list[float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same memories one by one, each durable, against all in one batch."""

    memories: int
    single: ModeMeasurement
    batch: ModeMeasurement
    speedup: float
    time_saved_ratio: float


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A target, what was measured, and whether it is met."""

    name: str
    target: float
    actual: float
    met: bool


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One run of `agentmem bench`."""

    environment: Environment
    config: Config
    batches: list[BatchMeasurement]
    comparison: Comparison
    targets: list[TargetVerdict]
    warnings: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION
