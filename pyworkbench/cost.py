"""What each locking strategy costs, beside what the explorer says of it: the teardown of one VM, at full size.

Guaranteed: the measured code is the explored code, on real threads; every figure is a median over repeats with its
bootstrap interval; a cell that cannot be measured says why. The VM ends as a killed process ends: `exit_mm` flushes,
then the last file descriptor goes. Nothing races there, so a strategy that is a `Bug` has a cost, too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyworkbench import _core
from pyworkbench.sweep import sweep

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import pandas as pd

    from pyworkbench.sweep import Status

FIGURES = {
    "teardown_ms": ("teardown_ns", 1e6),
    "longest_hold_us": ("longest_hold_ns", 1e3),
    "unresched_ms": ("unresched_ns", 1e6),
}
"""The cost columns: the column of a sweep each comes from, and how many of its units one of theirs is."""


def with_costs(
    matrix: pd.DataFrame,
    *,
    guest: str = "1G",
    leaf: str = "page",
    lock: str = "qrwlock",
    repeats: int = 5,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[Status], object] | None = None,
) -> pd.DataFrame:
    """A matrix of verdicts with the cost of each strategy under each kernel.

    Args:
        matrix: what `verdict_matrix` answers.
        guest: guest memory, all of it mapped.
        leaf: what maps it: page, block, or a size.
        lock: what plays `mmu_lock`.
        repeats: measurements of each cell.
        out: the store of the sweep, to go on with or to report; without one it is not kept.
        progress: what `sweep` takes.

    Returns:
        The matrix with `teardown_ms` (from the first step of the exit to the last), `longest_hold_us` (of `mmu_lock`),
        `unresched_ms` (longest stretch without a reschedule point), each with `_low` and `_high` (95 % interval of the
        median), `cost_warnings`, `harm` (what went wrong meanwhile) and `no_cost` (why nothing was measured). A cost is
        one of a kernel and a strategy, so rows that differ in their scenario alone have the same.

    Raises:
        InputError: `guest`, `leaf` or `lock` is wrong.

    Example:
        >>> from pyworkbench import verdict_matrix
        >>> matrix = verdict_matrix(["flush-race"], variants=["arm64-7.3"], strategies=["none", "lock-flush-naive"])
        >>> costs = with_costs(matrix, guest="2M", repeats=2)
        >>> costs["teardown_ms"].notna().tolist(), "would never end" in costs["no_cost"][1]
        ([True, False], True)
    """
    cells = list(dict.fromkeys(zip(matrix["variant"], matrix["strategy"], strict=True)))
    reasons = dict(zip(cells, _why_not(cells), strict=True))
    measured = [cell for cell in cells if reasons[cell] is None]
    costs: dict[tuple[str, str], dict[str, Any]] = {}
    if measured:
        fields: dict[str, Any] = {
            "teardown": "exit-first",
            "variant": list(dict.fromkeys(variant for variant, _ in measured)),
            "strategy": list(dict.fromkeys(strategy for _, strategy in measured)),
            "ops_per_thread": 0,
            "populate": "written",
            "cache": ["never", "filled"],
            "guest": guest,
            "leaf": leaf,
            "lock": lock,
            "repeats": repeats,
        }
        costs = _costs(sweep(out=out, progress=progress, **fields).rows)
    columns = [each for figure in FIGURES for each in (figure, f"{figure}_low", f"{figure}_high")]
    columns += ["cost_warnings", "harm"]
    of_row = [costs.get(cell, {}) for cell in zip(matrix["variant"], matrix["strategy"], strict=True)]
    costed = matrix.copy()
    for name in columns:
        costed[name] = [cost.get(name) for cost in of_row]
    costed["no_cost"] = [reasons[cell] for cell in zip(matrix["variant"], matrix["strategy"], strict=True)]
    costed.attrs = matrix.attrs
    return costed


def _why_not(cells: list[tuple[str, str]]) -> list[str | None]:
    """For each kernel and strategy, why its teardown cannot be measured; nothing where it can."""
    points = [
        json.dumps({"teardown": "exit-first", "ops_per_thread": 0, "variant": variant, "strategy": strategy})
        for variant, strategy in cells
    ]
    return [reason for _, reason in _core.check_points(points)]


def _costs(rows: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """The figures of each kernel and strategy: of the filled split cache, where there is one."""
    from pyworkbench.stats import summarise  # noqa: PLC0415 (scipy)

    costs: dict[tuple[str, str], dict[str, Any]] = {}
    for (variant, strategy), mine in rows.groupby(["variant", "strategy"], observed=True, sort=False):
        filled = mine[mine["cache"] == "filled"]
        chosen = filled if len(filled) else mine
        cost: dict[str, Any] = {}
        warnings: list[str] = []
        for name, (column, unit) in FIGURES.items():
            of = summarise(chosen, column, by=["strategy"]).iloc[0]
            cost |= {name: of["median"] / unit, f"{name}_low": of["low"] / unit, f"{name}_high": of["high"] / unit}
            warnings += [said for said in str(of["warnings"]).split(", ") if said and said not in warnings]
        harm = dict.fromkeys(said for said in chosen["harm"].dropna())
        costs[str(variant), str(strategy)] = cost | {
            "cost_warnings": ", ".join(warnings),
            "harm": "; ".join(harm) or None,
        }
    return costs
