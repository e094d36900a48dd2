"""Which texts a model can't read is known from its tokens and their scripts, and so is which model can."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.embedding import catalog, multilingual
from agentmem_cli.embedding.base import Embedded, Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.languages import (
    MULTILINGUAL_ALIAS,
    MULTILINGUAL_MODEL,
    ModelAdvice,
    better_model,
    letters_by_script,
)
from tests.fakes import FakeEmbedder

_TEXTS: Final = {
    "zh": "他喜欢在周末去爬山，早晨他一般喝什么饮料",
    "ja": "彼は週末に山に登るのが好きで、朝はコーヒーを飲みます",
    "katakana": "ミーティングはリモートでやりましょう",
    "ko": "그는 주말에 등산을 좋아하고 아침에는 커피를 마신다",
    "ru": "Он любит ходить в горы по выходным и пьёт кофе",
    "ar": "يحب الذهاب إلى الجبال في عطلة نهاية الأسبوع",
    "hi": "उसे सप्ताहांत में पहाड़ों पर जाना पसंद है",
    "th": "เขาชอบไปปีนเขาในวันหยุดสุดสัปดาห์",
    "el": "Του αρέσει να πηγαίνει στο βουνό",
    "he": "הוא אוהב לטייל בהרים בסוף השבוע",
    "zh and en": "Ana说the deadline是Friday下午，别忘了发report",
}
_READ: Final = {
    "en": "He likes to hike on weekends and drinks coffee in the morning.",
    "fr": "Il aime aller à la montagne le week-end, où l'été il déjeune près de la forêt.",
    "de": "Er fährt am Wochenende gern in die Berge und trinkt Kaffee, wenn er müde ist.",
    "quotes": "She said “it’s fine” — and left…",
    "a name": "The restaurant 爬山 in Lisbon is where Ana had dinner with her sister last Friday night.",
    "empty": "",
}


def test_letters_are_counted_by_script() -> None:
    assert letters_by_script(["爬山 ab", "かカ一", "한a", "Жж é 1", "plain"]) == {
        "han": 3,
        "kana": 2,
        "hangul": 1,
        "other": 2,
        "rest": 3 + 1 + 4 + 5,
    }


@pytest.mark.parametrize("text", _TEXTS.values(), ids=_TEXTS)
def test_the_multilingual_model_is_named_for_every_other_script(text: str) -> None:
    assert better_model(letters_by_script([text])) == MULTILINGUAL_ALIAS


@pytest.mark.parametrize("text", _READ.values(), ids=_READ)
def test_latin_texts_need_no_other_model_unless_something_else_is_in_them(text: str) -> None:
    assert better_model(letters_by_script([text])) == (MULTILINGUAL_ALIAS if "爬" in text else None)


def test_the_model_that_is_named_is_in_the_catalogue() -> None:
    assert (MULTILINGUAL_MODEL, MULTILINGUAL_ALIAS) in {(entry.name, entry.alias) for entry in catalog.entries()}


def advice_on(embedder: Embedder, *texts: str) -> ModelAdvice | None:
    embedded = embedder.embed(texts)
    tokens = embedded.tokens - embedded.special_tokens
    return ModelAdvice.on(embedder.spec.name, tokens, embedded.unknown_tokens, letters_by_script(texts))


def test_minilm_is_said_not_to_read_what_it_does_not(minilm: Embedder) -> None:
    for text in _TEXTS.values():
        for texts in ([text], [text, _READ["en"][:20]]):
            advice = advice_on(minilm, *texts)
            assert advice is not None
            assert advice.better == MULTILINGUAL_ALIAS


@pytest.mark.slow
@pytest.mark.skipif(not multilingual.is_installed(), reason="the extra 'multilingual' is not installed")
def test_the_multilingual_model_is_not_said_not_to_read_any_script() -> None:
    embedder = catalog.load(catalog.resolve(ModelChoice("multilingual")))
    for text in (*_TEXTS.values(), *_READ.values()):
        assert advice_on(embedder, text) is None


def test_minilm_is_not_said_not_to_read_what_it_does(minilm: Embedder) -> None:
    for text in _READ.values():
        assert advice_on(minilm, text) is None


@pytest.mark.parametrize(
    ("name", "tokens_per_letter"), [("zh", 1.0), ("zh", 0.65), ("ja", 0.6), ("ko", 0.6), ("ru", 0.3), ("ar", 0.4)]
)
def test_a_model_that_has_a_scripts_words_is_not_advised_against(name: str, tokens_per_letter: float) -> None:
    text = _TEXTS[name]
    assert ModelAdvice.on("other", int(tokens_per_letter * len(text)), 0, letters_by_script([text])) is None


def test_a_model_is_not_named_as_better_than_itself() -> None:
    advice = ModelAdvice.on(MULTILINGUAL_MODEL, 20, 15, letters_by_script([_TEXTS["zh"]]))
    assert advice is not None
    assert advice.better is None


def test_what_is_said_names_the_model_and_the_share() -> None:
    letters = letters_by_script([_TEXTS["ko"]])
    unknown, spelled = ModelAdvice.on("m", 40, 34, letters), ModelAdvice.on("m", 46, 1, letters)
    assert unknown is not None
    assert spelled is not None
    assert unknown.said_of("the query") == "m does not know 85% of the tokens of the query"
    assert spelled.said_of("these texts") == "m has no words for 79% of these texts"


class Unknowing(FakeEmbedder):
    """Knows no word that isn't ASCII, and counts how often it is asked."""

    asked = 0

    def embed(self, texts: Sequence[str]) -> Embedded:
        self.asked += 1
        return super().embed([text if text.isascii() else "zz " + text for text in texts])


def test_queries_that_a_model_can_not_read_bring_up_one_that_can(tmp_path: Path) -> None:
    embedder = Unknowing()
    with AgentMem(tmp_path / "store", embedder=embedder) as mem:
        mem.add("彼は週末に山に登るのが好きです")
        advice = mem.advice(["東京", "plain"])
        assert advice is not None
        assert advice.better == MULTILINGUAL_ALIAS


def test_a_latin_query_costs_no_embedding(tmp_path: Path) -> None:
    embedder = Unknowing()
    with AgentMem(tmp_path / "store", embedder=embedder) as mem:
        assert mem.advice(["plain", "café 🎉"]) is None
        assert mem.advice([]) is None
    assert embedder.asked == 0
