"""The documented schema of a result is that of the code, and results keep to it."""

from pathlib import Path

import jsonschema
import orjson
import pytest

from agentmem_cli.bench.result import SCHEMA_VERSION, BenchWarning
from agentmem_cli.bench.result_file import as_bytes as result_as_bytes
from agentmem_cli.bench.result_file import result_schema, schema_bytes
from tests.bench_results import bench_result, full_result

BENCH = Path(__file__).parents[2] / "agentmem_cli" / "bench"


def test_the_documented_schema_is_the_code_s() -> None:
    documented = (BENCH / "result.schema.json").read_bytes()
    assert documented == schema_bytes(), (
        "python -m agentmem_cli.bench.result_file > agentmem_cli/bench/result.schema.json"
    )


def test_results_keep_to_the_schema() -> None:
    result = full_result()
    result.warnings.append(BenchWarning("noisy", "too noisy", "a", {"batch_sizes": [10.0]}))
    for one in (bench_result(), result):
        jsonschema.Draft202012Validator(result_schema()).validate(orjson.loads(result_as_bytes(one)))


def test_a_result_of_another_version_or_with_a_word_for_a_number_does_not() -> None:
    document = orjson.loads(result_as_bytes(bench_result()))
    document["machine"]["load_average"] = "high"
    for wrong in (document, {**orjson.loads(result_as_bytes(bench_result())), "schema_version": SCHEMA_VERSION + 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(result_schema()).validate(wrong)


def test_the_page_names_every_key_of_a_result_and_of_a_model() -> None:
    page = (BENCH / "result.md").read_text(encoding="utf-8")
    document = orjson.loads(result_as_bytes(bench_result()))
    for key in (*document, *document["models"][0]):
        assert f"| `{key}" in page
    assert f"| {SCHEMA_VERSION} |" in page
