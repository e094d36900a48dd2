"""Published data sets: what becomes a memory, what a query, and how a file of another shape is named."""

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.errors import InputError, UsageError
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.records.formats import elements as elements_module
from agentmem_cli.records.formats.elements import elements_of
from agentmem_cli.records.formats.names import FORMAT_NAMES, FormatName, QueryFormatName
from agentmem_cli.records.formats.reading import Reading, memory_lines, query_lines
from agentmem_cli.records.formats.sniff import Kind
from agentmem_cli.records.lines import Line, LineSource, open_source
from tests.fakes import FakeEmbedder
from tests.published import LOCOMO, LONGMEMEVAL, REALTALK, written


def memories(path: str, format: FormatName) -> list[Any]:
    with open_source(path) as source:
        return [json.loads(line.content) for line in memory_lines(source, Kind("json", format), Reading())]


def queries(path: str, format: QueryFormatName) -> list[Any]:
    with open_source(path) as source:
        return [json.loads(line.content) for line in query_lines(source, format)]


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_a_turn_of_locomo_is_a_memory_of_its_conversation(indent: int | None, tmp_path: Path) -> None:
    found = memories(written(tmp_path / "locomo10.json", LOCOMO, indent), "locomo")
    assert found[0] == {
        "id": "7:D1:1",
        "text": "Ana: I bought a red kayak.",
        "speaker": "Ana",
        "agent_id": "locomo",
        "user_id": "7",
        "memory_type": "episodic",
        "created_at": "2023-05-08T13:56:00Z",
        "metadata": {"session": "session_1", "date": "1:56 pm on 8 May, 2023"},
    }
    assert [(memory["id"], memory["text"], memory["created_at"]) for memory in found[1:]] == [
        ("7:D1:2", "Ben: Nice!", "2023-05-08T13:56:01Z"),
        ("7:D2:1", 'Ben: My dog "Rex" eats }{[ \\ kale.', "2023-06-01T00:05:00Z"),
    ]


def test_questions_of_locomo_have_the_turns_that_exist_and_the_adversarial_are_left_out(tmp_path: Path) -> None:
    assert queries(written(tmp_path / "locomo10.json", LOCOMO), "locomo") == [
        {"query": "What did Ana buy?", "user_id": "7", "relevant": ["7:D1:1"], "category": 1},
        {"query": "What does Rex eat?", "user_id": "7", "relevant": ["7:D2:1"], "category": 2},
        {"query": "Two in one?", "user_id": "7", "relevant": [], "category": 1},
    ]


@pytest.mark.parametrize("name", ["Chat_1_Ana_Ben.json", "Chat_1_Ana_Ben.json.gz"])
def test_a_chat_of_realtalk_is_named_after_its_file_and_pictures_are_left_out(name: str, tmp_path: Path) -> None:
    packed = gzip.compress if name.endswith("gz") else bytes
    (tmp_path / name).write_bytes(packed(json.dumps(REALTALK).encode()))
    assert memories(str(tmp_path / name), "realtalk") == [
        {
            "id": f"Chat_1_Ana_Ben:{id}",
            "text": f"Ana: {text}",
            "speaker": "Ana",
            "agent_id": "realtalk",
            "user_id": "Chat_1_Ana_Ben",
            "memory_type": "episodic",
            "created_at": time,
            "metadata": {"session": f"session_{session}", "date": date},
        }
        for id, text, session, time, date in (
            ("D1:1", "I bought a kayak.", 1, "2023-12-29T22:42:04Z", "29.12.2023, 22:42:04"),
            ("D2:1", "The kayak leaks.", 2, "2024-01-02T08:00:00Z", "02.01.2024, 08:00:00"),
        )
    ]
    relevant = ["Chat_1_Ana_Ben:D1:1", "Chat_1_Ana_Ben:D2:1"]
    assert queries(str(tmp_path / name), "realtalk") == [
        {"query": "What leaks?", "user_id": "Chat_1_Ana_Ben", "relevant": relevant, "category": 3}
    ]


