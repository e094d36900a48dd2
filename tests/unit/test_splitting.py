"""A long text is split into chunks that a model reads whole, at the ends of sentences and words."""

import re
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmem_cli.embedding.base import Embedded, Embedder, EmbedderSpec, Vectors
from agentmem_cli.embedding.chunking import Chunking, chunks
from agentmem_cli.errors import UsageError
from tests.fakes import FakeEmbedder
from tests.tiny_models import static_embedder


class Served:
    """An embedder that doesn't say what its tokens are."""

    def __init__(self) -> None:
        self._fake = FakeEmbedder(token_limit=0)
        self.spec: EmbedderSpec = self._fake.spec

    def embed(self, texts: list[str]) -> Embedded:
        return self._fake.embed(texts)

    def embed_query(self, query: str) -> Vectors:
        return self._fake.embed_query(query)


_SERVED: Final[Embedder] = Served()  # type: ignore[assignment]
_FAKE: Final = FakeEmbedder(token_limit=40)


def parts(embedder: Embedder, text: str, tokens: int) -> list[str]:
    return [text[start:stop] for start, stop in chunks(embedder, text, Chunking(tokens, tokens))]


def numbered(count: int, between: str = " ") -> str:
    return between.join(f"w{i}" for i in range(count))


@pytest.mark.parametrize("embedder", [_FAKE, _SERVED], ids=["fake", "served"])
def test_a_text_that_fits_has_no_chunks(embedder: Embedder) -> None:
    for text in ("", " ", "short", numbered(20), "爬山" * 10, "\x00", "x" * 40):
        assert chunks(embedder, text, Chunking(40, 20)) == []


def test_chunks_share_an_eighth_and_end_with_the_text() -> None:
    found = parts(_FAKE, numbered(100), 40)
    assert [part.split()[0] for part in found] == ["w0", "w32", "w64"]
    assert [part.split()[-1] for part in found] == ["w35", "w67", "w99"]


def test_a_chunk_ends_with_a_sentence_where_one_ends_in_its_last_quarter() -> None:
    words = numbered(100).split()
    words[29] += "."
    words[10] += "!"
    found = parts(_FAKE, " ".join(words), 40)
    assert found[0].endswith("w29")
    assert found[1].startswith("w26 ")


def test_a_chunk_ends_with_a_word_and_the_next_begins_with_one() -> None:
    text = " ".join(f"unbelievable{i}" for i in range(300))
    found = parts(static_embedder(), text, 64)
    for part, following in pairwise(found):
        assert set(part.split()) | set(following.split()) <= set(text.split())


@pytest.mark.parametrize("text", ["他喜欢在周末去爬山" * 50, "x" * 3_000, "ab" * 900 + " " + "爬山。" * 300])
@pytest.mark.parametrize("tokens", [16, 64])
def test_a_text_without_words_is_split_all_the_same(text: str, tokens: int) -> None:
    found = chunks(_SERVED, text, Chunking(tokens, tokens))
    assert found[0][0] == 0
    assert found[-1][1] == len(text)
    assert all(start < next_start <= stop < next_stop for (start, stop), (next_start, next_stop) in pairwise(found))


_WORDS: Final = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "unbelievable",
                "cat",
                "爬山",
                "그는",
                "山に登る",
                "http://x.y/z?q=1",
                "café\n",
                "\u200d",
                "🎉",
                ".",
                "\x00",
            ]
        ),
        st.text(max_size=12),
    ),
    max_size=150,
)


def test_every_chunk_is_read_to_its_end_and_every_word_is_in_one() -> None:
    check_chunks(static_embedder(24))


def test_every_chunk_of_minilm_is_too(minilm: Embedder) -> None:
    check_chunks(minilm)


def check_chunks(embedder: Embedder, tokens: int = 24) -> None:
    @settings(max_examples=30, deadline=None)
    @given(words=_WORDS, between=st.sampled_from([" ", "", "\n"]))
    def check(words: list[str], between: str) -> None:
        text = between.join(words)
        found = chunks(embedder, text, Chunking(tokens, tokens))
        own = _tokens(embedder, text)
        assert bool(found) == (own > tokens - getattr(embedder, "special_tokens", 0))
        for start, stop in found:
            assert 0 <= start < stop <= len(text)
            assert _tokens(embedder, text[start:stop]) <= tokens - getattr(embedder, "special_tokens", 0)
        covered = {place for start, stop in found for place in range(start, stop)}
        if found:
            assert {match.start() for match in re.finditer(r"[a-z]", text)} <= covered

    check()


def _tokens(embedder: Embedder, text: str) -> int:
    return len(embedder.token_spans(text))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("limit", "wanted", "longest", "chunk"),
    [
        (256, None, 256, 128),
        (128, None, 128, 128),
        (64, None, 64, 64),
        (1_000_000, None, 512, 128),
        (0, None, 512, 128),
        (256, 64, 256, 64),
        (256, 256, 256, 256),
        (0, 4_000, 4_000, 4_000),
    ],
)
def test_what_the_model_can_not_read_is_split_into_chunks_that_it_reads_well(
    limit: int, wanted: int | None, longest: int, chunk: int
) -> None:
    assert Chunking.of(FakeEmbedder(token_limit=limit).spec, wanted) == Chunking(longest, chunk)


@pytest.mark.parametrize(("limit", "wanted"), [(256, 257), (256, 15), (0, 0), (0, -1)])
def test_chunks_of_other_lengths_are_refused(limit: int, wanted: int) -> None:
    with pytest.raises(UsageError, match=f"chunks of {wanted} tokens"):
        Chunking.of(FakeEmbedder(token_limit=limit).spec, wanted)


class ManyTokens(FakeEmbedder):
    """Has ten tokens for every character, as a tokenizer has that takes ligatures apart."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [(i, i + 1) for i in range(len(text)) for _ in range(10)]


def test_no_two_chunks_begin_at_the_same_character() -> None:
    found = chunks(ManyTokens(), "abcdef" * 10, Chunking(16, 16))
    assert found[0][0] == 0
    assert found[-1][1] == 60
    assert all(start < next_start <= stop for (start, stop), (next_start, _) in pairwise(found))
