"""What the command line shows of a sweep: progress on standard error, and the table of medians."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pyworkbench.sweep import SUMMARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyworkbench.sweep import SweepResult


@contextmanager
def measuring() -> Iterator[Callable[[int, int], None]]:
    """A progress bar that is gone at the end; yields what `sweep` takes as `progress`."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring")

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield progress


def show_sweep(result: SweepResult) -> None:
    """Prints a table for each walk, in it a row for each point: medians over its repeats."""
    facts = result.environment
    console = Console()
    console.print(f"{facts['cpu']}, {facts['cores']} cores; medians, repeats: {result.spec.repeats}", highlight=False)
    for walk, summary in result.summary().groupby("walk", observed=True):
        console.print(_table(f"faults of the {walk} walk", summary))


def _table(title: str, summary: pd.DataFrame) -> Table:
    marked = summary["oversubscribed"].any()
    table = Table(
        title=title,
        caption="* more threads than cores: about the scheduler, not about the lock" if marked else None,
        box=box.SIMPLE,
        padding=0,
    )
    for name in ("threads", "pattern", "teardown"):
        table.add_column(name, no_wrap=True)
    for figure in SUMMARY.values():
        table.add_column(figure.replace(", ", "\n"), justify="right", min_width=7)
    for row in summary.to_dict("records"):
        figures = ["" if pd.isna(row[name]) else f"{row[name]:,.2f}" for name in SUMMARY]
        mark = "*" if row["oversubscribed"] else " "
        table.add_row(f"{row['threads']}{mark}", row["pattern"], row["teardown"], *figures)
    return table