def test_each_question_of_longmemeval_has_turns_of_its_own(tmp_path: Path) -> None:
    file = written(tmp_path / "longmemeval_s.json", LONGMEMEVAL)
    found = memories(file, "longmemeval")
    assert [memory["id"] for memory in found[:3]] == ["q1:s1:1", "q1:s2:1", "q1:s2:3"]
    assert {memory["user_id"] for memory in found} == {"q1", "q2", "q3_abs"}
    assert found[2] == {
        "id": "q1:s2:3",
        "text": "Enjoy!",
        "agent_id": "longmemeval",
        "user_id": "q1",
        "memory_type": "episodic",
        "created_at": "2023-05-21T23:59:02Z",
        "metadata": {"session": "s2", "date": "2023/05/21 (Sun) 23:59", "role": "assistant"},
    }
    asked = {"query": "Where do I live?", "question_type": "multi-session"}
    assert queries(file, "longmemeval") == [
        {**asked, "user_id": "q1", "relevant": ["q1:s2:1"]},
        {**asked, "user_id": "q2", "relevant": ["q2:s2:1", "q2:s2:3"]},  # no turn of it is marked
    ]


def test_a_session_of_longmemeval_may_be_a_memory(tmp_path: Path) -> None:
    file = written(tmp_path / "longmemeval_s.json", LONGMEMEVAL)
    found = memories(file, "longmemeval-sessions")
    assert [memory["id"] for memory in found[:2]] == ["q1:s1", "q1:s2"]
    assert found[1]["text"] == "user: I moved to Porto.\nassistant: Enjoy!"
    assert [query["relevant"] for query in queries(file, "longmemeval-sessions")] == [["q1:s2"], ["q2:s2"]]


def broken(**changes: object) -> object:
    fields: dict[str, Any] = deepcopy(LOCOMO[0])
    return [LOCOMO[0], {**fields, **changes}]


