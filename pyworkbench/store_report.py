"""A store as a report: what was asked, where it ran, what came out, and how sure each figure is.

The report is a notebook that is run here, without a kernel: each of its cells is one of the expressions below, and the
page shows it beside its result, so that whoever reads a figure has the call that makes it. What a store has nothing for
(one size of guest has no slope) is said in place. `pyworkbench.report` writes it as HTML that loads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nbformat

from pyworkbench import stats
from pyworkbench.errors import InputError
from pyworkbench.stats._frame import columns_of
from pyworkbench.store_facts import asked, doubts, environments, summary
from pyworkbench.sure import Sure
from pyworkbench.sweep import load, read_status
from pyworkbench.sweep.store import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

HOW_SURE = """## How sure the figures are

A figure is the median of the repeats of a point, and stands with a 95 % bootstrap interval; few repeats have few
medians, so that it holds the true one in 94 of 100 cases for 5 repeats, 87 for 7 and 93 for 10 and more, if repeats are
independent of each other; the random order in which they were measured is there for that. What makes a figure doubtful
is in its row's column *warnings*, and its row is shaded:

- *oversubscribed*: more threads than cores, so the figure is about the scheduler, not about the lock;
- *noisy*: the interval is wider than the effect: the range of all medians of the table, or the distance of a ratio
  from 1;
- *too few repeats*: fewer than 5, whose range holds the true median in less than 94 of 100 cases;
- *failed*: measurements failed, and are missing in the figure;
- *mixed configurations*: the rows differ in something that the table does not tell apart;
- *peak not measured*, *not a USL curve*: of the Universal Scalability Law: the peak is beyond the largest number of
  threads, or no parameters describe the figures.

In figures a band is the interval, a hollow mark a doubtful median, and a hatched ground more threads than cores."""

SETUP = """from pyworkbench import plots, stats
from pyworkbench.lockstat import lock_stat
from pyworkbench.store_report import latencies
from pyworkbench.sure import Sure
from pyworkbench.sweep import comparable, load

# One thread has no pattern: its rows begin the curve of each.
rows, classes, sites, holds = (comparable(load(store, table)) for table in ("rows", "classes", "sites", "holds"))
shared, exclusive = rows[rows["walk"] == "shared"], rows[rows["walk"] == "exclusive"]"""

OPERATIONS = """## Operations against threads"""
WALKS = """### Shared against exclusive walks

The ratio of median throughputs, shared (b) over exclusive (a): above 1 the shared walk is faster. *p adjusted* is of a
permutation test, adjusted for the number of rows."""
SCALING = """### How it scales

The Universal Scalability Law, with its residuals; and the knee, from which on more threads give little."""
LATENCY = """## Latency of operations

Medians over repeats of each measurement's percentiles, by class of operation, in nanoseconds."""
SITES = """## Contention by site"""
HOLDS = """## How long locks are held

All other configurations together."""
LOCK_STAT = """### As the kernel would print it

All measurements together, in the layout of `/proc/lock_stat`."""
TEARDOWN = """## Teardown

The time from the lock to the last page freed; the longest stretch for which `mmu_lock` was held for write meanwhile;
and the longest without a point at which the scheduler may run, which the kernel complains about from 100 ms on."""


@dataclass(frozen=True)
class _Part:
    """An expression of the report, with what it needs."""

    expression: str
    column: str
    """There are figures in this column."""
    varied: tuple[str, ...] = ()
    """The store has several values of each of these."""
    text: str = ""
    """What stands before it, if it is there."""


_PARTS = (
    _Part("plots.throughput(rows)", "ops_per_s", text=OPERATIONS),
    _Part("plots.wait(rows)", "write_wait_ns"),
    _Part('Sure(stats.summarise(rows, "ops_per_s"), "throughput", "Operations a second.")', "ops_per_s"),
    _Part('Sure(stats.compare(exclusive, shared), "walks")', "ops_per_s", ("walk",), WALKS),
    _Part('Sure(stats.usl(rows).parameters, "usl")', "ops_per_s", ("threads",), SCALING),
    _Part('Sure(stats.usl(rows).points, "usl_residuals")', "ops_per_s", ("threads",)),
    _Part('Sure(stats.knee(rows), "knee")', "ops_per_s", ("threads",)),
    _Part('Sure(latencies(classes), "latency")', "ops_per_s", text=LATENCY),
    _Part("plots.sites(sites)", "write_acquisitions", text=SITES),
    _Part('plots.hold_times(holds, "walk")', "write_hold_ns", text=HOLDS),
    _Part('plots.hold_times(holds, "lock")', "write_hold_ns", ("lock",)),
    _Part("lock_stat(store)", "write_hold_ns", text=LOCK_STAT),
    _Part(
        'Sure(stats.summarise(rows, "teardown_ns"), "teardown", "Teardown time, nanoseconds.")',
        "teardown_ns",
        text=TEARDOWN,
    ),
    _Part("plots.teardown_time(rows)", "teardown_ns", ("guest_bytes",)),
    _Part('Sure(stats.slope(rows), "slope", "1: in proportion to guest memory.")', "teardown_ns", ("guest_bytes",)),
    _Part("plots.longest_hold(rows)", "longest_hold_ns", ("step_bytes",)),
    _Part('Sure(stats.summarise(rows, "longest_hold_ns"), "longest_hold", "Nanoseconds.")', "longest_hold_ns"),
    _Part('Sure(stats.summarise(rows, "unresched_ns"), "unresched", "Nanoseconds.")', "unresched_ns"),
)


