"""Searching by words: text is data, whatever is asked; scripts without spaces; and the order of what is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmem_cli import AgentMem, UsageError
from agentmem_cli.search.query import MODES
from agentmem_cli.store.embedded import text_index
from tests.fakes import FakeEmbedder

_TEXTS = {
    "hamlet": "to be or not to be",
    "hike": "他喜欢在周末去爬山",
    "swim": "她每天早上游泳",
    "tokyo": "東京タワーに行きました",
    "seoul": "서울에서 친구를 만났다",
    "mixed": "We went 爬山 with Ana in ＴＯＫＹＯ",
    "near": "a cat sat near a dog",
    "quote": 'she said "never again" twice',
    "emoji": "the party 🎉 was fun",
}
_SYNTAX = ['"', '""', "'", "*", "^", ":", "((", "{}", "\\", "--", "/*", "%"]
_CLAUSES = ["NEAR(cat dog, 2)", "cat AND dog", "cat OR", "NOT cat", "cat*", "^cat", "text:cat", "- cat", "{text}: cat"]
_ODD = ["\0", "cat\0dog", "\x1b[31m", "\u202e", "🎉", "?!", "'; DROP TABLE words; --"]


@pytest.fixture(scope="module")
def mem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMem]:
    with AgentMem(tmp_path_factory.mktemp("text") / "store", embedder=FakeEmbedder()) as opened:
        opened.add_batch([{"id": name, "text": text} for name, text in _TEXTS.items()])
        yield opened


def found(mem: AgentMem, query: str, k: int = 10) -> list[str]:
    return [hit.id for hit in mem.search(query, k, mode="words")]


@pytest.mark.parametrize("query", _CLAUSES)
def test_the_words_of_a_clause_are_words(mem: AgentMem, query: str) -> None:
    assert found(mem, query) == ["near"]


@pytest.mark.parametrize("query", [query for query in (*_SYNTAX, *_ODD) if query.strip()])
def test_no_query_is_anything_but_text(mem: AgentMem, query: str) -> None:
    assert set(found(mem, query)) <= {"near"}
    for mode in ("meaning", "hybrid"):
        assert len(mem.search(query, mode=mode)) == len(_TEXTS)


@pytest.mark.parametrize("query", ["", "\n\t\u3000", "\ud800"])
def test_a_query_that_is_no_text_is_a_usage_error(mem: AgentMem, query: str) -> None:
    for mode in MODES:
        with pytest.raises(UsageError, match="the query is"):
            mem.search(query, mode=mode)


@pytest.mark.parametrize("query", ["to be or not to be", "Not to be", "be"])
def test_words_that_say_nothing_find_their_text_where_there_are_no_others(mem: AgentMem, query: str) -> None:
    assert found(mem, query)[0] == mem.search(query)[0].id == "hamlet"


def test_words_that_say_nothing_find_nothing_beside_others(mem: AgentMem) -> None:
    assert found(mem, "to be a dog") == ["near"]


@pytest.mark.parametrize("text", ["unknown " * 12_500, "山水" * 50_000, "x" * 100_000, '"' * 100_000])
def test_a_query_of_100_kb_is_answered_and_the_next_one_too(mem: AgentMem, text: str) -> None:
    for mode in MODES:
        mem.search(text, mode=mode)
        assert found(mem, "cat") == ["near"]


@pytest.mark.parametrize("letter", ["z", "\U00010400"])
def test_a_text_that_is_one_endless_word_is_stored_found_and_verified(mem: AgentMem, letter: str) -> None:
    text = "x" + letter * 50_000
    mem.add(text, id="endless")
    assert found(mem, text) == ["endless"]
    assert mem.verify() == []
    mem.delete("endless")
    assert mem.verify() == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("爬山", {"hike", "mixed"}),
        ("山", {"hike", "mixed"}),
        ("喜欢爬山", {"hike", "mixed"}),
        ("泳", {"swim"}),
        ("東京", {"tokyo"}),
        ("ﾀﾜｰ", {"tokyo"}),
        ("た", {"tokyo"}),
        ("서울", {"seoul"}),
        ("서", {"seoul"}),
        ("tokyo", {"mixed"}),
        ("滑雪", set()),
        ("山爬", {"hike", "mixed"}),  # by each of its characters
    ],
)
def test_scripts_without_spaces_are_found(mem: AgentMem, query: str, expected: set[str]) -> None:
    assert set(found(mem, query)) == expected


def test_each_character_finds_its_text(mem: AgentMem) -> None:
    for name in ("hike", "tokyo"):
        for character in _TEXTS[name]:
            assert name in found(mem, character)


def test_the_text_that_has_both_comes_first(mem: AgentMem) -> None:
    assert found(mem, "爬山 Ana") == ["mixed", "hike"]
    assert mem.search("爬山 Ana", mode="words")[0].score == 1


def test_other_forms_of_a_word_are_found(mem: AgentMem) -> None:
    assert found(mem, "PARTIES") == ["emoji"]
    assert found(mem, "dögs") == ["near"]


def test_words_that_no_text_has_count_as_the_rarest(mem: AgentMem) -> None:
    both, one = mem.search("unheard dog", mode="words")[0], mem.search("dog", mode="words")[0]
    assert both.score < 0.5 * one.score == 0.5


def test_of_equal_texts_the_earliest_come_first_however_many_are_asked_for(mem: AgentMem) -> None:
    with AgentMem(Path(mem.location).parent / "equal", embedder=FakeEmbedder()) as equal:
        equal.add_batch([{"id": str(i), "text": f"pear {i}th"} for i in range(300)])
        for k in (1, 60, 400, 10**30):
            assert found(equal, "pear", k) == [str(i) for i in range(min(k, 300))]


def test_all_of_the_words_are_1_exactly(tmp_path_factory: pytest.TempPathFactory) -> None:
    with AgentMem(tmp_path_factory.mktemp("exact") / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch({"text": text} for text in ("00", "Straß", "00:", "0000", "000:00:Straß:0"))
        assert mem.search("000:00:Straß:0", 1, mode="words")[0].score == 1


@pytest.fixture
def frequent(mem: AgentMem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMem]:
    with AgentMem(tmp_path_factory.mktemp("frequent") / "store", embedder=FakeEmbedder()) as opened:
        opened.add_batch([{"id": str(i), "text": f"pear {i}th {'plum' if i == 7 else ''}"} for i in range(40)])
        yield opened


def test_words_of_very_many_texts_are_left_out_beside_rarer_ones(
    frequent: AgentMem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_index, "COMMON_TEXTS", 20)
    assert found(frequent, "pear plum") == ["7"]
    assert found(frequent, "pear", 40) == [str(i) for i in range(19, 40)]
    assert found(frequent, "pear unheard", 1) == found(frequent, "pear", 1)


def test_the_rest_of_an_endless_query_is_left_out(frequent: AgentMem, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(frequent, "pear 7th", 1) == ["7"]
    monkeypatch.setattr(text_index, "LOOKED_AT_TEXTS", 39)
    assert found(frequent, "pear 7th", 1) == ["0"]


def test_a_query_by_words_loads_no_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("unloaded") / "store"
    with AgentMem(folder, embedder=FakeEmbedder()) as mem:
        mem.add("red apple", id="a")
        embedder = FakeEmbedder()
        embedder.embed_query = None  # type: ignore[method-assign,assignment]
        with AgentMem(folder, embedder=embedder) as reader:
            assert found(reader, "apple") == ["a"]
