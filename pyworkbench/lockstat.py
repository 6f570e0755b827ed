"""Lock counters in the forms that kernel people read: `/proc/lock_stat` and `perf lock contention`.

Guaranteed: the text of a `LockStat` is laid out as Linux lays `/proc/lock_stat` out, byte for byte (the last newline
is `print`'s), and `read_lock_stat` reads it again with the same numbers; that of a `PerfLock` is laid out as perf
prints it. Not guaranteed, and different from a kernel's: a contention point here is a site, which has a name and no
address, so its address is zeros, as under kptr_restrict; every site is listed, where a kernel keeps four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pyworkbench import _core
from pyworkbench.errors import InputError
from pyworkbench.stats._frame import CONFIGURATION, check_column, succeeded, varies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_COLUMNS = (
    "con-bounces",
    "contentions",
    "waittime-min",
    "waittime-max",
    "waittime-total",
    "waittime-avg",
    "acq-bounces",
    "acquisitions",
    "holdtime-min",
    "holdtime-max",
    "holdtime-total",
    "holdtime-avg",
)
_COUNTS = ("con_bounces", "contentions", "acq_bounces", "acquisitions")
_TIMES = {"wait": "contentions", "hold": "acquisitions"}  # what each time is one of
_NS = tuple(f"{kind}_{what}" for kind in _TIMES for what in ("min_ns", "max_ns", "ns"))
_ROWS = (
    "lock_class",
    "side",
    *(name.replace("-", "_") + ("_us" if "time" in name else "") for name in _COLUMNS),
)
_POINTS = ("lock_class", "kind", "count", "address", "symbol")
_LISTS = {"contended": "contentions", "contending": "contended_by"}  # what each list of points counts
_SUFFIXES = {"read": "-R", "write": "-W"}
_WIDTH = 40 + 15 * len(_COLUMNS)

# The kind of `lock` that plays mmu_lock, as perf names kinds; the other locks are what they are in the kernel.
_KINDS = {
    "qrwlock": "rwlock",
    "parking_lot": "rwlock",
    "std": "rwlock",
    "range": "rwlock",
    "big_reader": "rwlock",
    "ticket": "spinlock",
    "mcs": "spinlock",
    "mutex": "mutex",
}
_OTHERS = {
    "kvm_lock": "mutex",
    "kvm->slots_lock": "mutex",
    "kvm->slots_arch_lock": "mutex",
    "kvm->arch.config_lock": "mutex",
    "vcpu->mutex": "mutex",
    "anon_vma->rwsem": "rwsem",
    "notifier_subscriptions->lock": "spinlock",
    "files->file_lock": "spinlock",
    "task->alloc_lock": "spinlock",
}

_UNITS = ((3600 * 10**9, "h "), (60 * 10**9, "m "), (10**9, "s "), (10**6, "ms"), (10**3, "us"))


@dataclass(frozen=True, repr=False)
class LockStat:
    """Lock counters as `/proc/lock_stat` has them; its text is that file's.

    Attributes:
        rows: a row a lock class, two for a reader-writer lock: `lock_class`, `side` ("read", "write", or missing
            where the two are not told apart), the twelve columns of the file with underscores, times in
            microseconds to two decimals (`waittime_avg_us`); most contended first.
        points: a row a contention point: `lock_class`, `kind` ("contended": here somebody waited; "contending":
            here was who it waited for), `count`, `address`, `symbol`.
        warnings: the lines that the file marks with *WARNING*.
    """

    rows: pd.DataFrame
    points: pd.DataFrame
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__  # what a notebook shows

    def _lines(self) -> Iterator[str]:
        rule = "-" * (_WIDTH + 1)
        yield "lock_stat version 0.4"
        yield from (f"*WARNING* {warning}" for warning in self.warnings)
        yield from (rule, f"{'class name':>40}" + "".join(f" {name:>14}" for name in _COLUMNS), rule, "")
        of_class: dict[str, list[Mapping[Any, Any]]] = {}
        for point in self.points.to_dict("records"):
            of_class.setdefault(point["lock_class"], []).append(point)
        for name, both_sides in groupby(self.rows.to_dict("records"), key=lambda row: row["lock_class"]):
            rows = list(both_sides)
            yield from map(_row, rows)
            points = of_class.pop(name, [])
            underline = "-" * (len(name) + (2 if any(row["side"] == "read" for row in rows) else 0))
            for kind in ("contended", "contending"):
                listed = [point for point in points if point["kind"] == kind]
                if listed:
                    yield f"{underline:>40}"
                    yield from map(_point, listed)
            if points:
                yield from ("", "." * (_WIDTH + 1), "")


@dataclass(frozen=True, repr=False)
class PerfLock:
    """Contention by caller, as `perf lock contention` has it; its text is what that prints.

    Attributes:
        rows: `contended`, `total_wait_ns`, `max_wait_ns`, `avg_wait_ns`, `type` and `caller`, longest total first.
    """

    rows: pd.DataFrame

    def __str__(self) -> str:
        heads = ("total wait", "max wait", "avg wait")
        lines = [f"{'contended':>10}" + "".join(f" {head:>12}" for head in heads) + f"   {'type':>10}   caller", ""]
        for row in self.rows.to_dict("records"):
            waits = "".join(f" {_duration(row[name]):>12}" for name in ("total_wait_ns", "max_wait_ns", "avg_wait_ns"))
            lines.append(f"{row['contended']:>10}{waits}   {row['type']:>10}   {row['caller']}")
        return "\n".join(lines)

    __repr__ = __str__  # what a notebook shows


def lock_stat(measured: pd.DataFrame | Path | str) -> LockStat:
    """The counters of all locks as a kernel's `/proc/lock_stat` would show them after these measurements.

    Args:
        measured: a frame of sites, as `load(DIR, "sites")` gives it, or such a directory. Counters of all rows are
            added up: choose the rows first where they are of several configurations. If they are, or if there were
            more threads than cores, the text says so where a kernel's has its own warnings.

    Raises:
        InputError: a column is missing, or times were not recorded.

    Example:
        >>> counters = {"acquisitions": 1000, "contentions": 3, "acq_bounces": 9, "con_bounces": 3}
        >>> waits = {"wait_ns": 6000, "wait_min_ns": 1000, "wait_max_ns": 3000}
        >>> holds = {"hold_ns": 250_000, "hold_min_ns": 100, "hold_max_ns": 4_000}
        >>> where = {"lock_class": "kvm->mmu_lock", "side": "read", "site": "kvm_handle_guest_abort"}
        >>> text = str(lock_stat(pd.DataFrame([where | counters | waits | holds])))
        >>> text.splitlines()[5].split()[:7]
        ['kvm->mmu_lock-R:', '3', '3', '1.00', '3.00', '6.00', '2.00']
    """
    sites = _sites(measured, _COUNTS, _NS)
    rows = _added_up(sites)
    contended = rows.groupby("lock_class")["contentions"].transform("sum")
    shared = rows["lock_class"].isin(rows.loc[rows["side"] == "read", "lock_class"])
    rows = (
        rows.assign(contended=-contended, reading=rows["side"] == "read", side=rows["side"].where(shared))
        .sort_values(["contended", "lock_class", "reading"], ignore_index=True)
        .loc[:, list(_ROWS)]
    )
    order = list(dict.fromkeys(rows["lock_class"]))
    points = pd.concat([_points(sites, kind, column, order) for kind, column in _LISTS.items()], ignore_index=True)
    return LockStat(rows, points, _doubts(sites))


def read_lock_stat(file: Path | str) -> LockStat:
    """Reads a `/proc/lock_stat`, or a copy of one, plain or gzip.

    Raises:
        CaptureError: it is none, or is cut; the message names file and line.
    """
    return lock_stat_of(Path(file).read_bytes(), str(file))


def lock_stat_of(contents: bytes, name: str = "lock_stat") -> LockStat:
    """The same for a file's contents.

    Args:
        contents: the text, plain or gzip.
        name: what errors call it.
    """
    found = _core.read_lock_stat(contents, name)
    rows = pd.DataFrame(found["rows"], columns=_ROWS).astype({"side": "str"})
    return LockStat(rows, pd.DataFrame(found["points"], columns=_POINTS), found["warnings"])


def perf_lock(measured: pd.DataFrame | Path | str) -> PerfLock:
    """Contention by site as `perf lock contention` would print it for these measurements.

    Args:
        measured: as of `lock_stat`. The type is that of the lock that played `mmu_lock`; the other locks have
            the kernel's.

    Raises:
        InputError: a column is missing, or times were not recorded.

    Example:
        >>> where = {"lock": "qrwlock", "lock_class": "kvm->mmu_lock", "side": "write", "site": "kvm_age_gfn"}
        >>> perf_lock(pd.DataFrame([where | {"contentions": 4, "wait_ns": 8_123_456, "wait_max_ns": 8_100_000}]))
         contended   total wait     max wait     avg wait         type   caller
        <BLANKLINE>
                 4      8.12 ms      8.10 ms      2.03 ms     rwlock:W   kvm_age_gfn
    """
    sites = _sites(measured, ("contentions",), ("wait_ns", "wait_max_ns"))
    check_column(sites, "lock")
    kinds = [_perf_type(*of) for of in zip(sites["lock"], sites["lock_class"], sites["side"], strict=True)]
    callers = sites.assign(type=kinds).groupby(["type", "site"], observed=True, sort=True)
    rows = callers.agg(
        contended=("contentions", "sum"), total_wait_ns=("wait_ns", "sum"), max_wait_ns=("wait_max_ns", "max")
    ).reset_index()
    rows = rows[rows["contended"] > 0].sort_values("total_wait_ns", ascending=False, kind="stable", ignore_index=True)
    rows.insert(3, "avg_wait_ns", rows["total_wait_ns"] // rows["contended"])
    names = ["contended", "total_wait_ns", "max_wait_ns", "avg_wait_ns", "type", "caller"]
    return PerfLock(rows.rename(columns={"site": "caller"})[names])


def _sites(measured: pd.DataFrame | Path | str, counts: Sequence[str], times: Sequence[str]) -> pd.DataFrame:
    """The rows of measurements that came to an end, their counters as whole numbers; a time of nothing is 0."""
    if isinstance(measured, pd.DataFrame):
        every = measured
    else:
        from pyworkbench.sweep import load  # noqa: PLC0415 (a frame needs no store)

        every = load(measured, "sites")
    for name in ("lock_class", "side", "site", *counts, *times):
        check_column(every, name)
    sites = every[succeeded(every)].astype(dict.fromkeys(("lock_class", "side", "site"), "str"))
    if sites.empty:
        raise InputError("every measurement in the frame failed")
    for name in counts:
        if sites[name].isna().any():
            raise InputError(f"column {name} has gaps: a counter needs a sweep with counters='counts' or 'times'")
    for name in times:
        happened = sites["contentions" if name.startswith("wait") else "acquisitions"] > 0
        if sites.loc[happened.to_numpy(bool), name].isna().any():
            raise InputError(f"column {name} has gaps: a time needs a sweep with counters='times'")
    return sites.assign(**{name: sites[name].fillna(0).astype("int64") for name in (*counts, *times)})


def _added_up(sites: pd.DataFrame) -> pd.DataFrame:
    """A row for each side of each lock class that was taken: counters over all sites, times in microseconds."""
    never = np.iinfo(np.int64).max
    shortest = {
        f"{kind}_min_ns": sites[f"{kind}_min_ns"].where(sites[count] > 0, never) for kind, count in _TIMES.items()
    }
    found = sites.assign(**shortest).groupby(["lock_class", "side"], sort=True)
    what = {name: (name, "sum") for name in _COUNTS}
    for kind in _TIMES:
        what |= {f"{kind}time_{how}": (f"{kind}_{how}_ns", how) for how in ("min", "max")}
        what |= {f"{kind}time_total": (f"{kind}_ns", "sum")}
    rows = found.agg(**what).reset_index()
    for kind, count in _TIMES.items():
        rows[f"{kind}time_avg"] = rows[f"{kind}time_total"] // rows[count].where(rows[count] > 0, 1)
        rows[f"{kind}time_min"] = rows[f"{kind}time_min"].where(rows[count] > 0, 0)
        for how in ("min", "max", "total", "avg"):
            rows[f"{kind}time_{how}_us"] = (rows.pop(f"{kind}time_{how}") + 5) // 10 / 100  # to 10 ns, as Linux
    return rows[rows["acquisitions"] > 0]


def _points(sites: pd.DataFrame, kind: str, column: str, order: list[str]) -> pd.DataFrame:
    """One list of contention points, the busiest of each lock first."""
    if column not in sites.columns:
        return pd.DataFrame(columns=_POINTS)
    counts = sites.assign(count=sites[column].fillna(0).astype("int64"))
    places = counts.groupby(["lock_class", "site"], observed=True)["count"].sum()
    found = places[places > 0].sort_values(ascending=False, kind="stable").reset_index()
    found = found.sort_values("lock_class", key=lambda names: names.map(order.index), kind="stable")
    return found.rename(columns={"site": "symbol"}).assign(kind=kind, address=0)[list(_POINTS)]


def _doubts(sites: pd.DataFrame) -> list[str]:
    mixed = [name for name in CONFIGURATION if name in sites.columns and varies(sites[name])]
    found = [f"counters of several configurations, which differ in {', '.join(mixed)}"] if mixed else []
    if "oversubscribed" in sites.columns and sites["oversubscribed"].to_numpy(bool).any():
        found.append("more threads than cores: waits and holds are the scheduler's too")
    return found


def _row(row: Mapping[Any, Any]) -> str:
    name = f"{row['lock_class']}{_SUFFIXES.get(row['side'], '')}:"
    cells = [f"{row[column]:d}" if column in _COUNTS else f"{row[column]:.2f}" for column in _ROWS[2:]]
    return f"{name:>41}" + " ".join(f"{cell:>14}" for cell in cells)


def _point(point: Mapping[Any, Any]) -> str:
    address = f"[<{point['address']:016x}>]"
    return f"{point['lock_class']:>40} {point['count']:>14} {address:>29} {point['symbol']}"


def _perf_type(lock: str, lock_class: str, side: str) -> str:
    kind = _KINDS.get(lock, "unknown") if lock_class.endswith("mmu_lock") else _OTHERS.get(lock_class, "unknown")
    return f"{kind}:{'R' if side == 'read' else 'W'}" if kind.startswith("rw") else kind


def _duration(ns: int) -> str:
    """A time as perf prints it, in the largest unit of which there is one."""
    for unit, name in _UNITS:
        if ns >= unit:
            return f"{ns / unit:.2f} {name}"
    return f"{ns} ns"
