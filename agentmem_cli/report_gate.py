"""What a gate says -> what Rich prints."""

from dataclasses import replace
from typing import Final

from rich.console import RenderableType

from agentmem_cli.bench.comparing import GateReport
from agentmem_cli.formats.gate_document import gate_document
from agentmem_cli.formats.wording import Words
from agentmem_cli.report_bench import document_renderables

_ENGLISH: Final = Words()


def comparison_report(report: GateReport, words: Words = _ENGLISH) -> list[RenderableType]:
    """Figures against those of a base; what differs otherwise is said on stderr."""
    return document_renderables(replace(gate_document(report, words), warnings=[]), words)
