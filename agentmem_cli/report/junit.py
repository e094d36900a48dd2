"""Verdicts as JUnit XML for CI services: one test case per verdict."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from agentmem_cli.bench.verdict import TargetVerdict, Verdict
from agentmem_cli.report.bench_report import Measured
from agentmem_cli.support.safe_text import printable


def junit_xml(suite: str, verdicts: Sequence[Verdict], *, strict: bool = False) -> bytes:
    """The verdicts as a suite. An inconclusive verdict is skipped or, with `strict`, a failure."""
    root = Element("testsuites")
    cases = SubElement(root, "testsuite", name=printable(suite), tests=str(len(verdicts)))
    failures = skipped = 0
    for verdict in verdicts:
        name = f"{verdict.metric}, {verdict.at}" if verdict.at else verdict.metric
        case = SubElement(cases, "testcase", classname=printable(verdict.model), name=printable(name))
        if verdict.has_failed or (strict and verdict.outcome == "inconclusive"):
            failures += 1
            SubElement(case, "failure", type=verdict.outcome, message=told(verdict)).text = told(verdict)
        elif verdict.outcome == "inconclusive":
            skipped += 1
            SubElement(case, "skipped", message=told(verdict))
        SubElement(case, "system-out").text = told(verdict)
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
        interval=None,
        outcome="met" if target.met else "missed",
        higher_is_better=target.name != "ms_per_memory",
    )
