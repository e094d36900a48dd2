"""Every error that agentmem raises, in one tree, each with the exit code of the command that meets it.

    AgentMemError                  1
    ├── UsageError                 2   an option or argument that can't be
    ├── GateError                  4   figures are not as good as they have to be
    ├── MeasurementError           1   another installation can't be measured
    ├── InputError                 1   an input that can't be read to its end
    │   └── RejectedLineError      1   a bad line, where none is passed over
    ├── InvalidMemoryError         1   a memory that breaks the rules (also a ValueError)
    ├── ModelError                 1
    │   ├── ModelNotFoundError     1   neither installed, cached nor downloadable
    │   ├── ModelDamagedError      1   its files are not the ones that were published
    │   ├── DeviceError            1   the device asked for is not here, or not for this model
    │   ├── EmbeddingError         1   the model gave vectors that can't be stored
    │   └── ServerNotNamedError    1   a store names an embedding server that the user has not named
    └── StoreError                 1
        ├── StoreNotFoundError     1
        ├── StoreBusyError         5   another process is writing
        ├── StoreDamagedError      1   the database is damaged, foreign or too new
        ├── StoreMismatchError     1   another embedder than the one the store is pinned to
        └── StoreWriteError        1   the disk is full, read-only or failing

A message says what is wrong, where, and what to do, in one line. A library's own error is kept as the cause.
"""

from typing import ClassVar


class AgentMemError(Exception):
    """The root of the tree: catch this one to catch them all."""

    exit_code: ClassVar[int] = 1


class UsageError(AgentMemError):
    """An option or argument has a value that can't be."""

    exit_code = 2


class GateError(AgentMemError):
    """Figures are not as good as a gate wants them, or nobody can tell and it was to be strict."""

    exit_code = 4


class MeasurementError(AgentMemError):
    """An installation that was to be measured failed, or printed no result."""


class InputError(AgentMemError):
    """An input file can't be read, or not to its end."""


class RejectedLineError(InputError):
    """A line was rejected, and the first one stops: in a query file, or where the caller asked for it."""


class InvalidMemoryError(AgentMemError, ValueError):
    """A memory breaks a rule: the message is the reason alone, without a file or line."""


class ModelError(AgentMemError):
    """An embedding model can't be used."""


class ModelNotFoundError(ModelError):
    """A model is neither installed, nor cached, nor downloadable."""


class ModelDamagedError(ModelError):
    """A model's files are not the ones that were published."""


class DeviceError(ModelError):
    """A model can't run on the device that was asked for."""


class EmbeddingError(ModelError):
    """A model gave vectors of a wrong shape, not finite, or of length zero; or its server gave none."""


class ServerNotNamedError(ModelError):
    """A store names an embedding server that the user has not named on this machine: no text is sent there."""


class StoreError(AgentMemError):
    """A store can't do what was asked of it."""


class StoreNotFoundError(StoreError):
    """There is no store at this path."""


class StoreBusyError(StoreError):
    """Another process is writing to the store."""

    exit_code = 5


class StoreDamagedError(StoreError):
    """The database is damaged, is not one of ours, or is from a newer version."""


class StoreMismatchError(StoreError):
    """The store holds vectors of another embedder."""


class StoreWriteError(StoreError):
    """The store can't be written: the disk is full, read-only or failing."""
