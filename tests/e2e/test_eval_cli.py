"""`agentmem eval`: labelled queries -> figures, comparisons and the worst queries, for people and for scripts."""

import json
import re
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from tests.e2e.conftest import EXAMPLES, Cli, Ingested, assert_inert
from tests.published import LOCOMO, written

METRICS: Final = ["recall@1", "recall@5", "recall@10", "recall@20", "mrr", "ndcg@10"]
QUERIES: Final = EXAMPLES / "queries.jsonl"
NUTS: Final = {"query": "Which nuts must be kept off Maya's plate?", "user_id": "maya", "relevant": ["maya-0001"]}


def test_the_tables_say_figures_differences_and_the_worst(agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("eval", QUERIES, "--store", ingested.store, "--worst", "2", variables={"COLUMNS": "120"})
    assert (result.exit_code, result.stderr) == (0, "")
    shown = re.sub(r"[\s─]+", " ", result.stdout)
    estimate = r"( [01]\.\d{3} [01]\.\d{3}-[01]\.\d{3})"
    assert f"40 queries · {ingested.store} · all-MiniLM-L6-v2 hybrid meaning words recall@1" in shown
    for name in ("recall@1", "recall@5", "recall@10", "recall@20", "MRR", "nDCG@10"):
        assert re.search(f"{name}({estimate}){{3}} ", shown), name
    difference = r" [+-]0\.\d{3} [+-]0\.\d{3} to [+-]0\.\d{3}( \d+){3} "
    for pair in ("meaning - hybrid", "words - hybrid"):
        assert re.search(f"{pair} recall@10{difference}nDCG@10{difference}", shown), pair
    worst = shown[shown.index("The worst queries (hybrid)") :]
    assert len(re.findall(r" 0\.\d{3} (-|\d+) ", worst)) == 2


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, ingested: Ingested) -> Any:  # noqa: ANN401 - JSON
    agentmem = Cli(tmp_path_factory.mktemp("eval"))
    return agentmem("eval", QUERIES, "--store", ingested.store, "--modes", "meaning,words", "--json").json()


def test_json_has_every_run_with_its_estimates(found: Any, ingested: Ingested) -> None:  # noqa: ANN401
    assert list(found) == ["queries", "unlabelled", "warnings", "runs", "comparisons", "advice"]
    assert found["queries"] == len(QUERIES.read_text().splitlines())
    assert (found["unlabelled"], found["warnings"]) == (0, [])
    assert [run["mode"] for run in found["runs"]] == ["meaning", "words"]
    for run in found["runs"]:
        assert list(run) == ["store", "model", "mode", "unlabelled", "missing", "metrics", "per_query"]
        assert (run["store"], run["model"], run["missing"]) == (str(ingested.store), "all-MiniLM-L6-v2", [])
        assert list(run["metrics"]) == METRICS
        for estimate in run["metrics"].values():
            assert 0 <= estimate["low"] <= estimate["mean"] <= estimate["high"] <= 1


def test_json_has_every_figure_of_every_query_and_their_means_are_the_estimates(found: Any) -> None:  # noqa: ANN401
    run = found["runs"][0]
    assert len(run["per_query"]) == found["queries"]
    for name in METRICS:
        figures = [query[name] for query in run["per_query"]]
        assert sum(figures) / len(figures) == pytest.approx(run["metrics"][name]["mean"])
    first = run["per_query"][0]
    assert list(first) == ["query", "user_id", "relevant", *METRICS, "first_relevant_rank", "first_hit"]
    assert {key: first[key] for key in NUTS} == NUTS
    assert list(first["first_hit"]) == ["id", "score", "text"]


def test_json_compares_the_other_modes_with_the_first_in_every_metric(found: Any) -> None:  # noqa: ANN401
    (comparison,) = found["comparisons"]
    assert (comparison["run"]["mode"], comparison["base"]["mode"]) == ("words", "meaning")
    assert list(comparison["metrics"]) == METRICS
    for name, difference in comparison["metrics"].items():
        meaning, words = (run["metrics"][name]["mean"] for run in found["runs"])
        assert difference["mean"] == pytest.approx(words - meaning)
        assert difference["wins"] + difference["losses"] + difference["ties"] == found["queries"]
        assert difference["low"] <= difference["mean"] <= difference["high"]


