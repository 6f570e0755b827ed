"""The command `pwb`. Each command is a thin layer over a function of the package.

Exit codes: 0 it is so, 1 it is not (a difference was found), 2 the input is wrong: one line on standard
error says how. `explore` has two more, so that no script takes one for another: 0 `Proved`, 10 `Bug`, 11 `Exhausted`.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pyworkbench import (
    InputError,
    Replay,
    TraceOverlaps,
    Verdict,
    WorkbenchError,
    explore,
    find_overlaps,
    first_findings,
    kasan,
    orderings,
    replay,
    replay_schedule,
    run_ops,
    scenarios,
    set_beside,
    strategies,
    variant_of,
    variants,
    verdict_matrix,
)
from pyworkbench._options import takes_fields_of
from pyworkbench.capture import Source
from pyworkbench.explore import RACES, Search
from pyworkbench.sweep import SweepSpec, spec_of, sweep
from pyworkbench.table import Walker

WALKER_HELP = "Visit entry by entry, as Linux does, or as a library that knows its own structure."

app = typer.Typer(
    help="A workbench for KVM/arm64 stage-2 teardown.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def workbench() -> None:
    """A workbench for KVM/arm64 stage-2 teardown."""


@app.command()
def ops(
    file: Annotated[Path, typer.Argument(help="A script in the format of data/golden; - is standard input.")],
    walker: Annotated[Walker, typer.Option(help=WALKER_HELP)] = "upstream",
) -> None:
    """Run a script of table operations and print what each caused, returned and left behind."""
    text = sys.stdin.read() if file == Path("-") else file.read_text()
    sys.stdout.write(run_ops(text, walker=walker))


@app.command("replay")
def replay_command(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="A capture, or a directory with captures below it.")
    ],
    source: Annotated[Source, typer.Option(help="Which form of the traces to read.")] = "auto",
    walker: Annotated[Walker, typer.Option(help=WALKER_HELP)] = "upstream",
    each: Annotated[bool, typer.Option("--each", help="A line for each snapshot.")] = False,
) -> None:
    """Rebuild every VM's table of a capture and compare it with every snapshot; exit 1 if an entry differs."""
    found = [
        report_replay(capture, replay(capture, source=source, walker=walker), each=each)
        for directory in directories
        for capture in captures_in(directory)
    ]
    raise typer.Exit(1 if any(found) else 0)


@app.command("overlap")
def overlap_command(
    trace: Annotated[
        Path, typer.Argument(help="ftrace's text or packed operations, plain or gzip; or a directory with such.")
    ],
    source: Annotated[Source, typer.Option(help="Which form of the traces to read in a directory.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each overlap.")] = False,
    empty_caches: Annotated[
        bool, typer.Option("--empty-caches", help="Also caches that one of the two tasks found empty.")
    ] = False,
) -> None:
    """Find where a VM was flushed, or a memory cache with objects in it freed, by two tasks at once."""
    for found in find_overlaps(trace, source=source, empty_caches=empty_caches):
        if as_json:
            for one in found.overlaps:
                print(json.dumps(one.as_json()))
        else:
            show_overlaps(found)


@app.command("kasan")
def kasan_command(
    console: Annotated[
        Path, typer.Argument(help="A kernel's log, plain or gzip; or a directory with console.txt or dmesg.")
    ],
    trace: Annotated[
        Path | None, typer.Option(help="By which trace to name objects, rather than by those beside the log.")
    ] = None,
    scenario: Annotated[
        str, typer.Option(help="Which scenario's finding to set beside each report: a name or a text.")
    ] = "flush-race-filled",
    variant: Annotated[
        str | None, typer.Option(help="The kernel variant to explore, rather than the one that the report names.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each report.")] = False,
) -> None:
    """Read KASAN's reports out of a kernel's log, and set each beside the explorer's finding for the same kernel."""
    reports = kasan(console, trace=trace)
    verdicts: dict[str, Verdict] = {}
    for report in reports:
        of = variant or variant_of(report)
        if of and of not in verdicts:
            verdicts[of] = explore(scenario, variant=of, stop_at_first=False)
        beside = set_beside(report, verdicts[of]) if of else None
        if as_json:
            print(json.dumps(report.as_json() | {"model": beside and beside.as_json()}))
        else:
            compared = beside or f"the model has no variant for kernel {report.kernel}: --variant names one"
            print(f"{console}:{report.line}: {report}\n{compared}\n")
    if not as_json:
        print(f"{len(reports)} reports")


Variants = Annotated[list[str] | None, typer.Option("--variant", help="A kernel variant; again for another.")]
Strategies = Annotated[list[str] | None, typer.Option("--strategy", help="A locking strategy; again for another.")]
SearchOption = Annotated[Search, typer.Option(help="The way through the executions.")]
Executions = Annotated[int | None, typer.Option(min=1, help="The most executions.")]
Seconds = Annotated[float | None, typer.Option("--time", min=0, metavar="SECONDS", help="The most time.")]
Preemptions = Annotated[int | None, typer.Option(min=0, help="The most preemptions of one execution.")]


@app.command("explore", epilog="Exit codes: 0 Proved, 10 Bug, 11 Exhausted; with --replay 10 harm, 1 no harm.")
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


