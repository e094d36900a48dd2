"""What `agentmem bench` and `bench show` write beside the terminal: by ending, in two languages, for CI."""

import csv
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agentmem_cli.bench.result_file import as_bytes, read_result
from tests.bench_results import bench_result, full_result
from tests.e2e.conftest import Cli, assert_inert
from tests.unit.test_report import HOSTILE


@pytest.fixture
def stored(agentmem: Cli) -> str:
    """The name of a result in the folder of `agentmem`."""
    (agentmem.folder / "r.json").write_bytes(as_bytes(bench_result()))
    return "r.json"


def text_of(agentmem: Cli, name: str) -> str:
    return (agentmem.folder / name).read_text(encoding="utf-8")


def test_one_run_is_written_in_every_format(static: Cli) -> None:
    outputs = [part for name in ("r.html", "r.md", "r.csv", "r.json") for part in ("--output", name)]
    run = (
        "bench",
        "--sizes",
        "10",
        "--singles",
        "10",
        "--repeats",
        "1",
        "--warmup",
        "0",
        "--model",
        "minilm-static",
        "--quiet",
    )
    ci = ("--junit", "r.xml", "--github-summary", "--lang", "zh")
    result = static(*run, "--quiet", *outputs, *ci, variables={"GITHUB_STEP_SUMMARY": "summary.md"})
    assert (result.exit_code, result.stderr) == (0, "")
    assert "批量模式性能" in result.stdout
    measured = read_result((static.folder / "r.json").read_bytes(), "r.json")
    (sample,) = measured.models[0].batches[0].samples
    rows = list(csv.DictReader(text_of(static, "r.csv").splitlines()))
    assert float(rows[0]["value"]) == sample.total_s
    assert text_of(static, "r.md").startswith("# Phase 4: 批量模式性能测试报告\n")
    assert "<title>Phase 4: 批量模式性能测试报告</title>" in text_of(static, "r.html")
    assert text_of(static, "summary.md") == text_of(static, "r.md")
    assert len(ElementTree.fromstring(text_of(static, "r.xml").encode()).findall("testsuite/testcase")) == 3


def test_a_stored_result_is_shown_as_it_was_when_it_was_measured(agentmem: Cli, stored: str) -> None:
    english, chinese = agentmem("bench", "show", stored), agentmem("bench", "show", stored, "--lang", "zh")
    assert "Batches: parsed, embedded, durable and searchable" in english.stdout
    assert "单个 vs 批量对比测试 (100条)" in chinese.stdout
    assert agentmem("bench", "show", stored, "--json").json()["models"][0]["figures"]["best_batch"] == 1000


def test_a_hostile_result_is_shown_inert(agentmem: Cli) -> None:
    (agentmem.folder / "r.json").write_bytes(as_bytes(full_result(HOSTILE)))
    result = agentmem("bench", "show", "r.json", "--output", "r.md", "--output", "r.html", "--output", "r.csv")
    assert result.exit_code == 0
    assert_inert(result.stdout)
    for name in ("r.md", "r.html", "r.csv"):
        assert_inert(text_of(agentmem, name))


def test_a_summary_is_appended_to(agentmem: Cli, stored: str) -> None:
    (agentmem.folder / "summary.md").write_text("before\n")
    agentmem("bench", "show", stored, "--github-summary", variables={"GITHUB_STEP_SUMMARY": "summary.md"})
    assert text_of(agentmem, "summary.md").startswith("before\n# Benchmark of agentmem: mixed\n")


def test_junit_of_a_missed_target_has_a_failure(agentmem: Cli) -> None:
    slow = replace(bench_result(), models=[replace(bench_result().models[0], comparison=None)])
    slow.models[0].batches.pop()
    (agentmem.folder / "slow.json").write_bytes(as_bytes(slow))
    assert agentmem("bench", "show", "slow.json", "--junit", "r.xml").exit_code == 0
    failures = ElementTree.fromstring(text_of(agentmem, "r.xml").encode()).findall("testsuite/testcase/failure")
    assert [failure.attrib["message"].partition(" is ")[0] for failure in failures] == [
        "ops_per_s best batch",
        "ms_per_memory best batch",
    ]


def test_verdicts_of_a_comparison_are_written_for_ci(agentmem: Cli, stored: str) -> None:
    outputs = ("--output", "v.json", "--output", "v.md", "--output", "v.html", "--junit", "v.xml", "--github-summary")
    result = agentmem("bench", "compare", stored, stored, *outputs, variables={"GITHUB_STEP_SUMMARY": "summary.md"})
    assert result.exit_code == 0
    assert "New against base: two results" in text_of(agentmem, "v.md")
    assert text_of(agentmem, "summary.md") == text_of(agentmem, "v.md")
    assert "<h3>New against base: two results</h3>" in text_of(agentmem, "v.html")
    (suite,) = ElementTree.fromstring(text_of(agentmem, "v.xml").encode())
    assert (suite.attrib["failures"], int(suite.attrib["tests"]) > 3) == ("0", True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--output", "r.txt"), "--output r.txt: the ending must name a format: .json, .gab.json, .md, .csv, .html"),
        (("--output", "o.json", "--output", "missing/r.md"), "--output missing/r.md: there is no such folder"),
        (("--junit", "missing/r.xml"), "--junit missing/r.xml: there is no such folder"),
        (("--github-summary",), "--github-summary: GITHUB_STEP_SUMMARY is not set"),
        (("--lang", "fr"), "'fr' is not one of 'en', 'zh'"),
    ],
)
def test_what_can_not_be_written_is_said_before_anything_is_measured(
    arguments: tuple[str, ...], said: str, agentmem: Cli, stored: str
) -> None:
    for command in (("bench",), ("bench", "show", stored)):
        result = agentmem(*command, *arguments)
        assert result.exit_code == 2
        assert said in result.error()


@pytest.mark.parametrize(("name", "said"), [("missing.json", "can't be read"), ("not.json", "is not JSON")])
def test_what_is_no_result_is_not_shown(name: str, said: str, agentmem: Cli) -> None:
    (agentmem.folder / "not.json").write_text("{")
    result = agentmem("bench", "show", name)
    assert (result.exit_code, said in result.error()) == (2, True)


def test_a_page_without_matplotlib_is_refused_and_nothing_else_needs_it(agentmem: Cli, stored: str) -> None:
    hidden = agentmem.folder / "hidden"
    hidden.mkdir()
    (hidden / "matplotlib.py").write_text("raise ModuleNotFoundError('matplotlib')\n")
    root = str(Path(__file__).parents[2])
    variables = {"PYTHONPATH": os.pathsep.join([str(hidden), root])}
    refused = agentmem.process("bench", "show", stored, "--output", "r.html", variables=variables)
    assert (refused.exit_code, "pip install matplotlib" in refused.error()) == (2, True)
    assert agentmem.process("bench", "show", stored, "--output", "r.md", variables=variables).exit_code == 0
