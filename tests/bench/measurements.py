"""Writes docs/measurements.md from the stores of the sweeps in docs/measurements/: `make measurements` runs both."""

import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from pyworkbench import load, summarise, verdict_matrix, with_costs
from pyworkbench._environment import environment
from pyworkbench.cost import FIGURES
from pyworkbench.guest_figures import published_faults
from pyworkbench.sweep import comparable, size_text

STORES = Path("out/measurements")
LIMIT_NS = 100e6
ATOMIC_NS = 5.0  # an atomic decrement: docs/performance.md, Counts
UNITS = (("ns", 1.0), ("µs", 1e3), ("ms", 1e6))
RACES = ("flush-race", "flush-race-filled")


def main() -> None:
    teardown, strategies, contention = (measured(name) for name in ("teardown", "strategies", "contention"))
    parts = [
        head([teardown, strategies, contention]),
        of_teardown(teardown),
        of_strategies(strategies),
        of_contention(contention),
        of_walks(contention),
        of_matrix(),
    ]
    sys.stdout.write("\n\n".join(parts) + "\n")


def measured(name: str) -> pd.DataFrame:
    rows = load(STORES / name)
    rows = rows[rows["status"] == "ok"]
    return comparable(rows.assign(guest=rows["guest_bytes"].map(size_text), leaf=rows["leaf_bytes"].map(size_text)))


def head(frames: list[pd.DataFrame]) -> str:
    facts = environment()
    widths = pd.concat([spread(rows, "teardown_ns") for rows in frames[:2]])
    rates = spread(frames[2], "ops_per_s")
    return f"""# Measurements

Written by `make measurements`, which runs the sweeps of `docs/measurements/*.toml` into `out/measurements/` and this
page from them; `pwb report out/measurements/teardown -o out/teardown.html` shows one with its figures and every interval.

Machine: {facts["cpu"]}, {facts["cores"]} cores (virtual), {facts["kernel"]}, build profile {facts["build_profile"]}. A hypervisor
shares it with others: what a cell says is the median of 5 repeats that are spread over the whole sweep in random
order. **Noise:** the 95 % interval of a median is {widths.median():.0%} of it wide for teardown times (median of all cells; the widest
{widths.max():.0%}) and {rates.median():.0%} for throughputs (widest {rates.max():.0%}). The table is in user memory on huge
pages where there are any; the kernel's is in its own. With more threads than cores, the one beside counted, a row says something
about the scheduler, not about the lock; columns with such rows are marked *."""


def spread(rows: pd.DataFrame, column: str) -> "pd.Series[Any]":
    found = summarise(rows, column)
    return (found["high"] - found["low"]) / found["median"]


def of_teardown(rows: pd.DataFrame) -> str:
    rows = rows.assign(
        step=[step_text(step) for step in rows["step_bytes"].astype(object).where(rows["step_bytes"].notna(), None)]
    )
    table = medians(rows, ["leaf", "step", "place"], "guest", guests(rows), cell_of_teardown)
    whole = rows[(rows["leaf"] == "4K") & (rows["step"] == "whole") & (rows["place"] == "taken-out")]
    ns_an_entry = (whole["teardown_ns"] / (whole["guest_bytes"] / whole["leaf_bytes"])).groupby(whole["guest"]).median()
    measured_ns = ns_an_entry["256G"]
    here, kernel = (size_text(int(LIMIT_NS / ns * 4096) >> 30 << 30) for ns in (measured_ns, measured_ns + ATOMIC_NS))
    return f"""## Teardown of a table

`pwb sweep docs/measurements/teardown.toml --out out/measurements/teardown`. Walker `upstream`, dense guest, nothing
else runs. A cell: **teardown** / longest hold of `mmu_lock` / longest stretch without
a reschedule point; **!** marks a stretch of more than 100 ms.

{table}

A walk over 4K pages takes {ns_an_entry["256G"]:.1f} ns an entry (of 256 GiB; {ns_an_entry["1G"]:.1f} of 1 GiB, whose table stays in the
cache). One walk over the whole table is without a reschedule point throughout, so **it crosses 100 ms at
{here} of guest memory in 4K pages** on this machine (the stall of 2025 was reported with 128 GB); mapped by blocks, not even
1 TiB comes near. Taken out first, the lock is held for less than a microsecond whatever the size; under the lock, without
lock breaks, for the whole teardown. Taken out and in steps of 1 GiB, as 7.3 has it, the longest stretch is 1 to 2 ms whatever the
guest's size.

**For the kernel, add an atomic instruction an entry.** Upstream's counts are page references; an exclusive walk here counts
without one, as `mmu_lock` keeps it alone with the table (docs/performance.md, Counts): about {ATOMIC_NS:.0f} ns an entry on this machine.
With it a whole walk would cross 100 ms at {kernel}, and the times of 4K pages here, on this page, would be {(measured_ns + ATOMIC_NS) / measured_ns:.1f} times as long."""


def cell_of_teardown(rows: pd.DataFrame) -> str:
    total, hold, stretch = (float(rows[name].median()) for name in ("teardown_ns", "longest_hold_ns", "unresched_ns"))
    over = "**!** " if stretch > LIMIT_NS else ""
    return f"{over}**{duration(total)}** / {duration(hold)} / {duration(stretch)}"