@pytest.mark.parametrize(
    ("content", "format", "error"),
    [
        (LOCOMO, "longmemeval", "the file looks like LoCoMo: give --format locomo"),
        (LONGMEMEVAL, "realtalk", "the file looks like LongMemEval: give --format longmemeval"),
        (REALTALK, "locomo", "the file looks like REALTALK: give --format realtalk"),
        ({"text": "tea"}, "locomo", "the file looks like agentmem's own JSONL: leave out --format"),
        ([{"a": 1}], "locomo", "give the file as LoCoMo publishes it"),
        (broken(conversation=[]), "locomo", 'element 2: "conversation" must be an object, not a list'),
        (
            broken(conversation={"session_1": []}),
            "locomo",
            'element 2: "session_1_date_time" must be a string, not null',
        ),
        (broken(qa=[1]), "locomo", 'element 2: "qa" has a number among its objects'),
        ([{**LONGMEMEVAL[0], "haystack_dates": []}], "longmemeval", "have 2, 0 and 2 entries"),
        ([LOCOMO[0], "tea"], "locomo", "element 2 is not a JSON object: each element must be one"),
        ("tea", "locomo", "not JSON: it begins with neither [ nor {; give the published file"),
    ],
)
def test_a_file_of_another_shape_is_one_line_with_what_to_do(
    content: object, format: QueryFormatName, error: str, tmp_path: Path
) -> None:
    file = written(tmp_path / "data.json", content)
    with pytest.raises(InputError) as caught:
        queries(file, format)
    assert str(caught.value).startswith(f"{file}: ")
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "empty: give a JSON file"),
        (b" \n", "empty: give a JSON file"),
        (b"[", "cut off after element 0: download it again"),
        (b'[{"a": "}"}, {"b": "', "element 2 is cut off: the file ends in it; download it again"),
        (b'{"a": 1}\n{"a": 2}', "one JSON object after another, so the file looks like JSONL: leave out --format"),
        (b'[{"a": 1}] x', "not JSON: more follows after the end of element 1"),
        (b'[{"a": 1} {"a": 2}]', "element 2 is not a JSON object: each element must be one"),
        (b"[,]", "element 1 is not a JSON object: each element must be one"),
    ],
)
def test_a_damaged_file_is_named_with_the_element(content: bytes, error: str, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_bytes(content)
    with (
        open_source(str(tmp_path / "data.json")) as source,
        pytest.raises(InputError, match=r"data\.json: ") as caught,
    ):
        list(elements_of(source))
    assert str(caught.value).endswith(error)


class _Pieces:
    """A stream that gives `size` bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._size = content, size

    def read(self, size: int) -> bytes:
        piece, self._content = self._content[:size], self._content[size:]
        return piece

    def read1(self, size: int) -> bytes:
        return self.read(min(size, self._size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_elements_are_the_same_wherever_the_blocks_end(size: int, start: bytes) -> None:
    values = [{"a": 'x"\\', "b": [{"c": "]}"}]}, {}, {"d\\": "\\\\", "e": {"f": {}}}]
    content = start + json.dumps(values, indent=1).encode()
    source = LineSource("data.json", _Pieces(content, size), None, 1)
    assert [json.loads(element) for element in elements_of(source)] == values


class _Endless:
    """An array of `count` elements that is made while it is read."""

    def __init__(self, count: int) -> None:
        element = json.dumps({**LONGMEMEVAL[0], "answer": 100_000 * "x"}).encode()
        self._blocks: Iterator[bytes] = iter([b"[ ", *(element + b",\n" for _ in range(count - 1)), element + b"]"])

    def read(self, size: int) -> bytes:
        return next(self._blocks, b"")

    def read1(self, size: int) -> bytes:
        block = next(self._blocks, b"")
        assert len(block) <= size
        return block


def test_a_file_of_any_size_takes_the_memory_of_an_element() -> None:
    source = LineSource("longmemeval_m.json", _Endless(300), None, 1)  # 30 MB
    tracemalloc.start()
    lines = sum(1 for _ in memory_lines(source, Kind("json", "longmemeval"), Reading()))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == 900
    assert most < 3_000_000


def test_an_element_beyond_the_limit_is_not_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(elements_module, "MAX_ELEMENT_BYTES", 500)
    with pytest.raises(InputError, match="element 1 is longer than 500 bytes: split it"):
        memories(written(tmp_path / "locomo10.json", LOCOMO), "locomo")


def test_a_memory_longer_than_a_line_may_be_is_marked(tmp_path: Path) -> None:
    with open_source(written(tmp_path / "locomo10.json", LOCOMO)) as source:
        lines = list(memory_lines(source, Kind("json", "locomo"), Reading(max_line_bytes=100)))
    assert [(line.number, len(line.content), line.too_long) for line in lines] == [(n, 100, True) for n in (1, 2, 3)]
    assert isinstance(lines[0], Line)


def test_an_ingest_of_published_data_rejects_what_a_line_would_be_rejected_for(tmp_path: Path) -> None:
    data = deepcopy(LOCOMO)
    conversation: Any = data[0]["conversation"]
    conversation["session_2_date_time"] = "the first of June"
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        report = mem.ingest([written(tmp_path / "locomo10.json", data)], IngestOptions(format="locomo"))
        assert (report.read, report.added, report.rejected) == (3, 2, 1)


def test_an_interrupted_ingest_ends_in_the_same_store_when_it_is_run_again(tmp_path: Path) -> None:
    conversation = deepcopy(LOCOMO[0])
    turns = [{"speaker": "Ana", "dia_id": f"D1:{n}", "text": f"turn {n}"} for n in range(1, 31)]
    conversation["conversation"] = {"session_1_date_time": "1:56 pm on 8 May, 2023", "session_1": turns}
    whole = json.dumps([conversation, {**conversation, "sample_id": "conv-8"}])
    file, options = tmp_path / "locomo10.json", IngestOptions(batch_size=10, format="locomo")
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        file.write_text(whole[:-100], encoding="utf-8")
        with pytest.raises(InputError, match="element 2 is cut off"):
            mem.ingest([str(file)], options)
        assert len(mem) == 30
        file.write_text(whole, encoding="utf-8")
        report = mem.ingest([str(file)], options)
        assert (report.added, report.unchanged, len(mem)) == (30, 30, 60)


def test_a_format_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=f"format mem9 is unknown: it is one of {', '.join(FORMAT_NAMES)}"):
        IngestOptions(format="mem9")  # type: ignore[arg-type] # the mistake
    with pytest.raises(UsageError, match="leave out the text field"):
        IngestOptions(format="locomo", text_field="content")
