"""Figures of a whole sweep, for the first look: every measurement a point, the median a line or a bar.

Where threads outnumber cores the ground is hatched: there a figure is about the scheduler, not about the lock. No
statistic is shown that the points beside it do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import FuncFormatter, NullLocator

from pyworkbench.errors import InputError
from pyworkbench.plots._style import BLUE, SERIES, SOFT, STYLE, VERMILLION, SvgFigure, jitter, shade_oversubscribed
from pyworkbench.sweep import both_sides, described, require_recorded, under_every_pattern

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def contention(rows: pd.DataFrame) -> SvgFigure:
    """What more threads do to faults, by walk: throughput, contention of `mmu_lock`, lost races in the table.

    A column a pattern, a row a figure. Contentions and wait are of both sides of the lock together: a fault of a
    shared walk takes it for read, one of an exclusive walk for write.

    Args:
        rows: `SweepResult.rows`, with counters recorded; without times the waiting time is left out.
    """
    rows = under_every_pattern(described(rows))
    require_recorded(rows, "read_contentions")
    per_fault = {
        "Faults served,\nmillions a second": rows["faults_per_s"] / 1e6,
        "Waits for mmu_lock,\na thousand faults": 1000 * both_sides(rows, "contentions") / rows["faults"],
        "Time waited for it,\nns a fault": both_sides(rows, "wait_ns") / rows["faults"],
        "Sent back (-EAGAIN),\na thousand faults": 1000 * rows["retries"] / rows["faults"],
    }
    measured = {label: values.astype(float) for label, values in per_fault.items() if values.notna().any()}
    patterns = list(rows["pattern"].cat.categories)
    with mpl.rc_context(STYLE):
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
    with mpl.rc_context(STYLE):
        figure = SvgFigure(figsize=(9.6, 0.9 + 0.5 * len(orders)), layout="constrained")
        for axes, (title, (column, unit, label, colour)) in zip(
            figure.subplots(1, 2, sharey=True), panels.items(), strict=True
        ):
            for place, order in enumerate(orders):
                values = rows.loc[rows["order"] == order, column].to_numpy(float) / unit
                spread = [place + jitter(at) for at in range(len(values))]
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
            spread = [place[count] + offset + jitter(at) / 4 for at in range(len(mine))]
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
        shade_oversubscribed(axes, place[over.min()] - 0.5, len(threads) - 0.5)
    axes.grid(visible=False, axis="x")
