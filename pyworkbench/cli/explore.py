"""Commands that explore: one case, a matrix of cases, the orders of life-cycle steps, and searches side by side."""

import inspect
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import wraps
from typing import Annotated, Any

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
from pyworkbench.explore import Search
from pyworkbench.matrix import RACES

commands = typer.Typer()

Variants = Annotated[list[str] | None, typer.Option("--variant", help="A kernel variant; again for another.")]
Strategies = Annotated[list[str] | None, typer.Option("--strategy", help="A locking strategy; again for another.")]
Variant = Annotated[str, typer.Option(help="The kernel's teardown.")]
Strategy = Annotated[str, typer.Option(help="The locking strategy: a name, or parts such as `cache=claim`.")]
Json = typer.Option("--json", help="JSON: one object a line.")


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


@commands.command("explore", epilog="Exit codes: 0 Proved, 10 Bug, 11 Exhausted; with --replay 10 harm, 1 no harm.")
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
    list_all: Annotated[bool, typer.Option("--list", help="List the scenarios, variants and strategies.")] = False,
    as_json: Annotated[bool, Json] = False,
    **how: Any,
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


@commands.command("matrix")
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
    as_json: Annotated[bool, Json] = False,
    **how: Any,
) -> None:
    """Give the verdict for every variant and strategy, with the kinds of harm that can come first."""
    from pyworkbench._show import counting, show_matrix  # noqa: PLC0415 (half a second)

    with counting("exploring") as progress:
        matrix = verdict_matrix(scenario or RACES, variants=variant, strategies=strategy, progress=progress, **how)
    if as_json:
        for line in matrix.to_json(orient="records", lines=True).splitlines():
            row = json.loads(line)
            print(json.dumps(row | {"kinds": row["kinds"].split(", ") if row["kinds"] else []}))
    else:
        show_matrix(matrix, search=how["search"], ladders=ladders)
    stop_if(matrix.attrs["stopped"])


@commands.command("orderings")
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
        print(orders.to_json(orient="records", lines=True), end="")
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
        print(found.to_json(orient="records", lines=True), end="")
    else:
        show_first_findings(found)
    stop_if(found.attrs["stopped"])


def list_cases() -> None:
    """Prints what `explore` knows by name."""
    for name, about in scenarios().items():
        print(f"{name:26} {about}")
    print(f"\nvariants:   {', '.join(variants())}\nstrategies: {', '.join(strategies())}")
