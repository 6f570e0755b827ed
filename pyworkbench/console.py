"""What real kernels complained about on their console: KASAN's reports, and how they compare with a model's finding.

Guaranteed: a report holds what the log says; what it does not say is `None` or empty. The one thing that is added
is the object's name, where a trace beside the log knows the address. Stacks are function names, innermost first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from pyworkbench import _core

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike


@dataclass(frozen=True)
class Track:
    """Who allocated or freed an object."""

    pid: int | None
    """The task."""
    comm: str | None
    """Its name, which KASAN does not say; a trace may."""
    cpu: int | None
    """The processor, with `CONFIG_KASAN_EXTRA_INFO`."""
    stack: tuple[str, ...]
    """The calls."""


@dataclass(frozen=True)
class KasanReport:
    """One report. Addresses are kernel virtual ones."""

    line: int
    """The line of the log at which it begins."""
    time: float | None
    """printk's time in seconds; a trace's clock may be another one."""
    kind: str
    """What KASAN calls it: `double-free`, `slab-use-after-free`, `invalid-free`, ..."""
    place: str
    """Where it happened: `kvfree+0x3c/0x50`."""
    access: str | None
    """`read`, `write` or `free`."""
    size_bytes: int | None
    """How much was read or written."""
    address: int | None
    """Where."""
    pid: int | None
    """The task that did it."""
    comm: str | None
    """Its name."""
    cpu: int | None
    """The processor."""
    kernel: str | None
    """The kernel's release, such as `7.3.4-1-arm64`."""
    stack: tuple[str, ...]
    """Its calls."""
    allocated: Track | None
    """Who allocated the object."""
    freed: Track | None
    """Who freed it, for the first time if twice."""
    slab: dict[str, Any] | None
    """The slab allocator's object: `address`, `cache` (such as `kmalloc-8k`), `size_bytes`."""
    known: dict[str, Any] | None
    """What a trace says about the address: `name`, `kvm`, `mc`, `file`, and the `calls` that worked on the object
    (`operation`, `pid`, `comm`, `start`, `end`, `nobjs`)."""
    complete: bool
    """Whether the log holds the report to its end."""

    @property
    def object(self) -> str | None:
        """The object's name in this project, such as `kvm.arch.split_page_cache.objects`, where a trace knows it."""
        return self.known["name"] if self.known else None

    def as_json(self) -> dict[str, Any]:
        """The report as one JSON object: addresses as hexadecimal text."""
        fields = {"object": self.object, **asdict(self)}
        fields["address"] = _hex(self.address)
        for part, addresses in (("slab", ["address"]), ("known", ["kvm", "mc"])):
            if fields[part]:
                fields[part] |= {name: _hex(fields[part][name]) for name in addresses}
        return fields

    def __str__(self) -> str:
        at = "" if self.address is None else f" at {self.address:#x}"
        lines = [f"{self.kind} in {self.place}{at}"]
        if self.known:
            owners = [f"{name} {self.known[name]:#x}" for name in ("kvm", "mc") if self.known[name] is not None]
            lines.append(f"  {self.object}" + (f" of {', '.join(owners)}" if owners else ""))
        if self.slab:
            size = "" if self.slab["size_bytes"] is None else f", {self.slab['size_bytes']} bytes"
            lines.append(f"  object {self.slab['address']:#x} of {self.slab['cache']}{size}")
        verb = {"free": "freed again" if self.freed else "freed", "write": "written", "read": "read"}.get(
            self.access or "", "accessed"
        )
        size = "" if self.size_bytes is None else f", {self.size_bytes} bytes,"
        columns = [(f"{verb}{size} by {self._task(self.pid, self.comm)}", self.stack)]
        for verb, track in (("freed", self.freed), ("allocated", self.allocated)):
            if track:
                columns.append((f"{verb} by {self._task(track.pid, track.comm)}", track.stack))
        lines += _side_by_side(columns)
        if not self.complete:
            lines.append("  (the log does not hold this report to its end)")
        return "\n".join(lines)

    def _task(self, pid: int | None, comm: str | None) -> str:
        """A task's name and number; a name that KASAN does not say may stand in the trace."""
        if pid is None:
            return "an unknown task"
        names = {call["pid"]: call["comm"] for call in self.known["calls"]} if self.known else {}
        name = comm or names.get(pid)
        return f"{name} (pid {pid})" if name else f"pid {pid}"


