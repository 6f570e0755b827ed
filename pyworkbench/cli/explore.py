"""Commands that explore: one case, a matrix of cases, the orders of life-cycle steps, and searches side by side."""

import inspect
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyworkbench import (
    InputError,
    explore,
    first_findings,
    orderings,
    replay_schedule,
    verdict_matrix,
)
from pyworkbench.explore import Search, named_rows
from pyworkbench.matrix import RACES

if TYPE_CHECKING:
    import pandas as pd

commands = typer.Typer()

Variants = Annotated[list[str] | None, typer.Option("--variant", help="A kernel variant; again for another.")]
Strategies = Annotated[list[str] | None, typer.Option("--strategy", help="A locking strategy; again for another.")]
Variant = Annotated[str, typer.Option(help="The kernel's teardown.")]
Strategy = Annotated[str, typer.Option(help="The locking strategy: a name, or parts such as `cache=claim`.")]
Json = typer.Option("--json", help="JSON: one object a line.")


EXPLORE_EPILOG = """Exit codes: 0 Proved, 10 Bug, 11 Exhausted; with --replay 10 harm, 1 no harm.

pwb explore flush-race-filled --strategy claim-under-lock

pwb explore flush-race-filled --strategy "hold=arch helpers=assert cache=claim"

pwb explore "setup cache=filled; task T1: exit; task T2 fds=vm: close vm" --search pct --executions 1000

pwb explore --replay "pwb1:flush-race-filled arm64-7.3 none:0" --every-action"""
MATRIX_EPILOG = (
    'pwb matrix flush-race-filled flush-age --variant arm64-7.3 --strategy none --strategy "nested=defer cache=defer"'
)
ORDERINGS_EPILOG = 'pwb orderings "task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm" --prove 3'


def how(
    search: Annotated[Search, typer.Option(help="The way through the executions.")] = "dpor",
    seed: Annotated[int, typer.Option(min=0, help="Of random, pct and surw.")] = 0,
    executions: Annotated[int | None, typer.Option(min=1, help="The most executions.")] = None,
    actions: Annotated[int | None, typer.Option(min=1, help="The most actions of one execution.")] = None,
    preemptions: Annotated[int | None, typer.Option(min=0, help="The most preemptions of one execution.")] = None,
    time_s: Annotated[
        float | None, typer.Option("--time", min=0, metavar="SECONDS", help="The most time of an exploration.")
    ] = None,
) -> None:
    """The options of every exploration."""


def takes_how(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command whose last parameter is `**how`: it has the options of every exploration."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in [*own, *inspect.signature(how).parameters.values()]]

    @wraps(command)
    def run(**given: Any) -> None:
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def stop_if(stopped: bool) -> None:
    """Ends a command whose answer Ctrl-C cut short, after it was printed."""
    if stopped:
        raise KeyboardInterrupt


@commands.command("explore", epilog=EXPLORE_EPILOG)
@takes_how
def explore_command(
    scenario: Annotated[
        str | None, typer.Argument(help="A name, or a text such as `task T1: exit; task T2 fds=vm: close vm`.")
    ] = None,
    variant: Variant = "arm64-7.3",
    strategy: Strategy = "none",
    every: Annotated[bool, typer.Option("--every", help="Do not end at the first harm: see every execution.")] = False,
    schedule: Annotated[
        str | None, typer.Option("--replay", metavar="SCHEDULE", help="Run a schedule of an earlier bug again.")
    ] = None,
    every_action: Annotated[
        bool, typer.Option("--every-action", help="With --replay: show every action, not only those that matter.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=1, help="Threads, each on parts of the executions; dpor alone has parts.")
    ] = 1,
    list_all: Annotated[
        bool, typer.Option("--list", help="List scenarios, variants, strategies and searches, with a line on each.")
    ] = False,
    as_json: Annotated[bool, Json] = False,
    **how: Any,
) -> None:
    """Run every interleaving of a scenario, and say whether one does harm: a proof, or a ladder that shows it."""
    if list_all:
        list_cases(as_json=as_json)
        return
    if (scenario is None) == (schedule is None):
        raise InputError("give a scenario or --replay SCHEDULE; --list lists the scenarios")
    if every_action and schedule is None:
        raise InputError("--every-action is for --replay: give the schedule that a verdict ends with")
    if schedule is not None:
        replayed = replay_schedule(schedule, every_action=every_action)
        print(json.dumps(replayed.as_json()) if as_json else replayed)
        raise typer.Exit(10 if replayed.bug else 1)
    from pyworkbench._show import exploring  # noqa: PLC0415 (half a second)

    threads = ThreadPoolExecutor(jobs) if jobs > 1 else nullcontext(None)
    with exploring() as progress, threads as executor:
        verdict = explore(
            scenario or "",
            variant=variant,
            strategy=strategy,
            stop_at_first=not every,
            executor=executor,
            progress=progress,
            **how,
        )
    print(json.dumps(verdict.as_json()) if as_json else verdict)
    raise typer.Exit({"Proved": 0, "Bug": 10, "Exhausted": 11}[verdict.answer])


@commands.command("matrix", epilog=MATRIX_EPILOG)
@takes_how
def matrix_command(
    scenario: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...", help="Names or texts; the flush race, by what there is to free, if none."
        ),
    ] = None,
    variant: Variants = None,
    strategy: Strategies = None,
    ladders: Annotated[bool, typer.Option("--ladders", help="Below the table, the ladder of every bug.")] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="Also measure one teardown of a VM under each kernel and strategy.")
    ] = False,
    guest: Annotated[str, typer.Option(help="With --cost: guest memory, all of it mapped.")] = "1G",
    leaf: Annotated[str, typer.Option(help="With --cost: what maps it: page, block or a size.")] = "page",
    lock: Annotated[str, typer.Option(help="With --cost: what plays mmu_lock.")] = "qrwlock",
    repeats: Annotated[int, typer.Option(min=1, help="With --cost: measurements of each cell.")] = 5,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --cost: the store to keep the measurements in.")
    ] = None,
    as_json: Annotated[bool, Json] = False,
    **how: Any,
) -> None:
    """Give the verdict for every variant and strategy, with the kinds of harm that can come first."""
    from pyworkbench._show import counting, show_matrix, sweeping  # noqa: PLC0415 (half a second)

    with counting("exploring") as progress:
        matrix = verdict_matrix(scenario or RACES, variants=variant, strategies=strategy, progress=progress, **how)
    if cost and not matrix.attrs["stopped"]:
        from pyworkbench.cost import with_costs  # noqa: PLC0415 (a sweep's modules)

        with sweeping() as measuring:
            matrix = with_costs(matrix, guest=guest, leaf=leaf, lock=lock, repeats=repeats, out=out, progress=measuring)
    if as_json:
        print_rows(matrix)
    else:
        show_matrix(matrix, search=how["search"], ladders=ladders)
    stop_if(matrix.attrs["stopped"])


