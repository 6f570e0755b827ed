"""What a sweep measured, as frames, and the medians of its points."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyworkbench.errors import InputError
from pyworkbench.sweep.load import Table, load
from pyworkbench.sweep.schema import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from pyworkbench.sweep.spec import SweepSpec
    from pyworkbench.sweep.status import Status

SUMMARY = {
    "faults_m_per_s": "faults, M/s",
    "contentions_per_1000": "waited, ‰",
    "wait_ns_per_fault": "wait, ns a fault",
    "teardown_ms": "teardown, ms",
    "write_hold_max_us": "longest hold, µs",
}
"""The figures of `SweepResult.summary`, with their titles."""

POINT = ["threads", "oversubscribed", "pattern", "walk", "order"]
"""The configuration that every summary has."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep measured, or explored.

    `rows` has a row for each measurement: the configuration (names as categories), then its figures, with units in
    their names, then `key`, `build_id`, `session` and `measured_at`. What was not recorded is missing. `status`
    says whether it was measured: `ok`, `failed` or `crashed`, and `error` why not. `classes`, `sites` and `holds`
    have several rows for each measurement: see `load`.
    """

    spec: SweepSpec
    """What was asked for."""
    environment: dict[str, Any]
    """The machine, the kernel, the versions and the build; `steal_s` is what a hypervisor took from the machine
    meanwhile."""
    status: Status
    """How it ended, and how much of it was reused."""
    tables: Callable[[Table], pd.DataFrame]
    """What gives the table of a name."""

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row a measurement."""
        return self.tables("rows")

    @cached_property
    def classes(self) -> pd.DataFrame:
        """A row for each class of operations of a measurement: latencies."""
        return self.tables("classes")

    @cached_property
    def sites(self) -> pd.DataFrame:
        """A row for each site that took a lock in a measurement: its counters."""
        return self.tables("sites")

    @cached_property
    def holds(self) -> pd.DataFrame:
        """A row for each bucket of hold times of a measurement."""
        return self.tables("holds")

    def summary(self) -> pd.DataFrame:
        """A row for each point: medians over its repeats, in units for people.

        Contentions and wait are of both sides of `mmu_lock` together, over the faults served. The longest write
        hold is the teardown's, or in an exclusive walk a fault's, if that was longer. Columns of the configuration
        that are the same in every row are left out, but those of `POINT`.
        """
        rows = described(self.rows)
        rows = rows.assign(
            faults_m_per_s=rows["faults_per_s"] / 1e6,
            contentions_per_1000=1000 * both_sides(rows, "contentions") / rows["faults"],
            wait_ns_per_fault=both_sides(rows, "wait_ns") / rows["faults"],
            teardown_ms=rows["teardown_ns"] / 1e6,
            write_hold_max_us=rows["write_hold_max_ns"] / 1e3,
        )
        of_order = {"teardown", "place", "breaks"}
        if rows["step_bytes"].nunique() <= 1:  # whole or not: the order says it
            of_order.add("step_bytes")
        point = POINT + [name for name in varied(rows) if name not in {*POINT, *of_order}]
        return rows.groupby(point, observed=True, dropna=False)[list(SUMMARY)].median().reset_index()


class TemporaryStore:
    """A folder for a store that nobody asked to keep: it goes when this object does."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pyworkbench-"))
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)


def result_of(
    spec: SweepSpec,
    environment: dict[str, Any],
    status: Status,
    keys: Sequence[str],
    directory: Path,
    temporary: TemporaryStore | None,
) -> SweepResult:
    """The result of a sweep whose rows are in a store; a temporary one lives as long as the result."""

    def tables(name: Table, _keep: object = temporary) -> pd.DataFrame:
        frame = load(directory, name)
        ours = frame["key"].isin(keys)
        return frame if ours.all() else frame[ours].reset_index(drop=True)

    return SweepResult(spec, environment, status, tables)


def described(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that were measured, with `faults` served, `faults_per_s`, and the `order` of the teardown in a word."""
    rows = rows[rows["status"] == "ok"] if "status" in rows else rows
    faults = rows["maps"] + rows["relaxes"] + rows["youngs"]
    return rows.assign(faults=faults, faults_per_s=1e9 * faults / rows["op_wall_ns"], order=order_of(rows))


def order_of(rows: pd.DataFrame) -> pd.Series[Any]:
    """The order of teardown in a word, such as `ranges-under-lock`."""
    import pandas as pd  # noqa: PLC0415 (see _frames)

    columns = ["teardown", "step_bytes", "place", "breaks"]
    distinct = rows[columns].drop_duplicates()
    words = [_order(*values) for values in distinct.itertuples(index=False)]
    named = distinct.assign(order=words)
    listed = [word for word in _ORDERS if word in words] + sorted(set(words) - set(_ORDERS))
    order = rows[columns].astype(object).merge(named.astype(object), on=columns, how="left")["order"]
    return pd.Series(pd.Categorical(order, categories=listed), index=rows.index)


_ORDERS = ("whole-under-lock", "ranges-under-lock", "whole-taken-out", "ranges-taken-out")


def _order(teardown: str, step_bytes: Any, place: str, breaks: Any) -> str:
    import pandas as pd  # noqa: PLC0415 (see _frames)

    if teardown != "table":
        return teardown
    steps = "whole" if pd.isna(step_bytes) else "ranges"
    unbroken = steps == "ranges" and place == "under-lock" and not pd.isna(breaks) and not breaks
    return f"{'unbroken-' if unbroken else ''}{steps}-{place}"


def varied(rows: pd.DataFrame) -> list[str]:
    """The columns of the configuration in which rows differ."""
    return [name for name in configuration("measure") if name in rows and rows[name].nunique(dropna=False) > 1]


def both_sides(rows: pd.DataFrame, figure: str) -> pd.Series[Any]:
    """A figure of `mmu_lock`, `contentions` or `wait_ns`, of its read and write side together."""
    return rows[f"read_{figure}"] + rows[f"write_{figure}"]


def require_recorded(rows: pd.DataFrame, column: str) -> None:
    """Refuses rows in which a counter's column is empty.

    Raises:
        InputError: it is; the message says which `counters` would fill it.
    """
    if rows[column].isna().all():
        wanted = "'times'" if column.endswith("_ns") else "'counts' or 'times'"
        raise InputError(f"column {column} is empty: the sweep needs counters={wanted}")