@app.command("matrix")
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


@app.command("orderings")
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


@app.command("first-findings")
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


@app.command("sweep")
@takes_fields_of(SweepSpec)
def sweep_command(
    parquet: Annotated[
        Path | None, typer.Option(help="Write the measurements there, the lock's sites beside it.")
    ] = None,
    **fields: str,
) -> None:
    """Let threads fault a guest's memory into one table, tear it down, and print medians for each point."""
    from pyworkbench._show import counting, show_sweep  # noqa: PLC0415 (a command that prints text does without)

    spec = spec_of(fields, text=True)
    with counting("measuring") as progress:
        result = sweep(spec, progress=progress)
    show_sweep(result)
    for file in result.to_parquet(parquet) if parquet else []:
        print(f"wrote {file}")


@app.command()
def report(
    notebook: Annotated[Path, typer.Argument(help="The notebook; it is not changed.")],
    out: Annotated[Path, typer.Argument(help="The report: one HTML file that loads nothing.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A value for a name of the parameters cell."),
    ] = None,
) -> None:
    """Run a notebook and write it as a report."""
    from pyworkbench.report import parameter_of_text, run_notebook  # noqa: PLC0415 (half a second)

    run_notebook(notebook, dict(parameter_of_text(text) for text in parameter or []), out)
    print(f"wrote {out}")


def captures_in(directory: Path) -> list[Path]:
    """The captures at or below a directory; the directory itself where there are none, to be refused by name."""
    return sorted(file.parent for file in directory.rglob("env.json")) or [directory]


def report_replay(capture: Path, found: Replay, *, each: bool) -> int:
    """Prints what a replay found, and answers how many entries differ."""
    records = sum(trace["records"] for trace in found.traces)
    print(f"{capture}: {found.kernel}, walker {found.walker}")
    print(f"  {records} records, {len(found.vms)} VMs, {sum(vm['operations'] for vm in found.vms)} operations")
    print(
        f"  {len(found.snapshots)} snapshots, {found.entries} entries: {found.exact} exact, "
        f"{found.af_only} equal but for a hardware-set AF, {found.differing} differences"
    )
    for one in found.snapshots:
        if each or one["differing"]:
            print(
                f"    {one['name']} (VM {one['vm']}, {one['against']}): {one['entries']} entries: "
                f"{one['exact']} exact, {one['af_only']} but for AF, {one['differing']} differences"
            )
        for entry in one["differences"]:
            captured, replayed = entry["captured"], entry["replayed"]
            print(f"      level {entry['level']} ipa {entry['ipa']:#x}: captured {captured}, replayed {replayed}")
    print(f"  return codes: {found.answers_agreed} agree, {len(found.answers_differing)} differ")
    print(
        f"  invalidations: {found.invalidations_agreed} agree, "
        f"{len(found.invalidations_differing)} operations differ in theirs"
    )
    for one in [*found.answers_differing, *found.invalidations_differing]:
        print(f"    {one.pop('file')}:{one.pop('line')}: " + ", ".join(f"{k} {v}" for k, v in one.items()))
    for kind, count in found.invalidations_apart.items():
        print(f"    apart: {count} of {kind}")
    for one in found.failed:
        print(f"  not carried out by the kernel: {one['count']} {one['operation']} (ret {one['ret']})")
    for one in found.skipped_vms:
        at = f"{one['file']}:{one['line']}"
        print(f"  skipped: pgt {one['pgt']:#x}, creation not in the trace, {one['operations']} operations from {at}")
    for one in found.lost:
        events = "some" if one["events"] is None else one["events"]
        print(f"  lost: {events} events, {one['file']}:{one['line']}")
    for one in found.uncompared:
        print(f"  not compared: {one['name']} of {one['file']}: {one['why']}")
    return found.differing


def list_cases() -> None:
    """Prints what `explore` knows by name."""
    for name, about in scenarios().items():
        print(f"{name:26} {about}")
    print(f"\nvariants:   {', '.join(variants())}\nstrategies: {', '.join(strategies())}")


def show_overlaps(found: TraceOverlaps) -> None:
    """Prints the overlaps of a trace; a cache that is freed inside of an overlapping flush shares its ladder."""
    flushes = [one for one in found.overlaps if one.kind == "flush"]
    caches = [one for one in found.overlaps if one.kind == "cache"]
    print(f"{found.file}: {found.records} records, {found.flushes} flushes")
    print(f"  two flushes of one VM at once: {len(flushes)}; two frees of one cache at once: {len(caches)}")
    inside = {
        id(one): [
            cache
            for cache in caches
            if {*cache.pids} == {*one.pids} and cache.start >= one.start and cache.end <= one.end
        ]
        for one in flushes
    }
    shown = {id(cache) for of_one in inside.values() for cache in of_one}
    for one in found.overlaps:
        if id(one) not in shown:
            print("\n" + "\n".join(map(str, [one, *inside.get(id(one), [])])))
            print(one.ladder, end="")


def main() -> None:
    """Runs the command line; an error of the package or of a file is one line, not a traceback."""
    try:
        app()
    except (WorkbenchError, OSError, UnicodeDecodeError) as error:
        print(f"pwb: {error}", file=sys.stderr)
        sys.exit(2)