@commands.command("orderings", epilog=ORDERINGS_EPILOG)
@takes_how
def orderings_command(
    scenario: Annotated[
        str, typer.Argument(help="A name or a text; the steps of its tasks are put into every legal order.")
    ],
    limit: Annotated[int, typer.Option(min=1, help="The most orders.")] = 10_000,
    prove: Annotated[int, typer.Option(min=0, metavar="N", help="Explore the first N orders.")] = 0,
    variant: Variant = "arm64-7.3",
    strategy: Strategy = "none",
    ladders: Annotated[
        bool | None,
        typer.Option(help="With --prove: the ladder of every bug; if not said, where there are three or fewer."),
    ] = None,
    as_json: Annotated[bool, Json] = False,
    **how: Any,
) -> None:
    """List every legal order of life-cycle steps: which paths flush, how often, and whether two may overlap."""
    from pyworkbench._show import counting, show_orderings  # noqa: PLC0415 (half a second)

    with counting("exploring") as progress:
        orders = orderings(
            scenario, limit=limit, prove=prove, variant=variant, strategy=strategy, progress=progress, **how
        )
    if as_json:
        print_rows(orders)
    else:
        show_orderings(orders, search=how["search"], ladders=ladders)
    stop_if(orders.attrs["stopped"])


@commands.command("first-findings")
def first_findings_command(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds for random, pct and surw.")] = 100,
    executions: Annotated[int, typer.Option(min=1, help="The most executions for each seed.")] = 10_000,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Count the executions that each search needs to see each known bug for the first time: quartiles over seeds."""
    from pyworkbench._show import counting, show_first_findings  # noqa: PLC0415 (half a second)

    with counting("searching") as progress:
        found = first_findings(seeds, executions=executions, progress=progress)
    if as_json:
        print_rows(found)
    else:
        show_first_findings(found)
    stop_if(found.attrs["stopped"])


def print_rows(frame: "pd.DataFrame") -> None:
    """Prints a frame as an object a row; kinds of harm as a list."""
    for line in frame.to_json(orient="records", lines=True).splitlines():
        row = json.loads(line)
        if "kinds" in row:
            row["kinds"] = row["kinds"].split(", ") if row["kinds"] else []
        print(json.dumps(row))


def list_cases(*, as_json: bool) -> None:
    """Prints what `explore` knows by name, each with a line on what it is."""
    before = ""
    for row in named_rows():
        if as_json:
            print(json.dumps(row))
            continue
        if row["what"] != before:
            before = row["what"]
            print(f"{_HEADINGS[before]}:")
        print(f"  {row['name']:26} {row['about']}")


_HEADINGS = {
    "scenario": "scenarios",
    "variant": "\nvariants (--variant)",
    "strategy": "\nstrategies (--strategy), or parts such as `hold=arch helpers=assert cache=claim`",
    "search": "\nsearches (--search)",
}
