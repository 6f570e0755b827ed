"""Exclusive against shared walks, measured here, beside the published curve of parallel faults."""

from __future__ import annotations

from textwrap import fill
from typing import Any, Literal, overload

import matplotlib as mpl
import numpy as np
import pandas as pd

from pyworkbench.errors import InputError
from pyworkbench.guest_figures import published_faults
from pyworkbench.plots._style import (
    BLUE,
    GREY,
    SHAPES,
    STYLE,
    VERMILLION,
    InteractiveFigure,
    SvgFigure,
    note_below,
    records,
)
from pyworkbench.plots._text import value_text
from pyworkbench.stats import CONFIGURATION, compare
from pyworkbench.stats._frame import check_column, check_figure, varies

TITLE = "Parallel faults: speed-up over one thread"
MEASURED = "measured here"
_COLOURS = {"exclusive": VERMILLION, "shared": BLUE}
_DASHES = ([1, 0], [6, 3], [2, 3])
_LINES = {MEASURED: ("-", "o"), "published, dirty": ("--", "s"), "published, populate": (":", "^")}


@overload
def faults_beside_published(df: pd.DataFrame, *, interactive: Literal[False] = ...) -> SvgFigure: ...
@overload
def faults_beside_published(df: pd.DataFrame, *, interactive: bool) -> SvgFigure | InteractiveFigure: ...
def faults_beside_published(df: pd.DataFrame, *, interactive: bool = False) -> SvgFigure | InteractiveFigure:
    """Speed-ups over one thread, of exclusive and shared walks, beside those published for a real guest.

    The caption says what this machine can and cannot say about the published curve.

    Args:
        df: measurements of faults, one configuration but for `threads` and `walk`; one thread is among them.
        interactive: with tooltips.

    Raises:
        InputError: there is no row, no throughput, or none with one thread; or another column varies too.

    Example:
        >>> rows = pd.DataFrame({"walk": "shared", "threads": [1, 2], "ops_per_s": [1e6, 1.5e6]})
        >>> found = faults_beside_published(rows).data
        >>> found.loc[found["source"] == "measured here", ["threads", "speed_up"]].to_numpy().tolist()
        [[1.0, 1.0], [2.0, 1.5]]
    """
    for name in ("walk", "threads"):
        check_column(df, name)
    check_figure(df, "ops_per_s")
    others = [
        name for name in CONFIGURATION if name in df.columns and name not in ("walk", "threads") and varies(df[name])
    ]
    if others:
        values = "; ".join(
            f"{name}: {', '.join(dict.fromkeys(value_text(name, one) for one in df[name]))}" for name in others
        )
        raise InputError(f"the rows vary in more than walk and threads ({values}): one value of each would be right")
    published = published_faults()
    shown = pd.concat(
        [
            _measured(df),
            published.assign(source="published, " + published["phase"].astype(str), oversubscribed=False, warnings=""),
        ],
        ignore_index=True,
    ).astype({"walk": "str"})
    shown = shown[["source", "walk", "threads", "speed_up", "low", "high", "oversubscribed", "warnings"]]
    caption = _caption(shown, published.attrs["source"])
    return (_interactive if interactive else _static)(shown, caption)


def _measured(df: pd.DataFrame) -> pd.DataFrame:
    """A row for each walk and number of threads: throughput over that of one thread, with its interval."""
    one = df[(df["threads"] == 1).to_numpy(bool)]
    if one.empty:
        raise InputError("no row is of one thread, which speed-ups are over: add 1 to the threads")
    parts = [
        compare(one, df[(df["threads"] == count).to_numpy(bool)], by="walk", resamples=2000).assign(threads=count)
        for count in sorted(df["threads"].unique())
    ]
    found = pd.concat(parts, ignore_index=True).rename(columns={"ratio": "speed_up"}).dropna(subset="speed_up")
    itself = found["threads"] == 1  # over itself, whose noise says nothing
    found.loc[itself, ["low", "high"]] = 1.0
    return found.assign(source=MEASURED, oversubscribed=found["warnings"].str.contains("oversubscribed"))


def _caption(shown: pd.DataFrame, source: str) -> str:
    mine = shown[shown["source"] == MEASURED]
    fitting = int(mine.loc[~mine["oversubscribed"].to_numpy(bool), "threads"].max())
    most = int(mine["threads"].max())
    can = f"Up to {fitting} thread{'s have' if fitting > 1 else ' has'} a core each here"
    beyond = (
        f"; beyond (hollow) a point is about the scheduler, not about the lock, up to {most}" if most > fitting else ""
    )
    return (
        f"{can}{beyond}. This machine can say whether a walk scales over so many threads, and which of the two "
        "does so better; it cannot say where the curves bend at 8 to 48 threads. A fault here is the table's part "
        "of one: no exit, no host page, no TLB maintenance. So compare the order of the walks, not the height of the "
        f"curves. Published: {source}."
    )


