"""A result in each format: what is in it is what was measured, and nothing from outside is markup in it."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree

import orjson
import pytest

from agentmem_cli.bench.gates import Difference, GateReport, Side
from agentmem_cli.bench.result import BenchResult, BenchWarning, ModelResult, WorkloadFacts
from agentmem_cli.bench.verdict import Verdict
from agentmem_cli.errors import UsageError
from agentmem_cli.report.bench_report import bench_document, with_figures
from agentmem_cli.report.document import Document, Section, Table
from agentmem_cli.report.export import (
    COLUMNS,
    check_result_file,
    csv_text,
    junit_xml,
    of_targets,
    result_as_file,
    verdicts_as_file,
)
from agentmem_cli.report.gate_report import bounds_table, gate_document
from agentmem_cli.report.markdown import markdown
from agentmem_cli.report.translations import LANGS, TEXTS, Lang, Words
from agentmem_cli.support.safe_text import printable
from agentmem_cli.support.statistics import Interval
from tests.bench_results import bench_result, full_result, model_result

HOSTILE = "$x_{$ \ufffe\x1b[2J <script>alert(1)</script> | a **b** `c` [d](e) \u202e \n _\ud800 &amp;"
OBEYED = set("\x1b\u202e\ud800\ufffe")
VOID = {"meta"}
every_language = pytest.mark.parametrize("lang", LANGS)


def hostile_result() -> BenchResult:
    result = full_result(HOSTILE)
    result.warnings.append(BenchWarning("truncated", HOSTILE, HOSTILE, {"truncated": 2}))
    return replace(result, workload=WorkloadFacts(HOSTILE, 1), started_at=HOSTILE, complete=False)


def verdict(**changes: object) -> Verdict:
    met = Verdict("fake", "ops_per_s", "batch 100", 5100.0, 5000.0, Interval(4900.0, 5200.0), "met", True)
    return replace(met, **changes)  # type: ignore[arg-type]


def regressed() -> Verdict:
    return verdict(outcome="regressed", figure=0.8, bound=0.9, interval=Interval(0.7, 0.85), base=100.0, new=80.0)


class Page(HTMLParser):
    """Reads a page strictly: what is opened is closed, in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@cache
def page_of(make: Callable[[], BenchResult], lang: Lang) -> str:
    return result_as_file(with_figures(make()), "r.html", Words(lang)).decode()


def test_every_sample_is_a_row_of_the_csv() -> None:
    result = full_result()
    rows = list(csv.DictReader(io.StringIO(csv_text(result))))
    assert set(rows[0]) == set(COLUMNS)
    totals = [
        float(row["value"])
        for row in rows
        if (row["model"], row["what"], row["size"], row["stage"]) == ("fake", "batch", "10", "total")
    ]
    assert totals == [sample.total_s for sample in result.models[0].batches[0].samples]
    adds = [row for row in rows if (row["what"], row["stage"], row["model"]) == ("one by one", "add", "fake")]
    assert len(adds) == 500
    assert {row["repeat"] for row in adds} == {"1", "2", "3", "4", "5"}
    assert {row["what"] for row in rows} >= {"cold start", "store", "likeness", "retrieval, meaning", "machine"}
    assert all(row["value"] and None not in row for row in rows)


def test_the_points_for_an_action_have_what_it_reads_and_only_figures_of_which_more_is_better() -> None:
    measured = with_figures(full_result())
    points = orjson.loads(result_as_file(measured, "out/x.GAB.json", Words()))
    assert {frozenset(point) - {"range"} for point in points} == {frozenset({"name", "unit", "value"})}
    assert {point["unit"] for point in points} == {"ops/s", "x", "searches/s", "recall"}
    assert all(isinstance(point["value"], float) for point in points)
    assert len({point["name"] for point in points}) == len(points)


