"""agentmem: AI agents' memories in a local, crash-safe, searchable store, with measured speed and quality."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from agentmem_cli._version import __version__
from agentmem_cli.errors import (
    AgentMemError,
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
    from agentmem_cli.ingest.report import IngestReport
    from agentmem_cli.records.memory import BatchResult, FieldChange, HistoryEvent, Hit, Memory, Scope

__all__ = [
    "AgentMem",
    "AgentMemError",
    "AsyncAgentMem",
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
    "MemoryNotFoundError",
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


# These names are imported at their first use: AgentMem brings numpy and hnswlib, and `agentmem --help` needs neither.
_MODULES: Final = {
    "AgentMem": "agentmem_cli.api",
    "AsyncAgentMem": "agentmem_cli.async_api",
    "IngestReport": "agentmem_cli.ingest.report",
    **dict.fromkeys(
        ("BatchResult", "FieldChange", "HistoryEvent", "Hit", "Memory", "Scope"), "agentmem_cli.records.memory"
    ),
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
