"""KASAN's reports, however a kernel lays them out and whatever a console puts before, between and behind their lines.

A report's truth is drawn first, then written; what is read must be what was drawn.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from pyworkbench import KasanReport, kasan

FUNCTIONS = [
    "kvfree",
    "kvm_mmu_free_memory_cache",
    "kvm_uninit_stage2_mmu",
    "kvm_mmu_notifier_release",
    "__mmu_notifier_release",
    "exit_mmap",
    "__kmalloc_noprof",
    "el0t_64_sync",
]
COMMS = ["T1", "kworker/0:1", "vCPU 0", "qemu-system-aar", "a/b", "sh #1"]
ACCESSES = {
    "double-free": "free",
    "invalid-free": "free",
    "slab-use-after-free": "read",
    "use-after-free": "write",
    "slab-out-of-bounds": "write",
    "null-ptr-deref": "read",
    "wild-memory-access": "write",
}
RULE = "=" * 66


@dataclass
class Drawn:
    """What a report says."""

    kind: str
    address: int
    size: int | None
    pid: int
    comm: str
    cpu: int
    stack: list[str]
    allocated: tuple[int, list[str]] | None
    freed: tuple[int, list[str]] | None
    slab: tuple[int, str, int] | None


stacks = st.lists(st.sampled_from(FUNCTIONS), min_size=1, max_size=6)
tracks = st.one_of(st.none(), st.tuples(st.integers(0, 99999), stacks))


@st.composite
def reports(draw: st.DrawFn) -> Drawn:
    """A report."""
    kind = draw(st.sampled_from(sorted(ACCESSES)))
    address = 8 if kind == "null-ptr-deref" else draw(st.integers(0xFFFF_0000_0000_0000, 0xFFFF_FFFF_FFFF_0000))
    in_slab = kind != "null-ptr-deref" and draw(st.booleans())
    return Drawn(
        kind=kind,
        address=address,
        size=None if ACCESSES[kind] == "free" else draw(st.sampled_from([1, 2, 4, 8, 16, 4096])),
        pid=draw(st.integers(1, 99999)),
        comm=draw(st.sampled_from(COMMS)),
        cpu=draw(st.integers(0, 255)),
        stack=draw(stacks),
        allocated=draw(tracks) if in_slab else None,
        freed=draw(tracks) if in_slab else None,
        slab=(address & ~0xFF, "kmalloc-8k", 8192) if in_slab else None,
    )


def text_of(drawn: Drawn, layout: dict[str, object]) -> list[str]:
    """The lines of a report, as kernels from 6.1 to 7.3 print them."""
    new = layout["new"]

    def frames(stack: list[str]) -> list[str]:
        if layout["decoded"]:
            return [f" {name} (arch/arm64/kvm/mmu.c:{93 + at})" for at, name in enumerate(stack)]
        shown = [f" {name}+0x{at:x}4/0x1a8{layout['module']}" for at, name in enumerate(stack)]
        return [*shown[:1], " ? kasan_quarantine_put+0x8/0x1b0", *shown[1:]] if layout["unsure"] else shown

    access = ACCESSES[drawn.kind]
    what = "Free" if access == "free" else f"{access.capitalize()} of size {drawn.size}"
    at = f"{drawn.address:016x}"
    release = "7.3.4-1-arm64" if new else "6.1.0-13"
    uid = "UID: 0 " if new else ""
    taint = "Tainted: G    B   W          " if layout["tainted"] else "Not tainted "
    lines = [
        RULE,
        f"BUG: KASAN: {drawn.kind} in {drawn.stack[0]}+0x3c/0x50",
        f"{what} {'of ' if access == 'free' else 'at '}addr {at} by task {drawn.comm}/{drawn.pid}",
    ]
    if layout["tags"]:
        lines.append("Pointer tag: [f7], memory tag: [fe]")
    lines += [
        "",
        f"CPU: {drawn.cpu} {uid}PID: {drawn.pid} Comm: {drawn.comm} {taint}{release} #1 x",
        "Hardware name: linux,dummy-virt (DT)",
        "Call trace:",
        *frames(drawn.stack),
        "",
    ]
    for verb, track in (("Allocated", drawn.allocated), ("Freed", drawn.freed)):
        if track:
            extra = " on cpu 1 at 5.251s" if layout["extra"] else ""
            lines += [f"{verb} by task {track[0]}{extra}:", *frames(track[1]), ""]
    if layout["work"]:
        lines += ["Last potentially related work creation:", *frames(["__call_rcu_common", "kfree_rcu"]), ""]
    if drawn.slab:
        address, cache, size = drawn.slab
        lines += [
            f"The buggy address belongs to the object at {address:016x}",
            f" which belongs to the cache {cache} of size {size}",
            f"The buggy address is located {drawn.address - address} bytes inside of",
            f" {'freed ' if new else ''}{size}-byte region [{address:016x}, {address + size:016x})",
            "",
            "The buggy address belongs to the physical page:",
            "page: refcount:1 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x46ee0",
            "flags: 0x3fffe0000000040(head|node=0|zone=0|lastcpupid=0x1ffff)",
            "page dumped because: kasan: bad access detected",
        ]
    lines += [
        "",
        "Memory state around the buggy address:",
        f" {at}: fa fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb",
        f">{at}: fa fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb",
        "                   ^",
    ]
    return [*lines, RULE]


layouts = st.fixed_dictionaries(
    {
        "new": st.booleans(),
        "decoded": st.booleans(),
        "module": st.sampled_from(["", " [kvm]", " (P)"]),
        "unsure": st.booleans(),
        "tainted": st.booleans(),
        "tags": st.booleans(),
        "extra": st.booleans(),
        "work": st.booleans(),
        "prefix": st.sampled_from(
            [
                "{time} ",
                "{time}[{caller}] ",
                "{time} [{caller}] ",
                "<3>{time} ",
                "kern  :err   : {time} ",
                "kmsg",
                "journal",
                "",
            ]
        ),
        "noise": st.sampled_from(["", "\x1b[0m", "login: ", "\0\0", "\xff", "[    0.5 init] "]),
        "others": st.booleans(),
        "crlf": st.booleans(),
        "gzip": st.booleans(),
    }
)


def log_of(drawn: list[Drawn], layout: dict[str, object]) -> bytes:
    """A console's log with the reports and lines of others between them, and inside where they can be told apart."""
    prefix = str(layout["prefix"])
    written: list[str] = []

    def put(line: str, caller: str) -> None:
        at = 5_329_163 + len(written)
        time = f"[{at // 1_000_000:5}.{at % 1_000_000:06}]"
        if prefix == "kmsg":
            written.append(f"3,{len(written)},{at},-,caller={caller};{line}")
        elif prefix == "journal":
            written.append(f"Nov 24 15:06:24 host kernel: {time} {line}")
        else:
            written.append(prefix.format(time=time, caller=f"{caller:>6}") + line)

    put("Booting Linux on physical CPU 0x0000000000", "T0")
    written.append("[    5.000001] init: up")
    for one in drawn:
        for number, line in enumerate(text_of(one, layout)):
            put(line, f"T{one.pid}")
            if layout["others"] and number % 4 == 3:
                if "caller" in prefix or prefix == "kmsg":
                    put(" vfs_write+0x1c/0x2c0", "C7")
                put("random: crng init done", "T0")
            if layout["noise"] and number == 1 and "{time}" in prefix:
                written[-1] = f"{layout['noise']}{written[-1]}"
    end = "\r\n" if layout["crlf"] else "\n"
    data = "".join(line + end for line in written).encode("latin-1")
    return gzip.compress(data, mtime=0) if layout["gzip"] else data


