"""A workbench for KVM/arm64 stage-2 teardown.

`Stage2` is one stage-2 table, descriptor for descriptor as Linux builds it; `run_ops` runs a script of
operations on one; `replay` rebuilds the tables of a real machine from a trace and compares them; `overlaps`
finds in a trace where a VM was torn down by two tasks at once, and `kasan` reads what the kernel said about it.
`explore` runs every interleaving of a teardown, and says whether it is safe.
`python -m pyworkbench --help` and `pwb --help` list what there is on the command line.

Example:
    >>> import pyworkbench
    >>> table = pyworkbench.Stage2()
    >>> table.map(0x8000_0000, 2 << 20, 0x4000_0000)
    0
    >>> table
    <Stage2 4K, 40-bit IPA, start level 1, 3 table pages, walker fast>
"""

from pyworkbench import _starting  # noqa: F401  # isort: skip (the first)
from pyworkbench import _build
from pyworkbench.beside import Beside, set_beside, variant_of
from pyworkbench.capture import Replay, replay
from pyworkbench.console import ChainComparison, KasanReport, Track, compare_chains, kasan
from pyworkbench.errors import (
    BuildWarning,
    CaptureError,
    CorePanic,
    DebugExtensionWarning,
    InputError,
    StaleExtensionWarning,
    StoreError,
    StoreWarning,
    TableError,
    WorkbenchError,
)
from pyworkbench.explore import calls_modelled, explore, replay_schedule, scenarios, strategies, variants
from pyworkbench.first_findings import first_findings
from pyworkbench.matrix import orderings, verdict_matrix
from pyworkbench.overlap import Overlap, TraceOverlaps, find_overlaps, overlaps
from pyworkbench.table import Leaf, Stage2, run_ops
from pyworkbench.verdict import Finding, Replayed, Verdict

__all__ = [
    "Beside",
    "BuildWarning",
    "CaptureError",
    "ChainComparison",
    "CorePanic",
    "DebugExtensionWarning",
    "Finding",
    "InputError",
    "KasanReport",
    "Leaf",
    "Overlap",
    "Replay",
    "Replayed",
    "Stage2",
    "StaleExtensionWarning",
    "StoreError",
    "StoreWarning",
    "TableError",
    "TraceOverlaps",
    "Track",
    "Verdict",
    "WorkbenchError",
    "calls_modelled",
    "compare_chains",
    "explore",
    "find_overlaps",
    "first_findings",
    "kasan",
    "orderings",
    "overlaps",
    "replay",
    "replay_schedule",
    "run_ops",
    "scenarios",
    "set_beside",
    "strategies",
    "variant_of",
    "variants",
    "verdict_matrix",
]

_build.check_this_installation()