def test_a_csv_with_hostile_names_still_has_its_rows() -> None:
    text = csv_text(hostile_result())
    assert not OBEYED & set(text)
    (name, *_) = {row["model"] for row in csv.DictReader(io.StringIO(text))} - {""}
    assert "<script>alert(1)</script> | a **b**" in name


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "＝1+1", "\t=1"])
def test_no_cell_of_a_csv_is_computed_by_a_spreadsheet(name: str) -> None:
    result = replace(full_result(name), models=full_result(name).models[:1])
    result.models[0].batches[0].samples[0].stages_s[name] = -0.5
    rows = list(csv.DictReader(io.StringIO(csv_text(result))))
    shown = f"'{printable(name)}"
    assert {row["model"] for row in rows} == {shown, ""}
    assert [row["value"] for row in rows if row["stage"] == shown] == ["-0.5"]


@pytest.mark.parametrize("name", ["-5", "+1.5", "-1e-3", "7"])
def test_a_number_in_a_csv_stays_a_number(name: str) -> None:
    assert f"\n{name},batch," in csv_text(full_result(name))


@every_language
def test_a_markdown_report_has_tables_of_one_width(lang: Lang) -> None:
    for result in (bench_result(), full_result(), hostile_result()):
        for table in re.findall(
            r"(?:^\|.*\n)+", markdown(bench_document(with_figures(result), Words(lang))), re.MULTILINE
        ):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1


@every_language
def test_nothing_from_outside_is_markdown(lang: Lang) -> None:
    text = markdown(bench_document(with_figures(hostile_result()), Words(lang)))
    assert not OBEYED & set(text)
    assert "&lt;script>" in text
    assert re.search(r"(?<!\\)<[a-z/]", text) is None
    for markup in ("a **b", " `c", " [d", "_\\ud", " &amp; ", "$x"):
        assert markup not in text.replace("\\$x", "")


@pytest.mark.parametrize("opening", ["# a", "> a", "- a", "=== a", "12. a"])
def test_no_note_from_outside_is_a_heading_or_a_list(opening: str) -> None:
    document = Document(
        "en",
        "title",
        [("", opening)],
        [Section("s", [Table("t", [], [], caption=opening)], [opening])],
        notes=[opening],
    )
    lines = markdown(document).splitlines()
    assert opening not in lines
    assert sum(line.replace("\\", "") == opening for line in lines) == 4


@pytest.mark.parametrize(("result", "lang"), [(bench_result, "en"), (full_result, "en"), (full_result, "zh")])
def test_a_page_is_whole_and_refers_to_nothing_outside(result: Callable[[], BenchResult], lang: Lang) -> None:
    text = page_of(result, lang)
    page = Page(text)
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert re.search(r"https?:|@import|url\((?!#)", text) is None
    assert "prefers-color-scheme: dark" in text
    assert "script" not in page.tags
    assert page.tags.count("figure") == page.tags.count("svg") >= 5


def test_the_colours_of_plots_are_the_page_s() -> None:
    text = page_of(full_result, "en")
    assert "var(--s0)" in text
    assert "#0a0" not in text  # what was drawn in, to be replaced


def test_nothing_from_outside_is_html() -> None:
    text = page_of(hostile_result, "en")
    page = Page(text)
    assert "script" not in page.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not OBEYED & set(text)


def test_plots_are_of_what_was_measured() -> None:
    nothing = ModelResult(model_result().model)
    assert "figure" not in Page(page_of(lambda: bench_result(nothing), "en")).tags
    one, several = page_of(bench_result, "en"), page_of(full_result, "en")
    assert "Speed and quality" not in one
    assert "Speed and quality" in several
    assert "<h3>A store that grows</h3>" in several


@pytest.mark.parametrize("name", ["r", "r.html.gz", ".json"])
def test_a_file_whose_ending_is_no_format_is_refused_with_the_four(name: str) -> None:
    with pytest.raises(UsageError, match=r"\.json, \.md, \.csv, \.html"):
        check_result_file(name)


@pytest.mark.parametrize("name", ["r.json", "R.MD", "a.b/c.csv", "r.html"])
def test_the_ending_says_which_format(name: str) -> None:
    check_result_file(name)
    assert result_as_file(with_figures(bench_result()), name, Words())


