"""The walkers beside their peers: `make bench` ends with this table, as text and as `out/bench.html`.

The figures are the minima over the runs of `cargo bench --bench walkers` that `make bench` has kept, in nanoseconds for
each 4K page; the calls from Python are timed here, on the same arrays, and set beside the Rust figure of the same run. The C
figures and the goals are those of a given machine: on another, compare the ratios to the floor.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pyworkbench import Stage2
from pyworkbench._environment import environment

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
CRITERION = ROOT / "core_rs" / "target" / "criterion"
OUT = ROOT / "out" / "bench.html"
GUEST = 1 << 16
LARGE = 1 << 20
BASE, PA = 0x8000_0000, 0x1_0000_1000
RUNS = 15
PYTHON_LIMIT = 1.15
SUBJECTS = ["upstream", "fast", "aarch64-paging", "x86_64", "floor", "counted"]


@dataclass(frozen=True)
class Row:
    """An operation of the table."""

    title: str
    benchmark: str
    c_ns: float = math.nan
    """Upstream's C code in user space."""
    goal: float = math.nan
    """For `fast`."""
    given_floor: float = math.nan
    """The floor on the machine that the goal is from."""
    pages: int = GUEST
    floor: str = "floor"
    """Which subject is the floor."""


ROWS = [
    Row("map, a call a page, sequential", "map-each", 44.5, 8, 2.6),
    Row("map, a call a page, shared", "map-each-shared", 45.5),
    Row("map, a call a page, random", "map-random", 44.6, 9, 3.4),
    Row("map, one ranged call", "map-range", 14.5, 0.9, 0.65),
    Row("look-up, sequential", "look-up", 21.4, 4, 1.9),
    Row("look-up, random", "look-up-random", 22.0, 5, 2.4),
    Row("look-up, random over 4 GiB, batched", "look-up-many", 77.8, 8, 6.2, LARGE),
    Row("set AF, random, without RCU section", "mkyoung", 25.0, 8, 4.9),
    Row("set AF, random, with RCU section", "mkyoung-rcu"),
    Row("write-protect whole", "wrprotect", 5.6, 0.8, 0.57),
    Row("unmap, a call a page, sequential", "unmap-each", 29.6, 8, 2.4),
    Row("unmap whole", "unmap", 4.8, 0.05),
    Row("destroy", "destroy", 4.5, 0.02, 0.02),
    Row("split 2M -> 4K", "split", 14.9, 1.5),
    Row("map_many, random over 4 GiB", "map-many", pages=LARGE),
    Row("unmap_many, random over 4 GiB", "unmap-many", pages=LARGE),
    Row("leaves", "leaves", pages=LARGE),
]


def minimum(benchmark: str, subject: str, pages: int) -> float:
    """The least nanoseconds a page of a benchmark; NaN where the subject has none."""
    least = math.inf
    for sample in (CRITERION / benchmark / subject).glob("*/sample.json"):
        measured = json.loads(sample.read_text())
        least = min(least, *(t / n for t, n in zip(measured["times"], measured["iters"], strict=True)))
    return least / pages if least < math.inf else math.nan


def figures() -> pd.DataFrame:
    """A row an operation: every subject's figure, and how `fast` stands to its goal and to the floor."""
    rows = []
    for row in ROWS:
        measured = {subject: minimum(row.benchmark, subject, row.pages) for subject in SUBJECTS}
        if math.isnan(measured["fast"]):
            sys.exit(f"{CRITERION / row.benchmark} has no figures: `make bench` runs the benchmark first")
        to_floor = measured["fast"] / measured[row.floor]
        rows.append(
            {"ns for each 4K page": row.title, "upstream C": row.c_ns}
            | measured
            | {
                "goal": row.goal,
                "fast / floor": to_floor,
                "goal / its floor": row.goal / row.given_floor,
                "verdict": verdict(row, measured["fast"], to_floor),
            }
        )
    return pd.DataFrame(rows)


def verdict(row: Row, fast: float, to_floor: float) -> str:
    """Whether the goal is met: as a figure, or as the ratio to the floor of the same run."""
    if math.isnan(row.goal):
        return ""
    if fast <= row.goal:
        return "met"
    if to_floor <= row.goal / row.given_floor:
        return "met as a ratio to the floor"
    return "missed"


def scaling() -> pd.DataFrame:
    """How much faster two threads map the halves of a guest than one maps both; at least the floor's is the goal."""
    pairs = {
        subject: minimum("halves-one", subject, GUEST) / minimum("halves-two", subject, GUEST)
        for subject in ("upstream", "fast", "counted")
    }
    return pd.DataFrame([{"speed-up of two threads over one": "map halves, shared, no lock"} | pairs])


def best_of(work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """The least nanoseconds a page that `work` took, each time after `prepare`."""
    least = math.inf
    for _ in range(RUNS):
        prepare()
        start = time.perf_counter_ns()
        work()
        least = min(least, time.perf_counter_ns() - start)
    return least / LARGE


def from_python() -> pd.DataFrame:
    """The array calls on 2^20 pages from Python, beside the Rust figures of the same run."""
    order = np.random.default_rng(7).permutation(LARGE).astype(np.uint64) * np.uint64(4096)
    ipas, pas = order + np.uint64(BASE), order + np.uint64(PA)
    table = Stage2()
    size = LARGE * 4096

    def clear() -> None:
        table.unmap(BASE, size)

    def fill() -> None:
        clear()
        table.map(BASE, size, PA)

    calls = {
        "map-many": best_of(lambda: table.map_many(ipas, pas), clear),
        "look-up-many": best_of(lambda: table.lookup_many(ipas)),
        "unmap-many": best_of(lambda: table.unmap_many(ipas), fill),
    }
    fill()
    calls["leaves"] = best_of(table.leaves)
    titles = {row.benchmark: row.title for row in ROWS}
    rows = []
    for benchmark, python in calls.items():
        rust = minimum(benchmark, "fast", LARGE)
        rows.append(
            {
                "ns for each of 2^20 pages": titles[benchmark],
                "Rust": rust,
                "Python": python,
                "Python / Rust": python / rust,
                "limit": PYTHON_LIMIT,
                "verdict": "met" if python <= PYTHON_LIMIT * rust else "missed",
            }
        )
    return pd.DataFrame(rows)


def write_html(frames: list[pd.DataFrame]) -> None:
    """The tables in one file that loads nothing."""
    from great_tables import GT  # noqa: PLC0415 (only here)

    parts = []
    for frame in frames:
        numbers = [name for name in frame.columns if frame[name].dtype.kind == "f"]
        parts.append(GT(frame).fmt_number(numbers, n_sigfig=3).sub_missing(missing_text="").as_raw_html())
    machine = environment()
    parts.append(f"<pre>{json.dumps(machine, indent=1)}</pre>")
    OUT.parent.mkdir(exist_ok=True)
    aside = OUT.with_name(f".{OUT.name}.part")
    aside.write_text(f"<!doctype html><meta charset=utf-8><title>Walkers</title>{''.join(parts)}\n")
    aside.replace(OUT)


def main() -> None:
    """Prints the tables and writes the file."""
    frames = [figures(), scaling(), from_python()]
    with pd.option_context("display.width", 250, "display.max_columns", None, "display.float_format", "{:.3g}".format):
        for frame in frames:
            print(frame.to_string(index=False, na_rep=""), end="\n\n")
    write_html(frames)
    print(f"wrote {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
