"""What is exported and taken in again is the same store: every field, every type, and with vectors every score."""

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from agentmem_cli import AgentMem, Memory, Scope
from agentmem_cli.ingest.options import Observer
from agentmem_cli.records.memory import VECTOR_KEY, Rejection, StoredVector
from agentmem_cli.records.values import JsonValue
from tests.fakes import FAKE_DIM, FakeEmbedder

METADATA: dict[str, JsonValue] = {
    "text": "not the text",
    "id": None,
    "n": 1,
    "x": 1.0,
    "tiny": 5e-324,
    "big": 2**64 - 1,
    "small": -(2**63),
    "yes": True,
    "deep": [[], {}, {"a": [None, False, "«ü» 記憶 \u2028 \x9b \n"]}],
    "vector": [1, 2, 3],
    VECTOR_KEY: "a user's own",
    "": "",
}
MEMORIES = [
    Memory("plain"),
    Memory("plain", id="same text"),
    Memory(
        "all of it \t\x00\x1b[31m",
        id="\x1b[2J\n",
        scope=Scope("agent", "user", "run", "episodic"),
        importance=0.1,
        created_at=None,
        metadata=METADATA,
    ),
    *(Memory(f"text {i}", id=str(i), metadata={"n": i}) for i in range(30)),
]
TIMES = ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2024-02-29T12:00:00.000001+05:30", "9999-12-31")


