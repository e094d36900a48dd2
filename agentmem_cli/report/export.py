"""Results and verdicts as files, whose extension selects the format, and as JUnit XML."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Final, TypeAlias
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import orjson

from agentmem_cli.bench.figures import Figures
from agentmem_cli.bench.gates import GateReport
from agentmem_cli.bench.result import (
    BatchRun,
    BenchResult,
    CallsSample,
    Comparison,
    IngestSample,
    ModelResult,
    StorePoint,
)
from agentmem_cli.bench.result_file import as_bytes
from agentmem_cli.bench.verdict import TargetVerdict, Verdict
from agentmem_cli.errors import UsageError
from agentmem_cli.report.bench_report import Measured, bench_document
from agentmem_cli.report.document import Document
from agentmem_cli.report.gate_report import gate_document
from agentmem_cli.report.html import html
from agentmem_cli.report.markdown import markdown
from agentmem_cli.report.plots import check_matplotlib
from agentmem_cli.report.translations import Words
from agentmem_cli.support.safe_text import printable
from agentmem_cli.support.statistics import Interval

COLUMNS: Final = ("model", "what", "size", "repeat", "stage", "value", "unit")
# What a spreadsheet computes rather than shows, full-width signs among it; a number may have a sign.
_FORMULA: Final = re.compile(r"(?![+-]?\d+(\.\d+)?([eE][+-]?\d+)?$)[=+\-@＝＋－＠\t\r]")
# What was measured, of how many memories, in which repeat (from 1), which part of it, the value, its unit.
_Sample: TypeAlias = tuple[str, int | None, int | None, str, float, str]


def csv_text(result: BenchResult) -> str:
    """Every raw sample of a result, with a heading; the machine's own have no model, and what has no size none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for measured in result.models:
        name = _text(measured.model.name)
        writer.writerows((name, *map(_text, sample)) for sample in _of_model(measured))
    writer.writerows(("", *map(_text, sample)) for sample in _of_machine(result))
    return file.getvalue()


def _text(value: float | str | None) -> float | str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if _FORMULA.match(value) else printable(value)


def _of_model(measured: ModelResult) -> Iterator[_Sample]:
    for run in measured.batches:
        yield from _of_batches(run)
    if measured.comparison is not None:
        yield from _of_comparison(measured.comparison)
    cold = measured.cold_start
    if cold is not None:
        if cold.process_s is not None:
            yield "cold start", cold.memories, None, "process", cold.process_s, "s"
        yield "cold start", cold.memories, None, "load", cold.load_s, "s"
        yield "cold start", cold.memories, None, "first batch", cold.first_batch_s, "s"
    for store in measured.stores:
        yield from _of_store(store)
    if measured.likeness is not None:
        yield from _each("likeness", None, "cosine", measured.likeness.cosines, "cosine")
        yield from _each("likeness", None, "shared neighbours", measured.likeness.shared_neighbours, "of 10")
    for found in measured.retrieval:
        for metric, figures in found.figures.items():
            yield from _each(f"retrieval, {found.mode}", None, metric, figures, "")
    yield from _of_clients(measured)
    for walk in measured.ef:
        yield from _each(f"ef {walk.ef}", walk.memories, "search", walk.searches_s, "s")
        yield from _each(f"ef {walk.ef}", walk.memories, "graph found", walk.found, "of 10")


def _of_clients(measured: ModelResult) -> Iterator[_Sample]:
    memories = measured.stores[-1].memories if measured.stores else None
    for clients in measured.clients:
        yield from _of_calls(f"clients {clients.clients}", None, "add", clients.adds)
        yield from _of_calls(f"clients {clients.clients}", memories, "search", clients.searches)
    run = measured.processes
    if run is not None:
        readers = f"{run.readers} processes"
        yield from _of_calls(readers, run.memories, "search", run.searches_alone)
        yield from _of_calls(f"{readers}, one adding", run.memories, "search", run.searches_beside_writer)
        yield from _of_calls("one process", run.memories, "add", run.adds_alone)
        yield from _of_calls(f"one process, {run.readers} searching", run.memories, "add", run.adds_beside_readers)


def _of_calls(what: str, size: int | None, call: str, samples: Sequence[CallsSample]) -> Iterator[_Sample]:
    for repeat, sample in enumerate(samples, start=1):
        yield what, size, repeat, f"{call}, total", sample.total_s, "s"
        for latency_s in sample.latencies_s:
            yield what, size, repeat, call, latency_s, "s"


