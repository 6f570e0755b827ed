"""What the command line shows of what takes long: progress on standard error, and tables of the results.

Progress is shown by commands that need no pandas, so it is imported where frames are.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from textwrap import fill, indent
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from pyworkbench._live import exploring_text
from pyworkbench.verdict import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd

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
    """A bar about a sweep, with an estimate, gone at the end; yields what `sweep` takes as `progress`.

    It is drawn once a second and by no thread of its own: what is drawn takes time from what is measured.
    """
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"))
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden, auto_refresh=False) as bar:
        task = bar.add_task("")
        drawn = 0.0

        def progress(status: Status) -> None:
            nonlocal drawn
            if time.monotonic() - drawn >= 1:
                drawn = time.monotonic()
                done = status.reused + status.measured
                bar.update(task, completed=done, total=status.planned or None, description=str(status), refresh=True)

        yield progress


@contextmanager
def exploring() -> Iterator[Callable[[int, int, float], None]]:
    """A line about an exploration, gone at the end; yields what `explore` takes as `progress`."""
    with Console(stderr=True).status("exploring") as status:

        def progress(executions: int, frontier: int, elapsed_s: float) -> None:
            status.update(exploring_text(executions, frontier, elapsed_s))

        yield progress


def show_matrix(matrix: pd.DataFrame, *, search: str, ladders: bool) -> None:
    """Prints a table for each scenario, a row a cell; below it, what has no meaning there and why, and ladders."""
    from pyworkbench.cost import FIGURES  # noqa: PLC0415 (a sweep's modules)

    console = _console()
    costs = [name for name in FIGURES if name in matrix]
    for scenario, rows in matrix.groupby("scenario", sort=False):
        judged = rows[rows["verdict"] != "n/a"]
        more = (judged["verdict"] == "Bug") & ~judged["complete"].fillna(value=False).astype(bool)
        table = Table(
            title=str(scenario),
            title_justify="left",
            caption="+ not every execution was seen" if more.any() else None,
            box=box.SIMPLE,
            padding=0,
        )
        for name in ("variant", "strategy", "verdict"):
            table.add_column(name, no_wrap=True)
        table.add_column("harm that can come first, or why")
        counted_as = [*_COUNTS[:2], "classes" if search == "dpor" else "whole"]
        for name in (*counted_as, *(name.replace("_", " ") for name in costs)):
            table.add_column(name, justify="right", no_wrap=name in counted_as)
        before = None
        for row, seen_in_part in zip(judged.to_dict("records"), more, strict=True):
            said = row["kinds"] if row["verdict"] == "Bug" else row["what"]
            counts = ["" if _is_missing(row[name]) else f"{row[name]:,}" for name in _COUNTS]
            variant = "" if row["variant"] == before else row["variant"]
            before = row["variant"]
            counts[-1] += "+" if seen_in_part else ""
            verdict = _coloured(row["verdict"])
            figures = ["" if _is_missing(row[name]) else f"{row[name]:.3g}" for name in costs]
            table.add_row(variant, row["strategy"], verdict, "" if _is_missing(said) else said, *counts, *figures)
        console.print(table if len(judged) else f"{scenario}: no verdict")
        for reason, same in judged.groupby("no_cost", sort=False) if costs else []:
            console.print(f"no cost, {reason}: {_cells(same)}", style="dim", highlight=False)
        for doubt, same in judged[judged["cost_warnings"] != ""].groupby("cost_warnings", sort=False) if costs else []:
            console.print(f"costs, {doubt}: {_cells(same)}", style="dim", highlight=False)
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


def _cells(rows: pd.DataFrame) -> str:
    return ", ".join(f"{row['variant']} {row['strategy']}" for row in rows.to_dict("records"))


def show_orderings(orders: pd.DataFrame, *, search: str, ladders: bool | None) -> None:
    """Prints a block for each order, and how many there are of each sort; ladders, if not said, where they are few."""
    console = _console()
    proved = orders[orders["verdict"].notna()] if "verdict" in orders else orders[:0]
    bugs = proved[proved["verdict"] == "Bug"]["ladder"].nunique() if len(proved) else 0
    if ladders is None:
        ladders = bugs <= _FEW
    margin = " " * (len(str(len(orders))) + 2)
    shown: dict[str, int] = {}
    for number, row in enumerate(orders.to_dict("records"), 1):
        text = _wrapped(_by_task(row["order"]), console.width, f"{number}.".ljust(len(margin)), margin)
        console.out(text.replace(_HARD, " "), highlight=False)
        flushes = f"{row['flushes']} flush{'' if row['flushes'] == 1 else 'es'}"
        overlap = ", two may overlap" if row["may_overlap"] else ""
        console.out(_wrapped(f"{flushes}{overlap}: {row['paths']}", console.width, margin, margin), highlight=False)
        if number - 1 not in proved.index:
            continue
        said = row["what"] if row["verdict"] != "Bug" else f"{row['kinds']}: {row['what']}"
        said = "" if _is_missing(said) else f" {said}"
        console.print(f"{margin}{_coloured(row['verdict'])}{said}", highlight=False, soft_wrap=True)
        if not _is_missing(row["executions"]):
            counts = counted(row["executions"], row["actions"], row["classes"], search)
            console.out(f"{margin}{counts}", highlight=False)
        if row["verdict"] == "Bug":
            console.out(f"{margin}replay: {row['schedule']}", highlight=False)
        if row["verdict"] == "Bug" and ladders:
            same = shown.setdefault(row["ladder"], number)
            text = row["ladder"] if same == number else f"the ladder of order {same}\n"
            console.out("\n" + indent(text, margin), highlight=False)
    more = "" if orders.attrs["complete"] else ", and there are more"
    overlapping = orders["may_overlap"].sum()
    console.out(f"{len(orders)} orders{more}; in {overlapping} two flushes of a VM may overlap", highlight=False)
    if len(proved):
        verdicts = proved["verdict"].value_counts()
        console.out(
            f"of the first {len(proved)}, explored: " + ", ".join(f"{name} {n}" for name, n in verdicts.items()),
            highlight=False,
        )


def _by_task(order: str) -> str:
    """An order with each task's steps in a row together, and no step broken."""
    steps = [step.split(" ", 1) for step in order.split("; ")]
    rows = [
        (task, ", ".join(step.replace(" ", _HARD) for _, step in row)) for task, row in groupby(steps, itemgetter(0))
    ]
    return "; ".join(f"{task}:{_HARD}{row}" for task, row in rows)


