"""The words of a text and of a query: scripts without spaces, forms of one character, words that say nothing."""

import pytest

from agentmem_cli.store import words as word_module
from agentmem_cli.store.word_scores import asked_for
from agentmem_cli.store.words import STOP_WORDS, Tokenizer, is_beginning, spaced, spaced_query, worth_asking


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    return [word for word, _ in tokenizer.words(text)]


@pytest.mark.parametrize(
    ("text", "indexed", "asked"),
    [
        ("plain words, as they are", "plain words, as they are", "plain words, as they are"),
        ("爬山", " 爬山 山 ", " 爬山 "),
        ("山", " 山 ", " 山 "),
        ("去爬山!", " 去爬 爬山 山 !", " 去爬 爬山 !"),
        ("I like 爬山 a lot", "I like  爬山 山  a lot", "I like  爬山  a lot"),
        ("ひらカナ", " ひら らカ カナ ナ ", " ひら らカ カナ "),
        ("산에서", " 산에 에서 서 ", " 산에 에서 "),
        ("ＡＢＣ１２", "ABC12", "ABC12"),
        ("ｶﾞｽ", " ガス ス ", " ガス "),
        ("ﬁne", "fine", "fine"),
        ("𠮷野家", " 𠮷野 野家 家 ", " 𠮷野 野家 "),
        ("人々", " 人々 々 ", " 人々 "),
    ],
)
def test_pairs_stand_for_words_where_no_spaces_do(text: str, indexed: str, asked: str) -> None:
    assert (spaced(text), spaced_query(text)) == (indexed, asked)


def test_a_decomposed_text_is_the_composed_one() -> None:
    assert spaced("가") == spaced("\u1100\u1161") == " 가 "
    assert spaced("が") == spaced("か\u3099")


@pytest.mark.parametrize("character", ["山", "ひ", "カ", "산", "𠮷"])
def test_one_character_without_spaces_is_a_beginning(character: str) -> None:
    assert is_beginning(character)
    assert not is_beginning(character * 2)


@pytest.mark.parametrize("word", ["a", "1", "é", "я", ""])
def test_one_letter_is_a_word(word: str) -> None:
    assert not is_beginning(word)


def test_words_that_say_nothing_are_asked_for_where_there_are_no_others() -> None:
    assert worth_asking(["where", "is", "maya"]) == ["maya"]
    assert worth_asking(["to", "be", "or", "not"]) == ["to", "be", "or", "not"]
    assert worth_asking([]) == []


def test_words_that_say_nothing_are_as_the_tokenizer_has_them(tokenizer: Tokenizer) -> None:
    assert set(words(tokenizer, " ".join(sorted(STOP_WORDS)))) == STOP_WORDS


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("Where did Maya's CAR go?", ["maya", "car", "go"]),
        ("running runs RUN", ["running"]),
        ("école Ecole", ["ecole"]),
        ("cat catalogue dog", ["catalogue", "cat", "dog"]),
        ('"NEAR(a, b)" AND -x:* ^', ["near", "b", "x"]),
        ("爬山 or 游泳", ["游泳", "爬山", "爬", "山", "游", "泳"]),
        ("我", ["我"]),
        ("?! ... \x00 😀", []),
    ],
)
def test_a_query_asks_for_each_stem_once_longer_words_first(tokenizer: Tokenizer, query: str, asked: list[str]) -> None:
    assert [word.word for word in asked_for(query, tokenizer)] == asked


@pytest.mark.parametrize("letter", ["a", "я", "界", "\U00010400"])
def test_a_word_longer_than_sqlite_takes_is_cut_between_characters(tokenizer: Tokenizer, letter: str) -> None:
    text = "x" + letter * 40_000
    found = words(tokenizer, spaced(text))
    assert max(len(word.encode()) for word in found) < 32_768
    assert words(tokenizer, spaced_query("after it")) == ["after", "it"]


def test_stems_stay_right_when_more_words_came_than_are_kept(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_module, "_MOST_KNOWN", 3)
    for _ in range(2):
        assert tokenizer.stems(["running dogs bark", "cats purr", "dogs run"]) == [
            {"run", "dog", "bark"},
            {"cat", "purr"},
            {"dog", "run"},
        ]


def test_a_tokenizer_that_failed_once_goes_on(tokenizer: Tokenizer) -> None:
    with pytest.raises(Exception, match="decode"):
        tokenizer.words("x" + "я" * 40_000)
    assert words(tokenizer, "after it") == ["after", "it"]
