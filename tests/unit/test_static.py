"""A static model sums its tokens' vectors: the same however many texts come at once, and without heavy libraries."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
import pytest

from agentmem_cli.embedding.base import Embedded
from agentmem_cli.embedding.static import StaticEmbedder
from tests.tiny_models import static_embedder, static_spec

TEXTS: Final = [
    "a cat sat on the mat",
    "爬",
    "",
    "the ferry",
    "zz𓀀",
    "Where is the spare key, and who has it?",
    "cat " * 50,
]
HEAVY: Final = ("onnxruntime", "fastembed", "nanotoken", "loguru", "huggingface_hub")


@pytest.fixture
def embedder() -> StaticEmbedder:
    return static_embedder()


def test_the_way_of_large_batches_gives_the_same(embedder: StaticEmbedder) -> None:
    few, many = embedder.embed(TEXTS), embedder.embed(TEXTS * 200)
    np.testing.assert_allclose(np.tile(few.vectors, (200, 1)), many.vectors, atol=1e-6)
    assert tuple(200 * count for count in counts(few)) == counts(many)


def counts(embedded: Embedded) -> Sequence[int]:
    """What was counted."""
    return embedded.tokens, embedded.special_tokens, embedded.unknown_tokens, embedded.truncated


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], (0, 0, 0, 0)),
        ([""], (0, 0, 0, 0)),
        (["hello world"], (2, 0, 0, 0)),
        (["hello 𓀀", "𓀀 𓀀", ""], (4, 0, 3, 0)),
        (["hello [SEP] [PAD]"], (3, 0, 2, 0)),  # in a text they mean nothing
    ],
)
def test_tokens_are_counted(embedder: StaticEmbedder, texts: list[str], expected: tuple[int, ...]) -> None:
    assert counts(embedder.embed(texts)) == expected


def test_unknown_tokens_change_nothing(embedder: StaticEmbedder) -> None:
    plain, mixed = embedder.embed(["red apple", "red 𓀀 apple [MASK]"]).vectors
    np.testing.assert_array_equal(plain, mixed)


@pytest.mark.parametrize("text", ["", "  ", "𓀀", "爬𓀀", "[UNK]"])
def test_texts_without_a_known_token_share_one_direction(embedder: StaticEmbedder, text: str) -> None:
    vectors = embedder.embed([text, ""]).vectors
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.linalg.norm(vectors[0]) == pytest.approx(1)
    np.testing.assert_array_equal(embedder.embed_query(text), vectors[0])


def test_the_end_of_a_very_long_text_counts() -> None:
    long = "cat " * 100_000
    embedded = static_embedder(static_spec().token_limit).embed([long, long + "ferry " * 100_000])
    assert (embedded.tokens, embedded.truncated) == (300_000, 0)
    assert float(embedded.vectors[0] @ embedded.vectors[1]) < 0.99


def test_to_search_loads_no_heavy_library() -> None:
    script = f"""
import sys
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import EmbedderSpec
embedder = catalog.load({static_spec()!r})
embedder.embed_query("where is the key?")
embedder.embed(["one", "two"])
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", script], text=True, timeout=60) == "[]\n"