def of_strategies(rows: pd.DataFrame) -> str:
    table = medians(rows, ["leaf", "strategy"], "guest", guests(rows), cell_of_teardown)
    return f"""## What a strategy costs

`pwb sweep docs/measurements/strategies.toml --out out/measurements/strategies`. The life cycle of Linux 7.3: a killed
process, `exit_mm` before `exit_files`, split cache filled, `mmu_lock` a queued rwlock. Cells as above.

{table}

`lock-flush` holds `mmu_lock` for the whole destruction; every other strategy holds it for 0.3 to 4 µs whatever the size, and
takes as long as the noise lets one see. The longest stretch counts `cond_resched` as a reschedule point also where the lock is held, as 7.3 has it inside of
`lock-flush`: that is the bug, so its hold is the figure to read."""


def of_contention(rows: pd.DataFrame) -> str:
    shared = rows[rows["walk"] == "shared"]
    threads = sorted(rows["threads"].unique())

    def cell(of: pd.DataFrame) -> str:
        waits = (of["read_wait_ns"] + of["write_wait_ns"]) / of["ops"]
        return f"**{of['ops_per_s'].median() / 1e6:.2f}** / {waits.median():.0f}"

    table = medians(shared, ["background", "lock"], "threads", threads, cell, mark=True)
    return f"""## Faults against ageing and against a memslot's teardown, by lock

`pwb sweep docs/measurements/contention.toml --out out/measurements/contention`. Threads fault 256 MiB in, page by page,
each a slice of its own, shared walks; one more thread ages the guest (`age`) or deletes and creates another memslot
(`memslot`), both holding the lock for write. A cell: **million faults a second** / wait on `mmu_lock`, ns a fault.

{table}"""


def of_walks(rows: pd.DataFrame) -> str:
    alone = rows[(rows["background"] == "none") & rows["lock"].isin(["qrwlock", "parking_lot"])]
    threads = sorted(alone["threads"].unique())
    base = alone[alone["threads"] == 1].groupby(["lock", "walk"], observed=True)["ops_per_s"].median()

    def cell(of: pd.DataFrame) -> str:
        key = (of["lock"].iloc[0], of["walk"].iloc[0])
        return f"{of['ops_per_s'].median() / base[key]:.2f}"

    table = medians(alone, ["lock", "walk"], "threads", threads, cell, mark=True)
    known = published_faults().round(2)
    columns = [name for name in known.columns if name not in {"source", "url"}]
    published = pipes(columns, known[columns].astype(str).to_numpy().tolist())
    return f"""## Exclusive against shared walks, beside the published curve

Throughput over that of one thread, from the same sweep:

{table}

Published for arm64 in 2022 (kvm-facts, section 9: `dirty_log_perf_test`, seconds by vCPUs):

{published}

What this machine can say: with two threads on two cores, whether shared walks scale and exclusive ones do not. What it
cannot: anything about 8 to 48 vCPUs on as many cores, where the published curve parts by five; nor about the guest's own
work, which is in the published times and not in these."""


def of_matrix() -> str:
    matrix = with_costs(verdict_matrix(RACES), guest="16G", out=STORES / "matrix")
    lines = []
    for (variant, strategy), cells in matrix.groupby(["variant", "strategy"], sort=False):
        row = cells.iloc[0]
        verdicts = [
            f"{one['verdict']}{': ' + one['kinds'] if one['verdict'] == 'Bug' else ''}" for one in records(cells)
        ]
        figures = ["" if pd.isna(row[name]) else duration(row[name] * unit) for name, (_, unit) in FIGURES.items()]
        lines.append([str(variant), str(strategy), *verdicts, *figures])
    names = ["kernel", "strategy", *RACES, "teardown", "longest hold", "longest stretch"]
    return f"""## Verdict and cost

`pwb matrix {" ".join(RACES)} --cost --guest 16G`. Costs are of one killed process with 16 GiB in 4K pages; where there is
none, the teardown would never end, or the kernel's table is of another kind.

{pipes(names, lines)}"""


def step_text(step: int | None) -> str:
    return "whole" if step is None else size_text(step)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def guests(rows: pd.DataFrame) -> list[str]:
    return [size_text(size) for size in sorted(rows["guest_bytes"].unique())]


def medians(
    rows: pd.DataFrame, down: list[str], across: str, values: list[Any], cell: Any, *, mark: bool = False
) -> str:
    """A table with a row for each combination of `down` and a column for each value of `across`."""
    kinds = [sorted(rows[name].astype(str).unique()) for name in down]
    lines = []
    for each in product(*kinds):
        mine = rows[(rows[down].astype(str) == list(each)).all(axis=1)]
        if len(mine):
            cells = [mine[mine[across] == value] for value in values]
            lines.append([*each, *(cell(of) if len(of) else "" for of in cells)])
    over = rows.groupby(across)["oversubscribed"].any()
    titles = [f"{value}{'*' if mark and over[value] else ''}" for value in values]
    return pipes([*down, *titles], lines)


def pipes(names: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [names, ["---"] * len(names), *lines])


def duration(ns: float) -> str:
    unit, size = next((each for each in UNITS if ns < 1000 * each[1]), UNITS[-1])
    return f"{ns / size:.0f} {unit}" if ns >= 100 * size else f"{ns / size:.2g} {unit}"


if __name__ == "__main__":
    main()