def read(data: bytes, *, is_gzip: object = False) -> list[KasanReport]:
    """The reports of a log of that content."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / ("console.txt.gz" if is_gzip else "console.txt")
        file.write_bytes(data)
        return kasan(file)


@settings(max_examples=200, deadline=None)
@given(st.lists(reports(), min_size=1, max_size=3), layouts)
def test_what_is_read_is_what_the_kernel_said(drawn: list[Drawn], layout: dict[str, object]) -> None:
    found = read(log_of(drawn, layout), is_gzip=layout["gzip"])
    assert len(found) == len(drawn)
    for report, one in zip(found, drawn, strict=True):
        assert (report.kind, report.access, report.size_bytes) == (one.kind, ACCESSES[one.kind], one.size)
        assert (report.address, report.pid, report.comm, report.cpu) == (one.address, one.pid, one.comm, one.cpu)
        assert report.kernel == ("7.3.4-1-arm64" if layout["new"] else "6.1.0-13")
        assert list(report.stack) == one.stack
        for track, said in ((report.allocated, one.allocated), (report.freed, one.freed)):
            assert (track and (track.pid, list(track.stack))) == said
        slab = report.slab and (report.slab["address"], report.slab["cache"], report.slab["size_bytes"])
        assert slab == one.slab
        assert report.complete


@settings(max_examples=100, deadline=None)
@given(reports(), layouts, st.data())
def test_a_report_that_breaks_off_anywhere_is_the_beginning_of_the_whole(
    drawn: Drawn, layout: dict[str, object], data: st.DataObject
) -> None:
    layout = layout | {"gzip": False, "noise": "", "others": False}
    lines = log_of([drawn], layout).splitlines(keepends=True)
    kept = data.draw(st.integers(4, len(lines) - 1))
    (whole,), (cut,) = read(b"".join(lines)), read(b"".join(lines[:kept]))
    assert not cut.complete
    for name in ("kind", "place", "address", "pid", "kernel", "access"):
        assert getattr(cut, name) in {None, getattr(whole, name)}
    assert whole.stack[: len(cut.stack)] == cut.stack
    for part, of in ((cut.allocated, whole.allocated), (cut.freed, whole.freed)):
        assert part is None or (of is not None and of.stack[: len(part.stack)] == part.stack)