def _static(shown: pd.DataFrame, caption: str) -> SvgFigure:
    most = int(shown["threads"].max())
    ticks = [2**power for power in range(most.bit_length())]
    with mpl.rc_context(STYLE):
        figure = SvgFigure(figsize=(9.6, 5.2), layout="constrained")
        axes = figure.subplots()
        axes.plot([1, most], [1, most], color=GREY, linewidth=1, linestyle=(0, (1, 3)), label="in proportion")
        for keys, mine in shown.groupby(["source", "walk"], sort=False):
            source, walk = map(str, keys)
            (line, marker), colour = _LINES[source], _COLOURS[walk]
            at, speed_up = (mine[name].to_numpy(float) for name in ("threads", "speed_up"))
            low, high = (mine[name].to_numpy(float) for name in ("low", "high"))
            axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(at, speed_up, line, color=colour, linewidth=1.5)
            for hollow in (False, True):
                which = mine["oversubscribed"].to_numpy(bool) == hollow
                face = "white" if hollow else colour
                axes.plot(at[which], speed_up[which], marker, color=colour, markersize=6.5, markerfacecolor=face)
            axes.plot([], [], line + marker, color=colour, markersize=6.5, label=f"{walk} walk, {source}")
        for name in ("x", "y"):
            getattr(axes, f"set_{name}scale")("log", base=2)
            getattr(axes, f"set_{name}ticks")(ticks, [str(tick) for tick in ticks])
        lowest = float(np.nanmin(shown[["speed_up", "low"]].to_numpy(float)))
        axes.set_ylim(0.8 * min(lowest, 1), 1.25 * most)
        axes.set_xlabel("threads, or vCPUs (logarithmic)")
        axes.set_ylabel("times the rate of one thread (logarithmic)")
        axes.set_title(TITLE)
        axes.legend(fontsize=8.5, loc="upper left")
        note_below(figure, fill(caption, 150))
    figure.description, figure.data = f"{TITLE}. {caption}", shown
    return figure


def _interactive(shown: pd.DataFrame, caption: str) -> InteractiveFigure:
    import altair as alt  # noqa: PLC0415 (more than a second)

    from pyworkbench.plots import _vega as vega  # noqa: PLC0415

    most = int(shown["threads"].max())
    ticks = alt.Axis(values=[2**power for power in range(most.bit_length())], format="~g")
    scale = alt.Scale(type="log", base=2)
    x = alt.X("threads:Q", title="threads, or vCPUs (logarithmic)", scale=scale, axis=ticks)
    titled = {"title": "times the rate of one thread (logarithmic)", "scale": scale, "axis": ticks}
    shown = shown.assign(series=shown["walk"] + " walk, " + shown["source"])
    names = {row["series"]: (row["walk"], row["source"]) for row in shown.to_dict("records")}

    def scaled(of: dict[str, Any], which: int) -> Any:
        return alt.Scale(domain=list(names), range=[of[keys[which]] for keys in names.values()])

    legend = alt.Legend(title=None, columns=3, symbolOpacity=1)
    walk = alt.Color("series:N", legend=legend, scale=scaled(_COLOURS, 0))
    dash = alt.StrokeDash("series:N", legend=legend, scale=scaled(dict(zip(_LINES, _DASHES, strict=True)), 1))
    shape = alt.Shape("series:N", legend=legend, scale=scaled(dict(zip(_LINES, SHAPES, strict=False)), 1))
    base = alt.Chart({"values": records(shown)})
    proportion = (
        alt.Chart({"values": [{"threads": 1, "speed_up": 1}, {"threads": most, "speed_up": most}]})
        .mark_line(color=GREY, strokeDash=[1, 3], strokeWidth=1)
        .encode(x=x, y=alt.Y("speed_up:Q", **titled))
    )
    measured = base.transform_filter("datum.low != null")
    layers = [
        proportion,
        measured.mark_area(opacity=0.18).encode(x=x, y=alt.Y("low:Q", **titled), y2="high:Q", color=walk),
        base.mark_line().encode(x=x, y=alt.Y("speed_up:Q", **titled), color=walk, strokeDash=dash),
        base.mark_point(size=60, strokeWidth=1.8, opacity=1).encode(
            x=x,
            y=alt.Y("speed_up:Q", **titled),
            color=walk,
            shape=shape,
            fill=alt.condition("datum.oversubscribed", alt.value("white"), walk),
            tooltip=[
                *vega.words_of("source", "walk", "threads"),
                *vega.figures_of("speed_up", "low", "high"),
                *vega.words_of("warnings"),
            ],
        ),
    ]
    title = alt.TitleParams(TITLE, subtitle=fill(caption, 110).split("\n"))
    chart = alt.layer(*layers).properties(width=620, height=360, title=title)
    return InteractiveFigure(chart, f"{TITLE}. {caption}", shown)
