"""What the statistics need of a frame: its figures, its configurations, and what makes them doubtful."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pyworkbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Places = npt.NDArray[np.intp]

CONFIGURATION = (
    "lock",
    "walk",
    "walker",
    "counters",
    "granule",
    "ipa_bits",
    "guest_bytes",
    "leaf_bytes",
    "touch_bytes",
    "pattern",
    "locality",
    "sparsity",
    "populate",
    "mix",
    "ops_per_thread",
    "op_bytes",
    "write_percent",
    "logging",
    "rate_per_s",
    "background",
    "background_pause_ns",
    "delay_ns",
    "delay_site",
    "teardown",
    "step_bytes",
    "place",
    "breaks",
    "free",
    "defer",
    "during",
    "variant",
    "strategy",
    "cache",
    "threads",
)
"""The columns that say what was measured; the others say what came out, or when."""

FEW = 5
"""Fewer repeats than this carry the warning `too few repeats`."""

WARNINGS = (
    "oversubscribed",
    "noisy",
    "too few repeats",
    "failed",
    "mixed configurations",
    "peak not measured",
    "not a USL curve",
    "no ratio",
    "only in a",
    "only in b",
)
"""All that a column `warnings` may hold, in the order in which it does."""


def check_intervals(confidence: float, resamples: int) -> None:
    """Refuses what no bootstrap can do."""
    if not 0 < confidence < 1:
        raise InputError(f"confidence {confidence} is not between 0 and 1: 0.95 would be")
    if resamples < 1:
        raise InputError(f"resamples {resamples} is not positive: 2000 would be")


def check_column(df: pd.DataFrame, name: str, of: str = "") -> None:
    """Refuses a frame without rows or without this column."""
    if name not in df.columns:
        close = get_close_matches(name, map(str, df.columns), n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(map(str, df.columns)) or 'none'}"
        raise InputError(f"{of}the frame has no column {name}: {hint}")
    if df.empty:
        raise InputError(f"{of}the frame has no row")


def check_figure(df: pd.DataFrame, name: str, of: str = "") -> None:
    """Refuses a frame in which this column has no number."""
    check_column(df, name, of)
    kind = df[name].dtype
    if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
        raise InputError(f"{of}column {name} is of type {kind}: a column of numbers would be right")
    if not has_value(df, name).any():
        if "status" in df.columns and not succeeded(df).any():
            raise InputError(f"{of}every measurement in the frame failed, so column {name} is empty")
        wanted = "'times'" if name.endswith("_ns") else "'counts' or 'times'"
        raise InputError(f"{of}column {name} is empty: a counter needs a sweep with counters={wanted}")


def succeeded(df: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which measurements came to an end."""
    if "status" not in df.columns:
        return np.ones(len(df), bool)
    return (df["status"].astype(object) == "ok").to_numpy(bool)


def has_value(df: pd.DataFrame, name: str) -> npt.NDArray[np.bool_]:
    """Which measurements came to an end and have this figure."""
    return np.asarray(df[name].notna().to_numpy(bool) & succeeded(df), bool)


def figures(df: pd.DataFrame, name: str, places: Sequence[Places]) -> list[Floats]:
    """The values of a column in each group of rows, in ascending order, without what is missing."""
    kept = has_value(df, name)
    values = np.full(len(df), np.nan)
    values[kept] = df[name][kept].to_numpy(float)
    return [np.sort(values[rows[kept[rows]]]) for rows in places]


def varies(values: pd.Series[Any]) -> bool:
    """Whether a column holds more than one value; missing is one."""
    return values.nunique(dropna=False) > 1


def columns_of(df: pd.DataFrame, by: str | Sequence[str] | None, *, without: str = "") -> list[str]:
    """The columns to group by: those given, or every configuration column that varies."""
    if by is None:
        return [name for name in CONFIGURATION if name in df.columns and name != without and varies(df[name])]
    names = [by] if isinstance(by, str) else list(by)
    for name in names:
        check_column(df, name)
    return names


def groups_of(df: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, list[Places]]:
    """The configurations, a row each and sorted, and the places of each one's rows."""
    if not by:
        return pd.DataFrame(index=pd.RangeIndex(1)), [np.arange(len(df))]
    numbers = df.groupby(list(by), dropna=False, observed=True, sort=True).ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    keys = df[list(by)].iloc[[rows[0] for rows in places]].reset_index(drop=True)
    return keys, places


def doubts(df: pd.DataFrame, places: Sequence[Places], by: Iterable[str]) -> list[dict[str, bool]]:
    """What can be said against the rows of each group, whatever figure is taken from them."""
    told_apart = set(by)
    others = [name for name in CONFIGURATION if name in df.columns and name not in told_apart and varies(df[name])]
    codes = [pd.factorize(df[name], use_na_sentinel=False)[0] for name in others]
    failed = ~succeeded(df)
    over = np.zeros(len(df), bool)
    if "oversubscribed" in df.columns:
        over = df["oversubscribed"].fillna(value=False).to_numpy(bool)
    return [
        {
            "oversubscribed": bool(over[rows].any()),
            "failed": bool(failed[rows].any()),
            "mixed configurations": any((code[rows] != code[rows[0]]).any() for code in codes if len(rows)),
        }
        for rows in places
    ]


def said(about: Mapping[str, bool]) -> str:
    """Warnings as text, in their order."""
    return ", ".join(name for name in WARNINGS if about.get(name))


def union(warnings: Iterable[str]) -> dict[str, bool]:
    """Every warning that one of these texts holds."""
    return {name: True for text in warnings for name in text.split(", ") if name}


def named(keys: pd.DataFrame, at: int) -> str:
    """A configuration in words, such as `lock=qrwlock, walk=shared`."""
    return ", ".join(f"{name}={keys[name].iloc[at]}" for name in keys.columns) or "the frame"


def beside(keys: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Configurations and what was found for each."""
    return pd.concat([keys, pd.DataFrame(list(rows)).astype({"warnings": "str"})], axis="columns")