def report_of_store(directory: Path) -> tuple[nbformat.NotebookNode, dict[str, pd.DataFrame]]:
    """The report of a store as a notebook with outputs, and the frames of its measurements.

    Raises:
        StoreError: there is no store, or nothing in it can be read.
    """
    manifest, status = read_manifest(directory), read_status(directory)
    measured = load(directory)
    page = _Page({"store": str(directory)})
    page.say(f"# Sweep: {directory.resolve().name}\n\n{summary(measured, status)}")
    page.say(doubts(measured, status, manifest))
    page.say(f"## What was asked\n\n{asked(directory, manifest)}")
    page.say("## Where it ran")
    page.names["environments"] = environments(manifest)
    page.show('Sure(environments, "environment")')
    frames = {"measurements": measured}
    if manifest["kind"] == "explore":
        page.explored(measured)
    elif not len(measured):
        page.say("Nothing has been measured yet.")
    else:
        page.measured(measured)
        frames |= {name: load(directory, name) for name in ("classes", "sites", "holds")}
    notebook = nbformat.v4.new_notebook(cells=page.cells)
    notebook.metadata["title"] = f"pyworkbench: {directory.resolve().name}"
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook, frames


def latencies(classes: pd.DataFrame) -> pd.DataFrame:
    """Medians over repeats of the percentiles of each class of operations, in each configuration."""
    figures = ["mean_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"]
    if classes.empty:
        raise InputError("no latency was recorded")
    by = [*columns_of(classes, None), "op"]
    groups = classes.astype(dict.fromkeys(figures, "Float64")).groupby(by, dropna=False, observed=True)
    frame: pd.DataFrame = groups[figures].median().assign(n=groups.size()).reset_index()
    return frame.assign(warnings=["too few repeats" if n < stats.FEW else "" for n in frame["n"]])


class _Page:
    """Cells of a report, and the names that their expressions may use."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.cells: list[nbformat.NotebookNode] = []
        self.names: dict[str, Any] = {"Sure": Sure, **names}

    def measured(self, measured: pd.DataFrame) -> None:
        """The sections of measurements, those that the store has something for."""
        self.say(HOW_SURE)
        self.cells.append(nbformat.v4.new_code_cell(f"store = {self.names['store']!r}\n{SETUP}"))
        exec(SETUP, self.names)  # noqa: S102 (a text of this file)
        for part in _PARTS:
            several = all(measured[name].nunique(dropna=False) > 1 for name in part.varied)
            if measured[part.column].notna().any() and several:
                self.say(part.text)
                self.show(part.expression)

    def explored(self, verdicts: pd.DataFrame) -> None:
        """Verdicts, and the ladder of each bug."""
        names = (
            "scenario",
            "variant",
            "strategy",
            "search",
            "seed",
            "status",
            "verdict",
            "kinds",
            "executions",
            "error",
        )
        self.names["verdicts"] = verdicts[list(names)]
        self.say("## Verdicts")
        self.show('Sure(verdicts, "verdicts")')
        for row in verdicts[verdicts["verdict"] == "Bug"].to_dict("records"):
            title = f"### {row['scenario']}, {row['variant']}, {row['strategy']}"
            self.say(
                f"{title}\n\n{row['what']}\n\n```\n{row['ladder']}\n```\n\n`pwb explore --replay '{row['schedule']}'`"
            )

    def say(self, text: str) -> None:
        """Adds text, if there is any."""
        if text:
            self.cells.append(nbformat.v4.new_markdown_cell(text))

    def show(self, expression: str) -> None:
        """Adds an expression and what it gives, or why there is nothing."""
        try:
            value = eval(expression, self.names)  # noqa: S307 (an expression of this file)
        except InputError as error:
            self.say(f"*Not here: {error}.* (`{expression.removeprefix('Sure(').partition('(')[0]}`)")
            return
        data, metadata = _bundle(value)
        output = nbformat.v4.new_output("execute_result", data, execution_count=None, metadata=metadata)
        self.cells.append(nbformat.v4.new_code_cell(expression, outputs=[output]))


def _bundle(value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The forms of a value, as a notebook has them."""
    if hasattr(value, "_repr_mimebundle_"):
        data, metadata = value._repr_mimebundle_()
        return dict(data), dict(metadata)
    return {"text/plain": str(value)}, {}
