"""Where locks are taken, and where they are waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import matplotlib as mpl
import pandas as pd
from matplotlib.ticker import MaxNLocator

from pyworkbench.errors import InputError
from pyworkbench.plots._series import told_apart
from pyworkbench.plots._style import SERIES, SOFT, STYLE, InteractiveFigure, SvgFigure
from pyworkbench.stats._frame import check_column, columns_of, succeeded

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLE = "Contention by site"


@overload
def sites(sites: pd.DataFrame, by: str | Sequence[str] = ..., *, interactive: Literal[False] = ...) -> SvgFigure: ...
@overload
def sites(
    sites: pd.DataFrame, by: str | Sequence[str] = ..., *, interactive: bool
) -> SvgFigure | InteractiveFigure: ...
def sites(
    sites: pd.DataFrame, by: str | Sequence[str] = "threads", *, interactive: bool = False
) -> SvgFigure | InteractiveFigure:
    """Where locks are taken, and how many of the acquisitions had to wait: medians over measurements.

    Args:
        sites: `load(DIR, "sites")`.
        by: the columns that tell the bars of a site apart.
        interactive: with tooltips, and series to pick in the legend.

    Raises:
        InputError: no site was recorded.
    """
    check_sites(sites)
    names = columns_of(sites, by)
    shown = _medians(sites[succeeded(sites)], names)
    return (_interactive if interactive else _static)(shown)


def check_sites(sites: pd.DataFrame) -> None:
    """Refuses a frame without a site."""
    if sites.empty:
        raise InputError("no site was recorded: counters='counts' or 'times' would record them")
    for name in ("side", "site", "acquisitions", "contentions"):
        check_column(sites, name)


def _medians(sites: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A row for each place and series, most contended places first; a place is a site, its side and its lock."""
    figures = ["acquisitions", "contentions"]
    place = [name for name in ("lock_class", "side", "site") if name in sites.columns]
    keys = [*by, *place]
    numbers = sites.astype(dict.fromkeys(figures, "Float64"))
    medians = numbers.groupby(keys, observed=True, dropna=False)[figures].median().reset_index()
    shown = told_apart(medians.astype(dict.fromkeys(place, "str")), by, panels=False)
    several = "lock_class" in place and shown["lock_class"].nunique() > 1
    where = [f"{row['lock_class']}, {row['side']}" if several else row["side"] for row in shown.to_dict("records")]
    shown = shown.assign(where=where, place=shown["site"] + "\n(" + pd.Series(where, index=shown.index) + ")")
    most = shown.groupby("place")[figures[::-1]].max().sort_values(figures[::-1], ascending=False, kind="stable")
    return shown.assign(place=pd.Categorical(shown["place"], most.index)).sort_values(
        ["place", "series"], ignore_index=True
    )


def _static(shown: pd.DataFrame) -> SvgFigure:
    places, series = list(shown["place"].cat.categories), list(shown["series"].cat.categories)
    height = 0.8 / len(series)
    with mpl.rc_context(STYLE):
        figure = SvgFigure(figsize=(9.6, 0.9 + 0.3 * len(series) * len(places)), layout="constrained")
        axes = figure.subplots()
        for row in shown.to_dict("records"):
            which = series.index(row["series"])
            at = places.index(row["place"]) + (which - (len(series) - 1) / 2) * height
            contended = float(row["contentions"])
            axes.barh(at, contended, height * 0.82, color=SERIES[which][0])
            of = f"{row['series']}: {contended:,.0f} of {row['acquisitions']:,.0f} waited"
            axes.annotate(
                of, (contended, at), (6, 0), textcoords="offset points", va="center", color=SOFT, fontsize=8.5
            )
        axes.set_yticks(range(len(places)), places)
        axes.set_xlim(0, 1.6 * max(float(shown["contentions"].max()), 1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("contended acquisitions a measurement (median)")
        axes.set_title(TITLE)
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()
    figure.description = _description(shown)
    figure.data = shown
    return figure


def _interactive(shown: pd.DataFrame) -> InteractiveFigure:
    import altair as alt  # noqa: PLC0415 (more than a second)

    from pyworkbench.plots import _vega as vega  # noqa: PLC0415

    marks = vega.Marks(shown)
    split = alt.Axis(labelExpr="split(datum.label, '\\n')", labelLimit=300)
    bars = marks.base.mark_bar().encode(
        x=alt.X("contentions:Q", title="contended acquisitions a measurement (median)"),
        y=alt.Y("place:N", sort=list(shown["place"].cat.categories), title=None, axis=split),
        yOffset=alt.YOffset("series:N", sort=list(shown["series"].cat.categories)),
        color=marks.colour,
        opacity=marks.seen,
        tooltip=[*vega.words_of("series", "site", "where"), *vega.figures_of("contentions", "acquisitions")],
    )
    return InteractiveFigure(marks.finished([bars], TITLE), _description(shown), shown)


def _description(shown: pd.DataFrame) -> str:
    most = shown.iloc[int(shown["contentions"].to_numpy(float).argmax())]
    of = f"{most['contentions']:,.0f} of {most['acquisitions']:,.0f} for {most['series']}"
    return f"Contended acquisitions by site; most are at {most['site']} ({most['where']}), {of}"
