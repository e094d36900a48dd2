"""Every way to tokenize gives the ids of `tokenizers` for any text."""

import itertools
import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from agentmem_cli.embedding.minilm import VOCABULARY as MINILM_VOCABULARY
from agentmem_cli.embedding.tokens import SAMPLES, TOKENIZE_CHARS, TokenIds, by_characters
from tests.tiny_models import tokenizer_json

VOCABULARY = MINILM_VOCABULARY.read_text(encoding="utf-8").splitlines()
CASES: Sequence[Callable[[str], str]] = (str, str.upper, str.title)
words = st.builds(lambda word, change: change(word), st.sampled_from(VOCABULARY), st.sampled_from(CASES))
odd = st.sampled_from(
    [
        "\x00",
        "\t",
        "\x0b",
        "\x0c",
        "\r\n",
        "\u00a0",
        "\u200d",
        "\u2028",
        "\ufeff",
        "İ",
        "ς",
        "ﬁ",
        "é",
        "e\u0301",
        "x" * 101,
    ]
)
pieces = st.lists(st.one_of(words, st.text(max_size=8), odd, st.just(" ")), max_size=30).map("".join)


WAYS = ("words", "nanotoken")


@pytest.fixture(scope="module", params=WAYS)
def fast(request: pytest.FixtureRequest) -> TokenIds:
    """What reads many texts in each way."""
    tokens = TokenIds(tokenizer_json())
    assert tokens._words is not None
    if request.param == "nanotoken":
        pytest.importorskip("nanotoken")
        tokens.speed_up()
        assert tokens._nano is not None
    return tokens


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The reference."""
    return Tokenizer.from_str(tokenizer_json())


def hold(fast: TokenIds, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Asserts that each text gets the ids that `tokenizers` gives it alone."""
    ids, offsets = fast.many(texts)
    expected = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert ids.dtype == np.int32
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, *itertools.accumulate(map(len, expected))]
    assert ids.tolist() == list(itertools.chain.from_iterable(expected))


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(st.one_of(pieces, st.text()), max_size=8))
def test_a_text_has_the_ids_of_tokenizers(fast: TokenIds, tokenizer: Tokenizer, texts: list[str]) -> None:
    hold(fast, tokenizer, texts)
    for text in texts:
        assert fast.one(text).tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def test_every_character_gives_the_same_ids(fast: TokenIds, tokenizer: Tokenizer) -> None:
    alike = [*range(0x3400, 0xD800, 9), *range(0x20000, 0x32400, 9)]  # ideographs and syllables: one of some
    planes = [*range(0x3400), *alike, *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)]  # the others are empty
    hold(fast, tokenizer, [f"{chr(code)} a{chr(code)}bing" for code in planes])


@pytest.mark.parametrize("text", SAMPLES)
def test_a_sample_has_the_ids_of_tokenizers(fast: TokenIds, tokenizer: Tokenizer, text: str) -> None:
    hold(fast, tokenizer, [text, text.upper(), f"{text} {text}"])


def test_a_control_character_within_a_special_token_hides_it(fast: TokenIds, tokenizer: Tokenizer) -> None:
    hold(fast, tokenizer, [f"a [CL{chr(code)}S] b" for code in (*range(32), *range(0x7F, 0xA1))])


def test_many_words_keep_their_ids_and_take_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer
) -> None:
    monkeypatch.setattr("agentmem_cli.embedding.tokens._KEPT_CHARS", 1_000)
    tokens = TokenIds(tokenizer_json())
    texts = [f"cat{number} ferries, {number}" for number in range(400)]
    assert tokens._words is not None
    for start in range(0, 400, 40):
        hold(tokens, tokenizer, texts[start : start + 40])
        hold(tokens, tokenizer, texts[: start + 40 : 3])
        assert len(tokens._words._ids_of) < 400


def test_a_tokenizer_that_reads_across_spaces_is_asked_for_whole_texts() -> None:
    for change in (
        {"normalizer": {"type": "Lowercase"}},
        {"normalizer": json.loads(tokenizer_json())["normalizer"] | {"clean_text": False}},
        {"pre_tokenizer": None},
        {"added_tokens": [{**json.loads(tokenizer_json())["added_tokens"][0], "content": "hello world"}]},
    ):
        changed = json.dumps(json.loads(tokenizer_json()) | change)
        hold(
            TokenIds(changed), Tokenizer.from_str(changed), ["hello world", "Hello\x0bferry  hello world", "", "a\x1fb"]
        )


def test_a_nanotoken_that_gives_other_tokens_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tokenizer: Tokenizer
) -> None:
    nanotoken = pytest.importorskip("nanotoken")
    other = tokenizer_json().replace('"lowercase":true', '"lowercase":false')
    assert other != tokenizer_json()
    wrong = nanotoken.Tokenizer.from_json(other)
    monkeypatch.setattr(nanotoken.Tokenizer, "from_json", lambda _: wrong)
    tokens = TokenIds(tokenizer_json())
    tokens.speed_up()
    hold(tokens, tokenizer, ["Hello World"])
    assert "nanotoken is not used" in caplog.text


def test_long_texts_are_tokenized_in_parts_of_bounded_length() -> None:
    texts = ["x" * 400_000, "y" * 700_000, "z" * 3_000_000, "w"]
    parts = list(by_characters(texts))
    assert [text for part in parts for text in part] == texts
    assert all(sum(map(len, part)) <= TOKENIZE_CHARS for part in parts if len(part) > 1)
    assert len(parts) == 4
