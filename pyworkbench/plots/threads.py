"""Throughput, and the wait for locks, against the number of threads: medians, and bands that are their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import matplotlib as mpl
import numpy as np

from pyworkbench.plots._series import told_apart
from pyworkbench.plots._style import (
    MORE_THREADS,
    STYLE,
    InteractiveFigure,
    SvgFigure,
    decades,
    grid_of,
    head,
    in_colour,
    note_below,
    shade_oversubscribed,
)
from pyworkbench.stats import summarise
from pyworkbench.stats._frame import check_column, check_figure, columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

NOTE = "Line: median; band: 95 % bootstrap interval of the median; hollow: noisy, or fewer than 5 repeats."


@overload
def throughput(
    df: pd.DataFrame, by: str | Sequence[str] | None = ..., *, interactive: Literal[False] = ...
) -> SvgFigure: ...
@overload
def throughput(
    df: pd.DataFrame, by: str | Sequence[str] | None = ..., *, interactive: bool
) -> SvgFigure | InteractiveFigure: ...
def throughput(
    df: pd.DataFrame, by: str | Sequence[str] | None = None, *, interactive: bool = False
) -> SvgFigure | InteractiveFigure:
    """Operations a second against threads.

    Args:
        df: measurements, as `load` gives them.
        by: the columns that tell configurations apart; by default every configuration column that varies.
        interactive: with tooltips, and series to pick in the legend.

    Raises:
        InputError: there is no row or no throughput, or more configurations than a figure can tell apart.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"threads": [1, 1, 2, 2], "ops_per_s": [1.0e6, 1.2e6, 2e6, 2.2e6]})
        >>> throughput(rows).data[["threads", "median"]].to_numpy().tolist()
        [[1.0, 1.1], [2.0, 2.1]]
    """
    check_figure(df, "ops_per_s")
    shown = _summary(df, df["ops_per_s"] / 1e6, by)
    label = "millions of operations a second"
    return (_interactive if interactive else _static)(shown, "Throughput", label, "linear")


@overload
def wait(df: pd.DataFrame, by: str | Sequence[str] | None = ..., *, interactive: Literal[False] = ...) -> SvgFigure: ...
@overload
def wait(
    df: pd.DataFrame, by: str | Sequence[str] | None = ..., *, interactive: bool
) -> SvgFigure | InteractiveFigure: ...
def wait(
    df: pd.DataFrame, by: str | Sequence[str] | None = None, *, interactive: bool = False
) -> SvgFigure | InteractiveFigure:
    """Time waited for `mmu_lock`, of both its sides, over the operations, against threads.

    Args:
        df: measurements, as `load` gives them, with times recorded.
        by: as of `throughput`.
        interactive: as of `throughput`.

    Raises:
        InputError: there is no row or no waiting time, or more configurations than a figure can tell apart.
    """
    check_figure(df, "ops")
    check_column(df, "read_wait_ns")
    check_figure(df, "write_wait_ns")
    waited = df["read_wait_ns"].astype("Float64").fillna(0) + df["write_wait_ns"].astype("Float64")
    ops = df["ops"].astype("Float64")
    shown = _summary(df, waited / ops.where(ops > 0), by)
    label = "waiting for mmu_lock,\nns an operation"
    return (_interactive if interactive else _static)(shown, "Wait", label, "symlog")


def _summary(df: pd.DataFrame, values: pd.Series[Any], by: str | Sequence[str] | None) -> pd.DataFrame:
    check_column(df, "threads")
    names = [name for name in columns_of(df, by) if name != "threads"]
    summary = summarise(df.assign(_value=values.astype("Float64")), "_value", [*names, "threads"])
    shown = told_apart(summary.dropna(subset="median"), names)
    doubtful = shown["warnings"].str.contains("noisy|too few")
    return shown.assign(oversubscribed=shown["warnings"].str.contains("oversubscribed"), doubtful=doubtful)


def _static(shown: pd.DataFrame, title: str, label: str, scale: str) -> SvgFigure:
    panels = list(shown["panel"].cat.categories)
    colours = in_colour(list(shown["series"].cat.categories))
    with mpl.rc_context(STYLE):
        figure, grid = grid_of(len(panels), height=2.9)
        for axes, panel in zip(grid, panels, strict=False):
            _draw(axes, shown[shown["panel"] == panel], sorted(shown["threads"].unique()), colours)
            axes.set_xlabel("threads")
        head(figure, grid, title, panels)
        if scale == "symlog":
            grid[0].set_yscale(scale, linthresh=1)
            grid[0].set_yticks(decades(shown["high"]), [f"{tick:,.0f}" for tick in decades(shown["high"])])
        grid[0].set_ylim(bottom=0)
        grid[0].set_ylabel(label)
        note_below(figure, NOTE)
    figure.description = _description(shown, title, label)
    figure.data = shown
    return figure


def _draw(axes: Axes, shown: pd.DataFrame, threads: list[int], colours: dict[str, tuple[str, str]]) -> None:
    """The series of one panel; numbers of threads at equal distances."""
    place = {count: at for at, count in enumerate(threads)}
    for name, mine in shown.groupby("series", observed=True, sort=False):
        colour, marker = colours[str(name)]
        at = mine["threads"].map(place).to_numpy(float)
        axes.fill_between(
            at, mine["low"].to_numpy(float), mine["high"].to_numpy(float), color=colour, alpha=0.18, linewidth=0
        )
        axes.plot(at, mine["median"], "-", color=colour, linewidth=1.5)
        for doubtful, points in mine.groupby("doubtful"):
            axes.plot(
                points["threads"].map(place),
                points["median"],
                marker,
                color=colour,
                markersize=6.5,
                markerfacecolor="white" if doubtful else colour,
            )
        axes.plot([], [], f"{marker}-", color=colour, markersize=6.5, linewidth=1.5, label=str(name) or "median")
    axes.set_xlim(-0.5, len(threads) - 0.5)
    axes.set_xticks(range(len(threads)), [str(count) for count in threads])
    axes.grid(visible=False, axis="x")
    over = shown.loc[shown["oversubscribed"], "threads"]
    if not over.empty:
        shade_oversubscribed(axes, place[over.min()] - 0.5, len(threads) - 0.5)


def _interactive(shown: pd.DataFrame, title: str, label: str, scale: str) -> InteractiveFigure:
    import altair as alt  # noqa: PLC0415 (more than a second)

    from pyworkbench.plots import _vega as vega  # noqa: PLC0415

    ticks = {"values": decades(shown["high"]), "format": ",.0f"} if scale == "symlog" else {}
    titled: dict[str, Any] = {"title": label.split("\n"), "axis": alt.Axis(**ticks)}
    x = alt.X("threads:O", title="threads")
    y = alt.Y("median:Q", scale=alt.Scale(type=scale, zero=True), **titled)
    marks = vega.Marks(shown)
    tooltip = [
        *vega.words_of("series", "threads"),
        *vega.figures_of("median", "low", "high", "n"),
        *vega.words_of("warnings"),
    ]
    layers = [
        marks.ground(x, "threads"),
        marks.band(x, alt.Y("low:Q", **titled)),
        marks.line(x, y),
        marks.points(x, y, tooltip),
    ]
    about = NOTE + (f" Tinted: {MORE_THREADS}." if shown["oversubscribed"].any() else "")
    return InteractiveFigure(marks.finished(layers, title, about), _description(shown, title, label), shown)


def _description(shown: pd.DataFrame, title: str, label: str) -> str:
    most = shown.iloc[int(shown["median"].to_numpy(float).argmax())]
    series = "; ".join(name for name in shown["series"].cat.categories if name)
    counts = ", ".join(str(count) for count in np.sort(shown["threads"].unique()))
    of = f" for {series}" if series else ""
    unit = label.replace("\n", " ")
    highest = f"the highest median is {most['median']:.4g} at {most['threads']} threads"
    return f"{title} in {unit} against {counts} threads{of}; {highest}"
