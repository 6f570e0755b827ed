"""Sweeps: every combination of threads, locks, teardown orders and sizes, measured on real threads or explored.

`sweep` measures what a `SweepSpec` asks for, into a store; `load` reads the store as frames, `read_status` how far
it is, `compact` makes it quick to read. Guaranteed: the figures of one row belong to one measurement, and no two
timed points share the machine; what was measured is kept, whatever is killed. What is not: a quiet machine. Rows
whose threads outnumber the cores are marked `oversubscribed`: they say something about the scheduler, not about the
lock.
"""

from pyworkbench.sweep.compact import compact
from pyworkbench.sweep.effects import comparable, under_every_pattern
from pyworkbench.sweep.exploring import executor_named
from pyworkbench.sweep.load import load
from pyworkbench.sweep.plan import Plan, plan
from pyworkbench.sweep.result import SUMMARY, SweepResult, both_sides, described, require_recorded
from pyworkbench.sweep.run import sweep
from pyworkbench.sweep.spec import SweepSpec, fields_of_text, read_spec, size_bytes, size_text, spec_of
from pyworkbench.sweep.status import Status, read_status

__all__ = [
    "SUMMARY",
    "Plan",
    "Status",
    "SweepResult",
    "SweepSpec",
    "both_sides",
    "compact",
    "comparable",
    "described",
    "executor_named",
    "fields_of_text",
    "load",
    "plan",
    "read_spec",
    "read_status",
    "require_recorded",
    "size_bytes",
    "size_text",
    "spec_of",
    "sweep",
    "under_every_pattern",
]
