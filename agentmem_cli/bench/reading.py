"""A result file -> BenchResult: of this version, or of an earlier one, brought up to it."""

from typing import Final

import msgspec

from agentmem_cli.bench import version1
from agentmem_cli.bench.result import SCHEMA_VERSION, BenchResult
from agentmem_cli.errors import UsageError

_EARLIER: Final = 1


class _Version(msgspec.Struct):
    """What is read first: version 1 wrote several models as a list of results."""

    schema_version: int | None = None
    models: list[msgspec.Raw] | None = None


def read_result(content: bytes, name: str) -> BenchResult:
    """The result in a file's content; `name` is the file's, for messages.

    Raises UsageError where it is not JSON, not a result, of a newer version, or has something missing or of another
    type, which is named.
    """
    try:
        version = schema_version(content)
        if version == _EARLIER:
            return version1.read(content)
        if version == SCHEMA_VERSION:
            return msgspec.json.decode(content, type=BenchResult)
    except msgspec.ValidationError as error:
        raise UsageError(f"{name} is not a whole result of agentmem bench: {error}") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{name} is not JSON, as a result of agentmem bench is: {error}") from error
    if version is None:
        raise UsageError(f"{name} is not a result of agentmem bench: it has no schema_version")
    raise UsageError(
        f"{name} is a result of version {version}, and this agentmem reads 1 to {SCHEMA_VERSION}: use a newer agentmem"
    )


def schema_version(content: bytes) -> int | None:
    """The version in which a result was written. Raises msgspec.DecodeError for what `read_result` refuses."""
    return _version_of(msgspec.json.decode(content, type=_Version))


def _version_of(head: _Version) -> int | None:
    if head.schema_version is None and head.models:
        return msgspec.json.decode(head.models[0], type=_Version).schema_version
    return head.schema_version
