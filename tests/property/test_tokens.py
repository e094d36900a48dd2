"""Both tokenizers give the same ids for any text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmem_cli.embedding.minilm import VOCABULARY as MINILM_VOCABULARY
from agentmem_cli.embedding.tokens import TOKENIZE_CHARS, TokenIds, by_characters
from tests.tiny_models import tokenizer_json

VOCABULARY = MINILM_VOCABULARY.read_text(encoding="utf-8").splitlines()
words = st.sampled_from(VOCABULARY)
odd = st.sampled_from(
    ["\x00", "\t", "\x0b", "\x0c", "\r\n", "\u00a0", "\u200d", "\u2028", "\ufeff", "İ", "ς", "ﬁ", "é", "e\u0301"]
)
pieces = st.lists(st.one_of(words, st.text(max_size=8), odd, st.just(" ")), max_size=30).map("".join)


@pytest.fixture(scope="module")
def slow() -> TokenIds:
    return TokenIds(tokenizer_json())


@pytest.fixture(scope="module")
def fast() -> TokenIds:
    pytest.importorskip("nanotoken")
    tokens = TokenIds(tokenizer_json())
    tokens.speed_up()
    assert tokens._nano is not None
    return tokens


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(st.one_of(pieces, st.text()), max_size=8))
def test_nanotoken_gives_the_ids_of_tokenizers(slow: TokenIds, fast: TokenIds, texts: list[str]) -> None:
    (ids, offsets), (fast_ids, fast_offsets) = slow.many(texts), fast.many(texts)
    assert offsets.tolist() == fast_offsets.tolist()
    assert ids.tolist() == fast_ids.tolist()
    assert ids.dtype == fast_ids.dtype == np.int32
    for row, text in enumerate(texts):
        assert slow.one(text).tolist() == ids[offsets[row] : offsets[row + 1]].tolist()


def test_every_character_gives_the_same_ids(slow: TokenIds, fast: TokenIds) -> None:
    alike = [*range(0x3400, 0xD800, 9), *range(0x20000, 0x32400, 9)]  # ideographs and syllables: one of some
    planes = [*range(0x3400), *alike, *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)]  # the others are empty
    every = [f"{chr(code)} a{chr(code)}bing" for code in planes]
    (ids, offsets), (fast_ids, fast_offsets) = slow.many(every), fast.many(every)
    np.testing.assert_array_equal(offsets, fast_offsets)
    np.testing.assert_array_equal(ids, fast_ids)


def test_long_texts_are_tokenized_in_parts_of_bounded_length() -> None:
    texts = ["x" * 400_000, "y" * 700_000, "z" * 3_000_000, "w"]
    parts = list(by_characters(texts))
    assert [text for part in parts for text in part] == texts
    assert all(sum(map(len, part)) <= TOKENIZE_CHARS for part in parts if len(part) > 1)
    assert len(parts) == 4
