"""Statistics of measurements: medians with intervals, comparisons, and how throughput scales with threads.

Every function takes a tidy frame, one row a measurement, as `load` gives it. Guaranteed: the answer depends on the
rows and on `seed` alone, not on the order of the rows nor on other configurations in the frame; what makes a figure
doubtful stands beside it, in the column `warnings`. Intervals are percentile bootstrap intervals over repeats: for
the median of few repeats the bias-corrected kinds (BCa) have no usable acceleration. A 95 % interval of one median
holds it a little less often than it says, as the medians of few repeats are few: in 94 of 100 cases for 5 repeats, 87
for 7, 93 for 10 and more; those of ratios and of the law in 95 to 98. Not guaranteed: that repeats
are independent; the random order of a sweep is there for that. Measurements that failed are left out.

What `warnings` may say, in this order, with a comma between them:

- `oversubscribed`: more threads than cores, so the figure is about the scheduler, not about the lock;
- `noisy`: the interval is wider than the effect (each function says what that is);
- `too few repeats`: fewer than 5. The range of n repeats holds the true median with probability 1 - 2^(1-n): with
  5 repeats 94 %, with 4 only 88 %;
- `failed`: measurements failed and are missing here;
- `mixed configurations`: the rows differ in a configuration column that does not tell them apart;
- `peak not measured`: of `usl`, the peak is beyond the largest number of threads;
- `not a USL curve`: of `usl`, no parameters describe these rows;
- `no ratio`: of `compare`, a median is zero, so there is none;
- `only in a`, `only in b`: of `compare`, the other frame has no such configuration.

The package imports numpy, scipy and pandas, and nothing that draws.
"""

from pyworkbench.stats._frame import CONFIGURATION, FEW, WARNINGS
from pyworkbench.stats.medians import compare, summarise
from pyworkbench.stats.scaling import UslFit, knee, slope, usl, usl_throughput

__all__ = [
    "CONFIGURATION",
    "FEW",
    "WARNINGS",
    "UslFit",
    "compare",
    "knee",
    "slope",
    "summarise",
    "usl",
    "usl_throughput",
]
