"""Sweeps after KVM's selftests: what each of them does to a stage-2 table, in the fields of a sweep.

A preset is a set of defaults; a field that is given goes before it. What the selftests' options are here: `-v` is
`threads`, `-b` (memory of one vCPU) is `guest` over `threads`, `-o` is `pattern = "overlapping"`, `-s` with huge pages
is `leaf = "block"`, `-w` is `write_percent`, `-r` (random order) is `locality = "random"`, `-d` (pause) is
`background_pause_ns`, and `-i` (iterations) is `repeats`. A vCPU is a thread; its guest's instructions take no time.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # Every vCPU goes over its memory once, all of it not present.
    "demand_paging": {"guest": ["1G"], "populate": ["none"], "mix": ["fault"]},
    # Memory was populated and write-protected by dirty logging; every vCPU writes to all of it.
    "dirty_log_perf": {
        "guest": ["1G"],
        "populate": ["all"],
        "mix": ["fault"],
        "logging": [True],
        "write_percent": [100],
    },
    # Memory was populated and marked idle; every vCPU accesses it, and finds its pages old.
    "access_tracking_perf": {"guest": ["1G"], "populate": ["old"], "mix": ["fault"]},
    # A memslot beside the guest's memory comes and goes while vCPUs fault.
    "memslot_modification_stress": {
        "guest": ["1G"],
        "populate": ["none"],
        "mix": ["fault"],
        "background": ["memslot"],
        "background_pause_ns": [0],
    },
    # A bigger guest was written to, and the process leaves without closing anything: what the selftest does not time.
    "mmu_stress": {"guest": ["4G"], "populate": ["written"], "teardown": ["exit-first"]},
}
"""The fields that each preset fills."""
