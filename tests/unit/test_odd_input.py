"""Odd input that once went wrong: each test names what a user would have met."""

import gzip
import sys
import types
from io import BufferedReader, BytesIO
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli import AgentMem
from agentmem_cli.bench.runner import Bench
from agentmem_cli.bench.workload import BenchOptions, make_workload
from agentmem_cli.embedding.base import Vectors
from agentmem_cli.errors import EmbeddingError, InputError, InvalidMemoryError, UsageError
from agentmem_cli.records.jsonl import memory_from_fields, parse_memory
from agentmem_cli.records.lines import Line, LineSource, open_source
from agentmem_cli.records.memory import Memory
from tests.fakes import FakeEmbedder
from tests.property.test_parse import Pieces

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(("length", "end"), [(10, b""), (10, b"\n"), (10, b"\r\n"), (11, b"\n"), (50, b"\n")])
def test_a_bom_does_not_count_towards_the_length_of_a_line(length: int, end: bytes) -> None:
    source = LineSource("name", BufferedReader(BytesIO(BOM + b"x" * length + end)), None, 200)
    assert list(source.lines(10)) == [Line(1, b"x" * 10, too_long=length > 10)]


def test_gzip_is_known_when_a_pipe_gives_one_byte_first() -> None:
    source = LineSource("name", BufferedReader(Pieces(gzip.compress(b"a\n"), [1])), None, 200)
    assert [line.content for line in source.lines()] == [b"a"]


@pytest.mark.parametrize("field", ["importance", "created_at"])
def test_a_number_beyond_all_floats_is_refused(field: str) -> None:
    with pytest.raises(InvalidMemoryError, match="finite"):
        memory_from_fields({"text": "t", field: 10**400})


@pytest.mark.parametrize(
    "metadata",
    [types.MappingProxyType({"a": 1}), {"a": types.MappingProxyType({"b": 1})}, {"a": np.float64(1.5)}],
)
def test_metadata_that_only_looks_like_json_is_stored_as_json(metadata: dict[str, float], tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        stored = mem.get(mem.add("text", metadata=metadata))
    assert stored is not None
    assert {type(value) for value in stored.metadata.values()} <= {int, float, dict}


def test_changing_a_dict_after_it_was_given_changes_no_memory() -> None:
    metadata: dict[str, float] = {"a": 1.0}
    memory = Memory("text", metadata=dict(metadata))
    given = Memory("text", metadata=metadata)
    metadata["a"] = float("nan")
    assert given == memory
    assert given.content_digest().hex() == given.id


@pytest.mark.parametrize("path", ["a\0b", ""])
def test_a_path_that_no_file_can_have_is_an_input_error(path: str) -> None:
    with pytest.raises(InputError, match=r"^\S.*can't be read"), open_source(path):
        pass


def test_closed_standard_input_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="closed"), open_source("-"):
        pass


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text":"你好你好你好","x":NaN}', "NaN and Infinity"),
        ('{"text":"t","created_at":"0001-01-01T00:00:00+01:00"}', "out of range"),
        ("null", "not an object, but null"),
    ],
)
def test_the_reason_is_the_true_one(line: str, reason: str) -> None:
    with pytest.raises(InvalidMemoryError, match=reason):
        parse_memory(line.encode())


@pytest.mark.parametrize(
    "time", ["2024-05-01T10:00:00.5Z", "2024-05-01 10:00:00.500000000+00:00", "2024-05-01T10:00:00.500z"]
)
def test_a_time_is_read_alike_by_every_python(time: str) -> None:
    assert memory_from_fields({"text": "t", "created_at": time}) == memory_from_fields(
        {"text": "t", "created_at": 1714557600.5}
    )


@pytest.mark.parametrize(
    "time", ["20240501T100000Z", "2024-W18-3", "2024-05-01T10", "2024-05-01T10:00:00:00", "٢٠٢٤-05-01"]
)
def test_a_time_that_only_some_pythons_read_is_refused_by_all(time: str) -> None:
    with pytest.raises(InvalidMemoryError, match="not an ISO 8601 time"):
        memory_from_fields({"text": "t", "created_at": time})


def test_the_text_may_be_in_the_key_id() -> None:
    assert memory_from_fields({"id": "hello"}, text_field="id").text == "hello"


def test_a_workload_with_repeated_ids_is_refused_before_it_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "workload.jsonl"
    path.write_text("".join(f'{{"id":"a","text":"t{i}"}}\n' for i in range(20)))
    with pytest.raises(UsageError, match="distinct"):
        make_workload(str(path), 20, 10)


def test_a_workload_smaller_than_the_sizes_gives_no_figures() -> None:
    options = BenchOptions([20], singles=20, repeats=1, warmup=0)
    with pytest.raises(UsageError, match="too few"):
        Bench([], make_workload("mixed", 10, 10), options)


class FailingQueries(FakeEmbedder):
    """Embeds memories, and fails at queries."""

    def embed_query(self, query: str) -> Vectors:
        raise RuntimeError("boom")


class ZeroQueries(FakeEmbedder):
    """Embeds memories, and gives queries no direction."""

    def embed_query(self, query: str) -> Vectors:
        return np.zeros(self.spec.dim, dtype=np.float32)


@pytest.mark.parametrize(("embedder", "cause"), [(FailingQueries(), "boom"), (ZeroQueries(), "zero vector")])
def test_an_embedder_that_fails_at_a_query_is_named(embedder: FakeEmbedder, cause: str, tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=embedder) as mem:
        mem.add("text")
        with pytest.raises(EmbeddingError, match=cause):
            mem.search("text")
