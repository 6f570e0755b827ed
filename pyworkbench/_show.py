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
    """Prints a row for each point: medians over its repeats."""
    facts = result.environment
    marked = result.rows["oversubscribed"].any()
    table = Table(
        title=f"{facts['cpu']}, {facts['cores']} cores; medians, repeats: {result.spec.repeats}",
        caption="* more threads than cores: about the scheduler, not about the lock" if marked else None,
        box=box.SIMPLE,
        padding=0,
    )
    for title in ("threads", "pattern", "teardown"):
        table.add_column(title, no_wrap=True)
    for title in SUMMARY.values():
        table.add_column(title.replace(", ", "\n"), justify="right", min_width=7)
    for row in result.summary().to_dict("records"):
        figures = ["" if pd.isna(row[name]) else f"{row[name]:,.2f}" for name in SUMMARY]
        mark = "*" if row["oversubscribed"] else " "
        table.add_row(f"{row['threads']}{mark}", row["pattern"], row["teardown"], *figures)
    Console().print(table)
