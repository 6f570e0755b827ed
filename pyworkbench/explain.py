"""What a sweep's figures say, in words (Markdown) that are computed from them.

Each function states what the medians of this sweep show on this machine and nothing more; where a figure is
about the machine instead of the lock, the text says so. No threshold here is a test of significance: the
points in the figures show the spread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pyworkbench.sweep import described, require_recorded, under_every_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyworkbench.capture import Replay
    from pyworkbench.sweep import SweepResult


def replays(found: Mapping[str, Replay]) -> str:
    """Whether the replays of some captures rebuilt what the machines held."""
    every = found.values()
    entries, exact, af_only, differing = (
        sum(getattr(replay, count) for replay in every) for count in ("entries", "exact", "af_only", "differing")
    )
    operations = sum(vm["operations"] for replay in every for vm in replay.vms)
    verdict = (
        "**none differs**" if differing == 0 else f"**{differing:,} differ**, so the table is not what the machine had"
    )
    said = (
        f"{operations:,} operations were replayed, and {entries:,} descriptors compared with the memory of the machine "
        f"that was paused: {exact:,} are equal bit for bit, and {verdict}."
    )
    if af_only:
        said += (
            f" {af_only:,} are equal but for the access flag, which the hardware of those machines sets by itself; "
            "no operation says so, and a replay cannot know."
        )
    return said


def contention(result: SweepResult) -> str:
    """How often a fault had to wait for `mmu_lock`, and what more threads did to throughput, by walk."""
    rows = described(result.rows)
    require_recorded(rows, "read_contentions")
    said = [_waits(rows[rows["walk"] == walk], walk) for walk in rows["walk"].cat.categories]
    counts = _counts_with_cores(rows)
    if len(counts) > 1:
        low, high = counts[0], counts[-1]
        by_pattern = under_every_pattern(rows)
        for pattern in rows["pattern"].cat.categories:
            of_pattern = by_pattern[by_pattern["pattern"] == pattern]
            said.append(_gains(of_pattern, pattern, low, high))
    return "\n\n".join([f"In {len(rows)} measurements:", "\n".join(said)])


def teardown(result: SweepResult) -> str:
    """How long the table's end keeps everyone else from `mmu_lock`, by order of teardown."""
    require_recorded(result.rows, "write_hold_max_ns")
    rows = described(result.rows)
    rows = rows[rows["walk"] == "shared"]
    if rows.empty:
        return (
            "Every fault of this sweep held `mmu_lock` for write, as the teardown does, so the longest hold may be "
            "either's. With the shared walk it is the teardown's."
        )
    by_order: Any = rows.groupby("order", observed=True)[["teardown_ns", "write_hold_max_ns"]].median()
    longest, shortest = by_order["write_hold_max_ns"].idxmax(), by_order["write_hold_max_ns"].idxmin()
    hold = by_order["write_hold_max_ns"].astype(float)
    said = [
        f"**{longest}** holds `mmu_lock` for write for {_duration(hold[longest])} at a stretch, "
        f"**{shortest}** for {_duration(hold[shortest])}; all of the teardown takes "
        f"{_duration(by_order.loc[longest, 'teardown_ns'])} and {_duration(by_order.loc[shortest, 'teardown_ns'])}. "
        "The longest hold is what a fault or a notifier may have to wait for, so it is the figure to compare."
    ]
    if {"ranges-under-lock", "whole-under-lock"} <= set(hold.index):
        share = hold["ranges-under-lock"] / hold["whole-under-lock"]
        broken = (rows["write_acquisitions"] > 1).any()
        said.append(
            f"In ranges under the lock the longest hold is {share:.2f} times that of the whole: "
            + (
                "between two ranges the lock was given to those who waited."
                if broken
                else "between two ranges the lock is offered, but given up only when somebody waits for it, "
                "and here nobody did (`cond_resched_rwlock_write` does the same)."
            )
        )
    return " ".join(said)


