"""What interactive figures have in common. Importing this imports altair, which takes more than a second."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import altair as alt

from pyworkbench.plots._style import MORE_THREADS, SERIES, SHAPES, TINT, legend_columns, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd


_TIMES = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))


class Marks:
    """Encodings of the series of a frame with the columns `series` and `panel`, picked by a click in the legend."""

    def __init__(self, shown: pd.DataFrame) -> None:
        names = list(shown["series"].cat.categories)
        self.panels = list(shown["panel"].cat.categories)
        self.base = alt.Chart({"values": records(shown)})
        self.picked = alt.selection_point(fields=["series"], bind="legend")
        self.seen = alt.condition(self.picked, alt.value(1), alt.value(0.12))
        legend = alt.Legend(title=None, columns=legend_columns(names)) if len(names) > 1 else None
        colours = alt.Scale(domain=names, range=[colour for colour, _ in SERIES[: len(names)]])
        shapes = alt.Scale(domain=names, range=list(SHAPES[: len(names)]))
        self.colour = alt.Color("series:N", sort=names, scale=colours, legend=legend)
        self.shape = alt.Shape("series:N", sort=names, scale=shapes, legend=legend)

    def ground(self, x: alt.X, column: str) -> Any:
        """A tinted ground where the column `oversubscribed` says so."""
        return (
            self.base.transform_filter("datum.oversubscribed")
            .transform_aggregate(groupby=[column, "panel"])
            .mark_rect(color=TINT, opacity=0.3)
            .encode(x=x, tooltip=alt.value(MORE_THREADS))
        )

    def band(self, x: alt.X, y: alt.Y) -> Any:
        """From `low` to `high`."""
        faint = alt.condition(self.picked, alt.value(0.18), alt.value(0.02))
        return self.base.mark_area().encode(x=x, y=y, y2="high:Q", color=self.colour, fillOpacity=faint)

    def line(self, x: alt.X, y: alt.Y) -> Any:
        """Through the points."""
        return self.base.mark_line().encode(x=x, y=y, color=self.colour, opacity=self.seen)

    def points(self, x: alt.X, y: alt.Y, tooltip: Sequence[alt.Tooltip]) -> Any:
        """A mark each, hollow where the column `doubtful` says so."""
        fill = alt.condition("datum.doubtful", alt.value("white"), self.colour)
        return self.base.mark_point(size=60, strokeWidth=1.8, opacity=1).encode(
            x=x, y=y, color=self.colour, shape=self.shape, fill=fill, opacity=self.seen, tooltip=list(tooltip)
        )

    def finished(self, layers: Sequence[Any], title: str, about: str = "", width: int = 620) -> Any:
        """The layers with their titles, in panels if there are any."""
        chart = alt.layer(*layers).add_params(self.picked)
        titled = alt.TitleParams(title, subtitle=about) if about else alt.TitleParams(title)
        if len(self.panels) > 1:
            panel = alt.Facet("panel:N", sort=self.panels, title=None)
            return chart.properties(width=240, height=200).facet(panel, columns=3).properties(title=titled)
        return chart.properties(width=width, height=300, title=titled)


def times(values: Iterable[float]) -> Any:
    """A logarithmic axis of times, in ns, labelled in the units that people use."""
    positive = [value for value in values if value > 0]
    units = "".join(f"datum.value >= {ns:g} ? datum.value / {ns:g} + ' {unit}' : " for ns, unit in _TIMES)
    return powers(min(positive), max(positive), labelExpr=f"{units}datum.value + ' ns'")


def powers(low: float, high: float, **axis: Any) -> Any:
    """A logarithmic axis with ticks at the powers of ten."""
    ends = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return alt.Axis(
        values=[10.0**power for power in range(ends[0], ends[1] + 1)],
        **{"format": "~g", "labelOverlap": True, "labelSeparation": 4, **axis},
    )


def figures_of(*names: str) -> list[alt.Tooltip]:
    """Tooltips of numbers, to four digits."""
    return [alt.Tooltip(f"{name}:Q", title=name.replace("_", " "), format=",.4~g") for name in names]


def words_of(*names: str) -> list[alt.Tooltip]:
    """Tooltips of words."""
    return [alt.Tooltip(f"{name}:N", title=name.replace("_", " ")) for name in names]
