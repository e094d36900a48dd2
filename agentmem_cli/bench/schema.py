"""The JSON Schema of a result file, made from the dataclasses that read and write it.

Run as `python -m agentmem_cli.bench.schema`, it prints the schema: that is how the documented one is made.
"""

import sys
from inspect import cleandoc

import msgspec
import orjson

from agentmem_cli.bench.figures import Figures
from agentmem_cli.bench.result import SCHEMA_VERSION, BenchResult

_REFERENCE = "#/$defs/{name}"


def result_schema() -> dict[str, object]:
    """The schema (draft 2020-12) of what `agentmem bench --output FILE.json` writes, with the figures of each model."""
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


def as_bytes() -> bytes:
    """The same as indented UTF-8."""
    return orjson.dumps(result_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS)


if __name__ == "__main__":
    sys.stdout.buffer.write(as_bytes())
