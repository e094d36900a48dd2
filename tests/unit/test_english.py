"""The mixed English workload: the same for everyone, distinct, clean, and as long as real chat."""

import hashlib
import re
import statistics
from pathlib import Path

import pytest
from tokenizers import BertWordPieceTokenizer

import agentmem_cli
from agentmem_cli.embedding.synthetic_texts import NAMES, mixed_texts

TEXTS = mixed_texts(2000)


def test_a_seed_gives_the_same_texts_on_every_machine_and_in_every_version() -> None:
    digest = hashlib.sha256("\n".join(TEXTS).encode()).hexdigest()
    assert digest == "434205a484d87ef81cdd0f781f3ec5d7482fa9700791f589b8c1a81bfc9d6fda"


@pytest.mark.parametrize("count", [0, 1, 10, 1000])
def test_fewer_texts_are_the_first_of_more(count: int) -> None:
    assert mixed_texts(count) == TEXTS[:count]


def test_another_seed_gives_other_texts() -> None:
    shared = set(mixed_texts(500, seed=1)) & set(TEXTS)  # short ones may meet by chance
    assert len(shared) < 25


def test_no_text_comes_twice() -> None:
    assert len(set(TEXTS)) == len(TEXTS) == 2000


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        ("an open slot or a mark of the word lists", r"[{}|;\n]"),
        ("a space too many", r"  |^ | $| [.,!?]"),
        ("no sentence end", r"[^.!?]$"),
        ("two sentence ends", r"[.!?]{2}"),
        ("a small first letter", r"^[a-z]"),
        ("what is not ASCII", r"[^ -~]"),
        ("a wrong article", r"\b[Aa] [aeio]\w"),
    ],
)
def test_no_text_has_a_fault_of_the_patterns(fault: str, pattern: str) -> None:
    assert [text for text in TEXTS if re.search(pattern, text)] == [], fault


def test_the_texts_are_as_long_as_real_chat() -> None:
    vocabulary = Path(agentmem_cli.__file__).with_name("embedding") / "all-MiniLM-L6-v2-vocab.txt"
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(TEXTS)]
    assert statistics.mean(lengths) == pytest.approx(34, abs=1.5)
    assert statistics.median(lengths) == pytest.approx(30, abs=1.5)
    assert min(lengths) < 12
    assert 85 < max(lengths) <= 160


def test_half_of_the_texts_are_turns_that_begin_with_who_speaks() -> None:
    turns = sum(text.partition(": ")[0] in NAMES for text in TEXTS)
    assert turns / len(TEXTS) == pytest.approx(0.5, abs=0.05)
