"""Any text can be stored and asked for: no errors but ours, each text found by its own words, a clean index."""

import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmem_cli import AgentMem, UsageError
from agentmem_cli.search.query import MODES, Mode
from agentmem_cli.store.word_scores import asked_for
from agentmem_cli.store.words import Tokenizer, spaced, spaced_query
from tests.fakes import FakeEmbedder

_TOKENIZER: Final = Tokenizer()
_SYNTAX: Final = st.sampled_from(['"', "*", "^", ":", "-", "(", ")", "{", "NEAR", "AND", "NOT", "\x1b", "'", ";"])
_WORDS: Final = st.sampled_from(
    ["to", "be", "running", "Straße", "ÉCOLE", "ﬁne", "１２", "爬山", "산에서", "ひらがな", "ｶﾞ", "🧗"]
)
_TEXTS: Final = st.one_of(
    st.text(max_size=40),
    st.lists(st.one_of(_SYNTAX, _WORDS, st.text(max_size=6)), max_size=8).map(" ".join),
    st.lists(st.one_of(_SYNTAX, _WORDS), max_size=8).map("".join),
).filter(lambda text: bool(text.strip()) and "\0" not in text)
_HAN: Final = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=12)
_SCRIPTS: Final = st.one_of(
    _HAN,
    st.text(st.characters(min_codepoint=0x3041, max_codepoint=0x3096), min_size=1, max_size=12),
    st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1, max_size=12),
)


def _words(text: str) -> list[str]:
    return [word for word, _ in _TOKENIZER.words(text)]


@given(st.lists(st.one_of(_TEXTS, st.text(st.characters(max_codepoint=127), max_size=60)), max_size=6))
def test_the_stems_of_a_text_are_those_of_its_words_whatever_was_asked_before(texts: list[str]) -> None:
    texts = [text.replace("\0", " ") for text in texts]
    stems = [{stem for _, stem in _TOKENIZER.words(spaced(text))} for text in texts]
    assert _TOKENIZER.stems(texts) == stems


@given(st.lists(_TEXTS, min_size=1, max_size=6), st.lists(_TEXTS, min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_any_texts_are_stored_changed_deleted_and_asked_for(texts: list[str], queries: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, AgentMem(Path(folder) / "s", embedder=FakeEmbedder()) as mem:
        mem.add_batch([{"id": str(i), "text": text} for i, text in enumerate(texts)])
        for text in texts:
            found = {hit.text: hit.score for hit in mem.search(text, len(texts), mode="words")}
            assert (found.get(text) == 1) == bool(asked_for(text, _TOKENIZER))
        for query in queries:
            for mode in MODES:
                scores = [hit.score for hit in mem.search(query, mode=mode)]
                assert scores == sorted(scores, reverse=True)
                assert mode == "words" or len(scores) == len(texts)
        assert mem.verify() == []
        mem.add_batch([{"id": str(i), "text": text} for i, text in enumerate(reversed(texts))])
        assert mem.verify() == []
        mem.delete(*(str(i) for i in range(0, len(texts), 2)))
        assert mem.verify() == []
        mem.delete(*(str(i) for i in range(len(texts))))
        assert mem.verify() == []
        assert mem.search(texts[0], mode="words") == []


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMem]:
    with AgentMem(tmp_path_factory.mktemp("filled") / "store", embedder=FakeEmbedder()) as mem:
        mem.add_batch([{"text": text} for text in ("to be or not to be", "他喜欢在周末去爬山", "a red apple")])
        yield mem


@given(query=st.text(max_size=60), mode=st.sampled_from(MODES))
@settings(max_examples=100, deadline=None)
def test_a_query_is_searched_for_or_is_a_usage_error(filled: AgentMem, query: str, mode: Mode) -> None:
    try:
        hits = filled.search(query, mode=mode)
    except UsageError:
        assert not query.strip()
    else:
        assert mode == "words" or len(hits) == 3


@given(_SCRIPTS, st.text("abc .", max_size=5), st.text("xyz !", max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_run_without_spaces_is_its_pairs_and_its_last_character(run: str, before: str, after: str) -> None:
    pairs = [run[i : i + 2] for i in range(len(run))]
    assert spaced(f"{before}{run}{after}") == f"{before} {' '.join(pairs)} {after}"
    asked = [pair for pair in pairs if len(pair) == 2] or [run]
    assert spaced_query(f"{before}{run}{after}") == f"{before} {' '.join(asked)} {after}"


@given(_SCRIPTS)
@settings(max_examples=100, deadline=None)
def test_each_character_of_a_run_begins_a_word_of_the_index(run: str) -> None:
    words = _words(spaced(run))
    assert [word[0] for word in words] == list(run)
    for i in range(len(run)):
        for end in range(i + 1, len(run) + 1):
            asked = _words(spaced_query(run[i:end]))
            assert asked and all(any(word.startswith(wanted) for word in words) for wanted in asked)


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_forms_that_are_compatible_are_one(text: str) -> None:
    assert spaced(unicodedata.normalize("NFKC", text)) == spaced(text)
    assert spaced(unicodedata.normalize("NFD", text)) == spaced(text)


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_words_of_a_text_are_words_again_by_themselves(text: str) -> None:
    for word, stem in _TOKENIZER.words(spaced(text)):
        assert _TOKENIZER.words(word) == [(word, stem)]
