"""How every figure looks, and the two forms that it has: drawn by matplotlib as SVG, and interactive as Vega-Lite.

Colours are Okabe and Ito's, told apart without colour vision too, and never the only sign: the shape differs as
well. altair is imported by interactive figures only: its import takes more than a second.
"""

from __future__ import annotations

import math
from io import StringIO
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from pyworkbench.plots._text import time_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import altair as alt
    from matplotlib.axes import Axes

# Okabe, Ito: Color Universal Design (2008); their yellow is too faint for a line on white, a grey stands for it.
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
BLACK, GREY = "#000000", "#8a929c"
SERIES = (
    (BLUE, "o"),
    (VERMILLION, "s"),
    (GREEN, "^"),
    (PURPLE, "D"),
    (ORANGE, "v"),
    (SKY, "P"),
    (BLACK, ">"),
    (GREY, "<"),
)
INK, SOFT, OVERSUBSCRIBED, TINT = "#1b1f24", "#5b6470", "#faf6ec", "#e8d9b0"
_TITLE_CHARACTERS = 108
"""What stands over the panels of a line together."""
_TITLE = {"size": 11, "weight": "bold"}
MORE_THREADS = "more threads than cores"

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pyworkbench",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial", "sans-serif"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#b8c0ca",
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaee",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "hatch.color": "#e3dccd",
}

# JupyterLab draws Vega-Lite 5 without a network; altair writes 6, which has nothing else that is used here.
VEGALITE_MIME = "application/vnd.vegalite.v5+json"
_VEGALITE_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_VEGALITE_VERSION = "5.8"
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")
_VEGA_CONFIG: dict[str, Any] = {
    "font": "DejaVu Sans, Helvetica, Arial, sans-serif",
    "background": "white",
    "view": {"stroke": None},
    "axis": {
        "gridColor": "#e6eaee",
        "domainColor": "#b8c0ca",
        "tickColor": "#b8c0ca",
        "labelColor": SOFT,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "labelAngle": 0,
    },
    "title": {"anchor": "start", "color": INK, "subtitleColor": SOFT, "fontSize": 13},
    "header": {"labelColor": INK, "labelFontWeight": "bold", "labelAnchor": "start", "title": None},
    "legend": {"orient": "top", "titleFontWeight": "normal", "labelLimit": 300, "symbolStrokeWidth": 2},
}


class SvgFigure(Figure):
    """A matplotlib figure that a notebook shows as SVG, with a description for those who cannot see it.

    Attributes:
        description: what the figure shows, in words.
        data: what is drawn, a row a mark.
    """

    description = ""
    data = pd.DataFrame()

    def svg(self) -> str:
        """The figure as an SVG document, its text as text."""
        text = StringIO()
        with mpl.rc_context(STYLE):
            self.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        data = {"image/svg+xml": self.svg(), "text/plain": self.description}
        return data, {"image/svg+xml": {"alt": self.description}}


class InteractiveFigure:
    """A figure with tooltips whose series can be picked in its legend; where that is not drawn, its SVG is.

    Attributes:
        chart: the altair chart.
        description: what the figure shows, in words.
        data: what is drawn, a row a mark.
    """

    def __init__(self, chart: alt.TopLevelMixin, description: str, data: pd.DataFrame) -> None:
        self.chart = chart
        self.description = description
        self.data = data

    @property
    def spec(self) -> dict[str, Any]:
        """The figure in Vega-Lite, its data in it."""
        spec: dict[str, Any] = self.chart.to_dict()
        config = {**spec.pop("config", {}), **_VEGA_CONFIG}
        return {**spec, "$schema": _VEGALITE_SCHEMA, "config": config, "description": self.description}

    def svg(self) -> str:
        """The figure as an SVG document, drawn without a network."""
        import vl_convert  # noqa: PLC0415 (50 MB that a static figure does without)

        svg: str = vl_convert.vegalite_to_svg(self.spec, vl_version=_VEGALITE_VERSION)
        return svg

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
        data = {VEGALITE_MIME: self.spec, "image/svg+xml": self.svg(), "text/plain": self.description}
        return data, {"image/svg+xml": {"alt": self.description}}


def jitter(at: int) -> float:
    """The place of the nth point across its line, from -0.2 to 0.2: the golden ratio keeps neighbours apart."""
    return 0.4 * ((at * 0.618033988749895) % 1) - 0.2


def shade_oversubscribed(axes: Axes, start: float, end: float) -> None:
    """Hatches the ground where threads outnumber cores."""
    axes.axvspan(start, end, facecolor=OVERSUBSCRIBED, hatch="///", linewidth=0, zorder=0, label=MORE_THREADS)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: numbers of Python's, and None for what is missing."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def grid_of(panels: int, *, height: float, share_x: bool = True) -> tuple[SvgFigure, list[Axes]]:
    """A figure with so many panels, three in a line; axes that are too many are switched off."""
    across = min(panels, 3)
    down = -(-panels // across)
    figure = SvgFigure(figsize=(9.6, 0.9 + height * down), layout="constrained")
    grid = list(figure.subplots(down, across, sharex=share_x, sharey=True, squeeze=False).ravel())
    for axes in grid[panels:]:
        axes.set_axis_off()
    for axes in grid[max(0, panels - across) : panels]:
        axes.tick_params(labelbottom=True)
    return figure, grid


def times_on(axes: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis of times, in ns, labelled in the units that people use."""
    getattr(axes, f"set_{which}scale")("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda ns, _: time_text(ns)))
    axis.set_minor_formatter(NullFormatter())


def note_below(figure: SvgFigure, note: str) -> None:
    """Small print at the foot of a figure."""
    figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=SOFT)


def head(figure: SvgFigure, grid: list[Axes], title: str, panels: list[str], *, always: bool = False) -> None:
    """What stands above: the title once, one legend for all, and over each panel what tells it from the others."""
    entries: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if panels == [""]:
        grid[0].set_title(title)
    else:
        width = _TITLE_CHARACTERS // min(len(panels), 3)
        for axes, panel in zip(grid, panels, strict=False):
            axes.set_title(fill(panel, width), fontsize=9)
    words: dict[str, Any] = {} if panels == [""] else {"title": title, "title_fontproperties": _TITLE}
    if len(entries) > 1 or words or always:
        columns = legend_columns(list(entries))
        place: dict[str, Any] = {"loc": "outside upper left", "alignment": "left", "fontsize": 8.5}
        figure.legend(entries.values(), entries.keys(), ncols=columns, **place, **words)


def legend_columns(names: list[str]) -> int:
    """How many names stand in a line without being cut off."""
    return max(1, min(len(names), 110 // (max(map(len, names)) + 6)))


def decades(values: Iterable[float]) -> list[float]:
    """Ticks of a logarithmic axis that begins at 0 and is linear below 1.

    Example:
        >>> decades([0.0, 2.5, 130.0])
        [0.0, 1.0, 10.0, 100.0, 1000.0]
    """
    highest = max((value for value in values if math.isfinite(value)), default=1.0)
    return [0.0, *(10.0**power for power in range(math.ceil(math.log10(max(highest, 1))) + 1))]


def in_colour(names: list[str]) -> dict[str, tuple[str, str]]:
    """A colour and a shape for each series."""
    return dict(zip(names, SERIES, strict=False))
