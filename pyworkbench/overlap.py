"""Overlaps in traces of real kernels: a VM flushed twice at once, a memory cache freed twice at once.

Guaranteed: every pair of calls by two tasks that share more than an instant is found, in raw traces as in packed
ones. Not claimed: that an overlap did harm; `pyworkbench.kasan` reads what the kernel itself complained about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyworkbench import _core

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from pyworkbench.capture import Source


@dataclass(frozen=True)
class Overlap:
    """Two tasks in one teardown at once. Times are seconds of the trace's clock, addresses kernel virtual ones."""

    file: str
    """The trace."""
    kind: str
    """`flush`: `kvm_arch_flush_shadow_all` on one VM; `cache`: `kvm_mmu_free_memory_cache` on one cache."""
    kvm: int | None
    """The VM; `None` for a cache that the trace does not connect with one."""
    start: float
    """When the second task entered."""
    end: float
    """When the first of the two returned, or can have returned at the latest where the trace does not tell."""
    us: int
    """`end - start` in microseconds."""
    pids: tuple[int, int]
    """The two tasks, in the order in which they entered."""
    comms: tuple[str, str]
    """Their names."""
    returned: tuple[bool, bool]
    """Whether the trace saw them return."""
    ladder: str
    """What both did, side by side, time downwards; `|` marks the overlap."""
    mc: int | None = None
    """The cache."""
    objects: int | None = None
    """The cache's array of objects, which both found."""
    nobjs: tuple[int, int] | None = None
    """How many objects each found in the cache at entry."""

    def as_json(self) -> dict[str, Any]:
        """The overlap as one JSON object: addresses as hexadecimal text, without what does not apply."""
        names = ["kind", "kvm", "start", "end", "us", "pids", "comms", "returned", "mc", "objects", "nobjs", "file"]
        fields = {name: getattr(self, name) for name in names}
        for name in ("kvm", "mc", "objects"):
            fields[name] = None if fields[name] is None else hex(fields[name])
        return {name: value for name, value in fields.items() if name == "kvm" or value is not None}

    def __str__(self) -> str:
        what = "the VM is flushed twice at once"
        if self.kind == "cache":
            nobjs = " and ".join(map(str, self.nobjs or ()))
            what = f"cache {self.mc:#x} is freed twice at once: {nobjs} objects, array {self.objects:#x}"
        owner = "an unknown VM" if self.kvm is None else f"kvm {self.kvm:#x}"
        return f"{owner}: {what}, from {self.start:.6f} to {self.end:.6f} ({self.us} us)"


@dataclass(frozen=True)
class TraceOverlaps:
    """What one trace shows."""

    file: str
    """The trace."""
    records: int
    """How many calls and events it holds."""
    flushes: int
    """How many calls of `kvm_arch_flush_shadow_all` it saw enter."""
    overlaps: tuple[Overlap, ...]
    """By the time at which they begin."""


def find_overlaps(
    trace: str | PathLike[str], *, source: Source = "auto", empty_caches: bool = False
) -> list[TraceOverlaps]:
    """The overlaps of each trace at or below a path; `overlaps` gives the same as one frame.

    Args:
        trace: ftrace's text or packed operations, plain or gzip; or a directory, for every `trace.*.txt` and
            `ops.*.jsonl` in it and below it.
        source: which form to read where a directory holds both: `auto` is the packed one.
        empty_caches: also caches that one of the two tasks found empty, which nothing frees twice.

    Raises:
        CaptureError: a file is cut, of another format or something else entirely.

    Example:
        >>> found = find_overlaps("data/captures/race/own-b1/trace.S6b.txt.gz")
        >>> found[0].flushes, len(found[0].overlaps)
        (86, 47)
    """
    return [
        TraceOverlaps(
            file=found["file"],
            records=found["records"],
            flushes=found["flushes"],
            overlaps=tuple(
                _overlap(found["file"], one) for one in found["overlaps"] if empty_caches or one["both_filled"]
            ),
        )
        for found in _core.overlaps(trace, source=source)
    ]


def overlaps(trace: str | PathLike[str], *, source: Source = "auto", empty_caches: bool = False) -> pd.DataFrame:
    """Where VMs were torn down by two tasks at once: a row an overlap, as `Overlap` has fields.

    Arguments and errors are those of `find_overlaps`.

    Example:
        >>> race = overlaps("data/captures/race/own-b1")
        >>> race["kind"].value_counts().to_dict()
        {'flush': 26, 'cache': 21}
        >>> print(race[["kind", "start", "end", "us"]].head(2))
            kind     start       end    us
        0  flush  5.157367  5.158988  1621
        1  cache  5.157428  5.158940  1512
        >>> print(race["ladder"][1].splitlines()[4])  # seconds, and what the first task did then
            5.156972       kvm_mmu_free_memory_cache: nobjs=511
    """
    import pandas as pd  # noqa: PLC0415 (a command that prints text does without)
    import pyarrow as pa  # noqa: PLC0415

    found = [one for trace in find_overlaps(trace, source=source, empty_caches=empty_caches) for one in trace.overlaps]
    columns: dict[str, object] = {name: [getattr(one, name) for one in found] for name in Overlap.__dataclass_fields__}
    for address in ("kvm", "mc", "objects"):
        # An address beside a missing one would become a float, and lose its last digits.
        columns[address] = pd.Series(columns[address], dtype=pd.ArrowDtype(pa.uint64()))
    return pd.DataFrame(columns)


def _overlap(file: str, one: dict[str, Any]) -> Overlap:
    first, second = one["sides"]
    us = one["end_us"] - one["start_us"]
    cache = {}
    if one["kind"] == "cache":
        nobjs = (first["nobjs"], second["nobjs"])
        cache = {"mc": one["mc"], "objects": first["objects"] or second["objects"], "nobjs": nobjs}
    return Overlap(
        file=file,
        kind=one["kind"],
        kvm=one["kvm"],
        start=one["start_us"] / 1e6,
        end=one["end_us"] / 1e6,
        us=us,
        pids=(first["pid"], second["pid"]),
        comms=(first["comm"], second["comm"]),
        returned=(first["returned"], second["returned"]),
        ladder=one["ladder"],
        **cache,
    )
