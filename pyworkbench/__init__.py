"""A workbench for KVM/arm64 stage-2 teardown.

`Stage2` is one stage-2 table, descriptor for descriptor as Linux builds it; `run_ops` runs a script of
operations on one; `replay` rebuilds the tables of a real machine from a trace and compares them; `overlaps`
finds in a trace where a VM was torn down by two tasks at once, and `kasan` reads what the kernel said about it.
`explore` runs every interleaving of a teardown, and says whether it is safe. `pyworkbench.sweep.sweep` measures what
that costs on real threads; `load` reads what was measured, `compare`, `usl` and `knee` say what it means, and
`lock_stat` and `perf_lock` show locks as the kernel's tools do.
`python -m pyworkbench --help` and `pwb --help` list what there is on the command line.

Example:
    >>> import pyworkbench
    >>> table = pyworkbench.Stage2()
    >>> table.map(0x8000_0000, 2 << 20, 0x4000_0000)
    0
    >>> table
    <Stage2 4K, 40-bit IPA, start level 1, 3 table pages, walker fast>
"""

from importlib import import_module
from typing import TYPE_CHECKING

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
from pyworkbench.explore import calls_modelled, cases, explore, replay_schedule, scenarios, strategies, variants
from pyworkbench.first_findings import first_findings
from pyworkbench.matrix import orderings, verdict_matrix
from pyworkbench.overlap import Overlap, TraceOverlaps, find_overlaps, overlaps
from pyworkbench.table import Leaf, Stage2, run_ops
from pyworkbench.verdict import Finding, Replayed, Verdict

if TYPE_CHECKING:
    from pyworkbench.cost import with_costs
    from pyworkbench.lockstat import lock_stat, perf_lock
    from pyworkbench.stats import compare, knee, summarise, usl
    from pyworkbench.sweep import SweepSpec, read_status
    from pyworkbench.sweep.load import load

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
    "SweepSpec",
    "TableError",
    "TraceOverlaps",
    "Track",
    "Verdict",
    "WorkbenchError",
    "calls_modelled",
    "cases",
    "compare",
    "compare_chains",
    "explore",
    "find_overlaps",
    "first_findings",
    "kasan",
    "knee",
    "load",
    "lock_stat",
    "orderings",
    "overlaps",
    "perf_lock",
    "read_status",
    "replay",
    "replay_schedule",
    "run_ops",
    "scenarios",
    "set_beside",
    "strategies",
    "summarise",
    "usl",
    "variant_of",
    "variants",
    "verdict_matrix",
    "with_costs",
]

_build.check_this_installation()

# With scipy or pydantic, which nobody waits for who does not ask: imported at their first use.
_LATER = {
    "SweepSpec": "sweep",
    "compare": "stats",
    "knee": "stats",
    "load": "sweep",
    "lock_stat": "lockstat",
    "perf_lock": "lockstat",
    "read_status": "sweep",
    "summarise": "stats",
    "usl": "stats",
    "with_costs": "cost",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
