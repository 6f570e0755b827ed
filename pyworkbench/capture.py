"""Captures of real kernels, replayed: each VM's table is rebuilt and compared with what the machine held.

A capture is a directory: the trace of the operations (packed `ops.*.jsonl.gz`, or ftrace's text
`trace.*.txt.gz`), snapshots of the table (`s2.*.jsonl.gz`, or the debugfs dump `ptdump.*.txt`) and
`env.json`, which says on what machine. `data/captures/README.md` describes the files. Guaranteed: an entry
counts as exact only if it is equal, but for the address of a table, which is whatever page the kernel got.
Not claimed: that a change which no probe saw is found anywhere but in a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pyworkbench import _core

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from pyworkbench.table import Walker

Source = Literal["auto", "packed", "raw"]


@dataclass(frozen=True)
class Replay:
    """What a replay did and found.

    Lists hold a dict an item, ready for `pandas.DataFrame`. Addresses are kernel virtual ones unless they
    are called `ipa`.
    """

    kernel: str
    """The kernel's banner."""
    walker: Walker
    """How the rebuilt tables were walked."""
    traces: list[dict[str, Any]]
    """`scenario`, `records`, `operations` (on tables), `unentered` and `unreturned` (halves of calls)."""
    vms: list[dict[str, Any]]
    """Tables that were rebuilt: `number` (from 1), `pgt`, `mmu`, `kvm` (or `None`), `vtcr`, `operations`."""
    snapshots: list[dict[str, Any]]
    """Comparisons: `name`, `file`, `vm`, `against` (`descriptors` or `attributes`), the counts `entries`,
    `exact`, `af_only` and `differing`, the first `differences` (`level`, `ipa`, `captured`, `replayed`), and
    `dump` (the debugfs dump of the rebuilt table, if it was asked for)."""
    uncompared: list[dict[str, Any]]
    """Snapshots that could not be compared: `name`, `file`, `why`."""
    skipped_vms: list[dict[str, Any]]
    """Tables whose creation the trace missed: `pgt`, `operations`, and `file` and `line` of the first."""
    lost: list[dict[str, Any]]
    """Events that were dropped while the trace was recorded: `file`, `line`, `cpu`, `events` (or `None`)."""
    failed: list[dict[str, Any]]
    """Operations that the kernel did not carry out, and the replay neither: `operation`, `ret`, `count`."""
    answers_agreed: int
    """Operations that returned in the replay what they returned in the kernel."""
    answers_differing: list[dict[str, Any]]
    """The others: `file`, `line`, `operation`, `captured`, `replayed`."""
    invalidations_agreed: int
    """TLB invalidations of the kernel that the replay caused too, equal in kind, address, level and length; with the
    walker `fast`, that one of the replay includes."""
    invalidations_differing: list[dict[str, Any]]
    """Operations that invalidated otherwise: `file`, `line`, `operation`, `captured_only`, `replayed_only`."""
    invalidations_apart: dict[str, int]
    """Invalidations of the kernel that belong to no replayed operation, by class."""

    @property
    def entries(self) -> int:
        """Entries of all snapshots."""
        return self._sum("entries")

    @property
    def exact(self) -> int:
        """Entries that are equal."""
        return self._sum("exact")

    @property
    def af_only(self) -> int:
        """Entries that are equal but for an access flag which the machine's hardware set."""
        return self._sum("af_only")

    @property
    def differing(self) -> int:
        """Entries that differ, are missing, or are there in the replay alone."""
        return self._sum("differing")

    def frame(self) -> pd.DataFrame:
        """The comparisons as a frame: a row a snapshot, in the order of time, without differences and dumps."""
        import pandas as pd  # noqa: PLC0415 (a replay that prints text does without)

        columns = ["name", "vm", "against", "entries", "exact", "af_only", "differing"]
        return pd.DataFrame(self.snapshots, columns=columns).assign(walker=self.walker)

    def _sum(self, count: str) -> int:
        return sum(snapshot[count] for snapshot in self.snapshots)


def replay(
    directory: str | PathLike[str],
    *,
    source: Source = "auto",
    keep_differences: int = 10,
    dumps: bool = False,
    walker: Walker = "upstream",
) -> Replay:
    """Rebuilds every VM's table of a capture and compares it with every snapshot, entry by entry.

    Args:
        directory: the capture.
        source: which form of the traces: `packed`, `raw` (ftrace's text, with `env.json`), or `auto`: the
            packed one where there is one.
        keep_differences: how many differences of a snapshot to keep; all are counted.
        dumps: keep the debugfs dump of the rebuilt table at each snapshot.
        walker: how the rebuilt tables are walked. With `fast`, an invalidation of the kernel agrees if one of the
            replay includes it.

    Raises:
        CaptureError: a file is cut, out of order, of another format or something else entirely.

    Example:
        >>> found = replay("data/captures/own-a76-S8")
        >>> found.entries == found.exact, found.differing
        (True, 0)
        >>> found.frame()["name"].tolist()[:2]
        ['S8.blocks', 'S8.eager_split']
    """
    found = _core.replay(directory, source=source, keep_differences=keep_differences, keep_dumps=dumps, walker=walker)
    return Replay(**found)
