"""Result files: what was written is read again, an older version is brought up to date, anything else is named."""

from dataclasses import replace

import orjson
import pytest

from agentmem_cli.bench.figures import figures_of
from agentmem_cli.bench.result import BenchResult, BenchWarning, Likeness
from agentmem_cli.bench.result_file import as_bytes, as_document, read_result
from agentmem_cli.errors import UsageError
from tests.bench_results import bench_result, model_result


def read(document: object) -> BenchResult:
    return read_result(orjson.dumps(document), "r.json")


def test_what_was_written_is_read_again() -> None:
    alike = replace(model_result("b"), likeness=Likeness("a", [0.5, 1.0], [10, 9]))
    result = bench_result(model_result("a"), alike)
    result.warnings.append(BenchWarning("noisy", "too noisy", "a", {"batch_sizes": [10.0], "x": "y", "z": 1.5}))
    assert read_result(as_bytes(result), "r.json") == result


def test_figures_stand_beside_the_samples_and_are_derived_again_from_them() -> None:
    document = orjson.loads(as_bytes(bench_result()))
    (model,) = document["models"]
    assert model["figures"]["best_batch"] == 1000
    assert model["figures"]["comparison"]["speedup"] == 5.0
    model["figures"]["comparison"]["speedup"] = 1e9
    again = read(document)
    comparison = figures_of(again, again.models[0]).comparison
    assert comparison is not None
    assert comparison.speedup == 5.0


def test_a_result_without_figures_or_of_a_later_minor_kind_is_read_all_the_same() -> None:
    document = as_document(bench_result())
    del document["models"][0]["figures"]  # type: ignore[index]
    assert read({**document, "something_new": 1}) == bench_result()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "r.json is not JSON"),
        (b"{", "r.json is not JSON"),
        (b"\xff\xfe", "r.json is not JSON"),
        (b"[]", "r.json is not a valid result of agentmem bench: Expected `object`"),
        (b"{}", "r.json is not a result of agentmem bench: it has no schema_version"),
        (b'{"models": []}', "no schema_version"),
        (b'{"schema_version": "1"}', "schema_version"),
        (b'{"schema_version": 2}', "r.json is a result of version 2, and this agentmem reads 1"),
        (b'{"schema_version": 0}', "version 0"),
        (b'{"schema_version": 1}', "missing required field `complete`"),
    ],
)
def test_what_is_no_result_is_named_with_its_fault(content: bytes, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_result(content, "r.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sample_of_a_wrong_type_is_named_by_its_place() -> None:
    document = orjson.loads(as_bytes(bench_result()))
    document["models"][0]["batches"][1]["samples"][2]["total_s"] = "fast"
    with pytest.raises(UsageError, match=r"Expected `float`, got `str` - at `\$\.models\[0\]\.batches\[1\]\.samples"):
        read(document)