_FEW = 3  # ladders that are shown unasked
_HARD = "\N{NO-BREAK SPACE}"
_COUNTS = ("executions", "actions", "classes")


def _wrapped(text: str, width: int, first: str, others: str) -> str:
    return fill(text, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)


def _console() -> Console:
    """Standard output; as wide as tables are read well where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE)


_WIDE = 120


def _is_missing(value: object) -> bool:
    import pandas as pd  # noqa: PLC0415 (there is a frame, so it is there)

    return bool(pd.isna(value))  # type: ignore[call-overload]  # of one value


def _coloured(verdict: str) -> str:
    return f"[{_COLOURS[verdict]}]{verdict}[/{_COLOURS[verdict]}]"


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
    console = _console()
    console.print(table)
    console.print(
        f"median (quartiles) of executions to the first harm; {found['seeds'].max()} seeds, none for dpor and dfs; "
        f"at most {found['executions'].max():,} executions, ... is beyond; % of seeds that saw it where not all did"
    )


def _quartiles(row: Mapping[Any, Any]) -> str:
    if not row["seeds"]:
        return "not tried"
    lower, median, upper = (
        "..." if _is_missing(row[name]) else f"{row[name]:,}" for name in ("lower", "median", "upper")
    )
    spread = "" if row["seeds"] == 1 else f" ({lower}-{upper})"
    share = "" if row["found"] == 1 else f" {row['found']:.0%}"
    return median + spread + share


_COLOURS = {"Proved": "green", "Bug": "red", "Exhausted": "yellow"}


MOST_ROWS = 100
"""What a terminal is shown of a big sweep."""


def show_sweep(result: SweepResult) -> None:
    """Prints how a sweep ended, and a row for each point: medians over its repeats, a table a walk; or verdicts."""
    facts, status = result.environment, result.status
    console = _console()
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
        console.print(_table("no faults" if _is_missing(walk) else f"faults of the {walk} walk", rows))
    _say_what_is_left(console, len(summary))


def show_status(status: Status) -> None:
    """Prints how far a sweep is, and what is wrong with its store."""
    console = _console()
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
        table.add_row(*names, str(verdict), "" if _is_missing(said) else str(said))
    return table


def _table(title: str, summary: pd.DataFrame) -> Table:
    from pyworkbench.sweep import SUMMARY  # noqa: PLC0415 (half a second)

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
        figures = ["" if _is_missing(row[name]) else f"{row[name]:,.2f}" for name in SUMMARY]
        mark = "*" if row["oversubscribed"] else " "
        threads, *configuration = [shown_value(name, row[name]) for name in names]
        table.add_row(f"{threads}{mark}", *configuration, *figures)
    return table


TITLES = {"order": "teardown", "guest_bytes": "guest", "leaf_bytes": "leaf", "step_bytes": "step", "op_bytes": "op"}
"""How columns of the configuration are called where there is little room."""


def shown_value(name: str, value: Any) -> str:
    """A value of the configuration for people: sizes with their units."""
    from pyworkbench.sweep import size_text  # noqa: PLC0415 (half a second)

    if _is_missing(value):
        return ""
    return size_text(int(value)) if name.endswith("_bytes") else str(value)
