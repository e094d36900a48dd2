"""`agentmem search --queries` answers every line of a file, in its order, as it goes."""

import gzip
import json
from typing import Any, Final

import pytest

from tests.e2e.conftest import EXAMPLES, Cli, Ingested, assert_inert, jsonl

NUTS: Final[dict[str, Any]] = {
    "query": "What is Maya allergic to?",
    "user_id": "maya",
    "relevant": ["maya-0001"],
}
SEAT: Final[dict[str, Any]] = {"query": "Which seat does she want?", "user_id": "ines", "category": 4}


def lines(stdout: str) -> list[Any]:
    """The JSON values of JSONL."""
    return [json.loads(line) for line in stdout.splitlines()]


def test_each_query_has_a_line_with_the_hits_that_it_has_alone(agentmem: Cli, ingested: Ingested) -> None:
    file = agentmem.write("queries.jsonl", NUTS, SEAT, NUTS)
    result = agentmem("search", "--queries", file, "-k", "3", "--store", ingested.store)
    assert (result.exit_code, result.stderr) == (0, "")
    answers = lines(result.stdout)
    assert [list(answer) for answer in answers] == [["query", "hits"]] * 3
    assert [answer["query"] for answer in answers] == [NUTS["query"], SEAT["query"], NUTS["query"]]
    for answer, asked in zip(answers, (NUTS, SEAT, NUTS), strict=True):
        scope = ("--user-id", str(asked["user_id"]))
        alone = agentmem("search", str(asked["query"]), *scope, "-k", "3", "--store", ingested.store, "--json").json()
        for hit, hit_alone in zip(answer["hits"], alone, strict=True):
            assert hit.pop("score") == pytest.approx(hit_alone.pop("score"), abs=1e-4)
            assert hit == hit_alone


def test_options_say_what_a_line_leaves_out(agentmem: Cli, ingested: Ingested) -> None:
    file = agentmem.write("queries.jsonl", {"query": "tea"}, {"query": "tea", "user_id": "kenji"})
    options = ("--user-id", "maya", "--where", "topic=family", "--store", ingested.store, "-k", "100", "--jsonl")
    maya, kenji = (answer["hits"] for answer in lines(agentmem("search", "--queries", file, *options).stdout))
    assert {(hit["user_id"], hit["metadata"]["topic"]) for hit in maya} == {("maya", "family")}
    assert {(hit["user_id"], hit["metadata"]["topic"]) for hit in kenji} == {("kenji", "family")}


@pytest.mark.parametrize("packed", [False, True])
def test_queries_may_come_from_standard_input_and_be_gzip(packed: bool, agentmem: Cli, ingested: Ingested) -> None:
    stdin = (gzip.compress if packed else bytes)(jsonl(NUTS))
    (answer,) = lines(agentmem("search", "--queries", "-", "--store", ingested.store, stdin=stdin).stdout)
    assert answer["hits"][0]["id"] == "maya-0001"


def test_where_nothing_matches_a_line_has_no_hits(agentmem: Cli, ingested: Ingested) -> None:
    file = agentmem.write("queries.jsonl", {"query": "tea", "user_id": "nobody"}, NUTS)
    nobody, maya = lines(agentmem("search", "--queries", file, "--store", ingested.store).stdout)
    assert nobody == {"query": "tea", "hits": []}
    assert len(maya["hits"]) == 10


def test_a_file_without_queries_prints_nothing_and_says_so(agentmem: Cli, ingested: Ingested) -> None:
    (agentmem.folder / "empty.jsonl").write_bytes(b"\n")
    result = agentmem("search", "--queries", "empty.jsonl", "--store", ingested.store)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "agentmem: empty.jsonl has no queries\n")


def test_a_bad_line_is_named_after_the_answers_of_those_before_it(agentmem: Cli, ingested: Ingested) -> None:
    file = agentmem.write("queries.jsonl", NUTS, SEAT, {"question": "?"}, NUTS)
    result = agentmem("search", "--queries", file, "--store", ingested.store)
    assert result.exit_code == 1
    assert [answer["query"] for answer in lines(result.stdout)] == [NUTS["query"], SEAT["query"]]
    assert result.stderr == ('agentmem: error: queries.jsonl:3: no "query": correct the line or leave it out\n')


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "give either a QUERY or a file of them (--queries FILE)"),
        (("tea", "--queries", "queries.jsonl"), "give either a QUERY or a file of them (--queries FILE)"),
        (("--queries", "queries.jsonl", "--json"), "--queries prints a line of JSON for each query: leave out --json"),
        (("--queries", "queries.jsonl", "--ids"), "--queries prints a line of JSON for each query: leave out --ids"),
    ],
    ids=["neither", "both", "json", "ids"],
)
def test_what_excludes_each_other_is_a_usage_error(arguments: tuple[str, ...], error: str, agentmem: Cli) -> None:
    result = agentmem("search", *arguments)
    assert (result.exit_code, result.error()) == (2, error)


def test_a_file_that_is_not_there_is_one_line(agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("search", "--queries", "nowhere.jsonl", "--store", ingested.store)
    assert result.exit_code == 1
    assert result.error() == "nowhere.jsonl: can't be read: No such file or directory: check the path"


def test_answers_come_while_queries_are_still_to_come(agentmem: Cli, ingested: Ingested) -> None:
    process = agentmem.start("search", "--queries", "-", "-k", "1", "--store", ingested.store)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write(jsonl(*[NUTS] * 300))
        process.stdin.flush()
        early = [json.loads(process.stdout.readline()) for _ in range(256)]
        process.stdin.close()
        late = process.stdout.read().splitlines()
    assert {answer["hits"][0]["id"] for answer in early} == {"maya-0001"}
    assert (len(late), process.returncode) == (44, 0)


def test_hostile_text_comes_back_inert_and_whole(agentmem: Cli, ingested: Ingested) -> None:
    query = "[bold]x[/] \x1b[31m \x9b \u202e \x07 \n z"
    result = agentmem("search", "--queries", agentmem.write("q.jsonl", {"query": query}), "--store", ingested.store)
    assert_inert(result.stdout)
    assert lines(result.stdout)[0]["query"] == query


def test_the_example_queries_find_most_of_what_they_ask_for(agentmem: Cli, ingested: Ingested) -> None:
    answers = lines(agentmem("search", "--queries", EXAMPLES / "queries.jsonl", "--store", ingested.store).stdout)
    asked = lines((EXAMPLES / "queries.jsonl").read_text(encoding="utf-8"))
    assert [answer["query"] for answer in answers] == [query["query"] for query in asked]
    found = [
        bool(set(query["relevant"]) & {hit["id"] for hit in answer["hits"]})
        for query, answer in zip(asked, answers, strict=True)
    ]
    assert sum(found) / len(found) > 0.8


def test_unknown_tokens_are_counted_over_the_queries_that_are_named(agentmem: Cli, ingested: Ingested) -> None:
    file = agentmem.write("q.jsonl", *[{"query": "green tea"}] * 9, {"query": "ᚠᚢᚦᚨᚱᚲ ᚷᚹᚺᚾᛁᛃ"})
    (line,) = agentmem("search", "--queries", file, "-k", "1", "--store", ingested.store).stderr.splitlines()
    assert "100% of the tokens of those of the first 10 queries that are not in Latin letters alone" in line
    assert agentmem("search", "--queries", file, "-k", "1", "-q", "--store", ingested.store).stderr == ""
