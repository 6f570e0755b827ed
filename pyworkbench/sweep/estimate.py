"""How much a sweep is before it starts: points, measurements, and about how long they take.

The time is a model's: a measurement costs `overhead_s`, and `ns_a_leaf` for each leaf that is touched, `BULK` as much
for each that is populated or torn down; threads share the touching as far as there are cores. Both figures are fitted
to the measurements that a store has, least squares of relative deviations; without at least `FEW` of them they are
`OVERHEAD_S` and `NS_A_LEAF`, which were measured once on a machine of two cores. `Estimate.basis` says which it was. It
is good to a factor of two where the store's points are like those asked for; it knows nothing of lock contention, life
cycles and a busy machine.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

from pyworkbench.errors import WorkbenchError
from pyworkbench.sweep import segments
from pyworkbench.sweep.load import load
from pyworkbench.sweep.plan import Plan, plan
from pyworkbench.sweep.spec import EXPLORED, MEASURED
from pyworkbench.sweep.status import duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from pyworkbench.sweep.spec import SweepSpec

OVERHEAD_S = 0.004
NS_A_LEAF = 150.0
BULK = 0.06
FEW = 8
"""Fewer measurements than this are no basis."""
START_S = 1.5
"""What a process takes to begin."""
MOST = 20_000
"""More combinations than this are not planned before the start."""


@dataclass(frozen=True)
class Estimate:
    """What a sweep will be."""

    planned: Plan | None
    """Its points; nothing where there are too many to be planned here."""
    combinations: int
    """How many combinations of values the spec has."""
    measurements: int
    """Points times repeats; of a plan that was not made, at most."""
    missing: int
    """How many of them the store does not have."""
    seconds: float | None
    """About how long the missing ones take, with their warm-up."""
    basis: str
    """What that is based on."""

    def __str__(self) -> str:
        if self.planned is None:
            return f"{self.combinations:,} combinations, at most {self.measurements:,} measurements"
        said = f"{self.planned}; {self.measurements:,} measurements"
        if self.missing < self.measurements:
            said += f", {self.measurements - self.missing:,} of them are there"
        if self.missing and self.seconds is not None:
            said += f", about {duration(self.seconds)} ({self.basis})"
        return said


def estimate(spec: SweepSpec, directory: Path | None = None) -> Estimate:
    """Plans a sweep and says about how long it takes.

    Args:
        spec: what to sweep.
        directory: the store, whose measurements are not made again, and are the basis of the estimate.

    Raises:
        InputError: a value has no meaning in any combination.

    Example:
        >>> from pyworkbench.sweep import SweepSpec
        >>> found = estimate(SweepSpec(threads=[1, 2], guest=["1G"]))
        >>> found.measurements, found.basis
        (20, 'by a model of 150 ns a page')
    """
    ours = EXPLORED if spec.kind == "explore" else MEASURED
    combinations = prod(len(value) for value in (getattr(spec, name) for name in ours) if isinstance(value, list))
    if combinations > MOST:
        return Estimate(None, combinations, combinations * spec.repeats, combinations * spec.repeats, None, "")
    planned = plan(spec)
    repeats = 1 if spec.kind == "explore" else spec.repeats
    total = len(planned.points) * repeats
    rows = _rows(directory)
    if spec.kind == "explore":
        done = 0 if rows is None else int(rows["key"].isin(planned.keys).sum())
        return Estimate(planned, combinations, total, total - done, None, "")
    work = {key: _work(json.loads(point)) for key, point in zip(planned.keys, planned.points, strict=True)}
    left = dict.fromkeys(work, repeats)
    overhead_s, ns_a_leaf, basis = OVERHEAD_S, NS_A_LEAF, f"by a model of {NS_A_LEAF:.0f} ns a page"
    if rows is not None:
        there = rows[rows["key"].isin(planned.keys) & (rows["repeat"] < repeats)]
        for key, count in there["key"].astype(str).value_counts().items():
            left[str(key)] -= count
        if fitted := _fitted(rows):
            overhead_s, ns_a_leaf = fitted
            basis = f"as the store's rows took: {1e3 * overhead_s:.1f} ms, and {ns_a_leaf:.0f} ns a page"
    runs = {key: count + spec.warmup for key, count in left.items() if count > 0}
    seconds = sum(count * (overhead_s + 1e-9 * ns_a_leaf * work[key]) for key, count in runs.items())
    return Estimate(planned, combinations, total, sum(left.values()), START_S + seconds, basis)


def _rows(directory: Path | None) -> pd.DataFrame | None:
    """What a store has; nothing where there is none, or where it cannot be read."""
    if directory is None:
        return None
    names = tuple(segment.file.name for segment in segments.standing(directory / "segments"))
    return _rows_of(directory, names) if names else None


@lru_cache(maxsize=4)
def _rows_of(directory: Path, _names: tuple[str, ...]) -> pd.DataFrame | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # who looks at the results is told of damaged segments
            return load(directory)
    except WorkbenchError:
        return None


def _work(point: Mapping[Any, Any]) -> float:
    """Leaves that one measurement of a point touches one after another; filled or torn down in bulk, `BULK` as much."""
    leaves = (point["guest_bytes"] or 0) / (point["leaf_bytes"] or 1) / (point["sparsity"] or 1)
    threads = point["threads"] or 1
    per_thread = point["ops_per_thread"]
    a_pass = leaves * (threads if point["pattern"] == "overlapping" else 1)
    every = a_pass if per_thread is None else threads * per_thread
    touched = every / min(threads, len(os.sched_getaffinity(0)))
    if point["rate_per_s"]:
        touched += 1e9 * every / threads / point["rate_per_s"] / NS_A_LEAF
    populated = 0 if point["populate"] in {None, "none"} else leaves
    return float(touched + BULK * (populated + leaves))


def _fitted(rows: pd.DataFrame) -> tuple[float, float] | None:
    """Seconds of overhead and nanoseconds a leaf, by when each measurement followed the one before."""
    import numpy as np  # noqa: PLC0415 (see _frames)
    from scipy.optimize import nnls  # noqa: PLC0415 (slow, and seldom needed)

    ordered = rows.sort_values(["session", "run"])
    gap = ordered["measured_at"].astype("datetime64[ns, UTC]").diff().dt.total_seconds().to_numpy(float)
    key = ordered["key"].astype(str)
    # The first measurement of a point comes after its warm-up; it counts where there is nothing else.
    again = key.groupby(ordered["session"].to_numpy()).transform(lambda keys: keys.duplicated()).to_numpy(bool)
    usable = (ordered["session"].diff().to_numpy(float) == 0) & (gap > 0)
    usable = usable & again if (usable & again).sum() >= FEW else usable
    if usable.sum() < FEW:
        return None
    points = ordered.drop_duplicates("key").set_index("key")
    plain = points.astype(object).where(points.notna(), None).to_dict("index")
    work = np.array([_work(plain[name]) for name in key[usable]])
    seconds = gap[usable]
    (overhead_s, s_a_leaf), _ = nnls(np.column_stack([1 / seconds, work / seconds]), np.ones_like(seconds))
    return float(overhead_s), 1e9 * float(s_a_leaf)
