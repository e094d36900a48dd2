"""What lifts a memory, what has no say, and what a floor leaves out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli import AgentMem
from agentmem_cli.embedding.base import Embedded
from agentmem_cli.store.base import TextScore, Vector
from agentmem_cli.store.embedded.snapshot import EmbeddedSnapshot
from tests.fakes import CosineEmbedder, FakeEmbedder


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[AgentMem]:
    with AgentMem(tmp_path / "talk", embedder=FakeEmbedder()) as mem:
        for turn in range(6):
            name, month = ("Ana", "Bo")[turn % 2], turn // 2 + 3
            mem.add("we went to the lake", id=f"{name}{turn}", created_at=f"2023-0{month}-01", speaker=name)
        yield mem


def test_a_query_that_names_a_speaker_prefers_what_that_one_said(talk: AgentMem) -> None:
    hits = talk.search("when did Ana go to the lake?", 6)
    assert [hit.id[:-1] for hit in hits] == ["Ana"] * 3 + ["Bo"] * 3
    assert {hit.speaker: hit.parts.speaker for hit in hits} == {"Ana": 1.4, "Bo": 1}
    assert {hit.parts.speaker for hit in talk.search("when did Ana and Bo go?", 6)} == {1}


def test_a_name_that_a_text_begins_with_is_its_speaker(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch({"text": f"{name}: we went to the lake {i}"} for name in ("Ana", "Bo") for i in range(2))
        hits = mem.search("when did Bo go to the lake?", 4)
    assert [hit.speaker for hit in hits if hit.parts.speaker == 1.4] == ["Bo", "Bo"]
    assert hits[0].speaker == "Bo"


def test_the_speaker_is_a_field_like_others(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add("we went to the lake", id="0", speaker="Ana")
        mem.add_batch([{"id": "0", "text": "we went to the lake again"}])
        assert [memory.speaker for memory in mem.export()] == ["Ana"]
        mem.add_batch([{"id": "0", "text": "we went to the lake again", "speaker": None}])
        assert [memory.speaker for memory in mem.export()] == [None]
        mem.add_batch([{"id": "1", "text": "hello", "role": "user", "name": "Bo"}])
        assert [hit.speaker for hit in mem.search("hello", 1)] == ["Bo"]
        assert mem.verify() == []


@pytest.mark.parametrize(("query", "first"), [("the lake in April 2023", "4"), ("2023年5月 lake", "5")])
def test_a_query_that_names_a_time_prefers_memories_of_it(talk: AgentMem, query: str, first: str) -> None:
    hits = talk.search(query, 6)
    assert {hit.created_at.month for hit in hits[:2]} == {int(first)}
    assert sorted(hit.parts.time for hit in hits) == [1] * 4 + [1.5] * 2


def test_relative_times_count_from_now(talk: AgentMem) -> None:
    assert talk.search("the lake last month", 1, now="2023-05-20")[0].created_at.month == 4
    assert {hit.parts.time for hit in talk.search("the lake last month", 6, now="2024-05-20")} == {1}


class _Unreading(FakeEmbedder):
    """Knows no token of what it reads."""

    def embed(self, texts: object) -> Embedded:
        embedded = super().embed(texts)  # type: ignore[arg-type]
        return Embedded(embedded.vectors, embedded.tokens, embedded.special_tokens, embedded.tokens, embedded.cut)


def test_a_model_that_can_not_read_a_query_has_no_say(tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder=_Unreading()) as mem:
        mem.add_batch({"id": str(i), "text": text} for i, text in enumerate(["爬山", "游泳", "读书", "爬树"]))
        hits = mem.search("爬山吗", 4)
        assert {hit.parts.meaning for hit in hits} == {0}
        assert [hit.id for hit in hits[:2]] == ["0", "3"]
        assert {hit.parts.meaning for hit in mem.search("climbing", 4)} != {0}


def test_a_floor_leaves_out_what_is_not_sure_and_nothing_by_default(tmp_path: Path) -> None:
    cosines = {"close": 0.7, **{f"far {i}": 0.05 for i in range(9)}}
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder(cosines)) as mem:
        mem.add_batch({"id": text, "text": text} for text in cosines)
        assert len(mem.search("query", 20)) == 10
        assert [hit.id for hit in mem.search("query", 20, min_score=0.3)] == ["close"]
        mem.delete("close")
        assert mem.search("query", 20, min_score=0.3) == []
        assert [hit.id for hit in mem.search("query", 20, mode="meaning", min_score=0.06)] == []


def test_in_long_texts_the_frequency_of_a_word_counts(tmp_path: Path) -> None:
    def text(often: int, filler: str) -> str:
        return " ".join(["lighthouse"] * often + [f"{filler}{i}" for i in range(150 - often)])

    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch({"id": f"n{often}", "text": text(often, f"w{often}x")} for often in (0, 1, 5))
        mem.add_batch({"id": f"filler {i}", "text": text(0, f"v{i}x")} for i in range(20))
        often, once = mem.search("lighthouse", 2, mode="words")
    assert (often.id, once.id) == ("n5", "n1")
    assert often.score > once.score


def test_chunks_do_not_count_as_texts(tmp_path: Path) -> None:
    def shares(chunk: bool) -> dict[str, float]:
        with AgentMem(tmp_path / str(chunk), embedder=FakeEmbedder()) as mem:
            long = " ".join(f"word{i}" for i in range(600))
            mem.add_batch([{"id": str(i), "text": f"{long} cat{i % 2} dog{i}"} for i in range(4)], chunk=chunk)
            return {hit.id: hit.score for hit in mem.search("cat1 dog2", 4, mode="words")}

    assert shares(True) == pytest.approx(shares(False))


def test_the_sample_of_a_search_is_of_the_memories_that_match(tmp_path: Path) -> None:
    cosines = {f"ana {i}": 0.5 + i / 100 for i in range(20)} | {f"bo {i}": -0.5 for i in range(20)}
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder(cosines)) as mem:
        mem.add_batch({"id": text, "text": text, "user_id": text[:2]} for text in cosines)
        hits = mem.search("query", 20, user_id="an")
    z = np.array([hit.parts.meaning for hit in hits])
    assert z.mean() == pytest.approx(0, abs=1e-4)
    assert z.std() == pytest.approx(1, abs=1e-4)


def test_a_floor_does_not_ask_a_folded_search_for_ever_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cosines = {"close": 0.7, **{f"far {i}": 0.05 - i / 1e6 for i in range(2000)}}
    asked: list[int] = []
    nearest = EmbeddedSnapshot.nearest

    def counted(snapshot: EmbeddedSnapshot, query: Vector, n: int) -> tuple[dict[int, TextScore], bool]:
        asked.append(n)
        return nearest(snapshot, query, n)

    monkeypatch.setattr(EmbeddedSnapshot, "nearest", counted)
    with AgentMem(tmp_path / "store", embedder=CosineEmbedder(cosines), index="off") as mem:
        mem.add_batch({"id": text, "text": text} for text in cosines)
        hits = mem.search("query", 2, dedupe=True, min_score=0.3, mode="meaning")
        bounded = list(asked)
        asked.clear()
        mem.search("query", 2, dedupe=True, mode="meaning")
    assert [hit.id for hit in hits] == ["close"]
    assert bounded == asked
