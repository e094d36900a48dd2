"""The plots of a benchmark: throughput, latencies, stages, growth, and speed against quality."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from agentmem_cli.bench import verdict
from agentmem_cli.bench.figures import BatchFigures, Figures, MeanFigure
from agentmem_cli.bench.result import ModelResult
from agentmem_cli.report.bench_report import STAGES, Measured, shares_ms
from agentmem_cli.report.translations import Words
from agentmem_cli.support.safe_text import printable
from agentmem_cli.support.statistics import Interval, median

if TYPE_CHECKING:
    from matplotlib.axes import Axes
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from agentmem_cli.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# The page replaces these colours by its own: --ink, --grid, --s0 to --s5.
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
_OWN_ID: Final = re.compile(r"^[A-Za-z][A-Za-z0-9.]*_\d+$")  # ids of groups, equal in all plots and never referenced
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
    """A plot as an SVG element without namespaces; entries of the legend have a colour (0 to 5), a sign, a name."""

    title: str
    svg: ElementTree.Element
    note: str
    legend: Legend = field(default_factory=list)
    is_wide: bool = False


def check_matplotlib() -> None:
    """Raises UsageError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("the plots of an HTML report need matplotlib: pip install matplotlib") from error


@contextmanager
def drawing(columns: int = 1, width: float = 6.4, height: float = 3.6) -> "Iterator[tuple[Figure, Sequence[Axes]]]":
    """A figure and its axes side by side, in the style of all plots."""
    import matplotlib
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns about fonts that the page does not need
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page uses its own fonts
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, [figure.add_subplot(1, columns, index + 1) for index in range(columns)]


def as_svg(figure: "Figure", name: str, alternative: str) -> ElementTree.Element:
    """The figure as an SVG element with the page's colours, ids that begin with `name`, and no references."""
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
            root.remove(definitions)  # its styles would apply to the whole page
    return root


def _of_the_page(value: str) -> str:
    return _COLOUR.sub(lambda match: _VARIABLES[match.group()], value)


_WIDE: Final = 8.0  # ratio of maximum to minimum from which an axis is logarithmic
_THOUSANDS: Final = 10_000
_MANY_TICKS: Final = 200.0  # and from which it has fewer ticks
_Models: TypeAlias = Sequence[tuple[ModelResult, Figures]]


def plots(measured: Measured, words: Words) -> list[Plot]:
    """The plots for which there are measurements, of the first six models."""
    drawers: list[Callable[[_Models, Words], Plot | None]] = [
        throughput, _batches, _adds, _searches, _stages, _growth, _quality, _ef,
    ]  # fmt: skip
    drawn = (draw(measured.models[: len(SERIES)], words) for draw in drawers)
    return [plot for plot in drawn if plot is not None]


def throughput(measured: _Models, words: Words) -> Plot | None:
    """Memories/s by batch size, with intervals and the target."""
    shown = [(series, figures.batches) for series, (_, figures) in enumerate(measured) if figures.batches]
    if not shown:
        return None
    sizes = sorted({batch.batch_size for _, batches in shown for batch in batches})
    with drawing() as (figure, (axes,)):
        for series, batches in shown:
            rates = [batch.ops_per_s for batch in batches]
            _points(axes, series, [sizes.index(batch.batch_size) for batch in batches], rates, "-")
            for batch in batches:
                if batch.ops_per_s_interval is not None:
                    _upright(axes, series, sizes.index(batch.batch_size), batch.ops_per_s_interval)
        axes.axhline(verdict.TARGET_OPS_PER_S, color=INK, linestyle="--", linewidth=1)
        axes.annotate(
            words("plot.target"), (0, verdict.TARGET_OPS_PER_S), (0, 3), textcoords="offset points", fontsize=9
        )
        _categories(axes, sizes)
        _scale(axes, "y", [verdict.TARGET_OPS_PER_S, *(batch.ops_per_s for _, batches in shown for batch in batches)])
        _labels(axes, words("axis.size"), words("axis.ops"))
        title = words("plot.throughput")
        return Plot(title, as_svg(figure, "throughput", title), words("plot.throughput.note"), _legend(measured))


def _batches(measured: _Models, words: Words) -> Plot | None:
    runs = [(series, run) for series, (model, _) in enumerate(measured) for run in model.batches]
    if not runs:
        return None
    sizes = sorted({run.batch_size for _, run in runs})
    spread = 0.7 / len(measured)
    with drawing() as (figure, (axes,)):
        every = []
        for series, run in runs:
            each_ms = [1000 * sample.total_s / run.batch_size for sample in run.samples]
            middle = sizes.index(run.batch_size) + spread * (series - (len(measured) - 1) / 2)
            steps = [spread * 0.6 * (repeat / max(1, len(each_ms) - 1) - 0.5) for repeat in range(len(each_ms))]
            places = [middle + step for step in steps]
            axes.plot(places, each_ms, MARKERS[series], color=SERIES[series], markersize=4, alpha=0.7)
            axes.hlines(median(each_ms), middle - spread * 0.4, middle + spread * 0.4, SERIES[series], linewidth=2)
            every += each_ms
        _categories(axes, sizes)
        _scale(axes, "y", every, from_zero=True)
        _labels(axes, words("axis.size"), words("axis.each"))
        title = words("plot.batches")
        return Plot(title, as_svg(figure, "batches", title), words("plot.batches.note"), _legend(measured))


