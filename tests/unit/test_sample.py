"""A sample to fit a model to is uniform, the same every time, and of distinct texts."""

import gzip
import json
from pathlib import Path

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.errors import AgentMemError, UsageError
from agentmem_cli.ingest.sample import sample_texts
from tests.fakes import FakeEmbedder


def write(path: Path, texts: list[str]) -> Path:
    path.write_bytes(b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts))
    return path


def test_a_small_file_is_taken_whole_without_bad_lines_and_repetitions(tmp_path: Path) -> None:
    path = write(tmp_path / "some.jsonl", ["a", "b", "a"])
    path.write_bytes(path.read_bytes() + b"not JSON\n" + b'{"text": ""}\n' + b'{"text": "c"}\n')
    assert sample_texts(path) == ["a", "b", "c"]
    (tmp_path / "some.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert sample_texts(tmp_path / "some.jsonl.gz") == ["a", "b", "c"]


def test_of_many_every_part_is_sampled_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "many.jsonl", [str(i) for i in range(4_000)])
    sample = sample_texts(path, 400)
    assert sample == sample_texts(path, 400)
    assert len(set(sample)) == 400
    quarters = [sum(i * 1_000 <= int(text) < (i + 1) * 1_000 for text in sample) for i in range(4)]
    assert min(quarters) > 70


def test_a_store_s_memories_are_sampled(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch([{"text": "a"}, {"text": "b"}])
    assert sample_texts(tmp_path / "store") == ["a", "b"]


def test_what_holds_no_memories_is_refused(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.jsonl", [])
    (tmp_path / "folder").mkdir()
    for source, said in ((empty, "holds no memories"), (tmp_path / "nowhere", "no such file")):
        with pytest.raises(UsageError, match=said):
            sample_texts(source)
    with pytest.raises(AgentMemError):
        sample_texts(tmp_path / "folder")