def kasan(console: str | PathLike[str], *, trace: str | PathLike[str] | None = None) -> list[KasanReport]:
    """KASAN's reports in a kernel's log, in their order; none if there are none.

    Args:
        console: the log, plain or gzip: a serial console's, `dmesg`'s or `/dev/kmsg`'s; or a directory with one
            called `console.txt` or `dmesg`.
        trace: the trace, or directory of traces, by which to name the objects; otherwise the traces that lie in
            the log's own directory, if there are any.

    Raises:
        CaptureError: the log is cut or none, or a trace beside it cannot be read.

    Example:
        >>> reports = kasan("data/captures/race/own-b1/console.txt.gz")
        >>> len(reports), {report.kind for report in reports}, {report.object for report in reports}
        (12, {'double-free'}, {'kvm.arch.split_page_cache.objects'})
        >>> report = reports[0]
        >>> report.comm, report.pid, report.stack[7:10]
        ('T2', 43, ('kvfree', 'kvm_mmu_free_memory_cache', 'kvm_uninit_stage2_mmu'))
        >>> report.freed.pid, report.freed.stack[-6:-4]
        (42, ('do_group_exit', '__arm64_sys_exit_group'))
    """
    return [
        KasanReport(
            **{
                **report,
                "stack": tuple(report["stack"]),
                "allocated": _track(report["allocated"]),
                "freed": _track(report["freed"]),
            }
        )
        for report in _core.kasan(console, trace=trace)
    ]


@dataclass(frozen=True)
class ChainComparison:
    """Two call chains on the functions that are modelled, outermost call first."""

    one: tuple[str, ...]
    """What of the first chain is modelled."""
    other: tuple[str, ...]
    """The same of the second."""
    common: int
    """How many calls they have in common, from the outermost on."""

    @property
    def agrees(self) -> bool:
        """Whether the chains are equal."""
        return self.one == self.other

    def __str__(self) -> str:
        if self.agrees:
            return "equal: " + (" > ".join(self.one) or "nothing of either is modelled")
        common = " > ".join(self.one[: self.common]) or "nothing"
        rests = [" > ".join(chain[self.common :]) or "nothing more" for chain in (self.one, self.other)]
        return f"{common} in common, then {rests[0]} | {rests[1]}"


def compare_chains(one: Iterable[str], other: Iterable[str], modelled: Iterable[str]) -> ChainComparison:
    """Compares two chains of calls, innermost first as stacks are shown, on the functions in `modelled`.

    What the compiler or a printer appended to a name (`.isra.0`, `+0x1/0x2`, `:swap`) counts not, and a function in
    a row is one call.

    Example:
        >>> report = kasan("data/captures/race/own-b1")[0]
        >>> modelled = ["exit_mmap", "kvm_destroy_vm", "kvm_mmu_notifier_release", "kvm_mmu_free_memory_cache"]
        >>> print(compare_chains(report.stack, ["kvm_mmu_free_memory_cache", "kvm_destroy_vm"], modelled))
        kvm_destroy_vm in common, then kvm_mmu_notifier_release > kvm_mmu_free_memory_cache | kvm_mmu_free_memory_cache
        >>> compare_chains(report.stack, report.stack, modelled).agrees
        True
    """
    ones, others, common = _core.compare_chains(list(one), list(other), list(modelled))
    return ChainComparison(tuple(ones), tuple(others), common)


def _track(track: dict[str, Any] | None) -> Track | None:
    if track is None:
        return None
    return Track(track["pid"], track["comm"], track["cpu"], tuple(track["stack"]))


def _hex(address: int | None) -> str | None:
    return None if address is None else hex(address)


# What KASAN and the allocator add on top of every stack, and what is below every system call.
_PLUMBING = {
    "show_stack",
    "dump_backtrace",
    "dump_stack_lvl",
    "dump_stack",
    "print_report",
    "check_slab_allocation",
    "do_el0_svc",
    "el0_svc",
    "el0t_64_sync_handler",
    "el0t_64_sync",
}


def _side_by_side(columns: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Stacks as columns below their titles, without the plumbing."""
    shown = [
        [title, *(f"  {name}" for name in stack if name not in _PLUMBING and "kasan" not in name)]
        for title, stack in columns
    ]
    widths = [max(map(len, column)) for column in shown]
    rows = zip_longest(*shown, fillvalue="")
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
