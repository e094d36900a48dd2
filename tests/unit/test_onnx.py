"""Texts are embedded in parts of like length, and come back in the order they were given."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.onnx import sub_batches

MAX_TOKENS: Final = 512
MAX_CHARACTERS: Final = 1_000_000


def parts_of(lengths: Sequence[int], characters: Sequence[int] | None = None) -> list[list[int]]:
    """The parts of texts of so many tokens, and of so many characters."""
    texts = ["x" * count for count in characters or [1] * len(lengths)]
    return list(sub_batches(texts, lengths, MAX_TOKENS))


@given(st.lists(st.integers(1, 300), max_size=150))
def test_every_text_is_in_one_part_and_the_shortest_come_first(lengths: list[int]) -> None:
    parts = parts_of(lengths)
    rows = [row for part in parts for row in part]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths)


@given(st.lists(st.integers(1, 300), max_size=150))
def test_parts_are_as_full_as_their_padded_tokens_let_them_be(lengths: list[int]) -> None:
    parts = [[lengths[row] for row in part] for part in parts_of(lengths)]
    assert all(len(part) == 1 or len(part) * part[-1] <= MAX_TOKENS for part in parts)
    assert all((len(part) + 1) * following[0] > MAX_TOKENS for part, following in pairwise(parts))


@pytest.mark.parametrize(
    ("characters", "sizes"),
    [
        ([400_000] * 5, [2, 2, 1]),
        ([MAX_CHARACTERS, 1], [1, 1]),
        ([MAX_CHARACTERS // 2] * 2, [2]),
        ([1, 3 * MAX_CHARACTERS, 1], [1, 1, 1]),
    ],
    ids=["long", "full and one", "just full", "one beyond the bound"],
)
def test_long_texts_are_embedded_fewer_at_a_time(characters: list[int], sizes: list[int]) -> None:
    lengths = list(range(1, len(characters) + 1))
    assert [len(part) for part in parts_of(lengths, characters)] == sizes


def test_tokens_are_counted_as_the_model_reads_them(minilm: Embedder) -> None:
    embedded = minilm.embed(["cat dog", "爬 cat", "cat " * 300])
    assert embedded.tokens == (2 + 2) + (2 + 2) + 256
    assert embedded.special_tokens == 3 * 2
    assert embedded.unknown_tokens == 1
    assert embedded.truncated == 1


def test_unknown_tokens_beyond_the_limit_are_not_read(minilm: Embedder) -> None:
    assert minilm.embed(["cat " * 300 + "爬 " * 50]).unknown_tokens == 0


@pytest.mark.slow
def test_a_search_with_the_default_model_does_not_wait_for_fastembed() -> None:
    script = """
import sys
from agentmem_cli.embedding import catalog
catalog.load(catalog.resolve()).embed_query("where is the key?")
print("fastembed" in sys.modules, "onnxruntime" in sys.modules)
"""
    assert subprocess.check_output([sys.executable, "-c", script], text=True, timeout=60) == "False True\n"
