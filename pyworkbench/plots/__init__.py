"""Figures of measurements: one function a figure, as SVG, or interactive with the same data.

Guaranteed: a figure shows medians of the frame it was given and says with what interval; its `data` has them. What
makes a figure doubtful can be seen in it: a hatched or tinted ground where there are more threads than cores, hollow
marks where the interval is wider than the effect or there are too few repeats. Both forms need no network. An empty
frame, or a column that was not recorded, is an `InputError` that says what would be right.
"""

from pyworkbench.plots._style import OVERSUBSCRIBED, InteractiveFigure, SvgFigure
from pyworkbench.plots.grid import heat_map
from pyworkbench.plots.holds import hold_times
from pyworkbench.plots.overview import contention, teardown
from pyworkbench.plots.published import faults_beside_published
from pyworkbench.plots.sites import sites
from pyworkbench.plots.teardowns import longest_hold, teardown_time
from pyworkbench.plots.threads import throughput, wait

__all__ = [
    "OVERSUBSCRIBED",
    "InteractiveFigure",
    "SvgFigure",
    "contention",
    "faults_beside_published",
    "heat_map",
    "hold_times",
    "longest_hold",
    "sites",
    "teardown",
    "teardown_time",
    "throughput",
    "wait",
]
