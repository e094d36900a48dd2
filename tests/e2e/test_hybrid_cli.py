"""`agentmem search` by meaning and by words: languages, text that looks like syntax, and the options of the ranking."""

import json
import sqlite3
from contextlib import closing
from typing import Any, Final

import pytest

from tests.e2e.conftest import Cli, Ingested

_TALK: Final[list[dict[str, object]]] = [
    {"id": "hike", "text": "他喜欢在周末去爬山", "run_id": "r", "created_at": "2025-01-01", "importance": 0.2},
    {"id": "swim", "text": "她每天早上游泳", "run_id": "r", "created_at": "2025-01-02", "importance": 0.9},
    {"id": "hamlet", "text": "to be or not to be", "run_id": "r", "created_at": "2025-01-03", "user_id": "william"},
    {"id": "ferry", "text": "The ferry to Bergen leaves at nine", "run_id": "q", "created_at": "2025-01-01"},
    {"id": "ferry2", "text": "the FERRY to bergen leaves at nine", "run_id": "q", "created_at": "2025-01-02"},
    {"id": "seat", "text": "Her seat is 14C, by the window", "run_id": "q", "created_at": "2025-01-03"},
]
_EXPLAINED = [
    *("cosine", "word_share", "meaning", "words", "neighbours", "speaker", "time", "recency", "importance"),
]


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command line in a folder whose store has a few memories, with vectors of the real model."""
    cli = Cli(tmp_path_factory.mktemp("talk"))
    assert cli("ingest", cli.write("talk.jsonl", *_TALK)).exit_code == 0
    return cli


def hits(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    result = cli("search", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = result.json()
    return found


def ids(cli: Cli, *arguments: str) -> list[str]:
    return [hit["id"] for hit in hits(cli, *arguments)]


@pytest.mark.parametrize("query", ["山", "周末 爬山"])
def test_chinese_is_found_though_the_model_knows_none_of_it(talk: Cli, query: str) -> None:
    assert ids(talk, query, "--mode", "words") == ["hike"]
    assert ids(talk, query)[0] == "hike"


def test_words_that_say_nothing_find_their_text(talk: Cli) -> None:
    for mode in ("words", "hybrid", "meaning"):
        assert ids(talk, "to be or not to be", "--mode", mode)[0] == "hamlet"


ODD: Final = ['"', "*", "NEAR(ferry bergen)", "ferry AND", "^", "text:ferry", "(", "'; --", "🎉", "?!", "x" * 100_000]


@pytest.mark.parametrize("query", ["NEAR(ferry bergen)", "'; --", "x" * 100_000])
def test_a_query_is_text_and_nothing_else(talk: Cli, query: str) -> None:
    result = talk("search", query, "--mode", "words", "--json")
    assert (result.exit_code, len(result.json()) in {0, 2}) == (0, True)


def test_by_meaning_too_an_odd_query_finds_what_is_nearest(talk: Cli) -> None:
    result = talk("search", "--queries", talk.write("odd.jsonl", *({"query": query} for query in ODD)))
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.exit_code, [answer["query"] for answer in answers]) == (0, ODD)
    assert {len(answer["hits"]) for answer in answers} == {6}


def test_a_search_by_words_that_finds_nothing_says_why(talk: Cli) -> None:
    result = talk("search", "zeppelin", "--mode", "words")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "agentmem: none of the 6 memories has a word of the query and matches the filters\n"


@pytest.mark.parametrize("mode", ["hybrid", "words", "meaning"])
def test_an_explained_score_is_the_sum_of_its_parts(talk: Cli, mode: str) -> None:
    options = ("--recency-half-life", "52w", "--importance-weight", "0.3", "--mode", mode)
    found = hits(talk, "When does the ferry leave?", "--explain", *options)
    assert found
    scores = []
    for hit in found:
        parts = hit["parts"]
        assert list(parts) == _EXPLAINED
        by = {
            "hybrid": max(0, parts["meaning"] + parts["words"]),
            "meaning": parts["cosine"],
            "words": parts["word_share"],
        }
        base = by[mode] + parts["neighbours"]
        factors = parts["speaker"] * parts["time"] * parts["recency"] * parts["importance"]
        scores.append(base * factors if base > 0 else base)
    shown = [hit["score"] for hit in found]
    if mode == "hybrid":
        scores = [shown[0] * (score / scores[0]) ** 0.25 for score in scores]
    assert shown == pytest.approx(scores)
    assert "parts" not in hits(talk, "ferry", "--mode", mode)[0]


def test_a_table_explains_and_shows_what_stands_around(talk: Cli) -> None:
    result = talk("search", "Bergen", "-k", "1", "--explain", "--context", "2", "--recency-half-life", "10w")
    assert result.exit_code == 0
    for part in ("cosine 0.", "word_share 1.000", "meaning + ", "neighbours + ", "recency x 0.", "Her seat is 14C"):
        assert part in result.stdout
    assert "importance x" not in result.stdout


def test_context_comes_with_a_hit_in_its_order(talk: Cli) -> None:
    (hit,) = hits(talk, "每天早上游泳", "-k", "1", "--context", "5")
    assert [memory["id"] for memory in hit["before"]] == ["hike"]
    assert "after" not in hit  # what follows is of another user
    assert hit["before"][0]["text"] == "他喜欢在周末去爬山"


def test_near_duplicates_are_folded_where_that_is_asked_for(talk: Cli) -> None:
    assert set(ids(talk, "ferry to Bergen", "-k", "2")) == {"ferry", "ferry2"}
    first, second = hits(talk, "ferry to Bergen", "-k", "2", "--dedupe")
    assert {first["id"], *first["duplicates"]} == {"ferry", "ferry2"}
    assert "duplicates" not in second


def test_options_of_the_ranking_hold_for_a_file_of_queries(talk: Cli) -> None:
    file = talk.write("queries.jsonl", {"query": "爬山"}, {"query": "ferry"})
    result = talk("search", "--queries", file, "--mode", "words", "--context", "1", "--explain", "-k", "1")
    first, second = map(json.loads, result.stdout.splitlines())
    assert [memory["id"] for memory in first["hits"][0]["after"]] == ["swim"]
    assert second["hits"][0]["parts"]["word_share"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mode", "fuzzy"), "--mode"),
        (("--recency-half-life", "soon"), "--recency-half-life"),
        (("--recency-half-life", "0d"), "half-life"),
        (("--importance-weight", "2"), "--importance-weight"),
        (("--neighbour-share", "nan"), "--neighbour-share"),
        (("--context", "-1"), "--context"),
    ],
)
def test_an_option_that_can_not_be_is_a_usage_error(talk: Cli, options: tuple[str, str], said: str) -> None:
    result = talk("search", "ferry", *options)
    assert (result.exit_code, said in result.error()) == (2, True)


def test_a_context_of_any_size_is_all_there_is(talk: Cli) -> None:
    (hit,) = hits(talk, "Bergen nine", "-k", "1", "--context", str(10**30))
    assert len(hit.get("before", [])) + len(hit["after"]) == 2


def test_a_damaged_text_index_is_named_and_repaired(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    with closing(sqlite3.connect(agentmem.folder / filled / "memories.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM words_data")
    failed = agentmem("search", "cashews", "--store", filled)
    assert (failed.exit_code, "'agentmem verify --repair' rebuilds it" in failed.error()) == (1, True)
    assert ids(agentmem, "cashews", "--store", filled, "--mode", "meaning")
    verified = agentmem("verify", "--store", filled, "--json")
    findings = verified.json()["findings"]
    assert (verified.exit_code, {finding["where"] for finding in findings}) == (1, {"text index"})
    repaired = agentmem("verify", "--repair", "--store", filled, "--json")
    assert (repaired.exit_code, repaired.json()["ok"]) == (0, True)
    assert ids(agentmem, "cashews", "--store", filled) == ids(agentmem, "cashews", "--store", str(ingested.store))