def _adds(measured: _Models, words: Words) -> Plot | None:
    comparisons = [(model.comparison.single if model.comparison else []) for model, _ in measured]
    samples_s = [[latency_s for add in adds for latency_s in add.latencies_s] for adds in comparisons]
    return _shares("adds", words("plot.adds"), measured, samples_s, words)


def _searches(measured: _Models, words: Words) -> Plot | None:
    samples_s = [model.stores[-1].searches_s if model.stores else [] for model, _ in measured]
    return _shares("searches", words("plot.searches"), measured, samples_s, words)


def _shares(
    name: str, title: str, measured: _Models, samples_s: Sequence[Sequence[float]], words: Words
) -> Plot | None:
    """The empirical distribution of each model's samples."""
    if not any(samples_s):
        return None
    with drawing() as (figure, (axes,)):
        for series, samples in enumerate(samples_s):
            if samples:
                axes.ecdf([1000 * sample_s for sample_s in samples], color=SERIES[series], linewidth=2)
        _scale(axes, "x", [1000 * sample_s for samples in samples_s for sample_s in samples])
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        _labels(axes, words("axis.ms"), words("axis.share"))
        return Plot(title, as_svg(figure, name, title), words("plot.share.note"), _legend(measured))


def _stages(measured: _Models, words: Words) -> Plot | None:
    """The stages: one bar per batch size for a single model, otherwise one bar per model for its best batch."""
    if len(measured) == 1:
        bars = [(str(batch.batch_size), batch) for batch in measured[0][1].batches]
    else:
        bars = [(_short(model.model.name), figures.best) for model, figures in measured if figures.best is not None]
    shown = [(name, batch, shares) for name, batch in bars if (shares := shares_ms(batch)) is not None]
    if not shown:
        return None
    with drawing(height=1.2 + 0.42 * len(shown)) as (figure, (axes,)):
        for row, (_, batch, shares) in enumerate(shown):
            _bar(axes, row, batch, [spent_ms or 0.0 for spent_ms in shares])
        axes.set_yticks(range(len(shown)), [name for name, _, _ in shown])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.18)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        _labels(axes, words("axis.share"), words("axis.size") if len(measured) == 1 else "")
        axes.grid(False)
        title = words("plot.stages")
        legend = [(series, "■", words(f"stages.{stage}")) for series, stage in enumerate((*STAGES, "rest"))]
        return Plot(title, as_svg(figure, "stages", title), words("plot.stages.note"), legend)


def _bar(axes: "Axes", row: int, batch: BatchFigures, shares: Sequence[float]) -> None:
    left, total_ms = 0.0, sum(shares)
    for series, spent_ms in enumerate(shares):
        axes.barh(row, spent_ms / total_ms, left=left, height=0.65, color=SERIES[series])
        left += spent_ms / total_ms
    axes.annotate(f"{batch.ms_per_memory:.3g} ms", (1.02, row), va="center", fontsize=9, color=INK)


def _growth(measured: _Models, words: Words) -> Plot | None:
    """The growth of the store: rate of ingest, time of searches, and size."""
    grown = [(series, figures.stores) for series, (_, figures) in enumerate(measured) if len(figures.stores) > 1]
    if not grown:
        return None
    with drawing(columns=3, width=10.5) as (figure, (rates, searches, sizes)):
        for series, stores in grown:
            memories = [store.memories for store in stores]
            _points(rates, series, memories, [store.ops_per_s for store in stores], "-")
            _points(searches, series, memories, [store.search.p50_ms for store in stores], "-")
            _points(searches, series, memories, [store.search.p95_ms for store in stores], ":")
            _points(sizes, series, memories, [store.bytes_per_memory for store in stores], "-")
        for axes, label in ((rates, "axis.ops"), (searches, "axis.search"), (sizes, "axis.bytes")):
            _scale(axes, "x", [store.memories for _, stores in grown for store in stores])
            axes.set_ylim(0, 1.06 * axes.dataLim.ymax)
            axes.yaxis.set_major_formatter(_plain)
            _labels(axes, words("axis.memories"), words(label))
        title = words("plot.scale")
        return Plot(title, as_svg(figure, "growth", title), words("plot.scale.note"), _legend(measured), is_wide=True)


