"""agentmem: AI agents' memories in a local, crash-safe, searchable store, with measured speed and quality."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from agentmem_cli._version import __version__
from agentmem_cli.errors import (
    AgentMemError,
    ClusterError,
    DeviceError,
    EmbeddingError,
    InputError,
    InvalidMemoryError,
    MemoryNotFoundError,
    ModelDamagedError,
    ModelError,
    ModelNotFoundError,
    RejectedLineError,
    ServerNotNamedError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
    UsageError,
)

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem
    from agentmem_cli.async_api import AsyncAgentMem
    from agentmem_cli.embedding.base import Embedded, Embedder, EmbedderSpec, OnProgress, Vectors
    from agentmem_cli.embedding.choice import Device
    from agentmem_cli.embedding.languages import ModelAdvice
    from agentmem_cli.ingest.options import IngestOptions, Observer, Progress
    from agentmem_cli.ingest.report import IngestReport
    from agentmem_cli.records.filter import Comparisons, Condition, SearchFilter, Where
    from agentmem_cli.records.formats.names import FormatName
    from agentmem_cli.records.memory import (
        BatchResult,
        FieldChange,
        HistoryEvent,
        Hit,
        Memory,
        Outcome,
        Position,
        Rejection,
        Scope,
        ScoreParts,
        StoredChunk,
        StoredVector,
    )
    from agentmem_cli.records.values import JsonScalar, JsonValue
    from agentmem_cli.search.evaluation import Estimate, Evaluation, JudgedQuery
    from agentmem_cli.search.query import LabelledQuery, Mode, Query, Ranking
    from agentmem_cli.store.base import Finding, Indexing, StoreStats
    from agentmem_cli.support.statistics import Interval

__all__ = [
    "AgentMem",
    "AgentMemError",
    "AsyncAgentMem",
    "BatchResult",
    "ClusterError",
    "Comparisons",
    "Condition",
    "Device",
    "DeviceError",
    "Embedded",
    "Embedder",
    "EmbedderSpec",
    "EmbeddingError",
    "Estimate",
    "Evaluation",
    "FieldChange",
    "Finding",
    "FormatName",
    "HistoryEvent",
    "Hit",
    "Indexing",
    "IngestOptions",
    "IngestReport",
    "InputError",
    "Interval",
    "InvalidMemoryError",
    "JsonScalar",
    "JsonValue",
    "JudgedQuery",
    "LabelledQuery",
    "Memory",
    "MemoryNotFoundError",
    "Mode",
    "ModelAdvice",
    "ModelDamagedError",
    "ModelError",
    "ModelNotFoundError",
    "Observer",
    "OnProgress",
    "Outcome",
    "Position",
    "Progress",
    "Query",
    "Ranking",
    "RejectedLineError",
    "Rejection",
    "Scope",
    "ScoreParts",
    "SearchFilter",
    "ServerNotNamedError",
    "StoreBusyError",
    "StoreDamagedError",
    "StoreError",
    "StoreMismatchError",
    "StoreNotFoundError",
    "StoreStats",
    "StoreWriteError",
    "StoredChunk",
    "StoredVector",
    "UsageError",
    "Vectors",
    "Where",
    "__version__",
]


# These names are imported at their first use: AgentMem brings numpy and hnswlib, and `agentmem --help` needs neither.
_NAMES: Final = {
    "api": "AgentMem",
    "async_api": "AsyncAgentMem",
    "embedding.base": "Embedded Embedder EmbedderSpec OnProgress Vectors",
    "embedding.choice": "Device",
    "embedding.languages": "ModelAdvice",
    "ingest.options": "IngestOptions Observer Progress",
    "ingest.report": "IngestReport",
    "records.filter": "Comparisons Condition SearchFilter Where",
    "records.formats.names": "FormatName",
    "records.memory": "BatchResult FieldChange HistoryEvent Hit Memory Outcome Position "
    "Rejection Scope ScoreParts StoredChunk StoredVector",
    "records.values": "JsonScalar JsonValue",
    "search.evaluation": "Estimate Evaluation JudgedQuery",
    "search.query": "LabelledQuery Mode Query Ranking",
    "store.base": "Finding Indexing StoreStats",
    "support.statistics": "Interval",
}
_MODULES: Final = {name: f"agentmem_cli.{module}" for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
