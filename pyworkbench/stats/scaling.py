"""How figures scale: throughput with threads (the Universal Scalability Law, the knee), times with sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pyworkbench.errors import InputError
from pyworkbench.stats._frame import (
    CONFIGURATION,
    beside,
    check_column,
    check_figure,
    check_intervals,
    columns_of,
    doubts,
    figures,
    groups_of,
    has_value,
    named,
    said,
    union,
)
from pyworkbench.stats._least_squares import not_negative
from pyworkbench.stats._resampling import Medians
from pyworkbench.stats.medians import summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pyworkbench.stats._frame import Floats

    Whole = npt.NDArray[np.intp]

_USL = ("lambda", "sigma", "kappa", "peak_threads")
_USL_COUNTS = 4  # three parameters, and a residual
_KNEE_COUNTS = 3  # two ends, and something between them
_SLOPE_COUNTS = 2


@dataclass(frozen=True)
class UslFit:
    """Fits of the Universal Scalability Law, lambda N / (1 + sigma (N - 1) + kappa N (N - 1)) for N threads.

    Attributes:
        parameters: a row a configuration: `lambda` (throughput of one thread, in the unit of the column), `sigma`
            (contention), `kappa` (coherence), `peak_threads` (where the curve is highest; infinite where kappa
            is 0), each with an interval `_low` to `_high`; `residual_rms` and `residual_max`, relative to the curve;
            `thread_counts`, `n` and `warnings`.
        points: a row for each configuration and number of threads: what `summarise` says, `fitted` (the curve), and
            `residual`, (median - fitted) / fitted.
    """

    parameters: pd.DataFrame
    points: pd.DataFrame


def usl_throughput(threads: npt.ArrayLike, lambda_: float, sigma: float, kappa: float) -> Floats:
    """Throughput by the Universal Scalability Law (Gunther, Guerrilla Capacity Planning, 2007).

    Example:
        >>> usl_throughput([1, 2, 4], lambda_=100, sigma=0.1, kappa=0).round(1).tolist()
        [100.0, 181.8, 307.7]
    """
    n = np.asarray(threads, float)
    return np.asarray(lambda_ * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)), float)


def usl(
    df: pd.DataFrame,
    column: str = "ops_per_s",
    by: str | Sequence[str] | None = None,
    *,
    oversubscribed: bool = True,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> UslFit:
    """Fits the Universal Scalability Law to throughput against threads, for each configuration.

    Written as N / throughput the law is linear in its parameters (1, sigma and kappa over lambda), none of which is
    negative: a least-squares problem with one solution and no start value. What is fitted are the medians of the
    repeats; what is least is the sum of squares of (median - fitted) / fitted, for the noise of times is relative.
    The intervals are of a bootstrap that draws repeats anew within each number of threads: unlike a covariance they
    stand where sigma or kappa is 0.

    Args:
        df: measurements.
        column: a throughput.
        by: the columns that tell configurations apart, `threads` not among them; by default every other
            configuration column that varies.
        oversubscribed: whether rows with more threads than cores take part.
        confidence: of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Parameters and points. Noisy is a configuration in which, at some number of threads, the interval of the
        median is wider than the range of the medians.

    Raises:
        InputError: a configuration has fewer than 4 numbers of threads.

    Example:
        >>> threads = np.repeat([1, 2, 4, 8, 16], 5)
        >>> rows = pd.DataFrame({"threads": threads, "ops_per_s": usl_throughput(threads, 1e6, 0.05, 0.01)})
        >>> usl(rows).parameters[["lambda", "sigma", "kappa", "peak_threads"]].round(3).to_dict("records")
        [{'lambda': 1000000.0, 'sigma': 0.05, 'kappa': 0.01, 'peak_threads': 9.747}]
    """
    check_intervals(confidence, resamples)
    parameters, points = [], []
    keys, curves = _curves(df, column, "threads", by, _USL_COUNTS, oversubscribed=oversubscribed)
    for at, (curve, doubt) in enumerate(curves):
        summary = summarise(curve, column, "threads", confidence=confidence, seed=seed)
        threads, medians = (summary[name].to_numpy(float) for name in ("threads", "median"))
        (fit,) = _fits(threads, medians[None, :])
        drawn = _fits(threads, _resampled(curve, column, "threads", resamples, seed))
        fitted = usl_throughput(threads, *fit[:3])
        residual = (medians - fitted) / fitted
        about = doubt | union(summary["warnings"])
        about |= {"peak not measured": bool(fit[3] > threads.max()), "not a USL curve": not np.isfinite(fit[0])}
        parameters.append(
            _with_bounds(fit, drawn, confidence)
            | {
                "residual_rms": float(np.sqrt(np.mean(residual**2))),
                "residual_max": float(np.max(np.abs(residual))),
                "thread_counts": len(threads),
                "n": int(summary["n"].sum()),
                "warnings": said(about),
            }
        )
        mine = keys.iloc[[at] * len(summary)].reset_index(drop=True)
        points.append(pd.concat([mine, summary.assign(fitted=fitted, residual=residual)], axis="columns"))
    return UslFit(beside(keys, parameters), pd.concat(points, ignore_index=True))


def knee(
    df: pd.DataFrame,
    column: str = "ops_per_s",
    by: str | Sequence[str] | None = None,
    *,
    sensitivity: float = 1.0,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Where throughput stops growing with threads, for each configuration, by Kneedle.

    Threads and median throughput are each scaled to 0..1. The knee is the measured number of threads at which
    throughput is furthest above the diagonal, if from there to the largest number the distance falls by more than
    `sensitivity` mean steps of threads (Satopaa, Albrecht, Irwin, Raghavan: Finding a "Kneedle" in a Haystack,
    2011). So throughput that grows in proportion has none, and one that only falls has it at the smallest number.

    Args:
        df: measurements.
        column: a throughput.
        by: the columns that tell configurations apart, `threads` not among them; by default every other
            configuration column that varies.
        sensitivity: Kneedle's S; greater is more cautious.
        confidence: of the intervals.
        resamples: of the bootstrap, which draws repeats anew within each number of threads.
        seed: of the bootstrap.

    Returns:
        The columns of `by`, then `knee_threads` (missing where there is none), its interval `low` to `high` over the
        resamples that have a knee, `agreement` (the share of resamples with the same answer), `knee_median` (the
        throughput there), `thread_counts`, `n` and `warnings`. Noisy is as in `usl`.

    Raises:
        InputError: a configuration has fewer than 3 numbers of threads.

    Example:
        >>> rows = pd.DataFrame({"threads": [1, 2, 4, 8] * 5, "ops_per_s": [100, 190, 200, 198] * 5})
        >>> knee(rows)[["knee_threads", "low", "high", "agreement"]].to_dict("records")
        [{'knee_threads': 2, 'low': 2, 'high': 2, 'agreement': 1.0}]
    """
    check_intervals(confidence, resamples)
    keys, curves = _curves(df, column, "threads", by, _KNEE_COUNTS)
    found = []
    for curve, doubt in curves:
        summary = summarise(curve, column, "threads", confidence=confidence, seed=seed)
        threads, medians = (summary[name].to_numpy(float) for name in ("threads", "median"))
        (at,) = _kneedle(threads, medians[None, :], sensitivity)
        drawn = _kneedle(threads, _resampled(curve, column, "threads", resamples, seed), sensitivity)
        low, high = _quantiles(threads[drawn[drawn >= 0]], confidence)
        found.append(
            {
                "knee_threads": threads[at] if at >= 0 else np.nan,
                "low": low,
                "high": high,
                "agreement": float(np.mean(drawn == at)),
                "knee_median": medians[at] if at >= 0 else np.nan,
                "thread_counts": len(threads),
                "n": int(summary["n"].sum()),
                "warnings": said(doubt | union(summary["warnings"])),
            }
        )
    return beside(keys, found).astype(dict.fromkeys(("knee_threads", "low", "high"), "Int64"))