def _of_batches(run: BatchRun) -> Iterator[_Sample]:
    for repeat, sample in enumerate(run.samples, start=1):
        yield from _of_ingest("batch", run.batch_size, repeat, sample)


def _of_comparison(comparison: Comparison) -> Iterator[_Sample]:
    for repeat, single in enumerate(comparison.single, start=1):
        yield "one by one", comparison.memories, repeat, "total", single.total_s, "s"
        for latency_s in single.latencies_s:
            yield "one by one", comparison.memories, repeat, "add", latency_s, "s"
    for repeat, batch in enumerate(comparison.batch, start=1):
        yield from _of_ingest("in one batch", comparison.memories, repeat, batch)


def _of_ingest(what: str, size: int, repeat: int, sample: IngestSample) -> Iterator[_Sample]:
    yield what, size, repeat, "total", sample.total_s, "s"
    for stage, spent_s in sample.stages_s.items():
        yield what, size, repeat, stage, spent_s, "s"


def _of_store(store: StorePoint) -> Iterator[_Sample]:
    yield "store", store.memories, None, "added", store.added, "memories"
    yield "store", store.memories, None, "ingest", store.ingest_s, "s"
    yield from _each("store", store.memories, "batch", store.batches_s, "s")
    if store.index_s is not None:
        yield "store", store.memories, None, "index", store.index_s, "s"
    yield from _each("store", store.memories, "search", store.searches_s, "s")
    yield "store", store.memories, None, "files", store.bytes, "bytes"
    yield "store", store.memories, None, "peak resident memory", store.peak_resident_bytes, "bytes"
    yield from _each("store", store.memories, "graph found", store.graph_found, "of 10")


def _of_machine(result: BenchResult) -> Iterator[_Sample]:
    machine = result.machine
    yield from _each("machine", None, "sgemm", machine.sgemm_flop_per_s, "FLOP/s")
    for repeat, fsyncs_s in enumerate(machine.fsync_s, start=1):
        for fsync_s in fsyncs_s:
            yield "machine", None, repeat, "fsync", fsync_s, "s"


def _each(what: str, size: int | None, stage: str, values: Sequence[float], unit: str) -> Iterator[_Sample]:
    for repeat, value in enumerate(values, start=1):
        yield what, size, repeat, stage, value, unit


def action_points(measured: Measured) -> list[dict[str, float | str]]:
    """The figures of which more is better, as github-action-benchmark reads them with `customBiggerIsBetter`."""
    return [point for model, figures in measured.models for point in _points(printable(model.model.name), figures)]


def _points(model: str, figures: Figures) -> Iterator[dict[str, float | str]]:
    for batch in figures.batches:
        yield _point(f"{model}: batch of {batch.batch_size}", "ops/s", batch.ops_per_s, batch.ops_per_s_interval)
    if figures.comparison is not None:
        compared = figures.comparison
        name = f"{model}: {compared.memories} in one batch against one by one"
        yield _point(name, "x", compared.speedup, compared.speedup_interval)
    for store in figures.stores:
        of = f"{model}: {store.memories:,} memories"
        if store.search.p50_ms:
            yield _point(f"{of}, searches one after the other", "searches/s", 1000 / store.search.p50_ms, None)
        if store.graph_recall_at_10 is not None:
            yield _point(f"{of}, recall@10 of the graph", "recall", store.graph_recall_at_10, None)


def _point(name: str, unit: str, value: float, interval: Interval | None) -> dict[str, float | str]:
    point: dict[str, float | str] = {"name": name, "unit": unit, "value": value}
    if interval is not None:
        point["range"] = f"{interval.low:.6g} to {interval.high:.6g}"
    return point


_JSON: Final = ".json"
_ACTION: Final = ".gab.json"
_HTML: Final = ".html"


def check_result_file(name: str) -> None:
    """Raises UsageError if the extension is not a format of results, or if the format needs a missing package."""
    _check(name, _OF_RESULTS)
    if _ending(name) == _HTML:
        check_matplotlib()


def check_verdict_file(name: str) -> None:
    """Raises UsageError if the extension is not a format of verdicts."""
    _check(name, (_JSON, *_OF_VERDICTS))


def result_as_file(measured: Measured, name: str, words: Words) -> bytes:
    """The result and its verdicts in the format of this file name, which must be checked before."""
    return _OF_RESULTS[_ending(name)](measured, words)


