"""With the figures of the seed's report, the Chinese report has its tables: heading for heading, cell for cell."""

from dataclasses import replace

import pytest

from agentmem_cli.bench.gates import compare_phases
from agentmem_cli.bench.result import BatchRun, BenchResult, CallsSample, Comparison, IngestSample, TokenCounts
from agentmem_cli.report.bench_report import bench_document, with_figures
from agentmem_cli.report.gate_report import gate_document
from agentmem_cli.report.markdown import markdown
from agentmem_cli.report.translations import Words
from tests.bench_results import bench_result, model_result

SEED = """\
### 批量模式性能
| 批次大小 | 总时间 | 平均延迟 | 吞吐量 | 目标达成率 |
| 10 | 31.43ms | 3.143ms/条 | **318.12 ops/s** | 6% |
| 50 | 92.66ms | 1.853ms/条 | **539.59 ops/s** | 11% |
| 100 | 147.16ms | 1.472ms/条 | **679.52 ops/s** | 14% |
| 500 | 687.72ms | 1.375ms/条 | **727.04 ops/s** | 15% |
| 1000 | 1331.10ms | 1.331ms/条 | **751.26 ops/s** | 15% |
### 单个 vs 批量对比测试 (100条)
| 模式 | 总时间 | 吞吐量 | 加速比 |
| 单个添加 | 255.63ms | 391.20 ops/s | 1.0x |
| 批量添加 | 68.75ms | 1454.57 ops/s | **3.72x** |
**时间节省**: 73.1%
**批量优化效果**: ✅ 良好 (3-5x)
### 目标达成情况
| 目标 | 预期 | 实际 | 状态 |
| 批量吞吐量 | 5,000+ ops/s | 751.26 ops/s | ⚠️ 未达标 |
| 平均延迟 | < 1ms/条 | 1.331ms/条 | ⚠️ 未达标 |
| 批量加速比 | 5x+ | 3.72x | ⚠️ 接近目标 |
**实际性能**: 751.26 ops/s (批次1000)
**目标性能**: 5,000 ops/s
**差距**: 未达到目标 (15% of target)
"""


COUNTS = TokenCounts(100, 1200, 200, 0, 0)


@pytest.fixture
def seed() -> BenchResult:
    """What the seed's report says was measured, in each of five repeats."""
    rates = {10: 318.12, 50: 539.59, 100: 679.52, 500: 727.04, 1000: 751.26}
    runs = [
        BatchRun(size, TokenCounts(size, 30 * size, 0, 0, 0), [IngestSample(size / rate, {})] * 5)
        for size, rate in rates.items()
    ]
    compared = Comparison(100, COUNTS, [CallsSample(0.255626, [])] * 5, [IngestSample(0.0687488, {})] * 5)
    measured = replace(model_result(runs=runs), comparison=compared, stores=[], cold_start=None)
    result = bench_result(measured)
    return replace(result, workload=replace(result.workload, name="phase4"))


def test_the_seed_s_report_comes_out_of_the_seed_s_figures(seed: BenchResult) -> None:
    lines = [line.strip() for line in markdown(bench_document(with_figures(seed), Words("zh"))).splitlines()]
    found = [line for line in lines if line in SEED.splitlines()]
    assert found == SEED.splitlines()
    assert lines[0] == "# Phase 4: 批量模式性能测试报告"


PHASES = """\
## 与 Phase 1 对比
| 项目 | Phase 1 | Phase 4 | 比值 |
| 批量10条 | - | 318.12 ops/s | **-** |
| 批量1000条 | 1,050.42 ops/s | 751.26 ops/s | **0.72x** |
| 单个添加100条 | 391.20 ops/s | 391.20 ops/s | **1.00x** |
| 批量加速比 (100条) | 3.72x | 3.72x | **1.00x** |
差异原因:
- 线程数：Phase 1 使用 1，Phase 4 使用 2
- agentmem：Phase 1 使用 0.0.9，Phase 4 使用 0.1.0
"""


def test_two_phases_stand_side_by_side_with_the_reasons_for_their_differences(seed: BenchResult) -> None:
    measured = seed.models[0]
    run = replace(measured.batches[-1], samples=[IngestSample(1000 / 1050.42, {})] * 5)
    first = replace(
        seed,
        models=[replace(measured, batches=[run])],
        environment=replace(seed.environment, agentmem="0.0.9"),
        config=replace(seed.config, threads=1),
    )
    report = compare_phases(first, seed, ("Phase 1", "Phase 4"), 0.1)
    text = markdown(gate_document(report, Words("zh")))
    lines = [line.strip() for line in text.replace("\\", "").splitlines()]
    assert [line for line in lines if line in PHASES.splitlines()] == PHASES.splitlines()
    assert "Reasons for differences:" in markdown(gate_document(report, Words()))


def test_phases_of_different_models_are_compared_in_order_and_the_model_is_a_reason(seed: BenchResult) -> None:
    measured = seed.models[0]
    other = replace(seed, models=[replace(measured, model=replace(measured.model, name="other"))])
    report = compare_phases(seed, other, ("Phase 1", "Phase 4"), 0.1)
    assert {figure.new for figure in report.phases} == {figure.base for figure in report.phases}
    text = markdown(gate_document(report, Words()))
    assert "model: Phase 1 has fake (0123456789ab), Phase 4 has other (0123456789ab)" in text
    same = compare_phases(seed, seed, ("Phase 1", "Phase 4"), 0.1)
    assert "Machine, model, workload and options are the same." in markdown(gate_document(same, Words()))


@pytest.mark.parametrize(
    ("single_s", "chinese", "english"),
    [
        (0.5, "✅ 优秀 (5x 以上)", "excellent (5x or more)"),
        (0.31, "✅ 良好 (3-5x)", "good (3-5x)"),
        (0.2, "⚠️ 一般 (2-3x)", "fair (2-3x)"),
        (0.19, "❌ 较差 (2x 以下)", "poor (below 2x)"),
    ],
)
def test_the_effect_of_batching_is_named_as_the_seed_names_it(
    seed: BenchResult, single_s: float, chinese: str, english: str
) -> None:
    compared = Comparison(100, COUNTS, [CallsSample(single_s, [])], [IngestSample(0.1, {})])
    result = replace(seed, models=[replace(seed.models[0], comparison=compared)])
    assert f"**批量优化效果**: {chinese}" in markdown(bench_document(with_figures(result), Words("zh")))
    assert f"**effect of batching**: {english}" in markdown(bench_document(with_figures(result), Words()))


@pytest.mark.parametrize(
    ("tokens", "chinese", "english"),
    [
        (3100, "每条平均 31 个 token，与上表批次相同", "31 tokens a memory, as in the batches above"),
        (1200, "每条平均 12 个 token，上表 30 个", "12 tokens a memory, there 30, so figures for one size differ"),
    ],
)
def test_two_figures_for_one_size_are_explained_where_their_texts_differ(
    seed: BenchResult, tokens: int, chinese: str, english: str
) -> None:
    compared = Comparison(100, TokenCounts(100, tokens, 0, 0, 0), [CallsSample(0.3, [])], [IngestSample(0.1, {})])
    result = replace(seed, models=[replace(seed.models[0], comparison=compared)])
    assert chinese in markdown(bench_document(with_figures(result), Words("zh")))
    assert english in markdown(bench_document(with_figures(result), Words()))