@every_language
def test_verdicts_are_shown_as_tables(lang: Lang) -> None:
    report = GateReport(
        Side("base.json", "0.1.0"),
        Side(HOSTILE, "0.2.0"),
        0.1,
        7,
        [regressed()],
        [Difference("cpu", "a", "b")],
        ["x: alone"],
    )
    text = markdown(gate_document(report, Words(lang)))
    assert "| 100 | 80 | 0.800 |" in text
    assert "cpu: a against b" in text
    assert "x: alone" in text
    assert not OBEYED & set(text)
    Page(verdicts_as_file(report, "v.html", Words(lang)).decode())


def test_bounds_stand_in_the_report_of_a_run() -> None:
    missed = verdict(outcome="missed", figure=4000.0)
    text = markdown(bench_document(with_figures(bench_result(), [missed]), Words()))
    assert "| ops/s, batch 100 | 4,000 | 4,900 to 5,200 | >= 5,000 | missed |" in text
    two = bounds_table([missed, replace(missed, model="other")], Words())
    assert [row[0].text for row in two.rows] == ["fake", "other"]


def test_junit_has_a_case_a_verdict_and_a_failure_names_metric_figure_and_bound() -> None:
    unsure = verdict(outcome="inconclusive", figure=0.95, bound=0.9, base=1.0, new=0.95)
    root = ElementTree.fromstring(junit_xml("bench", [verdict(), verdict(outcome="missed", figure=4000.0), unsure]))
    (suite,) = root
    assert [suite.attrib[key] for key in ("name", "tests", "failures", "skipped")] == ["bench", "3", "1", "1"]
    assert [case.attrib["name"] for case in suite] == ["ops_per_s, batch 100"] * 3
    (failure,) = suite.findall("testcase/failure")
    assert failure.attrib["message"] == (
        "ops_per_s batch 100 is 4,000 (95 %: 4,900 to 5,200), and should be at least 5,000"
    )
    (skipped,) = suite.findall("testcase/skipped")
    assert "0.95 times the base's" in skipped.attrib["message"]
    (strict,) = ElementTree.fromstring(junit_xml("bench", [unsure], strict=True))
    assert (strict.attrib["failures"], strict.attrib["skipped"]) == ("1", "0")


def test_junit_has_a_case_for_a_figure_that_the_new_result_lacks() -> None:
    (suite,) = ElementTree.fromstring(junit_xml("gate", [verdict()], ["ops_per_s, batch 500"]))
    assert [suite.attrib[key] for key in ("tests", "failures", "skipped")] == ["2", "0", "1"]
    assert [case.attrib["name"] for case in suite if case.find("skipped") is not None] == ["ops_per_s, batch 500"]
    (strict,) = ElementTree.fromstring(junit_xml("gate", [verdict()], ["ops_per_s, batch 500"], strict=True))
    assert [strict.attrib[key] for key in ("tests", "failures", "skipped")] == ["2", "1", "0"]


def test_junit_of_hostile_names_is_xml_and_harmless() -> None:
    content = junit_xml(HOSTILE, [verdict(model=HOSTILE, at=HOSTILE, outcome="missed")])
    (suite,) = ElementTree.fromstring(content)
    assert "<script>alert(1)" in suite[0].attrib["classname"]
    assert not OBEYED & set(content.decode())


def test_junit_of_a_run_has_the_targets() -> None:
    assert [(found.metric, found.outcome) for found in of_targets(with_figures(bench_result()))] == [
        ("ops_per_s", "inconclusive"),
        ("ms_per_memory", "met"),
        ("speedup", "inconclusive"),
    ]


def test_each_language_says_everything_with_the_same_values() -> None:
    for key, (english, chinese) in TEXTS.items():
        fields = re.compile(r"\{(\w+)")
        if english and chinese:
            assert set(fields.findall(english)) == set(fields.findall(chinese)), key
        assert english or chinese, key


def test_a_warning_that_chinese_has_no_words_for_is_said_in_english() -> None:
    result = bench_result()
    result.warnings.append(BenchWarning("earlier", "an older one"))
    result.warnings.append(BenchWarning("load", "busy", data={}))
    result.warnings.append(BenchWarning("few-samples", "few", data={"repeats": 1}))
    warnings = bench_document(with_figures(result), Words("zh")).warnings
    assert warnings[:2] == ["an older one", "busy"]
    assert "1 次重复" in warnings[2]
