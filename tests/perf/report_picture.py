"""Makes the README's picture: the plots of a result in one SVG, light or dark as the reader's system is.

    agentmem bench --models minilm,minilm-int8,minilm-static --sizes 10,50,100,300 \
        --workload examples/memories.jsonl --queries examples/queries.jsonl \
        --output bench.json --output examples/bench-report.md
    python -m tests.perf.report_picture bench.json examples/bench-report.svg
"""

import sys
from importlib.resources import files
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from agentmem_cli.bench.result_file import read_result
from agentmem_cli.report.bench_report import with_figures
from agentmem_cli.report.plots import Plot, plots
from agentmem_cli.report.translations import Words

_WIDTH: Final = 480
_HEIGHT: Final = 330
_HEAD: Final = 48


def picture(shown: list[Plot]) -> bytes:
    """The plots two abreast, each below its title and legend; those that are wide are left out."""
    narrow = [plot for plot in shown if not plot.is_wide]
    height = _HEIGHT * -(-len(narrow) // 2)
    root = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {2 * _WIDTH} {height}")
    colours = files("agentmem_cli.report").joinpath("page.css").read_text(encoding="utf-8").partition("body {")[0]
    SubElement(root, "style").text = f"{colours}text {{ font-family: system-ui, sans-serif !important; }}"
    SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "var(--paper)"})
    for index, plot in enumerate(narrow):
        x, y = _WIDTH * (index % 2), _HEIGHT * (index // 2)
        title = {"x": str(x + 12), "y": str(y + 22), "fill": "var(--ink)", "font-size": "15", "font-weight": "600"}
        SubElement(root, "text", title).text = plot.title
        legend = SubElement(root, "text", {"x": str(x + 12), "y": str(y + 40), "font-size": "11"})
        for series, sign, name in plot.legend:
            SubElement(legend, "tspan", {"fill": f"var(--s{series})"}).text = f"{sign} "
            SubElement(legend, "tspan", {"fill": "var(--ink)"}).text = f"{name}\u2003"
        size = {"x": str(x), "y": str(y + _HEAD), "width": str(_WIDTH - 12), "height": str(_HEIGHT - _HEAD)}
        plot.svg.attrib |= size
        root.append(plot.svg)
    return tostring(root)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(picture(plots(with_figures(read_result(source.read_bytes(), str(source))), Words())))
