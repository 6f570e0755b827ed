"""How long a teardown takes by the size of the guest, and how long it holds a lock by the step of its walk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import matplotlib as mpl
import numpy as np

from pyworkbench.errors import InputError
from pyworkbench.plots._series import told_apart
from pyworkbench.plots._style import (
    INK,
    STYLE,
    InteractiveFigure,
    SvgFigure,
    grid_of,
    head,
    in_colour,
    note_below,
    times_on,
)
from pyworkbench.plots._text import size_text, time_text, value_text
from pyworkbench.plots.threads import NOTE
from pyworkbench.stats import slope, summarise
from pyworkbench.stats._frame import check_column, check_figure, columns_of, has_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

LIMIT_NS = 100e6
LIMIT = "100 ms: rescheduling is overdue"

_TITLES = {
    "longest_hold_ns": ("Longest hold of mmu_lock in the teardown", "longest hold"),
    "unresched_ns": ("Longest stretch of the teardown without a reschedule point", "longest stretch"),
}


@overload
def teardown_time(
    df: pd.DataFrame, by: str | Sequence[str] | None = ..., *, interactive: Literal[False] = ...
) -> SvgFigure: ...
@overload
def teardown_time(
    df: pd.DataFrame, by: str | Sequence[str] | None = ..., *, interactive: bool
) -> SvgFigure | InteractiveFigure: ...
def teardown_time(
    df: pd.DataFrame, by: str | Sequence[str] | None = None, *, interactive: bool = False
) -> SvgFigure | InteractiveFigure:
    """Teardown time against guest memory, both logarithmic, with the slope of each line in its name.

    Args:
        df: measurements, as `load` gives them.
        by: the columns that tell configurations apart; by default every configuration column that varies.
        interactive: with tooltips, and series to pick in the legend.

    Raises:
        InputError: there is no row or no teardown time, a configuration has one size only, or there are more
            configurations than a figure can tell apart.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"guest_bytes": [1 << 30, 1 << 31], "teardown_ns": [3e6, 6e6]})
        >>> teardown_time(rows).data[["median", "slope"]].round(3).to_numpy().tolist()
        [[3000000.0, 1.0], [6000000.0, 1.0]]
    """
    check_column(df, "guest_bytes")
    check_figure(df, "teardown_ns")
    names = [name for name in columns_of(df, by) if name != "guest_bytes"]
    summary = told_apart(summarise(df, "teardown_ns", [*names, "guest_bytes"]).dropna(subset="median"), names)
    steep = slope(df, "teardown_ns", "guest_bytes", names)
    renamed = steep.rename(columns={"low": "slope_low", "high": "slope_high"})[
        [*names, "slope", "slope_low", "slope_high"]
    ]
    shown = summary.merge(renamed, on=names) if names else summary.merge(renamed, how="cross")
    shown = shown.assign(
        doubtful=shown["warnings"].str.contains("noisy|too few"), size=shown["guest_bytes"].map(size_text)
    )
    longest = shown.iloc[int(shown["median"].to_numpy(float).argmax())]
    description = (
        f"Teardown time against guest memory, {size_text(shown['guest_bytes'].min())} to "
        f"{size_text(shown['guest_bytes'].max())}; slopes {shown['slope'].min():.2f} to {shown['slope'].max():.2f}; "
        f"the longest median is {time_text(longest['median'])} at {longest['size']}"
    )
    return (_interactive_sizes if interactive else _static_sizes)(shown, description)


@overload
def longest_hold(
    df: pd.DataFrame,
    by: str | Sequence[str] | None = ...,
    column: Literal["longest_hold_ns", "unresched_ns"] = ...,
    *,
    interactive: Literal[False] = ...,
) -> SvgFigure: ...
@overload
def longest_hold(
    df: pd.DataFrame,
    by: str | Sequence[str] | None = ...,
    column: Literal["longest_hold_ns", "unresched_ns"] = ...,
    *,
    interactive: bool,
) -> SvgFigure | InteractiveFigure: ...
def longest_hold(
    df: pd.DataFrame,
    by: str | Sequence[str] | None = None,
    column: Literal["longest_hold_ns", "unresched_ns"] = "longest_hold_ns",
    *,
    interactive: bool = False,
) -> SvgFigure | InteractiveFigure:
    """The longest hold of `mmu_lock` against the step of a teardown, with the 100 ms at which rescheduling is overdue.

    Args:
        df: measurements, as `load` gives them.
        by: the columns that tell configurations apart; by default every configuration column that varies.
        column: `unresched_ns` for the longest stretch without a reschedule point instead.
        interactive: with tooltips, and series to pick in the legend.

    Raises:
        InputError: there is no row or no such figure, or more configurations than a figure can tell apart.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"step_bytes": [1 << 21, 1 << 30, None], "longest_hold_ns": [2e4, 9e6, 3e8]})
        >>> longest_hold(rows).data[["step", "over"]].to_numpy().tolist()
        [['2 MiB', False], ['1 GiB', False], ['whole', True]]
    """
    if column not in _TITLES:
        raise InputError(f"column {column!r} is none of {', '.join(map(repr, _TITLES))}")
    check_column(df, "step_bytes")
    check_figure(df, column)
    names = [name for name in columns_of(df, by) if name != "step_bytes"]
    summary = summarise(df[has_value(df, column)], column, [*names, "step_bytes"])
    shown = told_apart(summary, names)
    shown = shown.assign(
        step=[value_text("step_bytes", step) for step in shown["step_bytes"]],
        over=shown["high"].fillna(shown["median"]) > LIMIT_NS,
        doubtful=shown["warnings"].str.contains("noisy|too few"),
    )
    title, label = _TITLES[column]
    longest = shown.iloc[int(shown["median"].to_numpy(float).argmax())]
    description = (
        f"{title} against the step; the longest median is {time_text(longest['median'])} with step {longest['step']}; "
        f"{int(shown['over'].sum())} of {len(shown)} points reach 100 ms"
    )
    return (_interactive_steps if interactive else _static_steps)(shown, title, label, description)


def _line(axes: Axes, at: Any, mine: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    """Median, band and points of one series."""
    low, high = (mine[name].to_numpy(float) for name in ("low", "high"))
    axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(at, mine["median"].to_numpy(float), "-", color=colour, linewidth=1.5)
    for doubtful in (False, True):
        which = mine["doubtful"].to_numpy(bool) == doubtful
        face = "white" if doubtful else colour
        points = mine["median"].to_numpy(float)[which]
        axes.plot(np.asarray(at)[which], points, marker, color=colour, markersize=6.5, markerfacecolor=face)
    axes.plot([], [], f"{marker}-", color=colour, markersize=6.5, linewidth=1.5, label=label)


def _static_sizes(shown: pd.DataFrame, description: str) -> SvgFigure:
    panels = list(shown["panel"].cat.categories)
    colours = in_colour(list(shown["series"].cat.categories))
    sizes = sorted(shown["guest_bytes"].unique())
    with mpl.rc_context(STYLE):
        figure, grid = grid_of(len(panels), height=3.6)
        for axes, panel in zip(grid, panels, strict=False):
            for name, mine in shown[shown["panel"] == panel].groupby("series", observed=True, sort=False):
                alone = f"{name}, {_slope(mine)}" if name else _slope(mine)
                label = alone if len(panels) == 1 else str(name)
                _line(axes, mine["guest_bytes"].to_numpy(float), mine, *colours[str(name)], label)
                if len(panels) > 1:
                    _slope_at_end(axes, mine, colours[str(name)][0])
            axes.set_xlabel("guest memory (logarithmic)")
        grid[0].set_xscale("log", base=2)
        grid[0].set_xticks(sizes[:: -(-len(sizes) // 8)], [size_text(size) for size in sizes[:: -(-len(sizes) // 8)]])
        times_on(grid[0], "y")
        grid[0].set_ylabel("teardown time (logarithmic)")
        head(figure, grid, "Teardown time", panels, always=True)
        note_below(figure, NOTE if len(panels) == 1 else f"{NOTE} Beside a line: its slope.")
    figure.description, figure.data = description, shown
    return figure


def _slope_at_end(axes: Axes, mine: pd.DataFrame, colour: str) -> None:
    """The slope of a line, beside its last point."""
    last = mine.sort_values("guest_bytes").iloc[-1]
    at = (float(last["guest_bytes"]), float(last["median"]))
    style: dict[str, Any] = {"fontsize": 7.5, "color": colour, "annotation_clip": False}
    axes.annotate(f"{last['slope']:.2f}", at, (6, -2), textcoords="offset points", **style)


def _slope(mine: pd.DataFrame) -> str:
    first = mine.iloc[0]
    return f"slope {first['slope']:.2f} ({first['slope_low']:.2f} to {first['slope_high']:.2f})"


def _static_steps(shown: pd.DataFrame, title: str, label: str, description: str) -> SvgFigure:
    panels = list(shown["panel"].cat.categories)
    colours = in_colour(list(shown["series"].cat.categories))
    steps = _steps(shown)
    with mpl.rc_context(STYLE):
        figure, grid = grid_of(len(panels), height=3.4)
        for axes, panel in zip(grid, panels, strict=False):
            for name, mine in shown[shown["panel"] == panel].groupby("series", observed=True, sort=False):
                at = [steps.index(step) for step in mine["step"]]
                _line(axes, at, mine, *colours[str(name)], str(name) or "median")
            axes.axhline(LIMIT_NS, color=INK, linewidth=1.2, linestyle="--")
            axes.annotate(
                LIMIT,
                (0.01, LIMIT_NS),
                (0, 4),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                fontsize=8,
            )
            axes.set_xlabel("step of the walk")
            axes.set_xticks(range(len(steps)), steps)
            axes.grid(visible=False, axis="x")
        grid[0].set_xlim(-0.4, len(steps) - 0.6)
        times_on(grid[0], "y")
        bottom, top = grid[0].get_ylim()
        grid[0].set_ylim(bottom, max(top, 4 * LIMIT_NS))
        grid[0].set_ylabel(f"{label} (logarithmic)")
        head(figure, grid, title, panels)
        note_below(figure, NOTE)
    figure.description, figure.data = description, shown
    return figure


def _steps(shown: pd.DataFrame) -> list[str]:
    """Every step, the whole table last."""
    return list(dict.fromkeys(shown.sort_values("step_bytes", na_position="last", kind="stable")["step"]))


def _interactive_sizes(shown: pd.DataFrame, description: str) -> InteractiveFigure:
    import altair as alt  # noqa: PLC0415 (more than a second)

    from pyworkbench.plots import _vega as vega  # noqa: PLC0415

    names = {
        str(name): f"{name!s}, {_slope(mine)}" if name else _slope(mine)
        for name, mine in shown.groupby("series", observed=True, sort=False)
        if shown["panel"].nunique() == 1
    }
    shown = shown.assign(series=shown["series"].cat.rename_categories(names))
    marks = vega.Marks(shown)
    bytes_text = "".join(
        f"datum.value >= {1 << bits} ? datum.value / {1 << bits} + ' {unit}' : "
        for bits, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"))
    )
    sizes = alt.Axis(
        values=sorted(float(size) for size in shown["guest_bytes"].unique()),
        labelExpr=f"{bytes_text}datum.value + ' B'",
    )
    x = alt.X("guest_bytes:Q", title="guest memory (logarithmic)", scale=alt.Scale(type="log", base=2), axis=sizes)
    titled: dict[str, Any] = {
        "title": "teardown time (logarithmic)",
        "scale": alt.Scale(type="log"),
        "axis": vega.times([*shown["low"].dropna(), *shown["high"].dropna(), *shown["median"]]),
    }
    tooltip = [
        *vega.words_of("series", "size"),
        *vega.figures_of("median", "low", "high", "n", "slope"),
        *vega.words_of("warnings"),
    ]
    layers = [
        marks.band(x, alt.Y("low:Q", **titled)),
        marks.line(x, alt.Y("median:Q", **titled)),
        marks.points(x, alt.Y("median:Q", **titled), tooltip),
    ]
    return InteractiveFigure(marks.finished(layers, "Teardown time", NOTE), description, shown)


def _interactive_steps(shown: pd.DataFrame, title: str, label: str, description: str) -> InteractiveFigure:
    import altair as alt  # noqa: PLC0415 (more than a second)

    from pyworkbench.plots import _vega as vega  # noqa: PLC0415

    marks = vega.Marks(shown.assign(limit=LIMIT_NS))
    x = alt.X("step:N", sort=_steps(shown), title="step of the walk")
    every = [*shown["low"].dropna(), *shown["high"].dropna(), *shown["median"], LIMIT_NS]
    titled: dict[str, Any] = {
        "title": f"{label} (logarithmic)",
        "scale": alt.Scale(type="log"),
        "axis": vega.times(every),
    }
    tooltip = [
        *vega.words_of("series", "step"),
        *vega.figures_of("median", "low", "high", "n"),
        *vega.words_of("warnings"),
    ]
    layers = [
        marks.band(x, alt.Y("low:Q", **titled)),
        marks.line(x, alt.Y("median:Q", **titled)),
        marks.points(x, alt.Y("median:Q", **titled), tooltip),
        marks.base.mark_rule(color=INK, strokeDash=[5, 4]).encode(
            y=alt.Y("min(limit):Q", **titled), tooltip=alt.value(LIMIT)
        ),
    ]
    return InteractiveFigure(marks.finished(layers, title, f"{NOTE} Dashed: {LIMIT}."), description, shown)
