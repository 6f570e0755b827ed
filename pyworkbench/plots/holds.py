"""How long locks are held: the share of holds that were longer than a time, down to the one longest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import matplotlib as mpl
import numpy as np
import pandas as pd

from pyworkbench.errors import InputError
from pyworkbench.plots._series import told_apart
from pyworkbench.plots._style import (
    STYLE,
    InteractiveFigure,
    SvgFigure,
    grid_of,
    head,
    in_colour,
    note_below,
    times_on,
)
from pyworkbench.plots._text import time_text
from pyworkbench.stats._frame import check_column, columns_of, groups_of, succeeded

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLE = "Hold times"
SHARE = "share of holds that are longer"


@overload
def hold_times(
    holds: pd.DataFrame, by: str | Sequence[str] | None = ..., *, interactive: Literal[False] = ...
) -> SvgFigure: ...
@overload
def hold_times(
    holds: pd.DataFrame, by: str | Sequence[str] | None = ..., *, interactive: bool
) -> SvgFigure | InteractiveFigure: ...
def hold_times(
    holds: pd.DataFrame, by: str | Sequence[str] | None = None, *, interactive: bool = False
) -> SvgFigure | InteractiveFigure:
    """The distribution of hold times, a panel for each lock and side: the share of holds longer than a time.

    Both axes are logarithmic, for it is the few long holds that matter. The holds of all measurements of a
    configuration are taken together.

    Args:
        holds: `load(DIR, "holds")`: histograms of hold times.
        by: the columns that tell configurations apart; by default every configuration column that varies.
        interactive: with tooltips, and series to pick in the legend.

    Raises:
        InputError: no hold was recorded, or there are more configurations than a figure can tell apart.

    Example:
        >>> histogram = pd.DataFrame({"side": "write", "ns": [10, 1000], "count": [99, 1]})
        >>> hold_times(histogram).data[["ns", "longer"]].to_numpy().tolist()
        [[10.0, 0.01], [1000.0, 0.0]]
    """
    if holds.empty:
        raise InputError("no hold was recorded: a sweep with counters='times' would record them")
    for name in ("side", "ns", "count"):
        check_column(holds, name)
    names = columns_of(holds, by)
    shown = _shares(holds[succeeded(holds)], names)
    return (_interactive if interactive else _static)(shown)


def _shares(holds: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A row for each bucket: `longer`, the share of holds in later buckets."""
    place = [name for name in ("lock_class", "side") if name in holds.columns]
    holds = holds.astype({"ns": "float64", "count": "float64"} | dict.fromkeys(place, "str"))
    buckets = holds.groupby([*place, *by, "ns"], observed=True, dropna=False)["count"].sum().reset_index()
    buckets = buckets[buckets["count"] > 0]
    parts = []
    _, places = groups_of(buckets, [*place, *by])
    for rows in places:
        mine = buckets.iloc[rows].sort_values("ns")
        total = mine["count"].sum()
        parts.append(mine.assign(longer=(total - mine["count"].cumsum()) / total, holds=total))
    shown = pd.concat(parts, ignore_index=True)
    shown = told_apart(shown, by, panels=False)
    panels = [
        " ".join([*(row[name] for name in place if name == "lock_class"), f"({row['side']})"])
        for row in shown[place].to_dict("records")
    ]
    return shown.assign(panel=pd.Categorical(panels, list(dict.fromkeys(panels))))


def _static(shown: pd.DataFrame) -> SvgFigure:
    panels = list(shown["panel"].cat.categories)
    colours = in_colour(list(shown["series"].cat.categories))
    floor = _floor(shown)
    with mpl.rc_context(STYLE):
        figure, grid = grid_of(len(panels), height=3.0)
        for axes, panel in zip(grid, panels, strict=False):
            for name, mine in shown[shown["panel"] == panel].groupby("series", observed=True, sort=False):
                colour, marker = colours[str(name)]
                times = mine["ns"].to_numpy(float)
                # Before the first bucket every hold is longer; the last bucket's step goes to the floor.
                steps = np.concatenate([[1], mine["longer"].to_numpy(float)]).clip(floor)
                at = np.concatenate([times[:1], times])
                axes.step(at, steps, where="post", color=colour, linewidth=1.5)
                axes.plot(times[-1:], [floor], marker, color=colour, markersize=6.5, clip_on=False)
                axes.plot([], [], f"{marker}-", color=colour, markersize=6.5, label=str(name) or "holds")
            times_on(axes, "x")
        longest = shown.groupby("panel", observed=True)["ns"].max()
        head(figure, grid, TITLE, [f"{panel}, longest {time_text(longest[panel])}" for panel in panels])
        grid[0].set_yscale("log")
        grid[0].set_ylim(floor, 1.5)
        for axes in grid[: len(panels)]:
            axes.set_xlabel("held longer than")
        grid[0].set_ylabel(SHARE)
        note_below(figure, "A mark on the axis: the longest hold, to the precision of the histogram.")
    figure.description = _description(shown)
    figure.data = shown
    return figure


def _floor(shown: pd.DataFrame) -> float:
    """Half of the smallest share that one hold can be."""
    return 0.5 / float(shown["holds"].max())


def _interactive(shown: pd.DataFrame) -> InteractiveFigure:
    import altair as alt  # noqa: PLC0415 (more than a second)

    from pyworkbench.plots import _vega as vega  # noqa: PLC0415

    floor = _floor(shown)
    marks = vega.Marks(shown.assign(height=shown["longer"].clip(lower=floor), longest=shown["longer"] == 0))
    x = alt.X("ns:Q", title="held longer than", scale=alt.Scale(type="log"), axis=vega.times(shown["ns"]))
    y = alt.Y("height:Q", title=SHARE, scale=alt.Scale(type="log", domain=[floor, 1]), axis=vega.powers(floor, 1))
    tooltip = [*vega.words_of("series", "panel"), *vega.figures_of("ns", "longer", "count", "holds")]
    line = marks.base.mark_line(interpolate="step-after").encode(x=x, y=y, color=marks.colour, opacity=marks.seen)
    buckets = marks.base.mark_circle(size=30).encode(x=x, y=y, color=marks.colour, opacity=marks.seen, tooltip=tooltip)
    return InteractiveFigure(marks.finished([line, buckets], TITLE), _description(shown), shown)


def _description(shown: pd.DataFrame) -> str:
    longest = shown.iloc[int(shown["ns"].to_numpy(float).argmax())]
    of = f", {longest['series']}" if longest["series"] else ""
    return f"Share of holds longer than a time; the longest is {time_text(longest['ns'])}, {longest['panel']}{of}"