def test_another_store_is_compared_in_the_same_modes(agentmem: Cli, ingested: Ingested, filled: str) -> None:
    assert agentmem("delete", "maya-0001", "--yes", "--store", filled).exit_code == 0
    options = ("--store", ingested.store, "--against", filled, "--modes", "meaning,words")
    result = agentmem("eval", agentmem.write("q.jsonl", NUTS), *options, "--json")
    evaluated = result.json()
    assert [(run["store"], run["mode"], run["missing"]) for run in evaluated["runs"]] == [
        (str(ingested.store), "meaning", []),
        (str(ingested.store), "words", []),
        (filled, "meaning", ["maya-0001"]),
        (filled, "words", ["maya-0001"]),
    ]
    names = [
        tuple((found[side]["store"], found[side]["mode"]) for side in ("run", "base"))
        for found in evaluated["comparisons"]
    ]
    assert names == [
        ((str(ingested.store), "words"), (str(ingested.store), "meaning")),
        ((filled, "meaning"), (str(ingested.store), "meaning")),
        ((filled, "words"), (str(ingested.store), "words")),
    ]
    lost = evaluated["comparisons"][1]["metrics"]["recall@10"]
    assert (lost["mean"], lost["wins"], lost["losses"], lost["ties"]) == (-1.0, 0, 1, 0)
    warning = f"{filled}: 1 relevant ids are not in the store, and count as not found: maya-0001"
    assert evaluated["warnings"] == [warning]
    assert result.stderr == f"agentmem: warning: {warning}\n"


