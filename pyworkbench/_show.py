"""What the command line shows of what takes long: progress on standard error, and tables of the results."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from pyworkbench._live import exploring_text
from pyworkbench.sweep import SUMMARY, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyworkbench.sweep import Status, SweepResult


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that is gone at the end; yields a function that takes what is done and what there is in all."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield progress


@contextmanager
def sweeping() -> Iterator[Callable[[Status], None]]:
    """A bar about a sweep, with an estimate, gone at the end; yields what `sweep` takes as `progress`."""
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")

        def progress(status: Status) -> None:
            done = status.reused + status.measured
            bar.update(task, completed=done, total=status.planned or None, description=str(status))

        yield progress


@contextmanager
def exploring() -> Iterator[Callable[[int, int, float], None]]:
    """A line about an exploration, gone at the end; yields what `explore` takes as `progress`."""
    with Console(stderr=True).status("exploring") as status:

        def progress(executions: int, frontier: int, elapsed_s: float) -> None:
            status.update(exploring_text(executions, frontier, elapsed_s))

        yield progress


def show_matrix(matrix: pd.DataFrame, *, ladders: bool) -> None:
    """Prints a table for each scenario, a row a cell; below it, what has no meaning there and why, and ladders."""
    console = Console()
    for scenario, rows in matrix.groupby("scenario", sort=False):
        table = Table(title=str(scenario), title_justify="left", box=box.SIMPLE, padding=0)
        for name in ("variant", "strategy", "verdict"):
            table.add_column(name, no_wrap=True)
        table.add_column("harm that can come first, or why")
        table.add_column("classes", justify="right", no_wrap=True)
        before = None
        judged = rows[rows["verdict"] != "n/a"]
        for row in judged.to_dict("records"):
            colour = _COLOURS[row["verdict"]]
            said = row["kinds"] if row["verdict"] == "Bug" else row["what"]
            seen = "" if pd.isna(row["classes"]) else f"{row['classes']:,.0f}"
            mark = "" if row["verdict"] != "Bug" or row["complete"] else "+"  # more may come
            variant = "" if row["variant"] == before else row["variant"]
            before = row["variant"]
            verdict = f"[{colour}]{row['verdict']}[/{colour}]"
            table.add_row(variant, row["strategy"], verdict, "" if pd.isna(said) else said, seen + mark)
        console.print(table if len(judged) else f"{scenario}: no verdict")
        reasons: dict[tuple[str, str], list[str]] = {}
        for row in rows[rows["verdict"] == "n/a"].to_dict("records"):
            reasons.setdefault((row["variant"], row["what"]), []).append(row["strategy"])
        for (variant, why), without in reasons.items():
            every = len(without) == len(rows[rows["variant"] == variant])
            of = "every strategy" if every else ", ".join(without)
            console.print(f"n/a {variant}, {of}: {why.removeprefix(variant).strip()}", style="dim", highlight=False)
        for row in judged[judged["verdict"] == "Bug"].to_dict("records") if ladders else []:
            about = f"{row['variant']}, {row['strategy']}: {row['what']}"
            console.out(f"\n{about}\n\n{row['ladder']}\nreplay: {row['schedule']}", highlight=False)


def show_orderings(orders: pd.DataFrame) -> None:
    """Prints a row for each order, and how many there are of each sort."""
    console = Console()
    proved = "verdict" in orders
    table = Table(box=box.SIMPLE, padding=(0, 1))
    table.add_column("order")
    table.add_column("flushes", justify="right")
    for name in ("overlap", "paths", *(["verdict"] if proved else [])):
        table.add_column(name)
    for row in orders.to_dict("records"):
        cells = [row["order"], str(row["flushes"]), "may" if row["may_overlap"] else "", row["paths"]]
        if proved:
            verdict = "" if pd.isna(row["verdict"]) else row["verdict"]
            kinds = "" if pd.isna(row["kinds"]) else row["kinds"]
            cells.append(f"{verdict} {kinds}".strip())
        table.add_row(*cells)
    console.print(table)
    more = "" if orders.attrs["complete"] else ", and there are more"
    console.print(f"{len(orders)} orders{more}; in {orders['may_overlap'].sum()} two flushes of a VM may overlap")


def show_first_findings(found: pd.DataFrame) -> None:
    """Prints a row for each bug, in it the quartiles of each search."""
    searches = list(dict.fromkeys(found["search"]))
    table = Table(box=box.SIMPLE, padding=(0, 1))
    table.add_column("bug", no_wrap=True)
    for search in searches:
        table.add_column(search, justify="right")
    for name, rows in found.groupby("bug", sort=False):
        cells = {row["search"]: _quartiles(row) for row in rows.to_dict("records")}
        table.add_row(str(name), *(cells[search] for search in searches))
    console = Console()
    console.print(table)
    console.print(
        f"median (quartiles) of executions to the first harm; {found['seeds'].max()} seeds, none for dpor and dfs; "
        f"at most {found['executions'].max():,} executions, ... is beyond; % of seeds that saw it where not all did"
    )


def _quartiles(row: Mapping[Any, Any]) -> str:
    lower, median, upper = ("..." if pd.isna(row[name]) else f"{row[name]:,}" for name in ("lower", "median", "upper"))
    spread = "" if row["seeds"] == 1 else f" ({lower}-{upper})"
    share = "" if row["found"] == 1 else f" {row['found']:.0%}"
    return median + spread + share


_COLOURS = {"Proved": "green", "Bug": "red", "Exhausted": "yellow"}


MOST_ROWS = 100
"""What a terminal is shown of a big sweep."""


def show_sweep(result: SweepResult) -> None:
    """Prints how a sweep ended, and a row for each point: medians over its repeats, a table a walk; or verdicts."""
    facts, status = result.environment, result.status
    console = Console()
    console.print(status.plan, highlight=False)
    console.print(str(status), highlight=False)
    if status.last_error:
        console.print(f"last error: {status.last_error}", highlight=False)
    if result.spec.kind == "explore":
        console.print(_verdicts(result.rows))
        return
    console.print(f"{facts['cpu']}, {facts['cores']} cores; medians, repeats: {result.spec.repeats}", highlight=False)
    summary = result.summary()
    walks: Any = summary.head(MOST_ROWS).groupby("walk", observed=True, dropna=False)
    for walk, rows in walks:
        console.print(_table("no faults" if pd.isna(walk) else f"faults of the {walk} walk", rows))
    _say_what_is_left(console, len(summary))


def show_status(status: Status) -> None:
    """Prints how far a sweep is, and what is wrong with its store."""
    console = Console()
    console.print(str(status), highlight=False)
    if status.plan:
        console.print(f"plan: {status.plan}", highlight=False)
    console.print(f"stored: {status.stored:,} rows, of every sweep into this store", highlight=False)
    if status.pid is not None and status.running:
        console.print(f"process: {status.pid}, last heard of {status.updated_at}", highlight=False)
    if status.last_error:
        console.print(f"last error: {status.last_error}", highlight=False)
    for sentence in status.damaged:
        console.print(f"warning: {sentence}", style="yellow", highlight=False)


def _say_what_is_left(console: Console, rows: int) -> None:
    if rows > MOST_ROWS:
        console.print(f"{rows - MOST_ROWS:,} more points: pyworkbench.sweep.load reads them", highlight=False)


def _verdicts(rows: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1))
    for name in ("scenario", "variant", "strategy", "search", "verdict", "harm that can come first, or why"):
        table.add_column(name)
    for row in rows.head(MOST_ROWS).to_dict("records"):
        verdict = row["verdict"] if row["status"] == "ok" else row["status"]
        said = row["kinds"] if row["verdict"] == "Bug" else row["what"] if row["status"] == "ok" else row["error"]
        names = [str(row[name]) for name in ("scenario", "variant", "strategy", "search")]
        table.add_row(*names, str(verdict), "" if pd.isna(said) else str(said))
    return table


def _table(title: str, summary: pd.DataFrame) -> Table:
    marked = summary["oversubscribed"].any()
    table = Table(
        title=title,
        caption="* more threads than cores: about the scheduler, not about the lock" if marked else None,
        box=box.SIMPLE,
        padding=0,
    )
    names = [name for name in summary.columns if name not in {"walk", "oversubscribed", *SUMMARY}]
    for name in names:
        table.add_column(TITLES.get(name, name), no_wrap=True)
    for figure in SUMMARY.values():
        table.add_column(figure.replace(", ", "\n"), justify="right", min_width=7)
    for row in summary.to_dict("records"):
        figures = ["" if pd.isna(row[name]) else f"{row[name]:,.2f}" for name in SUMMARY]
        mark = "*" if row["oversubscribed"] else " "
        threads, *configuration = [shown_value(name, row[name]) for name in names]
        table.add_row(f"{threads}{mark}", *configuration, *figures)
    return table


TITLES = {"order": "teardown", "guest_bytes": "guest", "leaf_bytes": "leaf", "step_bytes": "step", "op_bytes": "op"}
"""How columns of the configuration are called where there is little room."""


def shown_value(name: str, value: Any) -> str:
    """A value of the configuration for people: sizes with their units."""
    if pd.isna(value):
        return ""
    return size_text(int(value)) if name.endswith("_bytes") else str(value)
