"""Many clients at once: what threads and processes did is what is reported, and none of it outlives the benchmark."""

import csv
import io
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import IO

import jsonschema
import orjson
import pytest
from rich.console import Console

from agentmem_cli import AgentMem
from agentmem_cli.bench import machine, workload
from agentmem_cli.bench.clients import add_at_once, readers, search_at_once
from agentmem_cli.bench.figures import figures_of
from agentmem_cli.bench.growth import grow_here, write_growth
from agentmem_cli.bench.place import Place
from agentmem_cli.bench.recall import searches_by_ef
from agentmem_cli.bench.result_file import as_bytes, result_schema
from agentmem_cli.bench.runner import Bench, Subject
from agentmem_cli.bench.workload import BenchOptions, asked, make_workload
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Vectors
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import EmbeddingError, StoreError, UsageError
from agentmem_cli.report.bench_report import bench_document, with_figures
from agentmem_cli.report.export import csv_text, result_as_file
from agentmem_cli.report.markdown import markdown
from agentmem_cli.report.terminal import bench_report
from agentmem_cli.report.translations import LANGS, Lang, Words
from tests.bench_results import bench_result, used_at_once
from tests.fakes import FakeEmbedder
from tests.tiny_models import onnx_folder

WORKLOAD = replace(make_workload("mixed", 1100, 10), queries=make_workload("mixed", 10, 10).queries[:12])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a graph that a benchmark has grown and kept."""
    folder = tmp_path_factory.mktemp("grown")
    growth = write_growth(replace(WORKLOAD, queries=()), [1100], Place(folder), kept=str(folder / "store"))
    list(grow_here(FakeEmbedder, growth))
    return folder / "store"


def test_threads_add_every_line_once_and_each_call_is_timed(tmp_path: Path) -> None:
    embedder = FakeEmbedder(token_limit=100)
    sample = add_at_once(embedder, WORKLOAD.batch(30, 0), 7, Place(tmp_path))
    assert len(sample.latencies_s) == embedder.texts_embedded == 30
    assert 0 < max(sample.latencies_s) <= sample.total_s
    assert list(tmp_path.iterdir()) == []


def test_threads_search_the_store_that_was_kept_and_leave_it_as_it_was(store: Path) -> None:
    before = {path.name: path.stat().st_size for path in store.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    sample = search_at_once(FakeEmbedder(), list(WORKLOAD.queries[:7]), 4, str(store))
    assert len(sample.latencies_s) == 6  # the first query is a warm-up
    after = {path.name: path.stat().st_size for path in store.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert before == after


def test_a_failure_of_one_thread_ends_the_others_at_once(store: Path) -> None:
    class Failing(FakeEmbedder):
        asked = 0

        def embed_query(self, query: str) -> Vectors:
            self.asked += 1
            if query == "fails":
                raise EmbeddingError("no power")
            return super().embed_query(query)

    embedder, threads = Failing(), threading.active_count()
    with pytest.raises(EmbeddingError, match="no power"):
        search_at_once(embedder, ["warm-up", "first", "fails", *["more"] * 400], 2, str(store))
    assert embedder.asked < 100
    assert threading.active_count() == threads


def test_no_query_is_asked_twice() -> None:
    turns = asked(WORKLOAD.queries, 3), asked(WORKLOAD.queries, 4)
    texts = [next(queries) for queries in turns for _ in range(30)]
    assert len(set(texts)) == 60


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelChoice:
    return ModelChoice(path=str(onnx_folder(tmp_path_factory.mktemp("tiny") / "model")))


def test_processes_search_while_one_adds_on_copies_of_the_store(tiny: ModelChoice, tmp_path: Path) -> None:
    embedder = catalog.load(catalog.resolve(tiny), tiny)
    growth = write_growth(WORKLOAD, [50], Place(tmp_path), kept=str(tmp_path / "store"))
    list(grow_here(lambda: embedder, replace(growth, queries=[])))
    copies = tmp_path / "copies"
    copies.mkdir()
    with readers(1, embedder, tiny, WORKLOAD, str(tmp_path / "store"), Place(copies)) as processes:
        searches, adds = processes.window(0, searching=True, adding=True, window_s=0.1)
        assert len(searches.latencies_s) > 0
        assert len(adds.latencies_s) > 0
        alone, none = processes.window(1, searching=True, adding=False, window_s=0.1)
        assert (len(alone.latencies_s) > 0, none.latencies_s) == (True, [])
    assert list(copies.iterdir()) == []
    with AgentMem(tmp_path / "store", embedder=embedder) as mem:
        assert len(mem) == 50


def test_a_process_that_cannot_load_its_model_is_told_in_one_line(
    tiny: ModelChoice, store: Path, tmp_path: Path
) -> None:
    with (
        pytest.raises(StoreError, match=r"the process that measures searches with fake failed: .*fake"),
        readers(1, FakeEmbedder(), tiny, WORKLOAD, str(store), Place(tmp_path)) as processes,
    ):
        processes.window(0, searching=True, adding=False)


def test_the_processes_end_when_the_benchmark_is_interrupted(
    tiny: ModelChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = catalog.load(catalog.resolve(tiny), tiny)
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], *, stdin: int, stdout: int, stderr: IO[bytes]) -> None:
            super().__init__(command, stdin=stdin, stdout=stdout, stderr=stderr)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    with (
        pytest.raises(KeyboardInterrupt),
        readers(2, embedder, tiny, WORKLOAD, str(tmp_path / "store"), Place(tmp_path)),
    ):
        raise KeyboardInterrupt
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2


def test_more_candidates_find_more_and_those_in_use_are_always_there(store: Path) -> None:
    runs = searches_by_ef(FakeEmbedder(), str(store), WORKLOAD.queries, [10, 1000], rounds=2)
    assert [(run.ef, run.used_by) for run in runs] == [(10, []), (128, ["meaning"]), (200, ["hybrid"]), (1000, [])]
    assert {(len(run.found), len(run.searches_s), run.memories) for run in runs} == {(12, 24, 1100)}
    assert sum(runs[0].found) < sum(runs[-1].found) == 120


def test_figures_are_medians_of_the_rounds_against_one_thread_or_the_same_work_alone() -> None:
    result = used_at_once(bench_result())
    figures = figures_of(result, result.models[0])
    one, four = figures.clients
    assert one.adds.ratio is None
    assert (four.adds.calls_per_s, four.adds.ratio, four.searches.ratio) == pytest.approx((250, 2.5, 1.1))
    assert four.adds.ratio_interval is not None
    assert four.adds.latencies.p99_ms == pytest.approx(10)
    assert figures.processes is not None
    assert figures.processes.searches_beside_writer.ratio == pytest.approx(0.75)
    assert figures.processes.adds_beside_readers.ratio == pytest.approx(0.7)
    assert [(run.ef, run.recall_at_10) for run in figures.ef] == [(16, 0.75), (128, 0.95), (200, 1.0)]


def test_a_ratio_is_of_the_same_round() -> None:
    result = used_at_once(bench_result())
    one, four = result.models[0].clients
    slower = [replace(sample, total_s=sample.total_s * (1 + turn)) for turn, sample in enumerate(one.adds)]
    ratios = [2, 2, 8, 2, 2]
    faster = [replace(sample, total_s=sample.total_s / ratio) for sample, ratio in zip(slower, ratios, strict=True)]
    runs = [replace(one, adds=slower), replace(four, adds=faster)]
    figures = figures_of(result, replace(result.models[0], clients=runs)).clients[1].adds
    assert figures.ratio == pytest.approx(2)
    assert figures.ratio_interval is not None
    assert figures.ratio_interval.low == pytest.approx(2)


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_figure_of_the_tables_is_cut_off(lang: Lang, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    for part in bench_report(with_figures(used_at_once(bench_result())), Words(lang)):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "…" not in shown
    for figure in ("250", "2.50x", "0.75x", "0.70x", "0.9500", "0.300", "10.00"):
        assert figure in shown


def test_the_chinese_report_answers_the_earlier_one_s_multi_thread_mode() -> None:
    shown = markdown(bench_document(with_figures(used_at_once(bench_result())), Words("zh")))
    assert "### 多线程添加" in shown
    assert "**Phase 1 多线程 (快速模式)**: 2,500 ops/s；本次最高 250 ops/s (4 线程)" in shown
    assert "### 召回率与延迟: 1,000 条记忆的图索引" in shown


def test_a_page_has_a_plot_of_recall_with_every_ef() -> None:
    page = result_as_file(with_figures(used_at_once(bench_result())), "r.html", Words("en")).decode()
    plot = page.partition('aria-label="Recall against latency of the graph"')[2].partition("</svg>")[0]
    assert all(f">{ef}<" in plot for ef in (16, 128, 200))


def test_the_result_file_and_the_csv_have_every_call() -> None:
    result = used_at_once(bench_result())
    jsonschema.Draft202012Validator(result_schema()).validate(orjson.loads(as_bytes(result)))
    rows = list(csv.DictReader(io.StringIO(csv_text(result))))
    counts = {
        (what, stage): sum((row["what"], row["stage"]) == (what, stage) for row in rows)
        for what, stage in (
            ("clients 4", "add"),
            ("clients 4", "search"),
            ("2 processes, one adding", "search"),
            ("one process, 2 searching", "add, total"),
            ("ef 128", "search"),
            ("ef 128", "graph found"),
        )
    }
    assert list(counts.values()) == [500, 500, 500, 5, 20, 2]


class Stopping:
    """Steps of a run that is interrupted at the second step of this name."""

    def __init__(self, name: str) -> None:
        self.name, self.seen = name, 0

    def __call__(self, step: str) -> None:
        self.seen += self.name in step
        if self.seen == 2:
            raise KeyboardInterrupt


def bench_of(options: BenchOptions, on_step: Stopping, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(machine, "sgemm_flop_per_s", lambda: 1e11)
    monkeypatch.setattr(workload, "ADDS", 12)
    monkeypatch.setattr(workload, "SEARCHES", 12)
    monkeypatch.setattr(machine, "fsync_times_s", lambda folder: [0.001])
    subject = Subject(FakeEmbedder, lambda growth: grow_here(FakeEmbedder, growth))
    return Bench([subject], WORKLOAD, options, on_step)


CLIENTS = BenchOptions([10], singles=10, repeats=2, warmup=0, clients=[1, 2])


def test_a_run_has_each_number_of_threads_in_each_round_and_every_ef(monkeypatch: pytest.MonkeyPatch) -> None:
    result = bench_of(replace(CLIENTS, scale=[1000], ef=[16]), Stopping("never"), monkeypatch).run()
    (model,) = result.models
    assert (result.config.clients, result.config.ef) == ([1, 2], [16])
    assert [(run.clients, len(run.adds), len(run.searches)) for run in model.clients] == [(1, 2, 2), (2, 2, 2)]
    assert {len(sample.latencies_s) for run in model.clients for sample in run.adds} == {12}
    assert {len(sample.latencies_s) for run in model.clients for sample in run.searches} == {12}
    assert [run.ef for run in model.ef] == [16, 128, 200]


def test_an_interrupted_run_keeps_the_rounds_that_were_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(CLIENTS, Stopping("clients at once: 1"), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    (model,) = bench.result().models
    assert [(run.clients, len(run.adds)) for run in model.clients] == [(1, 1), (2, 1)]
    assert bench_document(with_figures(bench.result()), Words("en")).sections


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"clients": [0]}, "--clients"),
        ({"clients": [4, 4]}, "--clients names a number twice"),
        ({"processes": -1}, "--processes -1"),
        ({"ef": [9]}, "--ef"),
        ({"ef": [16, 16]}, "--ef names a value twice"),
    ],
)
def test_impossible_numbers_are_refused(wrong: dict[str, int | list[int]], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        BenchOptions([1000], **wrong)  # type: ignore[arg-type]


def test_ef_is_refused_where_the_store_gets_no_graph() -> None:
    with pytest.raises(UsageError, match="--ef needs a store with a graph: give --scale 1000 or more"):
        BenchOptions([10], ef=[16])


def test_a_workload_has_enough_memories_for_the_threads() -> None:
    assert BenchOptions([10], clients=[1, 200]).memories == 800
