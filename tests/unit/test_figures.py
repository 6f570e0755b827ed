"""Figures, tables and sentences about a sweep, on rows made for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pyworkbench import InputError, explain, plots, tables
from pyworkbench.sweep import Status, SweepResult, SweepSpec

THREADS = (1, 2, 4)
PATTERNS = ("disjoint", "overlapping")
WALKS = ("shared", "exclusive")
TEARDOWNS = {  # the order in a word: step, place, breaks
    "whole-under-lock": (None, "under-lock", None),
    "ranges-under-lock": (2 << 20, "under-lock", True),
    "whole-taken-out": (None, "taken-out", None),
    "ranges-taken-out": (2 << 20, "taken-out", None),
}


def made(
    *, cores: int = 2, contended: int = 0, walks: tuple[str, ...] = WALKS, slower: float = 1, **columns: Any
) -> SweepResult:
    """A result of three repeats a point whose figures are simple functions of the point.

    `contended` is of each measurement of an exclusive walk; `slower` divides what more threads serve.
    """

    def wall_ns(walk: str, threads: int) -> float:
        """Of a thousand faults, a million a second for each thread that has a core; fewer for an exclusive walk."""
        return 1e6 / (1 if walk == "shared" else 0.8) / (min(threads, cores) / slower if threads > 1 and cores else 1)

    rows = pd.DataFrame(
        {
            "threads": threads,
            "oversubscribed": threads > cores,
            "pattern": pattern,
            "walk": walk,
            "teardown": "table",
            "step_bytes": step,
            "place": place,
            "breaks": breaks,
            "repeat": repeat,
            "status": "ok",
            "maps": 1000,
            "relaxes": 0,
            "youngs": 0,
            "retries": 7 * (threads - 1) if pattern == "overlapping" else 0,
            "op_wall_ns": wall_ns(walk, threads),
            "op_cpu_ns": 0.9 * min(threads, cores) * wall_ns(walk, threads),
            "teardown_ns": 500_000 + repeat,
            "read_acquisitions": 1000 if walk == "shared" else 0,
            "read_contentions": 0,
            "read_wait_ns": 0,
            "read_wait_max_ns": 0,
            "read_hold_p50_ns": 40 if walk == "shared" else 0,
            "write_acquisitions": 1 if walk == "shared" else 1001,
            "write_contentions": 0 if walk == "shared" else contended,
            "write_wait_ns": 0 if walk == "shared" else contended * 100,
            "write_wait_max_ns": 0 if walk == "shared" else contended * 10,
            "write_hold_p50_ns": 300_000 if walk == "shared" else 40,
            "write_hold_max_ns": (400_000 if place == "under-lock" else 200) if walk == "shared" else 900_000,
            "involuntary_switches": 3 * threads,
        }
        | columns
        for threads in THREADS
        for pattern in PATTERNS
        for walk in walks
        for step, place, breaks in TEARDOWNS.values()
        for repeat in range(3)
    )
    axes: dict[str, list[Any]] = {"pattern": list(PATTERNS), "walk": list(walks)}
    rows = rows.astype({name: pd.CategoricalDtype(values) for name, values in axes.items()})
    rows["run"] = range(len(rows))
    sites = pd.concat(
        [
            rows[["run", "threads", "pattern"]].assign(
                side="write", site="abort", acquisitions=1000, contentions=contended
            ),
            rows[["run", "threads", "pattern"]].assign(side="write", site="free", acquisitions=1, contentions=0),
        ]
    )
    frames: dict[str, pd.DataFrame] = {"rows": rows, "sites": sites}
    return SweepResult(SweepSpec(repeats=3), {"cores": cores, "cpu": "made"}, Status("done"), frames.__getitem__)


def test_contention_shows_units_points_and_the_oversubscribed_ground() -> None:
    svg = plots.contention(made(contended=5).rows).svg()
    for text in (
        "millions a second",
        "ns a fault",
        "EAGAIN",
        "threads",
        "disjoint ranges",
        "overlapping ranges",
        "shared walk (median)",
        "exclusive walk (median)",
        "more threads than cores",
    ):
        assert text in svg


def test_the_ground_is_plain_where_every_thread_has_a_core() -> None:
    assert "more threads than cores" not in plots.contention(made(cores=8).rows).svg()


def test_no_contention_is_said_in_the_figure_too() -> None:
    assert "none in 72 measurements" in plots.contention(made().rows).svg()


def test_waiting_is_left_out_where_only_counts_were_recorded() -> None:
    rows = made(contended=5, read_wait_ns=float("nan")).rows
    svg = plots.contention(rows).svg()
    assert "Waits for mmu_lock" in svg
    assert "ns a fault" not in svg


@pytest.mark.parametrize(
    ("plot", "column"), [(plots.contention, "read_contentions"), (plots.teardown, "write_hold_max_ns")]
)
def test_a_figure_without_its_counters_is_an_error(plot: Any, column: str) -> None:
    with pytest.raises(InputError, match=f"column {column} is empty: the sweep needs counters="):
        plot(made().rows.assign(**{column: float("nan")}))


def test_teardown_shows_every_order_with_units() -> None:
    svg = plots.teardown(made().rows).svg()
    for text in (*TEARDOWNS, "ms", "µs"):
        assert text in svg


def test_the_figure_on_teardown_leaves_out_the_holds_of_faults() -> None:
    assert made().rows["write_hold_max_ns"].max() == 900_000
    _, holds = plots.teardown(made().rows).axes
    assert max(np.max(line.get_xdata()) for line in holds.lines) == 400
    with pytest.raises(InputError, match="no row is of the shared walk"):
        plots.teardown(made(walks=("exclusive",)).rows)


def test_sites_say_how_many_of_how_many_waited() -> None:
    svg = plots.sites(made(contended=5).sites).svg()
    assert "4 threads: 5 of 1,000 waited" in svg
    assert "1 thread: 0 of 1 waited" in svg
    with pytest.raises(InputError, match="no site was recorded"):
        plots.sites(made().sites.iloc[:0])


def test_a_figure_shows_as_svg_with_a_description() -> None:
    data, metadata = plots.teardown(made().rows)._repr_mimebundle_()
    assert data["image/svg+xml"].startswith("<?xml")
    assert "whole-under-lock" in metadata["image/svg+xml"]["alt"]


def test_the_words_on_contention_follow_the_counters() -> None:
    quiet, busy = explain.contention(made()), explain.contention(made(contended=5))
    assert "In 144 measurements" in quiet
    assert "taken 72,000 times, and not one of them had to wait" in quiet
    assert "the teardowns included, 72,072 times, and not one of them had to wait" in quiet
    assert "taken 72,000 times, and not one of them had to wait" in busy
    assert "the teardowns included, 72,072 times, and 360 of them (0.5 %) had to wait" in busy
    with pytest.raises(InputError, match="column read_contentions is empty"):
        explain.contention(made(read_contentions=float("nan")))


def test_the_words_on_throughput_compare_threads_and_walks() -> None:
    said = explain.contention(made())
    shared = "2.00 times with the shared walk (1.0 to 2.0 million)"
    exclusive = "2.00 times with the exclusive walk (0.8 to 1.6 million)"
    assert f"faults a second of 2 threads against 1: {shared} and {exclusive}." in said
    assert "Shared over exclusive, with 2 threads: 1.25" in said
    assert "they kept 1.8 of 2 cores busy" in said
    assert "cores busy" not in explain.contention(made(op_cpu_ns=float("nan")))
    assert "Shared over exclusive" not in explain.contention(made(walks=("shared",)))
    assert "shared" not in explain.contention(made(walks=("exclusive",)))


def test_cache_lines_are_named_only_where_nobody_waited_and_something_is_missing() -> None:
    assert "cache lines" not in explain.contention(made())
    assert "cache lines" in explain.contention(made(slower=1.5))
    assert "cache lines" not in explain.contention(made(slower=1.5, read_contentions=1))


def test_the_words_on_teardown_follow_the_holds() -> None:
    said = explain.teardown(made())  # whose exclusive rows hold for 900 µs
    assert "holds `mmu_lock` for write for 400 µs at a stretch" in said
    assert "for 200 ns" in said
    assert "here nobody did" in said
    assert "was given to those who waited" in explain.teardown(made(write_acquisitions=2))
    assert "the longest hold may be either's" in explain.teardown(made(walks=("exclusive",)))


def test_the_words_on_oversubscription_name_cores_and_threads() -> None:
    over = explain.oversubscription(made())
    assert over.startswith("**This process may use 2 cores**, so of 4 threads at most 2 run at any moment")
    assert "6 and 12 involuntary switches" in over
    assert "at most 7 and 21 walks" in over
    assert "longest wait for the lock: none and none" in over
    assert "which is 40 ns in the median" in over
    waited = explain.oversubscription(made(contended=5))
    assert "**disjoint, exclusive walk**: 1.6 and 1.6 million faults" in waited
    assert waited.count("longest wait for the lock: 50 ns and 50 ns") == waited.count("none and none") == 2
    one = explain.oversubscription(made(cores=1))
    assert "may use 1 core**" in one
    enough = explain.oversubscription(made(cores=8))
    assert "no point ran more threads than that" in enough
    none_fits = made(cores=0)
    assert "The same table with" not in explain.oversubscription(none_fits)


def test_the_table_of_medians_shades_what_is_oversubscribed() -> None:
    html = tables.medians(made()).as_raw_html()
    assert html.count("background-color: #faf6ec") // 7 == 16  # 2 patterns, 2 walks, 4 teardowns, of 7 cells each
    assert "more threads than the 2 cores" in html
    assert "overlapping ranges, exclusive walk" in html
    assert "Shaded" not in tables.medians(made(cores=8)).as_raw_html()
    assert "exclusive" not in tables.medians(made(walks=("shared",))).as_raw_html()


def test_what_has_no_pattern_is_shown_with_each_pattern() -> None:
    result = made(contended=5)
    rows = result.rows[(result.rows["threads"] > 1) | (result.rows["pattern"] == "disjoint")].copy()
    rows.loc[rows["threads"] == 1, "pattern"] = None
    one = replace(result, tables={"rows": rows, "sites": result.sites}.__getitem__)
    assert explain.contention(one).count("faults a second of 2 threads against 1: 2.00 times") == 2
    assert "taken 60,000 times" in explain.contention(one)  # but counted once
    assert len(plots.contention(rows).axes) == len(plots.contention(result.rows).axes)
    assert "all ranges, shared walk" in tables.medians(one).as_raw_html()