def test_memories_of_the_same_text_share_the_rank(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    nuts = ingested.memories[0]
    assert nuts["id"] == "maya-0001"
    again = [{"id": f"again-{i}", "text": nuts["text"], "user_id": "maya"} for i in range(3)]
    assert agentmem("ingest", agentmem.write("again.jsonl", *again), "--store", filled).exit_code == 0
    queries = agentmem.write("q.jsonl", *({**NUTS, "relevant": [memory["id"]]} for memory in (nuts, *again)))
    found = agentmem("eval", queries, "--store", filled, "--modes", "meaning", "--json").json()["runs"][0]["per_query"]
    assert [query["recall@1"] for query in found] == [0.25] * 4
    assert [query["mrr"] for query in found] == pytest.approx([(1 + 1 / 2 + 1 / 3 + 1 / 4) / 4] * 4)


def test_queries_without_relevant_ids_are_left_out_and_said(agentmem: Cli, ingested: Ingested) -> None:
    file = agentmem.write("q.jsonl", {"query": "tea"}, NUTS, {"query": "tea", "relevant": []})
    result = agentmem("eval", file, "--store", ingested.store, "--modes", "meaning", "--json")
    assert (result.json()["queries"], result.json()["unlabelled"]) == (1, 2)
    assert f"{ingested.store}: 2 queries have no relevant ids, and were left out" in result.stderr


@pytest.mark.parametrize(
    ("content", "code", "error"),
    [
        (b"", 2, 'q.jsonl: no query has relevant ids: add them as "relevant"'),
        (b'{"query":"tea"}\n', 2, 'q.jsonl: no query has relevant ids: add them as "relevant"'),
        (
            b'{"query":"tea","relevant":["a"]}\n{"query":"tea","relevant":"a"}\n',
            1,
            "q.jsonl:2: relevant must be a list of ids, not a string: correct the line or leave it out",
        ),
    ],
    ids=["empty", "unlabelled", "bad line"],
)
def test_a_file_that_gives_no_figures_is_one_line(
    content: bytes, code: int, error: str, agentmem: Cli, ingested: Ingested
) -> None:
    (agentmem.folder / "q.jsonl").write_bytes(content)
    result = agentmem("eval", "q.jsonl", "--store", ingested.store)
    assert (result.exit_code, result.error()) == (code, error)


@pytest.mark.parametrize("modes", ["", "best", "meaning,", "meaning,meaning"])
def test_modes_are_different_ones_that_there_are(modes: str, agentmem: Cli) -> None:
    result = agentmem("eval", QUERIES, "--modes", modes)
    assert result.exit_code == 2
    assert (
        result.error() == f"--modes {modes}: give one or more of hybrid, meaning, words, each once, separated by commas"
    )


def test_a_store_is_not_compared_with_itself(agentmem: Cli) -> None:
    result = agentmem("eval", QUERIES, "--store", "one", "--against", "one")
    assert (result.exit_code, result.error()) == (2, "--against one is the same store: give another one")


def test_a_missing_store_is_one_line(agentmem: Cli, ingested: Ingested) -> None:
    for options in (("--store", "nowhere"), ("--store", ingested.store, "--against", "nowhere")):
        result = agentmem("eval", QUERIES, *options)
        assert result.exit_code == 1
        assert result.error().startswith(f"no store at {agentmem.folder}/nowhere")


def test_hostile_queries_and_ids_are_shown_and_not_obeyed(agentmem: Cli, ingested: Ingested) -> None:
    hostile = "[red]x[/red] [/] :smile: \x1b[31m \x9b \u202e \x07 \n z"
    file = agentmem.write("q.jsonl", {"query": hostile, "relevant": [hostile]})
    for options in ((), ("--json",)):
        result = agentmem("eval", file, "--store", ingested.store, "--modes", "meaning", *options)
        assert result.exit_code == 0
        assert_inert(result.stdout)
        assert_inert(result.stderr)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A folder with a file of LoCoMo's shape, and the store that it was ingested into."""
    agentmem = Cli(tmp_path_factory.mktemp("published"))
    written(agentmem.folder / "locomo10.json", LOCOMO, 1)
    ingest = ("ingest", "locomo10.json", "--format", "locomo", "--store", "store")
    report = agentmem(*ingest, "--json", "--progress", "none").json()
    assert (report["read"], report["added"], report["rejected"]) == (3, 3, 0)
    return agentmem


def test_a_published_data_set_is_ingested_and_evaluated_with_two_commands(published: Cli) -> None:
    asked = ("eval", "locomo10.json", "--format", "locomo", "--store", "store", "--by", "category")
    found = published(*asked, "--json").json()
    assert (found["queries"], found["unlabelled"]) == (2, 1)
    assert [query["relevant"] for query in found["runs"][0]["per_query"]] == [["7:D1:1"], ["7:D2:1"]]
    assert [(group["value"], group["queries"]) for group in found["by"]["groups"]] == [("1", 1), ("2", 1)]
    assert found["runs"][0]["metrics"]["recall@10"]["mean"] == 1
    assert "By category" in published(*asked).stdout


def test_a_file_of_another_format_is_one_line_with_what_to_do(published: Cli) -> None:
    for command in (("ingest", "--progress", "none"), ("eval",)):
        result = published(*command, "locomo10.json", "--format", "longmemeval", "--store", "store")
        assert result.exit_code == 1
        assert result.error().startswith("locomo10.json: element 1: not LongMemEval, it has no ")
        assert result.error().endswith("the file looks like LoCoMo: give --format locomo")


def test_a_key_that_no_query_has_is_one_line(published: Cli) -> None:
    asked = ("eval", "locomo10.json", "--format", "locomo", "--store", "store", "--by", "colour")
    result = published(*asked, "--output", "r.json")
    assert (result.exit_code, (published.folder / "r.json").exists()) == (2, False)
    assert result.stderr.splitlines()[-1].endswith('no query has "colour": the queries have "category"')


def test_a_bound_that_is_missed_for_certain_is_exit_code_4_and_in_every_report(
    agentmem: Cli, ingested: Ingested
) -> None:
    bounds = ("--min", "ndcg@10=0.99", "--min", "recall@10=0.1")
    reports = ("--output", "r.json", "--output", "r.md", "--output", "r.html", "--junit", "r.xml", "--github-summary")
    asked = ("eval", QUERIES, "--store", ingested.store, "--mode", "words", *bounds, *reports)
    result = agentmem(*asked, variables={"GITHUB_STEP_SUMMARY": "summary.md"})
    assert result.exit_code == 4
    assert re.fullmatch(
        r"agentmem: error: gate: ndcg@10 words is 0\.\d+ \(95 %: [\d.]+ to [\d.]+\), and should be at least 0\.99\n",
        result.stderr,
    )
    written_json = json.loads((agentmem.folder / "r.json").read_text(encoding="utf-8"))
    assert [(verdict["metric"], verdict["outcome"]) for verdict in written_json["gate"]] == [
        ("ndcg@10", "missed"),
        ("recall@10", "met"),
    ]
    assert [run["mode"] for run in written_json["runs"]] == ["words"]
    markdown = (agentmem.folder / "r.md").read_text(encoding="utf-8")
    assert "| nDCG@10, words |" in markdown
    assert (agentmem.folder / "summary.md").read_text(encoding="utf-8") == markdown
    assert "nDCG@10, words" in (agentmem.folder / "r.html").read_text(encoding="utf-8")
    suite = ElementTree.parse(agentmem.folder / "r.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_a_bound_inside_the_interval_is_not_certain_and_passes(agentmem: Cli, ingested: Ingested) -> None:
    asked = ("eval", QUERIES, "--store", ingested.store, "--mode", "words")
    low, high = (agentmem(*asked, "--json").json()["runs"][0]["metrics"]["mrr"][side] for side in ("low", "high"))
    result = agentmem(*asked, "--min", f"MRR={(low + high) / 2}")
    assert result.exit_code == 0
    assert result.stderr.startswith("agentmem: not certain: mrr words is 0.")
    assert result.stderr.endswith("; more queries would decide\n")


def test_a_store_that_loses_too_much_against_another_is_exit_code_4(
    agentmem: Cli, ingested: Ingested, filled: str
) -> None:
    answers = [json.loads(line)["relevant"] for line in QUERIES.read_text(encoding="utf-8").splitlines()]
    assert agentmem("delete", *{id for ids in answers for id in ids}, "--yes", "--store", filled).exit_code == 0
    asked = ("eval", QUERIES, "--store", filled, "--against", ingested.store, "--mode", "words", "--worst", "0")
    result = agentmem(*asked, "--max-loss", "0.02")
    assert result.exit_code == 4
    assert "and should be at most 0.02" in result.stderr.splitlines()[-1]
    shown = " ".join(result.stdout.split())
    assert shown.endswith("by more than chance.")
    assert f"Use {ingested.store} (all-MiniLM-L6-v2): in words mode, its nDCG@10 is better" in shown
    back = ("eval", QUERIES, "--store", ingested.store, "--against", filled, "--mode", "words", "--max-loss", "0.02")
    assert agentmem(*back).exit_code == 0


def test_the_options_of_search_rank_here_too(agentmem: Cli, ingested: Ingested) -> None:
    asked = ("eval", QUERIES, "--store", ingested.store, "--mode", "hybrid", "--json")
    plain, without = (agentmem(*asked, *more).json() for more in ((), ("--recency-half-life", "1d")))
    first, second = (
        [query["first_hit"]["score"] for query in found["runs"][0]["per_query"]] for found in (plain, without)
    )
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--min", "ndcg@10"), "--min ndcg@10: give METRIC=VALUE, such as ndcg@10=0.5; a metric is one of recall@1, "),
        (("--min", "bleu=0.5"), "--min bleu=0.5: give METRIC=VALUE"),
        (("--min", "mrr=50"), "--min mrr=50: give METRIC=VALUE"),
        (("--max-loss", "0.1"), "--max-loss needs a store to compare with: give --against STORE"),
        (("--mode", "words", "--modes", "words"), "give either --mode, to measure one, or --modes, to compare several"),
        (("--output", "r.csv"), "--output r.csv: the ending must name a format: .json, .md, .html"),
        (("--github-summary",), "--github-summary: GITHUB_STEP_SUMMARY is not set"),
    ],
)
def test_a_gate_that_cannot_be_judged_is_refused_before_a_store_is_opened(
    arguments: tuple[str, ...], error: str, agentmem: Cli
) -> None:
    result = agentmem("eval", QUERIES, "--store", "nowhere", *arguments)
    assert result.exit_code == 2
    assert result.error().startswith(error)


def test_the_report_never_replaces_the_queries(agentmem: Cli, ingested: Ingested) -> None:
    file = agentmem.write("q.json", NUTS)
    result = agentmem("eval", file, "--store", ingested.store, "--output", file)
    assert (result.exit_code, result.error()) == (2, "--output q.json is an input of this command: give another file")
