"""Commands that explore: one case, a matrix of cases, the orders of life-cycle steps, and searches side by side."""

import json
from typing import Annotated

import typer

from pyworkbench import (
    InputError,
    explore,
    first_findings,
    orderings,
    replay_schedule,
    scenarios,
    strategies,
    variants,
    verdict_matrix,
)
from pyworkbench.explore import RACES, Search

commands = typer.Typer()

Variants = Annotated[list[str] | None, typer.Option("--variant", help="A kernel variant; again for another.")]
Strategies = Annotated[list[str] | None, typer.Option("--strategy", help="A locking strategy; again for another.")]
SearchOption = Annotated[Search, typer.Option(help="The way through the executions.")]
Executions = Annotated[int | None, typer.Option(min=1, help="The most executions.")]
Seconds = Annotated[float | None, typer.Option("--time", min=0, metavar="SECONDS", help="The most time.")]
Preemptions = Annotated[int | None, typer.Option(min=0, help="The most preemptions of one execution.")]


@commands.command("explore", epilog="Exit codes: 0 Proved, 10 Bug, 11 Exhausted; with --replay 10 harm, 1 no harm.")
def explore_command(
    scenario: Annotated[
        str | None, typer.Argument(help="A name, or a text such as `task T1: exit; task T2 fds=vm: close vm`.")
    ] = None,
    variant: Annotated[str, typer.Option(help="The kernel's teardown.")] = "arm64-7.3",
    strategy: Annotated[str, typer.Option(help="A locking strategy: a name, or parts such as `cache=claim`.")] = "none",
    search: SearchOption = "dpor",
    seed: Annotated[int, typer.Option(min=0, help="Of random, pct and surw.")] = 0,
    executions: Executions = None,
    time_s: Seconds = None,
    preemptions: Preemptions = None,
    every: Annotated[bool, typer.Option("--every", help="Do not end at the first harm: see every execution.")] = False,
    schedule: Annotated[
        str | None, typer.Option("--replay", metavar="SCHEDULE", help="Run a schedule of an earlier bug again.")
    ] = None,
    every_action: Annotated[
        bool, typer.Option("--every-action", help="With --replay: show every action, not only those that matter.")
    ] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the scenarios, variants and strategies.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run every interleaving of a scenario, and say whether one does harm: a proof, or a ladder that shows it."""
    if list_all:
        list_cases()
        return
    if (scenario is None) == (schedule is None):
        raise InputError("give a scenario or --replay SCHEDULE; --list lists the scenarios")
    if schedule is not None:
        replayed = replay_schedule(schedule, every_action=every_action)
        print(json.dumps(replayed.as_json()) if as_json else replayed)
        raise typer.Exit(10 if replayed.bug else 1)
    from pyworkbench._show import exploring  # noqa: PLC0415 (half a second)

    with exploring() as progress:
        verdict = explore(
            scenario or "",
            variant=variant,
            strategy=strategy,
            search=search,
            seed=seed,
            executions=executions,
            time_s=time_s,
            preemptions=preemptions,
            stop_at_first=not every,
            progress=progress,
        )
    print(json.dumps(verdict.as_json()) if as_json else verdict)
    raise typer.Exit({"Proved": 0, "Bug": 10, "Exhausted": 11}[verdict.answer])


@commands.command("matrix")
def matrix_command(
    scenario: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...", help="Names or texts; the flush race, by what there is to free, if none."
        ),
    ] = None,
    variant: Variants = None,
    strategy: Strategies = None,
    search: SearchOption = "dpor",
    executions: Executions = None,
    time_s: Seconds = None,
    preemptions: Preemptions = None,
    ladders: Annotated[bool, typer.Option("--ladders", help="Below the table, the ladder of every bug.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each cell.")] = False,
) -> None:
    """Give the verdict for every variant and strategy, with the kinds of harm that can come first."""
    from pyworkbench._show import counting, show_matrix  # noqa: PLC0415 (half a second)

    with counting("exploring") as progress:
        matrix = verdict_matrix(
            scenario or RACES,
            variants=variant,
            strategies=strategy,
            search=search,
            executions=executions,
            time_s=time_s,
            preemptions=preemptions,
            progress=progress,
        )
    if as_json:
        for line in matrix.to_json(orient="records", lines=True).splitlines():
            row = json.loads(line)
            print(json.dumps(row | {"kinds": row["kinds"].split(", ") if row["kinds"] else []}))
    else:
        show_matrix(matrix, ladders=ladders)


@commands.command("orderings")
def orderings_command(
    scenario: Annotated[
        str, typer.Argument(help="A name or a text; the steps of its tasks are put into every legal order.")
    ],
    limit: Annotated[int, typer.Option(min=1, help="The most orders.")] = 10_000,
    prove: Annotated[int, typer.Option(min=0, metavar="N", help="Explore the first N orders.")] = 0,
    variant: Annotated[str, typer.Option(help="With --prove: the kernel's teardown.")] = "arm64-7.3",
    strategy: Annotated[str, typer.Option(help="With --prove: the locking strategy.")] = "none",
    search: SearchOption = "dpor",
    executions: Executions = None,
    time_s: Seconds = None,
    preemptions: Preemptions = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each order.")] = False,
) -> None:
    """List every legal order of life-cycle steps: which paths flush, how often, and whether two may overlap."""
    from pyworkbench._show import counting, show_orderings  # noqa: PLC0415 (half a second)

    with counting("exploring") as progress:
        orders = orderings(
            scenario,
            limit=limit,
            prove=prove,
            variant=variant,
            strategy=strategy,
            search=search,
            executions=executions,
            time_s=time_s,
            preemptions=preemptions,
            progress=progress,
        )
    if as_json:
        print(orders.to_json(orient="records", lines=True), end="")
    else:
        show_orderings(orders)


@commands.command("first-findings")
def first_findings_command(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds for random, pct and surw.")] = 100,
    executions: Annotated[int, typer.Option(min=1, help="The most executions for each seed.")] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each bug and search.")] = False,
) -> None:
    """Count the executions that each search needs to see each known bug for the first time: quartiles over seeds."""
    from pyworkbench._show import counting, show_first_findings  # noqa: PLC0415 (half a second)

    with counting("searching") as progress:
        found = first_findings(seeds, executions=executions, progress=progress)
    if as_json:
        print(found.to_json(orient="records", lines=True), end="")
    else:
        show_first_findings(found)


def list_cases() -> None:
    """Prints what `explore` knows by name."""
    for name, about in scenarios().items():
        print(f"{name:26} {about}")
    print(f"\nvariants:   {', '.join(variants())}\nstrategies: {', '.join(strategies())}")
