"""Overlaps found in traces of any shape are those that comparing every pair of calls finds.

The trace's truth is drawn first: what each task did, and when. It is then written as ftrace's text, in several layouts,
and as packed operations; nothing of the package is used for either, nor for the comparison.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from pyworkbench import find_overlaps

KVMS = [0xFFFF_0000_06E5_C000, 0xFFFF_0000_0351_0000]
CACHES = {kvm: [kvm + 0xD28, kvm + 0x4_01C8] for kvm in KVMS}
COMMS = ["T1", "vCPU 0", "a-1 [001] x", "kworker/0:1", "x-93", "(sd-pam)", "qemu-system-aar", "-"]
FUNCTIONS = {
    "flush_shadow_all": "kvm_arch_flush_shadow_all",
    "mc_free": "kvm_mmu_free_memory_cache",
    "mn_release": "kvm_mmu_notifier_release",
    "destroy_vm": "kvm_destroy_vm",
}


@dataclass
class Call:
    """A call of a task: what, on what, from when to when (`None`: it never returned), and the calls inside."""

    op: str
    kvm: int
    mc: int | None
    fields: dict[str, str]
    t0: int
    t1: int | None = None
    inside: list[Call] = field(default_factory=list)


@dataclass
class Task:
    """A task: a number and a name, on one processor, with its calls in a row."""

    pid: int
    comm: str
    cpu: int
    calls: list[Call]


@st.composite
def tasks(draw: st.DrawFn) -> list[Task]:
    """A few tasks, two of them perhaps one after the other with the same number."""
    drawn: list[Task] = []
    for number in range(draw(st.integers(2, 4))):
        clock = draw(st.integers(1, 40))
        calls, clock = draw_calls(draw, clock)
        drawn.append(Task(40 + number, draw(st.sampled_from(COMMS)), number, calls))
    if draw(st.booleans()):
        old = drawn[0]
        later = max([50, *(call.t1 or 0 for call in old.calls)])
        calls, _ = draw_calls(draw, later + 1)
        drawn.append(Task(old.pid, draw(st.sampled_from(COMMS)), old.cpu, calls))
    return drawn


@st.composite
def cut_tasks(draw: st.DrawFn) -> list[Task]:
    """The same, but that one task is not heard of after some moment: it may never return."""
    drawn = draw(tasks())
    silent, moment = drawn[1], draw(st.integers(1, 60))
    silent.calls = cut_off(silent.calls, moment)
    return drawn


def cut_off(calls: list[Call], moment: int) -> list[Call]:
    """Calls without what lies behind a moment."""
    kept = [call for call in calls if call.t0 <= moment]
    for call in kept:
        call.inside = cut_off(call.inside, moment)
        if call.t1 is not None and call.t1 > moment:
            call.t1 = None
    return kept


def draw_calls(draw: st.DrawFn, clock: int) -> tuple[list[Call], int]:
    """A few calls one after the other, some with others inside, none of one name within itself."""
    calls = []
    for _ in range(draw(st.integers(1, 3))):
        kvm = draw(st.sampled_from(KVMS))
        names = draw(st.sampled_from([["flush_shadow_all"], ["mn_release", "flush_shadow_all"], ["destroy_vm"]]))
        outermost, clock = draw_call(draw, [*names, "mc_free"], kvm, clock)
        calls.append(outermost)
        clock += draw(st.integers(0, 5))
    return calls, clock


def draw_call(draw: st.DrawFn, names: list[str], kvm: int, clock: int) -> tuple[Call, int]:
    """A call of the first name, and inside of it the others, the innermost perhaps several times."""
    op, *rest = names
    mc = draw(st.sampled_from(CACHES[kvm])) if op == "mc_free" else None
    if op == "mc_free":
        nobjs = draw(st.integers(0, 3))
        fields = {"mc": hex(mc or 0), "nobjs": str(nobjs), "objects": hex(0xFFFF_0000_0700_0000 if nobjs else 0)}
    elif op == "mn_release":
        fields = {"mn": hex(kvm + 0x1498), "mm": "0xffff000006c6a200"}
    else:
        fields = {"kvm": hex(kvm)}
    call = Call(op, kvm, mc, fields, clock)
    clock += draw(st.integers(0, 6))
    for _ in range(draw(st.integers(0, 2)) if rest else 0):
        inner, clock = draw_call(draw, rest, kvm, clock)
        call.inside.append(inner)
        clock += draw(st.integers(0, 3))
    call.t1 = clock
    return call, clock


def flat(call: Call) -> list[Call]:
    """A call and all within it."""
    return [call, *(one for inner in call.inside for one in flat(inner))]


def expected(drawn: list[Task]) -> list[tuple[object, ...]]:
    """Every pair of calls of two tasks on one thing that share more than an instant, one pair after the other."""
    everything = [(task, one) for task in drawn for call in task.calls for one in flat(call)]
    times = [time for _, one in everything for time in (one.t0, one.t1) if time is not None]

    def end_of(call: Call) -> int:
        """When it returned; or when the VM was destroyed, or the trace ended: by then it must have."""
        if call.t1 is not None:
            return call.t1
        destroyed = [one.t1 for _, one in everything if one.op == "destroy_vm" and one.kvm == call.kvm]
        return min([max(times), *(time for time in destroyed if time is not None and time > call.t0)])

    found: list[tuple[object, ...]] = []
    for pair in combinations(everything, 2):
        (task, one), (other_task, other) = pair
        same = one.op == other.op and one.kvm == other.kvm and one.mc == other.mc
        if not same or one.op not in {"flush_shadow_all", "mc_free"} or task.pid == other_task.pid:
            continue
        start, end = max(one.t0, other.t0), min(end_of(one), end_of(other))
        if start >= end:
            continue
        if one.op == "mc_free" and "0" in {one.fields["nobjs"], other.fields["nobjs"]}:
            continue
        kind = {"flush_shadow_all": "flush", "mc_free": "cache"}[one.op]
        pids = frozenset([task.pid, other_task.pid])
        comms = frozenset([task.comm, other_task.comm])
        found.append((kind, one.mc, start, end, pids, comms))
    return sorted(found, key=repr)


def halves(drawn: list[Task]) -> list[tuple[int, Task, str, str]]:
    """The lines of a raw trace without their layout, in the order of a merged buffer: time, task, event, fields."""
    lines: list[tuple[int, Task, str, str]] = []

    def write(task: Task, call: Call) -> None:
        function = FUNCTIONS[call.op]
        pairs = " ".join(f"{key}={value}" for key, value in call.fields.items())
        lines.append((call.t0, task, call.op, f"({function}+0x0/0x80) {pairs}"))
        for inner in call.inside:
            write(task, inner)
        if call.t1 is not None:
            lines.append((call.t1, task, f"{call.op}_ret", f"(caller+0x38/0x98 <- {function})"))

    for task in drawn:
        for call in task.calls:
            write(task, call)
    return sorted(lines, key=lambda line: line[0])  # stable: a task's own lines keep their order


FLAGS = st.sampled_from(["d....", "d..1.", "...2.", "dNh3.", ".N.1.", "d.s.1", "dl.1.", "D...."])


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, object]:
    """How the text is laid out."""
    return {
        "header": draw(st.booleans()),
        "tgid": draw(st.sampled_from(["", "(     93) ", "(-------) "])),
        "flags": draw(st.one_of(st.none(), FLAGS)),
        "noise": draw(st.booleans()),
        "lost": draw(st.booleans()),
        "crlf": draw(st.booleans()),
        "gzip": draw(st.booleans()),
        "by_cpu": draw(st.booleans()),
        "blanks": draw(st.booleans()),
    }


def text_of(lines: list[tuple[int, Task, str, str]], layout: dict[str, object]) -> bytes:
    """Ftrace's text."""
    if layout["by_cpu"] and not layout["header"]:
        lines = sorted(lines, key=lambda line: line[1].cpu)  # as `trace_pipe` may hand the buffers out
    written = []
    for t_us, task, event, fields in lines:
        who = f"{task.comm:>16}-{task.pid:<7}" if not layout["blanks"] else f"{task.comm}-{task.pid} "
        flags = f"{layout['flags']} " if layout["flags"] else ""
        time = f"{5 + t_us // 1_000_000:>6}.{t_us % 1_000_000:06}"
        written.append(f"{who} {layout['tgid']}[{task.cpu:03}] {flags}{time}: {event}: {fields}")
        if layout["noise"]:
            written.append(f"{who} {layout['tgid']}[{task.cpu:03}] {flags}{time}: sched_waking: comm=x pid=7 prio=120")
    if layout["lost"]:
        written.insert(len(written) // 2, "CPU:1 [LOST 12 EVENTS]")
    if layout["header"]:
        events = sum(not line.startswith("CPU:") for line in written)
        counted = f"# entries-in-buffer/entries-written: {events}/{events + 12}   #P:4"
        written = ["# tracer: nop", "#", counted, "#", *written]
    end = "\r\n" if layout["crlf"] else "\n"
    data = "".join(line + end for line in written).encode()
    return gzip.compress(data, mtime=0) if layout["gzip"] else data


def packed(drawn: list[Task], *, compress: bool) -> bytes:
    """The packed form: a JSON object a record, by the time of return."""
    records = []

    def write(task: Task, call: Call) -> None:
        for inner in call.inside:
            write(task, inner)
        assert call.t1 is not None
        records.append((call.t1, call.t0, task, call))

    for task in drawn:
        for call in task.calls:
            write(task, call)
    written = []
    for number, (t1, t0, task, call) in enumerate(sorted(records, key=lambda record: record[0])):
        times = {"t1": f"5.{t1:06}", "t0": f"5.{t0:06}"}
        who = {"op": call.op, "cpu": task.cpu, "pid": task.pid, "comm": task.comm}
        written.append(json.dumps({"i": number, **times, **who, **call.fields}) + "\n")
    data = "".join(written).encode()
    return gzip.compress(data, mtime=0) if compress else data


def found_in(data: bytes, name: str) -> list[tuple[object, ...]]:
    """What the package finds in a file of that content."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / name
        file.write_bytes(data)
        (trace,) = find_overlaps(file)
    return sorted(
        (
            (
                one.kind,
                one.mc,
                round((one.start - 5) * 1e6),
                round((one.end - 5) * 1e6),
                frozenset(one.pids),
                frozenset(one.comms),
            )
            for one in trace.overlaps
        ),
        key=repr,
    )


@settings(max_examples=150, deadline=None)
@given(tasks(), layouts())
def test_every_overlap_of_a_raw_trace_is_found_and_no_other(drawn: list[Task], layout: dict[str, object]) -> None:
    data = text_of(halves(drawn), layout)
    assert found_in(data, "trace.txt.gz" if layout["gzip"] else "trace.txt") == expected(drawn)


@settings(max_examples=75, deadline=None)
@given(tasks(), st.booleans())
def test_every_overlap_of_packed_operations_is_found_and_no_other(drawn: list[Task], compress: bool) -> None:
    data = packed(drawn, compress=compress)
    assert found_in(data, "ops.jsonl.gz" if compress else "ops.jsonl") == expected(drawn)


@settings(max_examples=100, deadline=None)
@given(cut_tasks(), layouts())
def test_a_call_that_never_returned_counts_to_the_last_moment_that_it_can_have(
    drawn: list[Task], layout: dict[str, object]
) -> None:
    lines = halves(drawn)
    assert found_in(text_of(lines, layout | {"lost": False, "gzip": False}), "trace.txt") == expected(drawn)
