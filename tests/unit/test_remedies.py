"""Remedies: planned from a run, tried in turn, and reported with what they cost and with three ways to go on."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from agentmem_cli.bench import remedies
from agentmem_cli.bench.figures import figures_of
from agentmem_cli.bench.place import Place
from agentmem_cli.bench.remedies import advised
from agentmem_cli.bench.result import BenchResult, Remedy
from agentmem_cli.bench.waiting_server import waiting_server
from agentmem_cli.bench.workload import make_workload
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.report.bench_report import bench_document, with_figures
from agentmem_cli.report.document import Section
from agentmem_cli.report.markdown import markdown
from agentmem_cli.report.translations import Words
from tests.bench_results import batch_run, bench_result, full_result, model_result
from tests.tiny_models import onnx_folder


def with_remedies(*remedies: Remedy) -> BenchResult:
    result = full_result("all-MiniLM-L6-v2")
    return replace(result, models=[replace(result.models[0], remedies=list(remedies))])


def sections(result: BenchResult) -> list[Section]:
    """What limits it, what would help, and the next steps."""
    shown = {section.title: section for section in bench_document(with_figures(result), Words("en")).sections}
    return [shown[title] for title in ("What limits it", "What would help", "Next steps")]


def test_what_is_tried_fits_the_model_and_has_its_prediction_and_a_sample_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remedies, "ROUNDS", 3)
    choice = ModelChoice(path=str(onnx_folder(tmp_path / "model")))
    runs = [batch_run(10, [0.02] * 3), batch_run(100, [0.1] * 3)]
    measured = bench_result(model_result(runs=runs))
    result = advised(measured, choice, make_workload("mixed", 100, 10), Place(tmp_path), lambda step: None, 5.0)
    found = figures_of(result, result.models[0]).remedies
    assert [(remedy.name, remedy.at) for remedy in found] == [
        ("repeats", "50%"),
        ("repeats", "90%"),
        ("larger", "10 → 100"),
        ("clients", "32"),
        ("server", "5"),
    ]
    assert all(remedy.predicted_speedup > 0 for remedy in found)
    assert {len(times) for r in result.models[0].remedies for times in (r.base_s, r.remedy_s)} == {3}
    assert found[2].speedup > 1


_FOUND = (
    Remedy("int8", "", 2.0, [1.0, 1.1, 1.2], [0.5, 0.5, 0.5], cosine=0.991),
    Remedy("static", "", 30.0, [1.0, 1.1, 1.2], [0.04, 0.04, 0.04]),
    Remedy("threads", "2 → 1", 0.5, [1.0, 1.1, 1.2], [2.0, 2.1, 2.2]),
    Remedy("clients", "32", 2.5, [1.0, 1.1, 1.2], [0.5, 0.4, 0.5]),
)


def test_the_report_says_what_was_predicted_what_it_brought_and_what_it_costs() -> None:
    limits, advice, steps = sections(with_remedies(*_FOUND))
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in advice.tables[0].rows}
    assert rows["--model minilm-int8"][:2] == ["2.00x", "2.20x"]
    assert "cosine 0.9910" in rows["--model minilm-int8"][-1]
    assert "nDCG@10" in rows["--model minilm-static"][-1]
    assert steps.sentences[0].startswith("1. Go on with this model: --model minilm-int8 made it 2.20x as fast here")
    assert steps.sentences[1].startswith("2. Accept it:")
    assert "32 clients at once 2.4x" in steps.sentences[2]
    assert not any("--advise" in sentence for sentence in limits.sentences)


def test_a_run_without_trials_names_the_option_and_invents_nothing() -> None:
    limits, advice, steps = sections(with_remedies())
    assert not advice.tables
    assert not steps.sentences
    assert "--advise" in limits.sentences[-1]


@pytest.mark.parametrize(
    "heading", ["## 📊 测试结果总结", "## 🔍 关键发现", "## 📈 性能优化建议", "## ✅ 完成状态", "## 🎯 下一步建议"]
)
def test_the_chinese_document_has_the_headings_of_the_earlier_report(heading: str) -> None:
    assert heading in markdown(bench_document(with_figures(with_remedies(*_FOUND)), Words("zh")))


def test_a_waiting_server_gives_each_text_a_vector_of_its_own_after_the_latency() -> None:
    texts = [f"text {number}" for number in range(100)]
    with waiting_server(0.01, 8) as server:
        start = time.perf_counter()
        vectors = server.embedder.embed([*texts, texts[0]]).vectors
        assert time.perf_counter() - start >= 0.01
    assert vectors.shape == (101, 8)
    assert (vectors[0] == vectors[-1]).all()
    assert len({vector.tobytes() for vector in vectors}) == len(texts)
    assert server.embedding_s(1) >= 0.01 + server.request_s


def test_a_report_of_several_models_says_what_takes_longest_with_each() -> None:
    one = full_result("all-MiniLM-L6-v2")
    other = replace(one.models[0], model=replace(one.models[0].model, name="another"))
    text = markdown(bench_document(with_figures(replace(one, models=[*one.models, other])), Words()))
    assert "all-MiniLM-L6-v2: The longest part is" in text
    assert "another: The longest part is" in text
