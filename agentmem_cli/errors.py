"""Every error that agentmem raises, in one tree, each with the exit code of the command that meets it.

    AgentMemError                  1
    ├── UsageError                 2   an option or argument is not valid
    ├── GateError                  4   a gate on speed or quality failed
    ├── MeasurementError           1   another installation could not be measured
    ├── ClusterError               1   a cluster of workers can't be reached, or can't do its work
    ├── InputError                 1   an input could not be read to its end
    │   └── RejectedLineError      1   a bad line, where bad lines are not skipped
    ├── InvalidMemoryError         1   a memory is not valid (also a ValueError)
    ├── MemoryNotFoundError        1   no memory has this id, or it has expired
    ├── ModelError                 1
    │   ├── ModelNotFoundError     1   the model is neither installed, cached nor downloadable
    │   ├── ModelDamagedError      1   the model's files are not the published ones
    │   ├── DeviceError            1   the device is not available, or not for this model
    │   ├── EmbeddingError         1   the model returned vectors that can't be stored
    │   └── ServerNotNamedError    1   the store's embedding server is not allowed yet
    └── StoreError                 1
        ├── StoreNotFoundError     1
        ├── StoreBusyError         5   another process is writing
        │   └── PlanOutdatedError  5   other writers kept changing the same memories
        ├── StoreDamagedError      1   the database is damaged, not agentmem's, or too new
        ├── StoreMismatchError     1   the store is pinned to another embedder
        └── StoreWriteError        1   the disk is full, read-only or failing

A message says what is wrong, where, and what to do, in one line. The error of a library is kept as the cause.
"""

from typing import ClassVar


class AgentMemError(Exception):
    """The base of all errors that agentmem raises."""

    exit_code: ClassVar[int] = 1


class UsageError(AgentMemError):
    """An option or argument is not valid."""

    exit_code = 2


class GateError(AgentMemError):
    """A gate on speed or quality failed, or was inconclusive with --strict."""

    exit_code = 4


class MeasurementError(AgentMemError):
    """An installation failed while it was measured, or printed no result."""


class ClusterError(AgentMemError):
    """A cluster of workers can't be reached, or its workers can't do their work."""


class InputError(AgentMemError):
    """An input could not be read to its end."""


class RejectedLineError(InputError):
    """A line was rejected in an input that stops at the first bad line: a query file, or --on-error fail."""


class InvalidMemoryError(AgentMemError, ValueError):
    """A memory is not valid. The message is the reason, without file and line."""


class MemoryNotFoundError(AgentMemError):
    """No memory has this id, or it has expired."""


class ModelError(AgentMemError):
    """The base of errors about embedding models."""


class ModelNotFoundError(ModelError):
    """A model is neither installed, nor cached, nor downloadable."""


class ModelDamagedError(ModelError):
    """A model's files are not the published ones."""


class DeviceError(ModelError):
    """A model can't run on the chosen device."""


class EmbeddingError(ModelError):
    """A model returned vectors of a wrong shape, not finite or of length zero, or its server returned none."""


class ServerNotNamedError(ModelError):
    """A store refers to an embedding server that the user has not allowed on this machine."""


class StoreError(AgentMemError):
    """The base of errors about stores."""


class StoreNotFoundError(StoreError):
    """There is no store at this path."""

    @classmethod
    def at(cls, location: object) -> "StoreNotFoundError":
        """The error for a place, with the next step."""
        return cls(
            f"no store at {location}: make one with 'agentmem ingest FILE' or 'agentmem add TEXT', or name another "
            "with --store or AGENTMEM_STORE"
        )


class StoreBusyError(StoreError):
    """Another process is writing to the store."""

    exit_code = 5


class PlanOutdatedError(StoreBusyError):
    """Other writers changed what a batch was planned with, again and again."""


class StoreDamagedError(StoreError):
    """The database is damaged, was not made by agentmem, or is from a newer version."""


class StoreMismatchError(StoreError):
    """The store is pinned to another embedder."""


class StoreWriteError(StoreError):
    """The store could not be written: the disk is full, read-only or failing."""