def _quality(measured: _Models, words: Words) -> Plot | None:
    """Speed (logarithmic) and quality: answers to labelled queries or, without these, similarity to the reference."""
    label, qualities = _answers(measured) or _likenesses(measured, words)
    shown = [
        (series, figures.best, quality)
        for series, ((_, figures), quality) in enumerate(zip(measured, qualities, strict=True))
        if figures.best is not None and quality is not None
    ]
    if len(shown) < 2:
        return None
    with drawing() as (figure, (axes,)):
        for series, best, quality in shown:
            _points(axes, series, [best.ops_per_s], [quality.mean], "")
            _upright(axes, series, best.ops_per_s, quality.interval)
            if best.ops_per_s_interval is not None:
                ends = best.ops_per_s_interval
                axes.hlines(quality.mean, ends.low, ends.high, SERIES[series], linewidth=1.5)
        _scale(axes, "x", [best.ops_per_s for _, best, _ in shown])
        axes.margins(x=0.1, y=0.1)
        _labels(axes, words("axis.ops"), label)
        title = words("plot.quality")
        return Plot(title, as_svg(figure, "quality", title), words("plot.quality.note"), _legend(measured))


def _ef(measured: _Models, words: Words) -> Plot | None:
    """Recall against the latency of searches of the graph, with the values of ef that are in use marked."""
    shown = [(series, figures.ef) for series, (_, figures) in enumerate(measured) if figures.ef]
    if not shown:
        return None
    with drawing() as (figure, (axes,)):
        for series, runs in shown:
            recalls = [run.recall_at_10 for run in runs]
            _points(axes, series, [run.search.p50_ms or 0.0 for run in runs], recalls, "-")
            _points(axes, series, [run.search.p95_ms or 0.0 for run in runs], recalls, ":")
            for run in runs:
                place = run.search.p50_ms or 0.0, run.recall_at_10
                axes.plot(*place, MARKERS[series], color=SERIES[series], markersize=11 if run.used_by else 4)
                axes.annotate(
                    str(run.ef), place, (-3, 8), textcoords="offset points", ha="right", fontsize=9, color=INK
                )
        _scale(axes, "x", [run.search.p50_ms or 0.0 for _, runs in shown for run in runs])
        axes.margins(x=0.1, y=0.15)
        _labels(axes, words("axis.graph"), words("axis.recall"))
        title = words("plot.ef")
        return Plot(title, as_svg(figure, "ef", title), words("plot.ef.note"), _legend(measured))


def _answers(measured: _Models) -> tuple[str, list[MeanFigure | None]] | None:
    """The nDCG@10 of each model in the first mode, if there are labelled queries."""
    modes = [figures.retrieval[0].mode for _, figures in measured if figures.retrieval]
    if not modes:
        return None
    found = [figures.retrieval[0].metrics["ndcg@10"] if figures.retrieval else None for _, figures in measured]
    return f"nDCG@10, {modes[0]}", found


def _likenesses(measured: _Models, words: Words) -> tuple[str, list[MeanFigure | None]]:
    """The share of nearest texts that each model has in common with the reference; 1 for the reference."""
    references = sorted({figures.likeness.reference for _, figures in measured if figures.likeness is not None})
    shares = [
        figures.likeness.shared_neighbours_at_10
        if figures.likeness is not None
        else 1.0
        if model.model.name in references
        else None
        for model, figures in measured
    ]
    found = [None if share is None else MeanFigure(share, Interval(share, share)) for share in shares]
    return words("axis.near", _short(", ".join(references))), found


def _points(axes: "Axes", series: int, x: Sequence[float], y: Sequence[float | None], line: str) -> None:
    known = [(at, value) for at, value in zip(x, y, strict=True) if value is not None]
    places, values = [at for at, _ in known], [value for _, value in known]
    axes.plot(places, values, marker=MARKERS[series], linestyle=line or "none", color=SERIES[series], linewidth=2)


def _upright(axes: "Axes", series: int, x: float, interval: Interval) -> None:
    axes.vlines(x, interval.low, interval.high, SERIES[series], linewidth=1.5)


def _categories(axes: "Axes", sizes: Sequence[int]) -> None:
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_xlim(-0.5, len(sizes) - 0.5)


def _scale(axes: "Axes", which: Literal["x", "y"], values: Sequence[float], *, from_zero: bool = False) -> None:
    """Makes the axis logarithmic if the values are far apart."""
    from matplotlib.ticker import LogLocator, NullLocator

    ratio = max(values) / min(values) if min(values) > 0 else 1.0
    axis = axes.xaxis if which == "x" else axes.yaxis
    if ratio > _WIDE:
        axes.set(**{f"{which}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < _MANY_TICKS else (1,)))
        axis.set_minor_locator(NullLocator())
    elif from_zero:
        axes.set(**{f"{which}lim": (0, 1.08 * max(values))})
    axis.set_major_formatter(_plain)


def _plain(value: float, _position: float | None = None) -> str:
    return f"{value / 1000:.10g}k" if value >= _THOUSANDS else f"{value:.10g}"


def _labels(axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, color=GRID, linewidth=0.6)


def _legend(measured: _Models) -> Legend:
    """The legend of models, if there are several."""
    if len(measured) < 2:
        return []
    return [(series, GLYPHS[series], model.model.name) for series, (model, _) in enumerate(measured)]


def _short(name: str) -> str:
    """A name, shortened to fit into a plot."""
    shown = printable(name)
    return shown if len(shown) <= 32 else f"{shown[:31]}…"
