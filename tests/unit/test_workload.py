"""The texts that a benchmark runs on, and the files that are refused for it."""

import gzip
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from agentmem_cli.bench.workload import make_workload
from agentmem_cli.embedding.synthetic_texts import mixed_texts
from agentmem_cli.errors import UsageError
from agentmem_cli.records.jsonl import parse_memory


def texts(lines: object) -> list[str]:
    assert isinstance(lines, list)
    return [orjson.loads(line)["text"] for line in lines]


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_phase4_is_the_strings_of_the_seed_report() -> None:
    workload = make_workload("phase4", 3, 2)
    assert workload.name == "phase4"
    assert texts(workload.batch_lines) == [
        "批量测试记忆 #0 - 这是一条测试数据，用于验证批量添加性能",
        "批量测试记忆 #1 - 这是一条测试数据，用于验证批量添加性能",
        "批量测试记忆 #2 - 这是一条测试数据，用于验证批量添加性能",
    ]
    assert texts(workload.compare_lines) == ["批量测试记忆 #0", "批量测试记忆 #1"]


def test_mixed_is_the_seeded_english() -> None:
    workload = make_workload("mixed", 20, 10, seed=3)
    assert workload.texts() == texts(workload.batch_lines) == mixed_texts(20, seed=3)
    assert texts(workload.compare_lines) == mixed_texts(10, seed=3)


@pytest.mark.parametrize("name", ["phase4", "mixed"])
@pytest.mark.parametrize(("memories", "compare"), [(10, 1000), (1000, 10)])
def test_a_workload_has_as_many_distinct_lines_as_were_asked_for(name: str, memories: int, compare: int) -> None:
    workload = make_workload(name, memories, compare)
    assert len(set(workload.batch_lines)) == len(workload.batch_lines) == memories
    assert len(set(workload.compare_lines)) == len(workload.compare_lines) == compare


@pytest.mark.parametrize("name", ["phase4", "mixed"])
def test_each_turn_has_texts_of_its_own_that_are_as_long_as_the_others(name: str) -> None:
    workload = make_workload(name, 50, 20)
    turns = [texts(workload.batch(50, turn)) + texts(workload.compared(20, turn)) for turn in range(5)]
    for turn in turns:
        assert [len(text) for text in turn] == [len(text) for text in turns[0]]
    if name == "phase4":
        assert len({text for turn in turns for text in turn}) == 5 * 70
    assert len({text for turn in turns for text in turn[:50]}) == 5 * 50
    assert texts(workload.batch(10, 3)) == turns[3][:10]


def test_a_turn_of_a_file_keeps_all_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", '{"id":"a","text":"tea","metadata":{"topic":"drink"}}', '{"text":"b"}')
    assert make_workload(path, 2, 2).batch(1, 4) == [b'{"id":"a","text":"tea 104","metadata":{"topic":"drink"}}']


def test_a_checksum_tells_of_texts_that_differ_in_the_turns_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_workload("mixed", 10, 10).facts().sha256
    monkeypatch.setattr("agentmem_cli.bench.workload._FIRST_TURN", 200)
    assert make_workload("mixed", 10, 10).facts().sha256 != before


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_gives_its_first_lines_as_they_are(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    lines = [b'{"text": "t%d", "user_id": "u"}' % number for number in range(5)]
    path = tmp_path / "own.jsonl"
    path.write_bytes(pack(b"\n\n".join(lines)))
    workload = make_workload(str(path), 3, 2)
    assert workload.name == str(path)
    assert (workload.batch_lines, workload.compare_lines) == (lines[:3], lines[:2])


def test_a_text_that_comes_again_in_a_file_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", '{"text":"a"}', '{"text":"a","id":"x"}', '{"text":"b"}', '{"text":"c"}')
    assert make_workload(path, 3, 1).batch_lines == [b'{"text":"a"}', b'{"text":"b"}', b'{"text":"c"}']


@pytest.mark.parametrize(("memories", "compare"), [(3, 1), (1, 3)])
def test_a_file_with_too_few_distinct_texts_is_refused(memories: int, compare: int, tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", '{"text":"a"}', '{"text":"b"}', '{"text":"a"}')
    with pytest.raises(UsageError, match=r"own\.jsonl has 2 distinct texts, but 3 are needed"):
        make_workload(path, memories, compare)


def test_a_bad_line_of_a_file_is_named_with_its_number(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", '{"text":"a"}', "", '{"text":""}', '{"text":"b"}')
    with pytest.raises(UsageError, match=r"own\.jsonl:3: text is empty"):
        make_workload(path, 2, 1)


def test_a_bad_line_beyond_those_needed_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", '{"text":"a"}', '{"text":"b"}', "no JSON")
    assert make_workload(path, 2, 1).texts() == ["a", "b"]


@pytest.mark.parametrize("name", ["phase5", "none.jsonl", ""])
def test_a_name_that_is_neither_a_workload_nor_a_file_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no such file; give phase4, mixed or a JSONL file"):
        make_workload(name, 10, 10)


def test_a_file_whose_name_is_no_unicode_is_named_as_it_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "\udcff.jsonl"
    file.write_bytes(b"".join(b'{"text": "%d"}\n' % number for number in range(10)))
    facts = make_workload(str(file), 10, 10).facts()
    assert facts.name.encode().endswith(b"\\udcff.jsonl")


@pytest.mark.parametrize(("share", "texts"), [(0.5, 10), (0.9, 2), (0.99, 1)])
def test_repeated_texts_are_memories_of_their_own_and_the_same_share_of_every_turn(share: float, texts: int) -> None:
    workload = make_workload("mixed", 20, 20, repeats_ratio=share)
    for lines in (workload.batch(20, 0), workload.batch(20, 1), workload.compared(20, 2)):
        memories = [parse_memory(line) for line in lines]
        assert len({memory.id for memory in memories}) == 20
        assert len({memory.text for memory in memories}) == texts
    assert workload.facts().repeats_ratio == share


@pytest.mark.parametrize("share", [-0.1, 1, 2, float("nan")])
def test_a_share_of_repeats_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="--repeats-of-text"):
        make_workload("mixed", 20, 20, repeats_ratio=share)
