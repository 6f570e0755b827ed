"""Figures of a sweep, as SVG: every measurement a point, the median a line or a bar, units on every axis.

Colours are Okabe and Ito's, told apart without colour vision too, and never the only sign: the shape differs
as well. Where threads outnumber cores the ground is hatched: there a figure is about the scheduler, not about
the lock. No statistic is shown that the points beside it do not.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from pyworkbench.errors import InputError
from pyworkbench.sweep import both_sides, described, require_recorded

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Okabe, Ito: Color Universal Design (2008).
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
SERIES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), (SKY, "P"))
INK, SOFT, OVERSUBSCRIBED = "#1b1f24", "#5b6470", "#faf6ec"

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
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
    "legend.frameon": False,
    "hatch.color": "#e3dccd",
}


class SvgFigure(Figure):
    """A matplotlib figure that a notebook shows as SVG, with a description for those who cannot see it.

    Attributes:
        description: what the figure shows, in words.
    """

    description = ""

    def svg(self) -> str:
        """The figure as an SVG document, its text as text."""
        text = StringIO()
        with mpl.rc_context(_STYLE):
            self.savefig(text, format="svg")
        return text.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        data = {"image/svg+xml": self.svg(), "text/plain": self.description}
        return data, {"image/svg+xml": {"alt": self.description}}


def contention(rows: pd.DataFrame) -> SvgFigure:
    """What more threads do to faults, by walk: throughput, contention of `mmu_lock`, lost races in the table.

    A column a pattern, a row a figure. Contentions and wait are of both sides of the lock together: a fault of a
    shared walk takes it for read, one of an exclusive walk for write.

    Args:
        rows: `SweepResult.rows`, with counters recorded; without times the waiting time is left out.
    """
    rows = described(rows)
    require_recorded(rows, "read_contentions")
    per_fault = {
        "Faults served,\nmillions a second": rows["faults_per_s"] / 1e6,
        "Waits for mmu_lock,\na thousand faults": 1000 * both_sides(rows, "contentions") / rows["faults"],
        "Time waited for it,\nns a fault": both_sides(rows, "wait_ns") / rows["faults"],
        "Sent back (-EAGAIN),\na thousand faults": 1000 * rows["retries"] / rows["faults"],
    }
    measured = {label: values.astype(float) for label, values in per_fault.items() if values.notna().any()}
    patterns = list(rows["pattern"].cat.categories)
    with mpl.rc_context(_STYLE):
        figure = SvgFigure(figsize=(9.6, 0.6 + 2 * len(measured)), layout="constrained")
        grid = figure.subplots(len(measured), len(patterns), sharex=True, sharey="row", squeeze=False)
        for line, (label, values) in zip(grid, measured.items(), strict=True):
            for axes, pattern in zip(line, patterns, strict=True):
                _against_threads(axes, rows.assign(value=values)[rows["pattern"] == pattern])
            line[0].set_ylim(0, 1.15 * values.max() if values.max() > 0 else 1)
            line[0].set_ylabel(label)
        for axes, pattern in zip(grid[0], patterns, strict=True):
            axes.set_title(f"{pattern} ranges")
        for axes in grid[-1]:
            axes.set_xlabel("threads")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
        figure.align_ylabels()
    figure.description = (
        f"For faults of the {' and the '.join(rows['walk'].cat.categories)} walk, against the number of threads: "
        + "; ".join(label.replace("\n", " ") for label in measured)
    )
    return figure


def teardown(rows: pd.DataFrame) -> SvgFigure:
    """How long each order of teardown takes, and for how long at a stretch it keeps everyone else out.

    Args:
        rows: `SweepResult.rows` with the shared walk and times recorded: after an exclusive walk the longest
            write hold may be a fault's, and such rows are left out.
    """
    rows = described(rows)
    rows = rows[rows["walk"] == "shared"]
    if rows.empty:
        raise InputError("no row is of the shared walk, whose write holds are the teardown's: add it to the walks")
    require_recorded(rows, "write_hold_max_ns")
    orders = list(rows["order"].cat.categories)
    panels = {
        "Teardown, from the lock to the last page freed": ("teardown_ns", 1e6, "ms", BLUE),
        "Longest time it held mmu_lock for write": ("write_hold_max_ns", 1e3, "µs, logarithmic", VERMILLION),
    }
    with mpl.rc_context(_STYLE):
        figure = SvgFigure(figsize=(9.6, 0.9 + 0.5 * len(orders)), layout="constrained")
        for axes, (title, (column, unit, label, colour)) in zip(
            figure.subplots(1, 2, sharey=True), panels.items(), strict=True
        ):
            for place, order in enumerate(orders):
                values = rows.loc[rows["order"] == order, column].to_numpy(float) / unit
                spread = [place + _jitter(at) for at in range(len(values))]
                axes.plot(values, spread, "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
                axes.plot([np.median(values)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2.5)
            axes.set_title(title)
            axes.set_xlabel(label)
            axes.set_yticks(range(len(orders)), orders)
            axes.grid(visible=False, axis="y")
        first, second = figure.axes
        first.invert_yaxis()
        first.set_xlim(left=0)
        second.set_xscale("log")
        second.xaxis.set_minor_locator(NullLocator())
        second.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.description = f"Teardown time and longest write hold of mmu_lock for {', '.join(orders)}"
    return figure


def sites(sites: pd.DataFrame) -> SvgFigure:
    """Where `mmu_lock` is taken, and how many of the acquisitions had to wait: medians by number of threads.

    Args:
        sites: `SweepResult.sites`.
    """
    if sites.empty:
        raise InputError("no site was recorded: counters='counts' or 'times' would record them")
    figures = ["acquisitions", "contentions"]
    medians = sites.groupby(["side", "site", "threads"], observed=True)[figures].median().reset_index()
    places = medians[["side", "site"]].drop_duplicates().apply(tuple, axis="columns").tolist()
    threads = sorted(medians["threads"].unique())
    height = 0.8 / len(threads)
    with mpl.rc_context(_STYLE):
        figure = SvgFigure(figsize=(9.6, 0.9 + 0.3 * len(threads) * len(places)), layout="constrained")
        axes = figure.subplots()
        for median in medians.to_dict("records"):
            count, contended = median["threads"], float(median["contentions"])
            which = threads.index(count)
            at = places.index((median["side"], median["site"])) + (which - (len(threads) - 1) / 2) * height
            axes.barh(at, contended, height * 0.82, color=SERIES[which % len(SERIES)][0])
            of = f"{contended:,.0f} of {median['acquisitions']:,.0f} waited"
            note = f"{count} thread{'s' if count > 1 else ''}: {of}"
            axes.annotate(
                note, (contended, at), (6, 0), textcoords="offset points", va="center", color=SOFT, fontsize=8.5
            )
        axes.set_yticks(range(len(places)), [f"{site}\n({side})" for side, site in places])
        axes.set_xlim(0, 1.6 * max(medians["contentions"].max(), 1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("contended acquisitions a measurement")
        axes.set_title("Contention of mmu_lock by site")
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()
    figure.description = "Contended acquisitions of mmu_lock by site and number of threads"
    return figure


def _against_threads(axes: Axes, rows: pd.DataFrame) -> None:
    """Points and medians of the column `value` for each walk; thread counts at equal distances."""
    threads = sorted(rows["threads"].unique())
    place = {count: at for at, count in enumerate(threads)}
    walks = list(rows["walk"].cat.categories)
    for which, walk in enumerate(walks):
        colour, marker = SERIES[which]
        offset = 0.16 * (which - (len(walks) - 1) / 2)
        medians = []
        for count in threads:
            mine = rows.loc[(rows["walk"] == walk) & (rows["threads"] == count), "value"].to_numpy(float)
            spread = [place[count] + offset + _jitter(at) / 4 for at in range(len(mine))]
            axes.plot(spread, mine, marker, color=colour, alpha=0.3, markersize=3.5, markeredgewidth=0)
            medians.append(np.median(mine))
        at = [place[count] + offset for count in threads]
        axes.plot(at, medians, marker + "-", color=colour, markersize=6.5, linewidth=1.4, label=f"{walk} walk (median)")
    axes.set_xlim(-0.5, len(threads) - 0.5)
    axes.set_xticks(range(len(threads)), [str(count) for count in threads])
    if not rows["value"].max() > 0:
        axes.text(0.02, 0.9, f"none in {len(rows)} measurements", transform=axes.transAxes, color=SOFT)
    over = rows.loc[rows["oversubscribed"].astype(bool), "threads"]
    if not over.empty:
        start = place[over.min()] - 0.5
        label = "more threads than cores"
        axes.axvspan(
            start, len(threads) - 0.5, facecolor=OVERSUBSCRIBED, hatch="///", linewidth=0, zorder=0, label=label
        )
    axes.grid(visible=False, axis="x")


def _jitter(at: int) -> float:
    """The place of the nth point across its line, from -0.2 to 0.2: the golden ratio keeps neighbours apart."""
    return 0.4 * ((at * 0.618033988749895) % 1) - 0.2
