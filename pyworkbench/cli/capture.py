"""Commands on what real kernels left behind, and on scripts of table operations."""

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
    explore,
    find_overlaps,
    kasan,
    replay,
    run_ops,
    set_beside,
    variant_of,
)
from pyworkbench.capture import Source
from pyworkbench.table import Walker

commands = typer.Typer()

WALKER_HELP = "Visit entry by entry, as Linux does, or as a library that knows its own structure."


@commands.command()
def ops(
    file: Annotated[Path, typer.Argument(help="A script in the format of data/golden; - is standard input.")],
    walker: Annotated[Walker, typer.Option(help=WALKER_HELP)] = "upstream",
) -> None:
    """Run a script of table operations and print what each caused, returned and left behind."""
    try:
        text = sys.stdin.read() if file == Path("-") else file.read_text()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; expected a script of table operations") from error
    sys.stdout.write(run_ops(text, walker=walker))


@commands.command("replay")
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


@commands.command("overlap")
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


@commands.command("kasan")
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
