"""Two dimensions at once: a heat map of medians."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter

from pyworkbench.errors import InputError
from pyworkbench.plots._style import INK, MORE_THREADS, STYLE, InteractiveFigure, SvgFigure, note_below, records
from pyworkbench.plots._text import time_text, value_text, word
from pyworkbench.stats import CONFIGURATION, summarise
from pyworkbench.stats._frame import check_column, check_figure, varies

if TYPE_CHECKING:
    from collections.abc import Callable

COLOURS = "cividis"  # dark to light alike for all kinds of colour vision
NOTE = "A cell is a median. *: " + MORE_THREADS + ". ~: noisy, or fewer than 5 repeats. Empty: not measured."
_WIDE = 20  # a range of more than this is coloured by its logarithm
_LIGHT = 0.55  # of the colours, from here on black can be read


@overload
def heat_map(df: pd.DataFrame, x: str, y: str, column: str, *, interactive: Literal[False] = ...) -> SvgFigure: ...
@overload
def heat_map(df: pd.DataFrame, x: str, y: str, column: str, *, interactive: bool) -> SvgFigure | InteractiveFigure: ...
def heat_map(
    df: pd.DataFrame, x: str, y: str, column: str, *, interactive: bool = False
) -> SvgFigure | InteractiveFigure:
    """The median of a figure for each pair of values of two configuration columns.

    Args:
        df: measurements, as `load` gives them; all other configuration columns of one value.
        x: the column whose values go from left to right.
        y: the column whose values go from top to bottom.
        column: the figure; those that end in `_ns` are shown as times.
        interactive: with tooltips.

    Raises:
        InputError: there is no row or no such column, `x` and `y` are one, or another column varies too.

    Example:
        >>> rows = pd.DataFrame({"lock": ["mcs", "std"] * 2, "threads": [1, 1, 2, 2]})
        >>> rows["teardown_ns"] = [1e6, 2e6, 3e6, 4e6]
        >>> heat_map(rows, "threads", "lock", "teardown_ns").data["text"].tolist()
        ['1 ms~', '3 ms~', '2 ms~', '4 ms~']
    """
    check_figure(df, column)
    for name in (x, y):
        check_column(df, name)
        if name not in CONFIGURATION:
            raise InputError(f"{name} is no configuration column: {', '.join(CONFIGURATION)} are")
    if x == y:
        raise InputError(f"x and y are both {x}: two different columns would be right")
    others = [name for name in CONFIGURATION if name in df.columns and name not in (x, y) and varies(df[name])]
    if others:
        values = "; ".join(
            f"{name}: {', '.join(dict.fromkeys(value_text(name, one) for one in df[name]))}" for name in others
        )
        raise InputError(f"the rows vary in more than {x} and {y} ({values}): one value of each would be right")
    shown = summarise(df, column, [y, x]).dropna(subset="median").reset_index(drop=True)
    marks = shown["warnings"].str.contains("oversubscribed").map({True: "*", False: ""})
    marks += shown["warnings"].str.contains("noisy|too few").map({True: "~", False: ""})
    form = _form(column)
    shown = shown.assign(
        text=[f"{form(median)}{mark}" for median, mark in zip(shown["median"], marks, strict=True)],
        **{f"{axis}_text": _in_order(shown, name) for axis, name in (("x", x), ("y", y))},
    )
    low, high = shown["median"].min(), shown["median"].max()
    description = f"{word(column)} by {word(x)} and {word(y)}: medians from {form(low)} to {form(high)}"
    titles = (f"{word(column)}, medians", word(x), word(y))
    return (_interactive if interactive else _static)(
        shown, column, titles, description, logarithmic=0 < low < high / _WIDE
    )


def _form(column: str) -> Callable[[float], str]:
    """How a figure is written."""
    return time_text if column.endswith("_ns") else "{:.4g}".format


def _in_order(shown: pd.DataFrame, name: str) -> pd.Categorical[Any]:
    """The values in words, in their own order."""
    ordered = shown[name].drop_duplicates().sort_values(na_position="last")
    texts = [value_text(name, value) for value in shown[name]]
    return pd.Categorical(texts, list(dict.fromkeys(value_text(name, value) for value in ordered)))


def _static(
    shown: pd.DataFrame, column: str, titles: tuple[str, str, str], description: str, *, logarithmic: bool
) -> SvgFigure:
    across, down = (list(shown[name].cat.categories) for name in ("x_text", "y_text"))
    medians = np.full((len(down), len(across)), np.nan)
    for row in shown.to_dict("records"):
        medians[down.index(row["y_text"]), across.index(row["x_text"])] = row["median"]
    norm = (LogNorm if logarithmic else Normalize)(np.nanmin(medians), np.nanmax(medians))
    with mpl.rc_context(STYLE):
        figure = SvgFigure(figsize=(max(5.0, 1.6 + 1.1 * len(across)), 1.4 + 0.5 * len(down)), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(medians, cmap=COLOURS, norm=norm, aspect="auto")
        for row in shown.to_dict("records"):
            at = across.index(row["x_text"]), down.index(row["y_text"])
            light = float(norm(row["median"])) > _LIGHT
            axes.text(*at, row["text"], ha="center", va="center", fontsize=8.5, color=INK if light else "white")
        for down_at, across_at in np.argwhere(np.isnan(medians)):
            axes.add_patch(
                Rectangle(
                    (across_at - 0.5, down_at - 0.5),
                    1,
                    1,
                    facecolor="white",
                    edgecolor="#d5dae0",
                    hatch="xx",
                    linewidth=0,
                )
            )
        axes.set_xticks(range(len(across)), across)
        axes.set_yticks(range(len(down)), down)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_title(titles[0])
        axes.set_xlabel(titles[1])
        axes.set_ylabel(titles[2])
        form = FuncFormatter(lambda value, _: _form(column)(value))
        label = "logarithmic" if logarithmic else ""
        bar = figure.colorbar(image, ax=axes, format=form, label=label)
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
        bar.outline.set_visible(False)
        note_below(figure, NOTE)
    figure.description, figure.data = description, shown
    return figure


def _interactive(
    shown: pd.DataFrame, _column: str, titles: tuple[str, str, str], description: str, *, logarithmic: bool
) -> InteractiveFigure:
    import altair as alt  # noqa: PLC0415 (more than a second)

    from pyworkbench.plots import _vega as vega  # noqa: PLC0415

    across, down = (list(shown[name].cat.categories) for name in ("x_text", "y_text"))
    low, high = float(shown["median"].min()), float(shown["median"].max())
    ends = np.log([low, high]) if logarithmic else np.array([low, high])
    light = float(ends[0] + _LIGHT * (ends[1] - ends[0]))
    middle = float(np.exp(light)) if logarithmic else light
    base = alt.Chart({"values": records(shown)}).encode(
        x=alt.X("x_text:N", sort=across, title=titles[1]), y=alt.Y("y_text:N", sort=down, title=titles[2])
    )
    cells = base.mark_rect().encode(
        color=alt.Color(
            "median:Q", scale=alt.Scale(type="log" if logarithmic else "linear", scheme=COLOURS), legend=None
        ),
        tooltip=[
            *vega.words_of("x_text", "y_text"),
            *vega.figures_of("median", "low", "high", "n"),
            *vega.words_of("warnings"),
        ],
    )
    ink = alt.condition(f"datum.median > {middle}", alt.value(INK), alt.value("white"))
    texts = base.mark_text().encode(text="text:N", color=ink)
    title = alt.TitleParams(titles[0], subtitle=NOTE)
    size = {"width": max(200, 90 * len(across)), "height": max(80, 40 * len(down))}
    chart = alt.layer(cells, texts).properties(title=title, **size)
    return InteractiveFigure(chart, description, shown)
