"""BenchResult -> the JSON that is printed and written: the samples, and beside each model's the figures of them."""

from dataclasses import asdict

import orjson

from agentmem_cli.bench.figures import figures_of
from agentmem_cli.bench.result import BenchResult


def as_document(result: BenchResult) -> dict[str, object]:
    """The result as JSON values: `figures` are for readers of other kinds; our own derives them from the samples."""
    document = asdict(result)
    document["models"] = [
        {**asdict(measured), "figures": asdict(figures_of(result, measured))} for measured in result.models
    ]
    return document


def as_bytes(result: BenchResult) -> bytes:
    """The same as indented UTF-8."""
    return orjson.dumps(as_document(result), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
