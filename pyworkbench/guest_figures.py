"""Published figures of real guests, to set measurements beside.

They are facts about other machines: what can be compared are shapes, such as the number of threads at which an
exclusive lock stops scaling, never times.
"""

from __future__ import annotations

import pandas as pd

SOURCE = (
    "Parallel stage-2 faults on KVM/arm64, 2022: dirty_log_perf_test -s anonymous_thp -m 2 -b 4G -v N; "
    "4 GiB a vCPU, seconds, exclusive lock and read lock"
)

# (vCPUs, seconds under the exclusive lock, seconds under the read lock)
_SECONDS = {
    "dirty": ((1, 0.87, 0.93), (8, 5.01, 1.39), (16, 8.89, 2.07), (32, 19.90, 4.45), (48, 32.10, 6.23)),
    "populate": ((1, 0.21, 0.17), (48, 3.94, 1.55)),
}


def published_faults() -> pd.DataFrame:
    """The published curve of parallel stage-2 faults: a row a phase, walk and number of vCPUs.

    Returns:
        `phase` ("dirty": writes to pages that dirty logging protects; "populate": first touches), `walk`
        ("exclusive": `mmu_lock` for write; "shared": for read), `threads` (vCPUs), `seconds` as published, and
        `speed_up`: the rate of all vCPUs over that of one. Each vCPU has 4 GiB of its own, so N of them do N times
        the work of one, and the speed-up is N * seconds(1) / seconds(N). `attrs["source"]` says where it is from.

    Example:
        >>> found = published_faults()
        >>> found[(found["phase"] == "dirty") & (found["threads"] == 48)]["speed_up"].round(2).to_list()
        [1.3, 7.17]
    """
    rows = [
        {"phase": phase, "walk": walk, "threads": threads, "seconds": (exclusive, shared)[which]}
        for phase, figures in _SECONDS.items()
        for which, walk in enumerate(("exclusive", "shared"))
        for threads, exclusive, shared in figures
    ]
    frame = pd.DataFrame(rows)
    alone = frame.groupby(["phase", "walk"])["seconds"].transform("first")
    names = {"phase": list(_SECONDS), "walk": ["exclusive", "shared"]}
    frame = frame.assign(speed_up=frame["threads"] * alone / frame["seconds"]).astype(
        {name: pd.CategoricalDtype(values) for name, values in names.items()}
    )
    frame.attrs["source"] = SOURCE
    return frame
