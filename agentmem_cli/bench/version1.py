"""Results as version 1 wrote them, brought up to the version of today; what it did not measure stays unknown."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from agentmem_cli.bench.result import (
    AddSample,
    BatchRun,
    BenchResult,
    BenchWarning,
    Comparison,
    Config,
    Environment,
    IngestSample,
    Machine,
    ModelFacts,
    ModelResult,
    TokenCounts,
    WorkloadFacts,
)


@dataclass(frozen=True, slots=True)
class _Config:
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
class _Batch:
    batch_size: int
    samples_s: list[float]


@dataclass(frozen=True, slots=True)
class _Mode:
    samples_s: list[float]


@dataclass(frozen=True, slots=True)
class _Comparison:
    memories: int
    single: _Mode
    batch: _Mode


@dataclass(frozen=True, slots=True)
class _Result:
    environment: Environment
    config: _Config
    batches: list[_Batch]
    comparison: _Comparison
    warnings: list[str] = field(default_factory=list)


class _Several(msgspec.Struct):
    models: list[_Result] = msgspec.field(default_factory=list)


def read(content: bytes) -> BenchResult:
    """One result of version 1, or several models' as they were written. Raises msgspec.ValidationError.

    It kept the stages of one sample of each size, and not which: they are left out. Its tokens are counted from its
    mean, so that special tokens are among those of the texts.
    """
    models = msgspec.json.decode(content, type=_Several).models
    return _upgraded(models or [msgspec.json.decode(content, type=_Result)])


def _upgraded(results: Sequence[_Result]) -> BenchResult:
    first = results[0]
    config = first.config
    return BenchResult(
        complete=True,
        started_at=None,
        environment=first.environment,
        config=Config(config.sizes, config.compare, config.repeats, config.warmup),
        workload=WorkloadFacts(config.workload, max(config.sizes)),
        machine=Machine(),
        models=[_model(result) for result in results],
        warnings=[
            BenchWarning("earlier", message, result.config.model) for result in results for message in result.warnings
        ],
    )


def _model(result: _Result) -> ModelResult:
    config, comparison = result.config, result.comparison
    return ModelResult(
        model=ModelFacts(config.model, config.model_revision),
        batches=[
            BatchRun(batch.batch_size, _counts(config, batch.batch_size), _samples(batch.samples_s))
            for batch in result.batches
        ],
        comparison=Comparison(
            comparison.memories,
            [AddSample(total_s, []) for total_s in comparison.single.samples_s],
            _samples(comparison.batch.samples_s),
        ),
    )


def _samples(totals_s: Sequence[float]) -> list[IngestSample]:
    return [IngestSample(total_s, {}) for total_s in totals_s]


def _counts(config: _Config, texts: int) -> TokenCounts:
    tokens = round(config.tokens_per_memory * texts)
    is_largest = texts == max(config.sizes)
    return TokenCounts(
        texts=texts,
        tokens=tokens,
        special_tokens=0,
        unknown_tokens=round(config.unknown_token_ratio * tokens),
        truncated=config.truncated if is_largest else 0,
    )
