"""No report loses a word where the terminal is narrow: headings break, and nothing is cut off."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import RenderableType

from agentmem_cli.bench.gates import Bounds, check, check_bounds, compare, compare_rounds
from agentmem_cli.bench.result import BenchResult, ModelResult, Remedy
from agentmem_cli.report.bench_report import bench_document, with_figures
from agentmem_cli.report.document import Document
from agentmem_cli.report.evaluation_report import Evaluated, evaluation_document
from agentmem_cli.report.gate_report import gate_document
from agentmem_cli.report.store_tables import stats_tables
from agentmem_cli.report.terminal import renderables
from agentmem_cli.report.translations import LANGS, Lang, Words
from agentmem_cli.search.evaluation import Comparison
from agentmem_cli.search.evaluation import compare as compare_runs
from agentmem_cli.store.base import StoreStats
from tests.bench_results import batch_run, bench_result, comparison, full_result, model_result
from tests.unit.test_evaluation_gate import run, share
from tests.unit.test_report import rendered

WIDTHS = (60, 80, 120)
FOLDED = 10  # longer words are names of models and files, which may be folded
NAME = "all-MiniLM-L6-v2"


def slow(measured: ModelResult) -> ModelResult:
    """The same as on a slow machine, where figures are long and their intervals wide."""
    runs = [batch_run(size, [size * 0.0035 * share for share in (0.8, 0.9, 1, 1.1, 1.2)]) for size in (10, 500, 1000)]
    remedies = [
        Remedy("int8", "", 1.9, [0.5] * 5, [0.25] * 5, 0.99),
        Remedy("clients", "32", 9.0, [0.5] * 5, [0.1] * 5),
    ]
    return replace(
        measured,
        batches=runs,
        comparison=comparison([12.0, 12.5, 13.0, 13.5, 14.0], [2.5, 2.6, 2.7, 2.8, 2.9]),
        remedies=remedies,
    )


def bench_documents(words: Words) -> list[Document]:
    one, several = bench_result(slow(model_result(NAME))), full_result(NAME)
    grown = replace(one, models=[slow(several.models[0])])
    bounds = Bounds(min_ops=5000, max_ms=1, min_speedup=5, min_recall=0.9)
    return [bench_document(with_figures(r, check(r, bounds)), words) for r in (one, several, grown)]


def gate_documents(words: Words) -> list[Document]:
    result: BenchResult = full_result(NAME)
    names = ("results/base.json", "results/new.json")
    reports = compare(result, result, names, 0.1), compare_rounds([result] * 6, [result] * 6, names, 0.1)
    return [gate_document(report, words) for report in reports]


def evaluation_documents() -> list[Document]:
    mine, other = run(share(100, 50)), run(share(100, 80), "meaning")
    against = [Comparison(other, mine, compare_runs(other.evaluation, mine.evaluation))]
    verdicts = check_bounds(mine, {"ndcg@10": 0.5, "recall@10": 0.4})
    return [evaluation_document(Evaluated.of([mine, other], against, verdicts, worst=3))]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("lang", LANGS)
def test_no_heading_and_no_figure_of_a_report_is_cut(width: int, lang: Lang) -> None:
    words = Words(lang)
    documents = [*bench_documents(words), *gate_documents(words)]
    documents += evaluation_documents() if lang == "en" else []
    for document in documents:
        shown = whole(renderables(document), width)
        tables = [table for section in document.sections for table in section.tables]
        assert tables
        for table in tables:
            texts = [column.heading for column in table.columns] + [cell.text for row in table.rows for cell in row]
            lost = {word for text in texts for word in text.split() if cell_len(word) <= FOLDED and word not in shown}
            assert lost == set(), table.title


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_of_the_statistics_of_a_store_is_cut(width: int) -> None:
    scopes = {"user_id": {"maya": 12_345, "a-very-long-user-name@example.org": 3, "": 1}}
    files = {"memories.db": 123_456_789, "index/0000000123.hnsw": 987_654_321}
    graph: dict[str, int | str] = {"state": "complete", "vectors": 123_456, "scanned": 789}
    stats = StoreStats(123_456, 7, 123_400, 12, 3, 5, scopes, files, {"name": NAME, "dim": 384}, graph)
    shown = whole(stats_tables(stats, "/home/someone/projects/assistant/.agentmem"), width)
    for word in ("memories", "12,345", "longer", "987,654,321", "bytes", "value", "123,456"):
        assert word in shown


def whole(tables: Sequence[RenderableType], width: int) -> str:
    shown = rendered(*tables, width=width)
    assert "…" not in shown
    assert max(cell_len(line.rstrip()) for line in shown.splitlines()) <= width
    return shown
