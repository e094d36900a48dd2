"""Long memories and foreign languages on the command line: what the model can't read is said, and what helps."""

import json
from itertools import cycle
from typing import Any, Final

import pytest

from tests.e2e.conftest import MEMORIES, Cli

_FACT: Final = "Grandmother's lemon marmalade recipe calls for eleven Seville oranges and a pinch of cardamom."
_QUERY: Final = "How many oranges go into the marmalade?"


def _texts() -> list[str]:
    return [json.loads(line)["text"] for line in MEMORIES.read_text().splitlines()]


def _long_text() -> str:
    """Two thousand words, the fact in their last third."""
    words: list[str] = []
    for text in cycle(_texts()):
        words += text.split()
        if len(words) >= 2_000:
            break
    return " ".join([*words[:1_500], _FACT, *words[1_500:2_000]])


@pytest.fixture
def file(agentmem: Cli) -> str:
    shorts = [{"id": f"s{i}", "text": text} for i, text in enumerate(_texts()[:60])]
    shorts += [{"id": "decoy", "text": "The children eat fruit on Sundays."}]
    return agentmem.write("long.jsonl", {"id": "long", "text": _long_text()}, *shorts)


def _first(agentmem: Cli) -> Any:  # noqa: ANN401 - JSON
    result = agentmem("search", _QUERY, "-k", "1", "--jsonl", "--mode", "meaning")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_what_stands_late_in_a_long_memory_is_found_once_it_is_split(agentmem: Cli, file: str) -> None:
    result = agentmem("ingest", file, "--json", "--progress", "none")
    assert (result.json()["truncated"], result.json()["chunks"]) == (1, 0)
    assert result.stderr == (
        "agentmem: warning: 1 of 62 memories is longer than all-MiniLM-L6-v2 reads (256 tokens): only the beginning is "
        "searched by meaning; --chunk splits them\n"
    )
    stats = agentmem("stats")
    assert stats.stderr.startswith("agentmem: 1 of 62 memories is longer than the model reads (256 tokens): only the")
    assert _first(agentmem)["id"] != "long"

    result = agentmem("ingest", file, "--chunk", "--json", "--progress", "none")
    assert (result.json()["unchanged"], result.json()["chunks"] > 15, result.stderr) == (62, True, "")
    hit = _first(agentmem)
    assert hit["id"] == "long"
    assert _FACT in hit["chunk"]
    assert len(hit["chunk"].split()) <= 128
    stats = agentmem("stats", "--json")
    assert (stats.json()["truncated"], stats.json()["chunks"], stats.stderr) == (0, result.json()["chunks"], "")
    assert agentmem("verify").exit_code == 0

    shown = agentmem("search", _QUERY, "-k", "1").stdout
    assert "Seville" in shown
    assert len(shown.split()) < 300


def test_a_store_that_was_split_is_exported_and_taken_in_elsewhere(agentmem: Cli, file: str) -> None:
    agentmem("ingest", file, "--chunk", "--quiet")
    agentmem("export", "--vectors", "--output", "out.jsonl")
    result = agentmem("ingest", "out.jsonl", "--store", "copy", "--json", "--progress", "none")
    assert (result.json()["embedded"], result.json()["tokens"], result.stderr) == (0, 0, "")
    found = json.loads(agentmem("search", _QUERY, "-k", "1", "--jsonl", "--store", "copy").stdout)
    assert (found["id"], _FACT in found["chunk"]) == ("long", True)


def test_chunks_that_the_model_can_not_read_are_a_usage_error(agentmem: Cli, file: str) -> None:
    result = agentmem("ingest", file, "--chunk-tokens", "257")
    assert (result.exit_code, result.error()) == (
        2,
        "chunks of 257 tokens are not possible: choose 16 to 256, the limit of all-MiniLM-L6-v2",
    )
    assert not (agentmem.folder / ".agentmem").exists()


_ZH: Final = ("他喜欢在周末去爬山", "早晨他一般喝什么饮料", "她住在上海，是一名护士")
_KO: Final = ("그는 주말에 등산을 좋아한다", "아침에는 커피를 마신다")


@pytest.mark.parametrize(("texts", "query"), [(_ZH, "爬山"), (_KO, "커피")], ids=["zh", "ko"])
def test_a_model_that_can_not_read_the_texts_is_said_once_with_one_that_can(
    agentmem: Cli, texts: tuple[str, ...], query: str
) -> None:
    file = agentmem.write("memories.jsonl", *({"text": text} for text in texts))
    ingested = agentmem("ingest", file, "--batch-size", "10", "--json", "--progress", "none")
    searched = agentmem("search", query, "--json")
    for result in (ingested, searched):
        (line,) = result.stderr.splitlines()
        assert line.startswith("agentmem: warning: all-MiniLM-L6-v2 ")
        assert line.endswith(
            "'agentmem reembed --store .agentmem --model multilingual' (or --model with a new store) helps"
        )
    assert ingested.json()["better_model"] == "multilingual"
    assert agentmem("ingest", file, "--json", "--progress", "none").stderr == ""  # nothing new, nothing to say
    assert agentmem("search", "hiking").stderr == ""


def test_a_model_that_reads_the_texts_is_not_advised_against(agentmem: Cli) -> None:
    file = agentmem.write(
        "memories.jsonl", {"text": "Zoë said “it’s fine” — and left for Malmö 🎉"}, {"text": "red tea"}
    )
    result = agentmem("ingest", file, "--json", "--progress", "none")
    assert (result.stderr, result.json()["better_model"]) == ("", None)
    assert agentmem("search", "Malmö 🎉🎉", "--json").stderr == ""
