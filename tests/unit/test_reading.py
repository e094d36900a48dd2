"""Result files: what was written is read again, an older version is brought up to date, anything else is named."""

from dataclasses import replace

import orjson
import pytest

from agentmem_cli.bench.figures import figures_of
from agentmem_cli.bench.result import BenchResult, BenchWarning, Likeness
from agentmem_cli.bench.result_file import as_bytes, as_document, read_result
from agentmem_cli.errors import UsageError
from tests.bench_results import bench_result, model_result

VERSION_1 = {
    "environment": {
        "agentmem": "0.1.0", "python": "3.11.7", "platform": "Linux", "cpu": "A CPU", "cores": 2,
        "versions": {"numpy": "2.0"},
    },
    "config": {
        "model": "fake", "model_revision": "0123", "workload": "phase4", "sizes": [10, 1000], "compare": 100,
        "repeats": 3, "warmup": 1, "tokens_per_memory": 30.5, "unknown_token_ratio": 0.8, "truncated": 2,
    },
    "batches": [
        {
            "batch_size": size, "memories": size, "samples_s": [0.5, 0.25, 1], "total_ms": 500.0,
            "ms_per_memory": 1.0, "ops_per_s": 1.0, "target_ratio": 0.1, "stages_s": {"embed": 0.2},
        }
        for size in (10, 1000)
    ],
    "comparison": {
        "memories": 100,
        "single": {"total_ms": 1.0, "ops_per_s": 1.0, "samples_s": [1.0, 2.0, 3.0]},
        "batch": {"total_ms": 1.0, "ops_per_s": 1.0, "samples_s": [0.5, 0.5, 0.5]},
        "speedup": 4.0,
        "time_saved_ratio": 0.75,
    },
    "targets": [],
    "warnings": ["noisy run"],
    "schema_version": 1,
}  # fmt: skip


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


def test_version_1_is_brought_up_to_date() -> None:
    result = read(VERSION_1)
    assert (result.schema_version, result.complete, result.started_at) == (2, True, None)
    assert (result.workload.name, result.workload.memories, result.config.sizes) == ("phase4", 1000, [10, 1000])
    (model,) = result.models
    found = figures_of(result, model)
    assert (model.model.name, model.model.revision, model.model.dim) == ("fake", "0123", None)
    assert [batch.total_ms for batch in found.batches] == [500.0, 500.0]
    assert found.comparison is not None
    assert found.comparison.speedup == 4.0
    assert (found.tokens_per_memory, found.unknown_token_ratio) == (30.5, 0.8)
    assert found.add is None
    assert result.warnings == [BenchWarning("earlier", "noisy run", "fake")]


def test_several_models_of_version_1_are_one_result() -> None:
    other = {**VERSION_1, "config": {**VERSION_1["config"], "model": "other"}}  # type: ignore[dict-item]
    result = read({"models": [VERSION_1, other]})
    assert [model.model.name for model in result.models] == ["fake", "other"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "r.json is not JSON"),
        (b"{", "r.json is not JSON"),
        (b"\xff\xfe", "r.json is not JSON"),
        (b"[]", "r.json is not a whole result of agentmem bench: Expected `object`"),
        (b"{}", "r.json is not a result of agentmem bench: it has no schema_version"),
        (b'{"models": []}', "no schema_version"),
        (b'{"schema_version": "2"}', "schema_version"),
        (b'{"schema_version": 3}', "r.json is a result of version 3, and this agentmem reads 1 to 2"),
        (b'{"schema_version": 0}', "version 0"),
        (b'{"schema_version": 2}', "missing required field `complete`"),
        (b'{"schema_version": 1}', "missing required field `environment`"),
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
