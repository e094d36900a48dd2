"""What every plot is drawn with: matplotlib, made into SVG that takes its colours and its type from the page."""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from xml.etree import ElementTree

from agentmem_cli.errors import UsageError
from agentmem_cli.support.safe_text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What matplotlib draws in each of these colours, the page draws in its own: --ink, --grid, --s0 to --s5.
INK: Final = "#0a0b01"
GRID: Final = "#0a0b02"
SERIES: Final = tuple(f"#0a0c0{index}" for index in range(6))
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
GLYPHS: Final = ("●", "■", "▲", "◆", "▼", "✚")
_VARIABLES: Final = {INK: "var(--ink)", GRID: "var(--grid)"} | {
    colour: f"var(--s{index})" for index, colour in enumerate(SERIES)
}
_COLOUR: Final = re.compile("|".join(_VARIABLES))
_NAMESPACE: Final = re.compile(r"^\{[^}]*\}")
_OWN_ID: Final = re.compile(r"^[A-Za-z][A-Za-z0-9.]*_\d+$")  # of groups, the same in each plot; nothing refers to them
_STYLE: Final[dict[Any, Any]] = {  # Any: matplotlib has a type of all its keys, in some versions
    "svg.fonttype": "none",
    "font.size": 10,
    "text.parse_math": False,  # names come from outside
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}

Legend: TypeAlias = list[tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot as an SVG element without namespaces; the legend has a colour (0 to 5), a sign and a name for each."""

    title: str
    svg: ElementTree.Element
    note: str
    legend: Legend = field(default_factory=list)
    is_wide: bool = False


def check_matplotlib() -> None:
    """Raises UsageError where matplotlib isn't installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("an HTML report has plots, which need matplotlib: pip install matplotlib") from error


@contextmanager
def drawing(columns: int = 1, width: float = 6.4, height: float = 3.6) -> "Iterator[tuple[Figure, Sequence[Axes]]]":
    """A figure of so many inches, and its axes side by side, in the style of all plots."""
    import matplotlib
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of fonts that the page doesn't need
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page has fonts of its own
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, [figure.add_subplot(1, columns, index + 1) for index in range(columns)]


def as_svg(figure: "Figure", name: str, alternative: str) -> ElementTree.Element:
    """The figure as an SVG element: its colours are the page's, its ids begin with `name`, and it refers to nothing."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ElementTree.fromstring(file.getvalue())
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", key): _of_the_page(value) for key, value in element.attrib.items()}
        if _OWN_ID.match(element.attrib.get("id", "")):
            del element.attrib["id"]
    viewbox = root.attrib["viewBox"]
    root.attrib = {"viewBox": viewbox, "role": "img", "aria-label": printable(alternative)}
    for definitions in root.findall("defs"):
        if definitions.find("style") is not None:
            root.remove(definitions)  # it would be of all the page
    return root


def _of_the_page(value: str) -> str:
    return _COLOUR.sub(lambda match: _VARIABLES[match.group()], value)
