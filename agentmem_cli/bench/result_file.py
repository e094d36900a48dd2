"""Results as JSON: reading, writing, and the schema."""

import sys
from dataclasses import asdict
from inspect import cleandoc
from pathlib import Path
from typing import Final

import msgspec
import orjson

from agentmem_cli.bench.figures import Figures, figures_of
from agentmem_cli.bench.result import SCHEMA_VERSION, BenchResult
from agentmem_cli.errors import UsageError

_REFERENCE: Final = "#/$defs/{name}"


class _Version(msgspec.Struct):
    """The version of a result, which is read first."""

    schema_version: int | None = None


def read_result(content: bytes, name: str) -> BenchResult:
    """The result in the content of a file; `name` is used in messages.

    Raises UsageError, which names the field, if it is not a result of this version.
    """
    try:
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version == SCHEMA_VERSION:
            return msgspec.json.decode(content, type=BenchResult)
    except msgspec.ValidationError as error:
        raise UsageError(f"{name} is not a valid result of agentmem bench: {error}") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{name} is not JSON and so not a result of agentmem bench: {error}") from error
    if version is None:
        raise UsageError(f"{name} is not a result of agentmem bench: it has no schema_version")
    raise UsageError(
        f"{name} is a result of version {version}, and this agentmem reads {SCHEMA_VERSION}: use a newer agentmem"
    )


def read_file(file: str) -> BenchResult:
    """The result in a file. Raises UsageError."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: can't be read: {error.strerror}") from error
    return read_result(content, file)


def as_document(result: BenchResult) -> dict[str, object]:
    """The result as JSON values, with the figures of each model for other programs."""
    document = asdict(result)
    document["models"] = [
        {**asdict(measured), "figures": asdict(figures_of(result, measured))} for measured in result.models
    ]
    return document


def as_bytes(result: BenchResult) -> bytes:
    """The result as indented JSON."""
    return orjson.dumps(as_document(result), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def result_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of the files that `agentmem bench --output FILE.json` writes."""
    (result, figures), parts = msgspec.json.schema_components([BenchResult, Figures], ref_template=_REFERENCE)
    parts["ModelResult"]["properties"]["figures"] = figures
    parts["ModelResult"]["required"].append("figures")
    parts["BenchResult"]["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    parts["BenchResult"]["required"].append("schema_version")
    for part in parts.values():
        part["description"] = cleandoc(part["description"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A result of agentmem bench, version {SCHEMA_VERSION}",
        **result,
        "$defs": parts,
    }


def schema_bytes() -> bytes:
    """The schema as indented JSON."""
    return orjson.dumps(result_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS)


if __name__ == "__main__":
    sys.stdout.buffer.write(schema_bytes())
