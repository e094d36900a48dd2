"""agentmem: AI agents' memories in a local, crash-safe, searchable store, with measured speed and quality."""

from typing import TYPE_CHECKING

from agentmem_cli._version import __version__
from agentmem_cli.errors import (
    AgentMemError,
    DeviceError,
    EmbeddingError,
    InputError,
    InvalidMemoryError,
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
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.memory import BatchResult, FieldChange, HistoryEvent, Hit, Memory, Scope

if TYPE_CHECKING:
    from agentmem_cli.api import AgentMem

__all__ = [
    "AgentMem",
    "AgentMemError",
    "BatchResult",
    "DeviceError",
    "EmbeddingError",
    "FieldChange",
    "HistoryEvent",
    "Hit",
    "IngestReport",
    "InputError",
    "InvalidMemoryError",
    "Memory",
    "ModelDamagedError",
    "ModelError",
    "ModelNotFoundError",
    "RejectedLineError",
    "Scope",
    "ServerNotNamedError",
    "StoreBusyError",
    "StoreDamagedError",
    "StoreError",
    "StoreMismatchError",
    "StoreNotFoundError",
    "StoreWriteError",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> object:
    # AgentMem brings numpy and hnswlib: it loads when it is asked for, so that `agentmem --help` doesn't wait.
    if name == "AgentMem":
        from agentmem_cli.api import AgentMem

        return AgentMem
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