def oversubscription(result: SweepResult) -> str:
    """What it means, on this machine, that a sweep ran more threads than there are cores."""
    rows, cores = described(result.rows), result.environment["cores"]
    require_recorded(rows, "write_wait_max_ns")
    over = sorted(rows.loc[rows["oversubscribed"].astype(bool), "threads"].unique())
    has = f"**This process may use {cores} core{'s' if cores > 1 else ''}**"
    if not over:
        return (
            f"{has}, and no point ran more threads than that: every thread had a core for itself, as far as the "
            "rest of the machine let it. What the figures show is the lock and the table."
        )
    most = over[-1]
    said = (
        f"{has}, so of {most} threads at most {cores} run at any moment, whatever the lock does. "
        "Those rows are marked `oversubscribed`, and their ground is shaded."
    )
    compared: list[str] = []
    fitting = _counts_with_cores(rows)
    waited = rows[["read_wait_max_ns", "write_wait_max_ns"]].max(axis="columns")
    groups: Any = under_every_pattern(rows.assign(wait_max_ns=waited)).groupby(["pattern", "walk"], observed=True)
    for (pattern, walk), of_both in groups if fitting else []:
        before, after = (
            {name: _median(of_both, count, name) for name in ("faults_per_s", "involuntary_switches")}
            | {name: _most(of_both, count, name) for name in ("wait_max_ns", "retries")}
            for count in (fitting[-1], most)
        )
        compared.append(
            f"- **{pattern}, {walk} walk**: {before['faults_per_s'] / 1e6:.1f} and {after['faults_per_s'] / 1e6:.1f} "
            f"million faults a second; {before['involuntary_switches']:,.0f} and {after['involuntary_switches']:,.0f} "
            f"involuntary switches a measurement; at most {before['retries']:,.0f} and {after['retries']:,.0f} "
            f"walks of one measurement sent back with `EAGAIN`; longest wait for the lock: "
            f"{_duration(before['wait_max_ns'])} and {_duration(after['wait_max_ns'])}."
        )
    if compared:
        compared.insert(0, f"The same table with {fitting[-1]} and with {most} threads:\n")
    # Of a walk's own side: the teardown is one hold among the faults of an exclusive walk, and no median.
    hold = rows["read_hold_p50_ns"].where(rows["walk"] == "shared", rows["write_hold_p50_ns"]).median()
    meaning = (
        "A thread can lose its core while it holds `mmu_lock` or has an entry locked for break-before-make. Who "
        "needs either waits for the scheduler's next decision, which is milliseconds, not for the critical "
        f"section, which is {_duration(hold)} in the median. More of such waits says "
        f"nothing against the lock; to learn what {most} threads do to it takes {most} cores."
    )
    return "\n\n".join([said, "\n".join(compared), meaning]) if compared else f"{said}\n\n{meaning}"


def _waits(rows: pd.DataFrame, walk: str) -> str:
    """How often `mmu_lock` was taken and waited for in the rows of one walk."""
    side = {"shared": "read", "exclusive": "write"}[walk]
    taken, waited = int(rows[f"{side}_acquisitions"].sum()), int(rows[f"{side}_contentions"].sum())
    how = {
        "shared": "for read, and readers let each other in: what makes one wait is a writer.",
        "exclusive": "for write, so whoever comes meanwhile waits, whatever page it needs.",
    }[walk]
    often = f"{waited:,} of them ({100 * waited / taken:.2g} %)" if waited else "not one of them"
    by = "" if walk == "shared" else ", the teardowns included,"
    counted = f"It was taken{by} {taken:,} times, and {often} had to wait."
    return f"- With the **{walk}** walk a fault holds `mmu_lock` {how} {counted}"


def _gains(rows: pd.DataFrame, pattern: str, low: int, high: int) -> str:
    """What the highest number of threads with cores did to the throughput of one pattern, walk by walk."""
    served: dict[str, tuple[float, float]] = {}
    for walk in rows["walk"].cat.categories:
        of_walk = rows[rows["walk"] == walk]
        served[walk] = _median(of_walk, low, "faults_per_s"), _median(of_walk, high, "faults_per_s")
    gains = (
        f"{many / few:.2f} times with the {walk} walk ({few / 1e6:.1f} to {many / 1e6:.1f} million)"
        for walk, (few, many) in served.items()
    )
    said = [f"- **{pattern}** ranges, faults a second of {high} threads against {low}: {' and '.join(gains)}."]
    if "shared" in served:
        few, many = served["shared"]
        shared = rows[(rows["walk"] == "shared") & (rows["threads"] == high)]
        busy = (shared["op_cpu_ns"] / shared["op_wall_ns"]).median()
        if pd.notna(busy):
            said.append(f"With the shared walk they kept {busy:.1f} of {high} cores busy.")
        if pattern == "disjoint" and many / few < 0.9 * high / low and not shared["read_contentions"].any():
            said.append(
                f"None of them waited, so the rest of what is missing to {high / low:g} is what they share without "
                "waiting, which no counter has: the cache lines of the lock word and of the tables, the memory, and "
                "the core itself where two are halves of one."
            )
    if len(served) > 1:
        said.append(f"Shared over exclusive, with {high} threads: {served['shared'][1] / served['exclusive'][1]:.2f}.")
    if pattern == "overlapping":
        said.append("Each page is served once, by whoever comes first, and every thread passes over all of them.")
    return " ".join(said)


def _counts_with_cores(rows: pd.DataFrame) -> list[int]:
    return sorted(rows.loc[~rows["oversubscribed"].astype(bool), "threads"].unique())


def _median(rows: pd.DataFrame, threads: int, column: str) -> float:
    return float(rows.loc[rows["threads"] == threads, column].median())


def _most(rows: pd.DataFrame, threads: int, column: str) -> float:
    return float(rows.loc[rows["threads"] == threads, column].max())


def _duration(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns" if ns else "none"