class Rejects(Observer):
    """Keeps the reasons."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def rejected(self, rejection: Rejection) -> None:
        self.reasons.append(rejection.reason)


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as opened:
        opened.add_batch(MEMORIES)
        for number, time in enumerate(TIMES):
            opened.add(f"dated {number}", created_at=time)
        yield opened


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def other(tmp_path: Path, embedder: FakeEmbedder) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "other", embedder=embedder) as opened:
        yield opened


def write(path: Path, *rows: object) -> str:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


def exported(mem: AgentMem, path: Path, *, vectors: bool = False) -> str:
    return write(path, *(memory.to_dict() for memory in mem.export(vectors=vectors)))


def hits(mem: AgentMem) -> list[list[tuple[str, float]]]:
    return [[(hit.id, hit.score) for hit in mem.search(query, 10)] for query in ("plain", "text 7", "dated all of it")]


@pytest.mark.parametrize("vectors", [False, True])
def test_an_export_taken_in_elsewhere_is_the_same_memories(
    mem: AgentMem, other: AgentMem, tmp_path: Path, vectors: bool
) -> None:
    report = other.ingest([exported(mem, tmp_path / "export.jsonl", vectors=vectors)])
    assert (report.added, report.rejected) == (len(mem), 0)
    stored = {memory.id: memory for memory in mem.export()}
    for memory in stored.values():
        copied = other.get(memory.id)
        assert copied == memory
        assert orjson.dumps(copied.metadata) == orjson.dumps(memory.metadata)
        assert copied.created_at is not None
    assert [memory.id for memory in other.export()] == list(stored)
    assert other.verify() == []
    # Now both stores say the same, byte for byte, and neither takes anything from the other.
    assert (tmp_path / "export.jsonl").read_bytes() == Path(
        exported(other, tmp_path / "again.jsonl", vectors=vectors)
    ).read_bytes()
    assert mem.ingest([str(tmp_path / "again.jsonl")]).unchanged == len(mem)


@pytest.mark.parametrize("vectors", [False, True])
def test_an_export_taken_into_its_own_store_changes_nothing(mem: AgentMem, tmp_path: Path, vectors: bool) -> None:
    report = mem.ingest([exported(mem, tmp_path / "export.jsonl", vectors=vectors)])
    assert (report.unchanged, report.added, report.updated, report.embedded) == (len(mem), 0, 0, 0)
    assert all(len(mem.history(memory.id)) == 1 for memory in mem.list_memories(1000))


def test_an_export_with_vectors_needs_no_embedding_and_finds_with_the_same_scores(
    mem: AgentMem, other: AgentMem, embedder: FakeEmbedder, tmp_path: Path
) -> None:
    report = other.ingest([exported(mem, tmp_path / "export.jsonl", vectors=True)])
    assert embedder.texts_embedded == report.embedded == 0
    assert report.reused == len(mem)
    expected, copied = hits(mem), hits(other)
    for row, again in zip(expected, copied, strict=True):
        assert [identity for identity, _ in again] == [identity for identity, _ in row]
        assert [score for _, score in again] == pytest.approx([score for _, score in row], abs=1e-6)


def test_memories_with_and_without_vectors_come_in_together_in_any_order(
    mem: AgentMem, other: AgentMem, embedder: FakeEmbedder, tmp_path: Path
) -> None:
    rows = [memory.to_dict() for memory in mem.export(vectors=True)]
    for row in rows[::2]:
        del row[VECTOR_KEY]
    texts = {str(row["text"]) for row in rows}
    given = {str(row["text"]) for row in rows if VECTOR_KEY in row}
    assert other.ingest([write(tmp_path / "mixed.jsonl", *rows)]).added == len(mem)
    assert embedder.texts_embedded == len(texts - given)
    assert [dict(row) for row in hits(other)] == [pytest.approx(dict(row), abs=1e-6) for row in hits(mem)]
    assert other.verify() == []


def test_memory_objects_carry_their_vectors_from_store_to_store(
    mem: AgentMem, other: AgentMem, embedder: FakeEmbedder
) -> None:
    assert other.add_batch(mem.export(vectors=True)).added == len(mem)
    assert embedder.texts_embedded == 0


def test_an_empty_store_exports_nothing(other: AgentMem) -> None:
    other.open()
    assert list(other.export()) == list(other.export(vectors=True)) == []


@pytest.mark.parametrize(
    "vector",
    [
        StoredVector("another-1", np.ones(FAKE_DIM, dtype=np.float32).tobytes()),
        StoredVector("", np.ones(FAKE_DIM, dtype=np.float32).tobytes()),
        StoredVector("fake-1", np.ones(FAKE_DIM - 1, dtype=np.float32).tobytes()),
        StoredVector("fake-1", np.ones(FAKE_DIM, dtype=np.float64).tobytes()),
        StoredVector("fake-1", b""),
        StoredVector("fake-1", b"\0" * (4 * FAKE_DIM + 1)),
    ],
    ids=["revision", "no revision", "short", "long", "empty", "odd"],
)
def test_a_vector_that_is_not_of_this_model_is_not_used(
    other: AgentMem, embedder: FakeEmbedder, vector: StoredVector
) -> None:
    other.add_batch([Memory("red apple", vector=vector)])
    assert embedder.texts_embedded == 1
    assert other.search("red apple")[0].score == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("factor", [np.nan, np.inf, 0.0, 7.0, 1e-30])
def test_a_vector_that_no_embedder_makes_is_made_again(other: AgentMem, embedder: FakeEmbedder, factor: float) -> None:
    row = FakeEmbedder().embed(["red apple"]).vectors[0] * np.float32(factor)
    other.add_batch([Memory("red apple", id="a", vector=StoredVector("fake-1", row.tobytes())), Memory("blue")])
    assert embedder.texts_embedded == 2
    (hit,) = other.search("red apple", 1)
    assert hit.id == "a"
    assert hit.score == pytest.approx(1, abs=1e-5)
    assert other.verify() == []


def test_a_text_that_the_store_has_keeps_its_vector(mem: AgentMem) -> None:
    wrong = np.eye(1, FAKE_DIM, dtype=np.float32).tobytes()
    mem.add_batch([Memory("plain", id="third", vector=StoredVector("fake-1", wrong))])
    assert mem.search("plain", 1)[0].score == pytest.approx(1, abs=1e-5)


_RAW = base64.b64encode(bytes(4 * FAKE_DIM)).decode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("text", "must have a revision and float32"),
        ([], "must have a revision and float32"),
        ({}, "must have a revision and float32"),
        ({"revision": "fake-1"}, "must have a revision and float32"),
        ({"revision": "fake-1", "float32": _RAW, "more": 1}, "must have a revision and float32"),
        ({"revision": 1, "float32": _RAW}, "revision must be a string"),
        ({"revision": "fake-1", "float32": [1.0]}, "float32 is not base64"),
        ({"revision": "fake-1", "float32": None}, "float32 is not base64"),
        ({"revision": "fake-1", "float32": "not base64!"}, "float32 is not base64"),
        ({"revision": "fake-1", "float32": "記憶"}, "float32 is not base64"),
        ({"revision": "fake-1", "float32": _RAW[:-1]}, "float32 is not base64"),
    ],
)
def test_a_line_with_a_malformed_vector_is_rejected_and_its_neighbours_are_not(
    other: AgentMem, tmp_path: Path, value: object, reason: str
) -> None:
    rejects = Rejects()
    path = write(tmp_path / "in.jsonl", {"text": "before"}, {"text": "bad", VECTOR_KEY: value}, {"text": "after"})
    report = other.ingest([path], observer=rejects)
    assert (report.added, report.rejected) == (2, 1)
    assert reason in rejects.reasons[0]


def test_a_key_of_the_user_that_is_called_vector_is_metadata(other: AgentMem, tmp_path: Path) -> None:
    own = {"revision": "fake-1", "float32": _RAW}
    other.ingest([write(tmp_path / "in.jsonl", {"text": "red", "id": "a", "vector": own, VECTOR_KEY: None})])
    stored = other.get("a")
    assert stored is not None
    assert stored.metadata == {"vector": own}


def test_an_export_goes_on_from_where_it_is_while_memories_are_added(mem: AgentMem) -> None:
    count, export = len(mem), mem.export()
    first = next(export)
    mem.add("late")
    assert len([first, *export]) == count
