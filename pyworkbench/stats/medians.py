"""Medians with intervals, and ratios of medians with a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from pyworkbench.errors import InputError
from pyworkbench.stats._frame import (
    CONFIGURATION,
    FEW,
    beside,
    check_figure,
    check_intervals,
    columns_of,
    doubts,
    figures,
    groups_of,
    said,
    varies,
)
from pyworkbench.stats._resampling import median_intervals, permutation_tests, ratio_intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyworkbench.stats._frame import Floats


def summarise(
    df: pd.DataFrame,
    column: str,
    by: str | Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Medians with bootstrap intervals, a row a configuration.

    Args:
        df: measurements.
        column: the figure.
        by: the columns that tell configurations apart; by default every configuration column that varies.
        confidence: of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The columns of `by`, then `n` (measurements with a value), `median`, its interval `low` to `high`, and
        `warnings`. Noisy is a row whose interval is wider than the range of all medians in the answer; where there
        is one row only, than its median.

    Raises:
        InputError: there is no row, or no such column, or nothing in it.

    Example:
        >>> rows = pd.DataFrame({"threads": [1] * 5 + [2] * 5, "ops_per_s": [9, 10, 10, 11, 10, 19, 20, 20, 21, 20]})
        >>> summarise(rows, "ops_per_s")[["threads", "n", "median", "low", "high"]]
           threads  n  median   low  high
        0        1  5    10.0   9.0  11.0
        1        2  5    20.0  19.0  21.0
    """
    check_intervals(confidence, resamples)
    check_figure(df, column)
    by = columns_of(df, by)
    keys, places = groups_of(df, by)
    values = figures(df, column, places)
    medians = np.array([np.median(sample) if len(sample) else np.nan for sample in values])
    intervals = median_intervals(values, confidence, resamples, seed)
    effect = np.ptp(medians[np.isfinite(medians)]) if len(values) > 1 else abs(medians[0])
    rows = [
        {
            "n": len(sample),
            "median": median,
            "low": low,
            "high": high,
            "warnings": said(doubt | {"noisy": bool(high - low > effect), "too few repeats": len(sample) < FEW}),
        }
        for doubt, sample, median, (low, high) in zip(doubts(df, places, by), values, medians, intervals, strict=True)
    ]
    return beside(keys, rows)


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    column: str = "ops_per_s",
    by: str | Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """The ratio of two medians, b over a, with its interval and a test: a row a configuration.

    Args:
        a: measurements to compare with.
        b: measurements to compare.
        column: the figure.
        by: the columns in which rows must agree to be compared; by default every configuration column that varies
            within `a` or within `b`.
        confidence: of the intervals.
        resamples: of the bootstrap, and of the permutation test, which is exact where there are no more permutations.
        seed: of both.

    Returns:
        The columns of `by`, then `n_a`, `n_b`, `median_a`, `median_b`, `ratio` (the median of b over that of a), its
        interval `low` to `high`, `p` of a two-sided permutation test, `p_adjusted` for the number of rows (Benjamini
        and Hochberg, 1995), and `warnings`. What is permuted are ranks: whole sets of 5 repeats that lie apart give
        p = 0.008, where medians, which 2 of 5 do not move, would give 0.3. Noisy is a row whose interval is wider
        than its ratio is away from 1, both on a logarithmic scale. What only one frame has is a row too, without
        ratio. `attrs["differs"]` of the answer has the configuration columns in which the frames differ as wholes.

    Raises:
        InputError: a frame has no row or no such column, or the two have no configuration in common.

    Example:
        >>> a = pd.DataFrame({"walk": "exclusive", "ops_per_s": [9.0, 10.0, 10.0, 11.0, 10.0]})
        >>> b = pd.DataFrame({"walk": "shared", "ops_per_s": [29.0, 30.0, 30.0, 31.0, 30.0]})
        >>> found = compare(a, b)
        >>> found[["ratio", "p"]].round(3).to_dict("records"), found.attrs["differs"]
        ([{'ratio': 3.0, 'p': 0.008}], {'walk': ('exclusive', 'shared')})
    """
    check_intervals(confidence, resamples)
    both = {"a": a, "b": b}
    for name, frame in both.items():
        check_figure(frame, column, f"{name}: ")
    if by is None:
        shared = [name for name in CONFIGURATION if name in a.columns and name in b.columns]
        by = [name for name in shared if varies(a[name]) or varies(b[name])]
    by = columns_of(a, by)
    columns_of(b, by)
    keys, places = groups_of(_one_frame(a, b, by), by)
    of_a, of_b = ([rows[rows < len(a)] for rows in places], [rows[rows >= len(a)] - len(a) for rows in places])
    pairs = list(zip(figures(a, column, of_a), figures(b, column, of_b), strict=True))
    intervals = ratio_intervals(pairs, confidence, resamples, seed)
    p_values = permutation_tests(pairs, resamples, seed)
    found = []
    for at, (about_a, about_b) in enumerate(zip(doubts(a, of_a, by), doubts(b, of_b, by), strict=True)):
        about = {name: about_a[name] or about_b[name] for name in about_a}
        about |= {"only in a": not len(of_b[at]), "only in b": not len(of_a[at])}
        ratio = _ratio(*pairs[at], intervals[at], p_values[at])
        found.append(ratio | {"warnings": said(about | ratio["warnings"])})
    if not any(row["n_a"] and row["n_b"] for row in found):
        ranges = "; ".join(
            f"{name} of a is {_listed(a[name])}, of b {_listed(b[name])}"
            for name in by
            if _listed(a[name]) != _listed(b[name])
        )
        raise InputError(f"a and b have no configuration in common: {ranges or 'one or the other has no value'}")
    tested = [row for row in found if not np.isnan(row["p"])]
    for row, adjusted in zip(tested, stats.false_discovery_control([row["p"] for row in tested]), strict=True):
        row["p_adjusted"] = float(adjusted)
    answer = beside(keys, found)
    answer.attrs["differs"] = _differences(a, b, by)
    return answer


