"""The plot of a sweep that runs: one figure against one dimension, drawn again as rows come.

Plain SVG text, so that it may be drawn on any thread: matplotlib's settings are the process's, and a cell may be
using them. Every measurement is a dot and medians are joined, so it says no more than there is; figures with intervals
are for the results.
"""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

from pyworkbench.sweep import comparable, size_text
from pyworkbench.sweep.schema import configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

WIDTH, HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 14, 42
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's."""
MOST_DOTS = 1500
UNITS = {"ops_per_s": (1e6, "million operations a second"), "_ns": (1e6, "ms")}


def live_svg(rows: pd.DataFrame, x: str, y: str, planned: Sequence[Any] = ()) -> str:
    """Draws the column `y` against the column `x`, a line for each configuration beside it.

    Args:
        rows: measurements with configuration.
        x: a column of the configuration; its values stand at equal distances.
        y: a figure.
        planned: values of `x` to leave room for.

    Returns:
        An SVG element; where there is nothing yet, an empty plot that says so.
    """
    rows = comparable(rows[rows[y].notna() & rows[x].notna()])
    scale, label = next(((by, said) for end, (by, said) in UNITS.items() if y.endswith(end)), (1.0, y))
    values = sorted({*rows[x], *planned})
    place = {value: _LEFT + (WIDTH - _LEFT - _RIGHT) * (at + 0.5) / len(values) for at, value in enumerate(values)}
    highest = float(rows[y].max()) / scale if len(rows) else 1.0
    step, top = _ticks(highest)

    def height(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top

    parts = [_ground(rows, x, place)]
    for tick in range(round(top / step) + 1):
        at = height(tick * step)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 3.5:.1f}" text-anchor="end">{tick * step:g}</text>')
    for value, at in place.items():
        name = size_text(int(value)) if x.endswith("_bytes") else f"{value}"
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{escape(name)}</text>')
    parts.append(f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{_name(x)}</text>')
    parts.append(
        f'<text x="14" y="{HEIGHT / 2}" transform="rotate(-90 14 {HEIGHT / 2})" text-anchor="middle">{label}</text>'
    )
    if rows.empty:
        parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">no measurement yet</text>')
    else:
        parts += _lines(rows, x, y, place, lambda value: height(value / scale))
    legend, below = _legend(rows, x)
    parts += legend
    said = escape(f"{label} against {_name(x)}, {len(rows)} measurements so far")
    box = f'viewBox="0 0 {WIDTH} {HEIGHT + below}"'
    return f'<svg class="pwb-live" {box} role="img" aria-label="{said}">{"".join(parts)}</svg>'


def _lines(rows: pd.DataFrame, x: str, y: str, place: dict[Any, float], height: Any) -> list[str]:
    """Dots and medians of each configuration."""
    parts = []
    shown = 0
    for which, (_, mine) in enumerate(_series(rows, x)[: len(COLOURS)]):
        colour = COLOURS[which]
        shown += len(mine)
        if shown <= MOST_DOTS:
            parts += [
                f'<circle cx="{place[at] + 5 * (which - 1):.1f}" cy="{height(float(value)):.1f}" r="2.2" '
                f'fill="{colour}" fill-opacity="0.35"/>'
                for at, value in zip(mine[x], mine[y], strict=True)
            ]
        medians = mine.groupby(x, observed=True)[y].median()
        points = [(place[at], height(float(value))) for at, value in medians.items()]
        parts.append(
            f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" fill="none" stroke="{colour}" '
            'stroke-width="1.8"/>'
        )
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>' for a, b in points]
    return parts


def _legend(rows: pd.DataFrame, x: str) -> tuple[list[str], int]:
    """The names of the configurations, below the plot, and the height that they take."""
    series = _series(rows, x)
    names = [name for name, _ in series[: len(COLOURS)]]
    if len(series) > len(names):
        names.append(f"and {len(series) - len(names)} more")
    parts, at, down = [], float(_LEFT), HEIGHT + 12
    for which, name in enumerate(names):
        wide = 30 + 6.4 * len(name)
        if at > _LEFT and at + wide > WIDTH:
            at, down = float(_LEFT), down + 17
        if which < len(COLOURS):
            parts.append(f'<circle cx="{at + 4:.0f}" cy="{down - 4}" r="4" fill="{COLOURS[which]}"/>')
        parts.append(f'<text x="{at + 13:.0f}" y="{down}" class="name">{escape(name)}</text>')
        at += wide
    return parts, down + 6 - HEIGHT if names else 0


def _series(rows: pd.DataFrame, x: str) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each configuration, with its name."""
    if rows.empty:
        return []
    varied = [name for name in configuration("measure") if name in rows and rows[name].nunique(dropna=False) > 1]
    by = [name for name in varied if name != x]
    if not by:
        return [("median", rows)]
    groups = rows.groupby(by, dropna=False, observed=True, sort=True)
    return [
        (", ".join(_value(column, value) for column, value in zip(by, values, strict=True)), mine)
        for values, mine in groups
    ]


def _ground(rows: pd.DataFrame, x: str, place: dict[Any, float]) -> str:
    """A shade behind numbers of threads that are more than cores."""
    if x != "threads" or rows.empty:
        return ""
    over = [place[value] for value in rows.loc[rows["oversubscribed"].astype(bool), x].unique()]
    if not over:
        return ""
    start = min(over) - (WIDTH - _LEFT - _RIGHT) / len(place) / 2
    shade = (
        f'<rect x="{start:.1f}" y="{_TOP}" width="{WIDTH - _RIGHT - start:.1f}" height="{HEIGHT - _TOP - _BOTTOM}" '
        'class="over"/>'
    )
    return f'{shade}<text x="{start + 8:.1f}" y="{_TOP + 14}">more threads than cores</text>'


def _ticks(highest: float) -> tuple[float, float]:
    """A step of 1, 2 or 5, and the tick at or above the highest value.

    >>> _ticks(7.3), _ticks(0.0)
    ((2, 8), (0.2, 1.0))
    """
    highest = highest if highest > 0 else 1.0
    unit = 10 ** floor(log10(highest / 4))
    step = next(unit * factor for factor in (1, 2, 5, 10) if highest / (unit * factor) <= 5)  # noqa: PLR2004
    return step, step * ceil(highest / step - 1e-9)


def _name(column: str) -> str:
    return {"guest_bytes": "guest memory", "step_bytes": "step"}.get(column, column)


def _value(column: str, value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 (not a number)
        return {"step_bytes": "whole", "rate_per_s": "closed loop"}.get(column, f"no {column}")
    return f"{_name(column)} {size_text(int(value))}" if column.endswith("_bytes") else str(value)