def slope(
    df: pd.DataFrame,
    column: str = "teardown_ns",
    against: str = "guest_bytes",
    by: str | Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """The slope of a figure against a size, both logarithmic: 1 is in proportion, 0 does not depend on it.

    A least-squares line through the medians, one at each size; the interval is of a bootstrap that draws repeats
    anew within each size.

    Args:
        df: measurements.
        column: the figure, above zero.
        against: the size, above zero.
        by: the columns that tell configurations apart, `against` not among them; by default every other
            configuration column that varies.
        confidence: of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The columns of `by`, then `slope`, its interval `low` to `high`, `factor` (the line is factor * size ** slope),
        `residual_max` (the largest relative distance of a median from the line), `sizes` (how many), `n` and
        `warnings`. Noisy is as in `usl`.

    Raises:
        InputError: a configuration has fewer than 2 sizes, or a median that has no logarithm.

    Example:
        >>> rows = pd.DataFrame({"guest_bytes": [1 << 30, 1 << 31, 1 << 32], "teardown_ns": [3e6, 6e6, 12e6]})
        >>> slope(rows)[["slope", "residual_max"]].round(6).to_dict("records")
        [{'slope': 1.0, 'residual_max': 0.0}]
    """
    check_intervals(confidence, resamples)
    keys, curves = _curves(df, column, against, by, _SLOPE_COUNTS)
    found = []
    for at, (curve, doubt) in enumerate(curves):
        summary = summarise(curve, column, against, confidence=confidence, seed=seed)
        sizes, medians = (summary[name].to_numpy(float) for name in (against, "median"))
        for name, values in ((against, sizes), (column, medians)):
            if not (values > 0).all():
                raise InputError(
                    f"{name} {values.min():g} of {named(keys, at)} has no logarithm: above zero would be right"
                )
        steep, level = np.polyfit(np.log(sizes), np.log(medians), 1)
        drawn = _resampled(curve, column, against, resamples, seed)
        usable = drawn[(drawn > 0).all(axis=1)]
        low, high = _quantiles(np.polyfit(np.log(sizes), np.log(usable).T, 1)[0], confidence)
        line = np.exp(level) * sizes**steep
        found.append(
            {
                "slope": float(steep),
                "low": low,
                "high": high,
                "factor": float(np.exp(level)),
                "residual_max": float(np.max(np.abs(medians / line - 1))),
                "sizes": len(sizes),
                "n": int(summary["n"].sum()),
                "warnings": said(doubt | union(summary["warnings"])),
            }
        )
    return beside(keys, found)


def _curves(
    df: pd.DataFrame,
    column: str,
    against: str,
    by: str | Sequence[str] | None,
    least: int,
    *,
    oversubscribed: bool = True,
) -> tuple[pd.DataFrame, list[tuple[pd.DataFrame, dict[str, bool]]]]:
    """The configurations, and of each the rows at values of `against` that have a figure, and what doubts there are."""
    check_column(df, against)
    check_figure(df, column)
    if not oversubscribed:
        check_column(df, "oversubscribed")
        df = df[~df["oversubscribed"].to_numpy(bool)]
    names = columns_of(df, by, without=against)
    told = {*names, against, column, "status", "oversubscribed", *CONFIGURATION}
    df = df[[name for name in df.columns if name in told]]
    if against in names:
        raise InputError(
            f"{against} is what {column} is set against, so it tells no configurations apart: leave it out"
        )
    keys, places = groups_of(df, names)
    curves = []
    every_doubt = doubts(df, places, [*names, against])
    for at, (rows, doubt) in enumerate(zip(places, every_doubt, strict=True)):
        mine = df.iloc[rows]
        counts = sorted(mine.loc[has_value(mine, column), against].dropna().unique())
        if len(counts) < least:
            given = ", ".join(map(str, counts)) or "none"
            raise InputError(f"{least} values of {against} are needed: {named(keys, at)} has {given}")
        curves.append((mine[mine[against].isin(counts)], doubt))
    return keys, curves


def _resampled(curve: pd.DataFrame, column: str, against: str, resamples: int, seed: int) -> Floats:
    """Medians of repeats drawn anew: a row a resample, a column a value of `against`."""
    draw = np.random.default_rng(seed)
    _, places = groups_of(curve, [against])
    samples = figures(curve, column, places)
    return np.column_stack([Medians(draw, len(sample), resamples).of(sample) for sample in samples])


def _fits(threads: Floats, throughput: Floats) -> Floats:
    """Lambda, sigma, kappa and the peak for each row of throughputs; not numbers where none fit.

    Each equation N/X = (1 + sigma (N-1) + kappa N (N-1)) / lambda is multiplied by X/N, which makes the residual
    throughput over the curve, less 1.
    """
    scale = throughput.max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = throughput / scale[:, None] / threads
        equations = np.stack([rate, rate * (threads - 1), rate * threads * (threads - 1)], axis=-1)
        solved = np.full((len(scale), 3), np.nan)
        solved[scale > 0] = not_negative(equations[scale > 0])
        slowness, contention, coherence = solved.T
        sigma, kappa = contention / slowness, coherence / slowness
        peak = np.where(kappa > 0, np.sqrt(np.maximum(1 - sigma, 0) / kappa), np.where(sigma < 1, np.inf, 1))
        found = np.column_stack([scale / slowness, sigma, kappa, np.maximum(peak, 1)])
    found[~(slowness > 0)] = np.nan
    return found


def _with_bounds(fit: Floats, drawn: Floats, confidence: float) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value, resampled in zip(_USL, fit, drawn.T, strict=True):
        low, high = _quantiles(resampled[~np.isnan(resampled)], confidence)
        row |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
    return row


def _quantiles(values: Floats, confidence: float) -> tuple[float, float]:
    """The interval of resampled values, each one of them."""
    if not len(values):
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def _kneedle(threads: Floats, curves: Floats, sensitivity: float) -> Whole:
    """The place of the knee in each row of `curves`, -1 where there is none."""
    across = (threads - threads[0]) / (threads[-1] - threads[0])
    low = curves.min(axis=1, keepdims=True)
    span = curves.max(axis=1, keepdims=True) - low
    up = np.divide(curves - low, span, out=np.zeros_like(curves), where=span > 0)
    above = up - across
    at = above.argmax(axis=1)
    height = above[np.arange(len(curves)), at]
    after = np.arange(len(threads)) >= at[:, None]
    lowest = np.where(after, above, np.inf).min(axis=1)
    return np.asarray(np.where(height - lowest > sensitivity / (len(threads) - 1), at, -1), np.intp)