def _ratio(a: Floats, b: Floats, interval: Floats, p: float) -> dict[str, Any]:
    """The ratio of the medians of two sorted samples, with interval and test as far as they allow."""
    medians = [float(np.median(sample)) if len(sample) else np.nan for sample in (a, b)]
    row = {"n_a": len(a), "n_b": len(b), "median_a": medians[0], "median_b": medians[1]}
    row |= dict.fromkeys(("ratio", "low", "high", "p", "p_adjusted"), np.nan)
    if not (len(a) and len(b)):
        return row | {"warnings": {}}
    row["p"] = float(p)
    about = {"too few repeats": min(len(a), len(b)) < FEW, "no ratio": 0 in medians}
    if not about["no ratio"]:
        row |= {"ratio": medians[1] / medians[0], "low": float(interval[0]), "high": float(interval[1])}
        about["noisy"] = bool(_log(row["high"]) - _log(row["low"]) > abs(_log(row["ratio"])))
    return row | {"warnings": about}


def _log(ratio: float) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(ratio))


def _one_frame(a: pd.DataFrame, b: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The columns `by` of both, one below the other, with categories of both in the order of `a`."""
    columns = {}
    for name in by:
        first, second = a[name], b[name]
        if isinstance(first.dtype, pd.CategoricalDtype) and isinstance(second.dtype, pd.CategoricalDtype):
            kind = pd.CategoricalDtype(first.cat.categories.union(second.cat.categories, sort=False))
            first, second = first.astype(kind), second.astype(kind)
        elif first.dtype != second.dtype:
            first, second = first.astype(object), second.astype(object)
        columns[name] = pd.concat([first, second], ignore_index=True)
    return pd.DataFrame(columns, index=pd.RangeIndex(len(a) + len(b)))


def _differences(a: pd.DataFrame, b: pd.DataFrame, by: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """The configuration in which two frames differ as wholes."""
    found = {}
    for name in CONFIGURATION:
        if name in a.columns and name in b.columns and name not in by and not (varies(a[name]) or varies(b[name])):
            first, second = (None if pd.isna(frame[name].iloc[0]) else frame[name].iloc[0] for frame in (a, b))
            if first != second:
                found[name] = (first, second)
    return found


def _listed(values: pd.Series[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values.unique()}))