def verdicts_as_file(report: GateReport, name: str, words: Words) -> bytes:
    """The verdicts in the format of this file name, which must be checked before."""
    return verdict_file(name, lambda: report, lambda: gate_document(report, words))


def verdict_file(name: str, value: Callable[[], object], document: Callable[[], Document]) -> bytes:
    """The value as JSON, or the document in the format of this file name, which must be checked before."""
    if is_json(name):
        return orjson.dumps(value(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return _OF_VERDICTS[_ending(name)](document()).encode()


def is_json(name: str) -> bool:
    """Whether this is the name of a JSON file, which holds the whole result."""
    return _ending(name) == _JSON


def _check(name: str, formats: Iterable[str]) -> None:
    if _ending(name) not in formats:
        raise UsageError(f"--output {name}: the ending must name a format: {', '.join(formats)}")


def _ending(name: str) -> str:
    return _ACTION if name.lower().endswith(_ACTION) else PurePath(name).suffix.lower()


def _page(measured: Measured, words: Words) -> str:
    from agentmem_cli.report.plots import plots

    return html(bench_document(measured, words), plots(measured, words))


_OF_RESULTS: Final[dict[str, Callable[[Measured, Words], bytes]]] = {
    _JSON: lambda measured, words: as_bytes(measured.result),
    _ACTION: lambda measured, words: orjson.dumps(action_points(measured), option=orjson.OPT_INDENT_2),
    ".md": lambda measured, words: markdown(bench_document(measured, words)).encode(),
    ".csv": lambda measured, words: csv_text(measured.result).encode(),
    _HTML: lambda measured, words: _page(measured, words).encode(),
}
_OF_VERDICTS: Final[dict[str, Callable[[Document], str]]] = {
    ".md": markdown,
    _HTML: lambda document: html(document, []),
}


def junit_xml(suite: str, verdicts: Sequence[Verdict], missing: Sequence[str] = (), *, strict: bool = False) -> bytes:
    """The verdicts as a suite, and a case for each missing metric.

    A verdict that is not certain and a missing metric are skipped or, with `strict`, failures.
    """
    root = Element("testsuites")
    cases = SubElement(root, "testsuite", name=printable(suite), tests=str(len(verdicts) + len(missing)))
    failures = skipped = 0
    for verdict in verdicts:
        name = f"{verdict.metric}, {verdict.at}" if verdict.at else verdict.metric
        case = SubElement(cases, "testcase", classname=printable(verdict.model), name=printable(name))
        if verdict.has_failed or (strict and not verdict.is_certain):
            failures += 1
            SubElement(case, "failure", type=verdict.outcome, message=told(verdict)).text = told(verdict)
        elif not verdict.is_certain:
            skipped += 1
            SubElement(case, "skipped", message=told(verdict))
        SubElement(case, "system-out").text = told(verdict)
    for metric in missing:
        case = SubElement(cases, "testcase", classname="missing", name=printable(metric))
        SubElement(case, "failure" if strict else "skipped", message="the new result lacks it, which the base has")
    failures += len(missing) if strict else 0
    skipped += 0 if strict else len(missing)
    cases.attrib |= {"failures": str(failures), "errors": "0", "skipped": str(skipped)}
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def told(verdict: Verdict) -> str:
    """A verdict in words: metric, figure, interval and bound."""
    sure = "" if verdict.interval is None else f" (95 %: {verdict.interval.low:,.4g} to {verdict.interval.high:,.4g})"
    times = " times the base's" if verdict.base is not None else ""
    side = "at least" if verdict.higher_is_better else "at most"
    what = " ".join(filter(None, [verdict.metric, verdict.at]))
    return printable(f"{what} is {verdict.figure:,.4g}{times}{sure}, and should be {side} {verdict.bound:,.12g}")


def of_targets(measured: Measured) -> list[Verdict]:
    """The verdicts on the targets of each model, in the form of a gate's verdicts."""
    return [_of_target(model.model.name, target) for model, figures in measured.models for target in figures.targets]


def _of_target(model: str, target: TargetVerdict) -> Verdict:
    return Verdict(
        model=model,
        metric=target.name,
        at="best batch" if target.name != "speedup" else "",
        figure=target.actual,
        bound=target.target,
        interval=target.interval,
        outcome=target.outcome,
        higher_is_better=target.name != "ms_per_memory",
    )
