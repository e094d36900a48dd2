"""What stands late in a long memory is found where the memory was split, and nothing is left behind when it goes."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmem_cli import AgentMem, Memory
from agentmem_cli.errors import UsageError
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.records.memory import VECTOR_KEY
from tests.fakes import FAKE_DIM, FakeEmbedder
from tests.searches import ALWAYS, NEVER, walk_from
from tests.stores import embedded

_LIMIT: Final = 16
_FACT: Final = "the spare key hangs behind the blue ladder"
_CHUNK: Final = IngestOptions(chunk=True)


def filler(count: int, name: str = "noise") -> str:
    return " ".join(f"{name}{i}" for i in range(count))


def long_text(name: str = "noise") -> str:
    """A text of 300 words with the fact in its last third."""
    return f"{filler(220, name)} {_FACT} {filler(72, name + 'x')}"


@pytest.fixture
def mem(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder(token_limit=_LIMIT)) as opened:
        opened.add_batch([Memory(f"short memory {i} of ladder{i}", id=f"s{i}") for i in range(30)])
        opened.add("a blue key to the whale", id="decoy")
        yield opened


def write(folder: Path, *rows: object) -> str:
    path = folder / "memories.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def first(mem: AgentMem, query: str = _FACT) -> tuple[str, str | None]:
    hit = mem.search(query, 1, mode="meaning")[0]
    return hit.id, hit.chunk


def vectors(mem: AgentMem) -> tuple[int, int]:
    stats = mem.stats()
    return stats.vectors, stats.chunks


def test_a_fact_late_in_a_long_memory_is_found_with_its_passage_where_it_was_split(mem: AgentMem) -> None:
    mem.add(long_text(), id="long", chunk=True)
    found, chunk = first(mem)
    assert found == "long"
    assert chunk is not None
    assert "spare key" in chunk
    assert chunk in long_text()
    assert len(chunk.split()) <= _LIMIT
    assert mem.search(_FACT, 1)[0].text == long_text()


def test_without_splitting_only_the_beginning_is_found(mem: AgentMem) -> None:
    mem.add(long_text(), id="long")
    assert first(mem)[0] == "decoy"
    assert first(mem, filler(_LIMIT)) == ("long", None)


def test_a_memory_that_fits_is_stored_as_ever(mem: AgentMem) -> None:
    before = vectors(mem)
    mem.add(filler(_LIMIT), id="fits", chunk=True)
    assert vectors(mem) == (before[0] + 1, 0)
    assert first(mem, filler(_LIMIT)) == ("fits", None)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("walk_vectors", [ALWAYS, NEVER])
def test_a_memory_comes_once_however_many_of_its_chunks_are_near(
    mem: AgentMem, graph: bool, walk_vectors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk_from(monkeypatch, walk_vectors)
    mem.add(" ".join(["red apple green pear"] * 100), id="same", chunk=True, user_id="ana")
    mem.add_batch([Memory(f"red apple {i}", id=f"a{i}") for i in range(20)], chunk=True)
    if graph:
        embedded(mem).refresh_graph(min_tail=1)
    hits = mem.search("red apple green pear", 15, mode="meaning")
    assert hits[0].id == "same"
    assert len({hit.id for hit in hits}) == len(hits) == 15
    (only,) = mem.search("red apple", 15, mode="meaning", user_id="ana")
    assert only.id == "same"
    assert mem.search("red apple", 15, mode="meaning", user_id="bob") == []


@pytest.mark.parametrize("walk_vectors", [ALWAYS, NEVER])
@pytest.mark.parametrize("graph", [False, True])
def test_a_filter_holds_for_chunks_too(
    mem: AgentMem, graph: bool, walk_vectors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk_from(monkeypatch, walk_vectors)
    for user in ("ana", "bob"):
        mem.add(long_text(user), id=user, user_id=user, chunk=True)
    if graph:
        embedded(mem).refresh_graph(min_tail=1)
    for user in ("ana", "bob"):
        (hit,) = mem.search(_FACT, 10, mode="meaning", user_id=user)
        assert hit.id == user
        assert hit.chunk is not None
        assert "spare key" in hit.chunk


def test_memories_of_one_long_text_share_its_chunks_until_the_last_is_gone(mem: AgentMem) -> None:
    before = vectors(mem)
    mem.add_batch([Memory(long_text(), id="a"), Memory(long_text(), id="b")], chunk=True)
    after = vectors(mem)
    assert {hit.id for hit in mem.search(_FACT, 2, mode="meaning")} == {"a", "b"}
    mem.delete("a")
    assert vectors(mem) == after
    assert first(mem)[0] == "b"
    mem.delete("b")
    assert vectors(mem) == before
    assert mem.verify() == []


def test_an_update_takes_the_chunks_of_the_old_text_away(mem: AgentMem) -> None:
    before = vectors(mem)
    mem.add(long_text(), id="long", chunk=True)
    mem.add("something short", id="long", chunk=True)
    assert vectors(mem) == (before[0] + 1, 0)
    assert first(mem)[1] is None
    assert mem.verify() == []


def test_a_chunk_that_is_a_memory_too_keeps_its_vector_as_long_as_one_of_both_is_there(mem: AgentMem) -> None:
    mem.add(long_text(), id="long", chunk=True)
    chunk = first(mem)[1]
    assert chunk is not None
    mem.add(chunk, id="own")
    assert {hit.id for hit in mem.search(chunk, 2, mode="meaning")} == {"long", "own"}
    mem.delete("own")
    assert first(mem) == ("long", chunk)
    mem.add(chunk, id="own")
    mem.delete("long")
    assert first(mem, chunk) == ("own", None)
    assert mem.stats().chunks == 0
    assert mem.verify() == []


def test_an_ingest_of_what_is_stored_splits_it_where_that_is_asked_for(mem: AgentMem, tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "long", "text": long_text()}, {"id": "short", "text": "brief"})
    report = mem.ingest([path])
    assert (report.added, report.truncated, report.chunks) == (2, 1, 0)
    assert (mem.stats().truncated, mem.stats().chunks) == (1, 0)
    report = mem.ingest([path], _CHUNK)
    assert (report.unchanged, report.added, report.updated, report.embedded) == (2, 0, 0, 0)
    assert report.chunks == mem.stats().chunks > 15
    assert mem.stats().truncated == 0
    assert first(mem)[0] == "long"
    assert len(mem.history("long")) == 1
    for options in (_CHUNK, IngestOptions()):
        again = mem.ingest([path], options)
        assert (again.chunks, again.tokens) == (0, 0)
        assert mem.stats().chunks == report.chunks
    assert mem.verify() == []


def test_chunks_of_another_length_take_the_place_of_those_that_were_there(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "long", "text": long_text()})
    with AgentMem(tmp_path / "wide", embedder=FakeEmbedder(token_limit=64)) as mem:
        counts = []
        for tokens in (16, 64, 16):
            report = mem.ingest([path], IngestOptions(chunk=True, chunk_tokens=tokens))
            assert mem.stats().chunks == report.chunks
            assert vectors(mem) == (1 + report.chunks, report.chunks)
            assert mem.verify() == []
            counts.append(report.chunks)
        assert counts[0] == counts[2] > 3 * counts[1] > 0
        mem.delete("long")
        assert vectors(mem) == (0, 0)


@pytest.mark.parametrize("batch_size", [10, 1000])
def test_long_and_short_memories_come_in_together(tmp_path: Path, batch_size: int) -> None:
    texts = [long_text(f"n{i}") if i % 7 == 0 else f"short {i}" for i in range(100)]
    path = write(tmp_path, *({"id": f"m{i}", "text": text} for i, text in enumerate(texts)))
    fake = FakeEmbedder(token_limit=_LIMIT)
    with AgentMem(tmp_path / "new", embedder=fake) as opened:
        report = opened.ingest([path], IngestOptions(batch_size=batch_size, chunk=True))
        assert (report.added, report.embedded, report.truncated) == (100, 100, 0)
        stats = opened.stats()
        assert (stats.vectors, stats.chunks) == (fake.texts_embedded, report.chunks)
        assert {hit.id for hit in opened.search(_FACT, 15, mode="meaning")} == {f"m{i}" for i in range(0, 100, 7)}
        assert opened.verify() == []


def test_truncated_counts_memories_and_not_texts(mem: AgentMem, tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": filler(40)} for i in range(3)]
    report = mem.ingest([write(tmp_path, *rows, {"id": "ok", "text": "short"})])
    assert (report.truncated, report.embedded, report.reused) == (3, 2, 2)
    assert mem.ingest([write(tmp_path, {"id": "later", "text": filler(40)})]).truncated == 1
    assert mem.stats().truncated == 4
    mem.delete("0", "1", "2")
    assert mem.stats().truncated == 1
    mem.add("short now", id="later")
    assert mem.stats().truncated == 0


def test_a_chunk_that_is_too_long_for_a_new_model_leaves_its_memory_truncated(mem: AgentMem, tmp_path: Path) -> None:
    mem.add(long_text(), id="long", chunk=True)
    chunks = mem.stats().chunks
    mem.reembed(embedder=FakeEmbedder("narrow", token_limit=17))
    assert (mem.stats().truncated, mem.stats().chunks) == (0, chunks)
    assert mem.verify() == []
    assert first(mem)[0] == "long"
    mem.reembed(embedder=FakeEmbedder("narrower", token_limit=8))
    assert mem.stats().truncated == 1 + sum(len(f"short memory {i} of ladder".split()) > 8 for i in range(30))
    mem.reembed(embedder=FakeEmbedder("wide", token_limit=1_000))
    assert mem.stats().truncated == 0
    report = mem.ingest([write(tmp_path, {"id": "long", "text": long_text()})], _CHUNK)
    assert (report.chunks, mem.stats().chunks) == (0, 0)
    assert mem.verify() == []


def test_reembedding_reads_a_long_text_for_all_its_chunks(mem: AgentMem) -> None:
    mem.add(long_text(), id="long", chunk=True)
    made = FakeEmbedder("other", token_limit=_LIMIT)
    mem.reembed(embedder=made)
    assert made.texts_embedded == mem.stats().vectors
    assert first(mem)[1] is not None


@pytest.mark.parametrize("with_vectors", [False, True])
def test_an_export_taken_in_elsewhere_has_the_chunks_too(tmp_path: Path, mem: AgentMem, with_vectors: bool) -> None:
    mem.add(long_text(), id="long", chunk=True)
    mem.add(filler(40), id="cut")
    rows = [memory.to_dict() for memory in mem.export(vectors=with_vectors)]
    fake = FakeEmbedder(token_limit=_LIMIT)
    with AgentMem(tmp_path / "other", embedder=fake) as other:
        other.ingest([write(tmp_path, *rows)], IngestOptions(chunk=not with_vectors))
        if with_vectors:
            assert fake.texts_embedded == 0
            assert (other.stats().truncated, vectors(other)) == (1, vectors(mem))
            assert [memory.to_dict() for memory in other.export(vectors=True)] == rows
        assert first(other) == first(mem)
        assert other.verify() == []
        again = other.ingest([write(tmp_path, *rows)])
        assert (again.unchanged, again.chunks) == (len(mem), 0)


@pytest.mark.parametrize(
    "chunk",
    [
        {"start": 0, "stop": 5},
        {"start": 5, "stop": 5, "float32": ""},
        {"start": -1, "stop": 5, "float32": ""},
        {"start": True, "stop": 5, "float32": ""},
        {"start": 0, "stop": 5.0, "float32": ""},
        {"start": 0, "stop": 5, "float32": "?"},
        "chunk",
    ],
)
def test_a_line_whose_chunks_make_no_sense_is_rejected(mem: AgentMem, tmp_path: Path, chunk: object) -> None:
    vector = base64.b64encode(np.zeros(FAKE_DIM, dtype=np.float32).tobytes()).decode()
    row = {"text": "text", VECTOR_KEY: {"revision": "fake-1", "float32": vector, "chunks": [chunk]}}
    assert mem.ingest([write(tmp_path, row)]).rejected == 1


@pytest.mark.parametrize("stop", [5, 99])
def test_chunks_that_do_not_fit_their_text_or_model_are_left_out(mem: AgentMem, tmp_path: Path, stop: int) -> None:
    row = FakeEmbedder().embed(["text here"]).vectors[0]
    part = row if stop == 99 else row * 2
    fields = {
        "revision": "fake-1",
        "float32": base64.b64encode(row.tobytes()).decode(),
        "chunks": [{"start": 0, "stop": stop, "float32": base64.b64encode(part.tobytes()).decode()}],
    }
    report = mem.ingest([write(tmp_path, {"id": "x", "text": "text here", VECTOR_KEY: fields})])
    assert (report.added, report.embedded, report.chunks) == (1, 1, 0)
    assert mem.verify() == []


def test_chunks_that_the_model_can_not_read_are_refused_before_anything_is_stored(tmp_path: Path) -> None:
    refused = r"chunks of 17 tokens are not possible: choose 16 to 16, the limit of"
    with (
        AgentMem(tmp_path / "new", embedder=FakeEmbedder(token_limit=_LIMIT)) as opened,
        pytest.raises(UsageError, match=refused),
    ):
        opened.ingest([write(tmp_path, {"text": "a"})], IngestOptions(chunk=True, chunk_tokens=17))
    assert not (tmp_path / "new").exists()


def test_a_dry_run_splits_nothing(mem: AgentMem, tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "long", "text": long_text()})
    report = mem.ingest([path], IngestOptions(chunk=True, dry_run=True))
    assert (report.added, report.chunks, mem.stats().chunks) == (1, 0, 0)


_TEXTS: Final = (long_text("a"), long_text("b"), filler(40, "c"), "short", filler(14), filler(15, "a"))
_STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("xyz"), st.integers(0, len(_TEXTS) - 1), st.booleans()),
        st.sampled_from("xyz"),
        st.sampled_from(["reembed", "graph", "repair"]),
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(steps=_STEPS)
def test_whatever_is_done_every_vector_is_of_a_text_or_chunk_and_verify_is_content(
    tmp_path_factory: pytest.TempPathFactory, steps: list[object]
) -> None:
    memories: dict[str, str] = {}
    split: set[str] = set()
    with AgentMem(tmp_path_factory.mktemp("steps") / "store", embedder=FakeEmbedder(token_limit=_LIMIT)) as mem:
        mem.open()
        for number, step in enumerate(steps):
            if isinstance(step, tuple):
                identity, text, chunk = step
                mem.add(_TEXTS[text], id=identity, chunk=chunk)
                memories[identity] = _TEXTS[text]
                split |= {_TEXTS[text]} if chunk and len(_TEXTS[text].split()) > _LIMIT else set()
            elif step == "reembed":
                mem.reembed(embedder=FakeEmbedder(f"fake{number}", token_limit=_LIMIT))
            elif step == "graph":
                embedded(mem).refresh_graph(min_tail=1)
            elif step == "repair":
                mem.repair()
            else:
                mem.delete(str(step))
                memories.pop(str(step), None)
            split &= set(memories.values())
            assert mem.verify() == []
            long = {text for text in memories.values() if len(text.split()) > _LIMIT}
            assert mem.stats().truncated == sum(text in long - split for text in memories.values())
            found = {hit.id: hit.chunk for hit in mem.search(_FACT, 3, mode="meaning")} if memories else {}
            assert set(found) == set(memories)
            for identity, text in memories.items():
                assert (found[identity] is not None) <= (text in split)
                if text in split and _FACT in text:
                    assert "spare key" in str(found[identity])
