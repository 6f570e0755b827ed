"""Sweeps after KVM's selftests: what each of them does to a stage-2 table, in the fields of a sweep.

A preset is a set of defaults; a field that is given goes before it. What the selftests' options are here: `-v` is
`threads`, `-b` (memory of one vCPU) is `guest` over `threads`, `-o` is `pattern = "overlapping"`, `-s` with huge
pages is `leaf = "block"`, `-r` (random order) is `locality = "random"`, and `-i` (iterations) is `repeats`.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # Every vCPU reads its memory once, all of it not present.
    "demand_paging": {
        "threads": [1, 2, 4],
        "guest": ["1G"],
        "populate": ["none"],
        "mix": ["fault"],
        "pattern": ["disjoint"],
    },
    # Memory is populated, logging write-protects it, every vCPU writes to all of it while the log is read and cleared.
    "dirty_log_perf": {
        "threads": [1, 2, 4],
        "guest": ["1G"],
        "populate": ["all"],
        "mix": ["fault"],
        "pattern": ["disjoint"],
        "background": ["dirty-log"],
    },
    # Memory is populated and marked idle, then every vCPU accesses it, and finds its pages old.
    "access_tracking_perf": {
        "threads": [1, 2, 4],
        "guest": ["1G"],
        "populate": ["written"],
        "mix": ["fault"],
        "pattern": ["disjoint"],
        "background": ["age"],
    },
    # Memslots come and go while vCPUs fault.
    "memslot_modification_stress": {
        "threads": [1, 2, 4],
        "guest": ["1G"],
        "populate": ["none"],
        "mix": ["fault"],
        "pattern": ["disjoint"],
        "background": ["memslot"],
    },
    # All of a big guest is faulted in by many vCPUs, and the process leaves without closing anything.
    "mmu_stress": {
        "threads": [4],
        "guest": ["4G"],
        "populate": ["none"],
        "mix": ["fault"],
        "pattern": ["disjoint"],
        "teardown": ["exit-first"],
    },
}
"""The fields that each preset fills."""
