"""How many executions each search needs to see harm for the first time.

Guaranteed: a function of the seeds, the same on every machine. Not claimed: anything about the time that an execution
takes, which differs between searches, nor about bugs that are not listed.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pyworkbench import _core
from pyworkbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from pyworkbench.explore import Search

Bug = tuple[str, str, str]
"""Where a bug is: scenario, variant, strategy."""


def bugs() -> dict[str, Bug]:
    """The bugs of the regression corpus before their fix, and the teardown race on other kernels and caches."""
    corpus = {
        one["name"]: (one["before"]["scenario"], one["before"]["variant"], one["before"]["strategy"])
        for one in _core.named_cases()["corpus"]
    }
    races = {
        "flush-race-filled, 6.12": ("flush-race-filled", "arm64-6.12", "none"),
        "flush-race-used-up": ("flush-race-used-up", "arm64-7.3", "none"),
    }
    return corpus | races


def first_findings(
    seeds: int = 100,
    *,
    bugs: Mapping[str, Bug] | None = None,
    searches: Iterable[Search] = ("random", "pct", "surw", "dpor"),
    executions: int = 10_000,
    progress: Callable[[int, int], object] | None = None,
) -> pd.DataFrame:
    """Executions up to and with the first that does harm, for every bug and search, over seeds.

    Args:
        seeds: how many: 0, 1, ... `dpor` and `dfs` take none, so they run once, and all seeds have that answer.
        bugs: names, and for each scenario, variant and strategy; those of `bugs()` if not said.
        searches: as `explore` takes them. PCT looks for bugs of depth 3.
        executions: the most executions for each seed.
        progress: called with done and all combinations.

    Returns:
        Columns `bug`, `scenario`, `variant`, `strategy`, `search`, `seeds`, `found` (the share of seeds that saw harm
        within the bound), `lower`, `median`, `upper` (quartiles over all seeds, by nearest rank; missing where that
        seed saw none), `executions` (the bound).

    Raises:
        InputError: there is no seed or no execution, or a name is wrong.

    Example:
        >>> frame = first_findings(3, bugs={"race": ("flush-race-filled", "arm64-7.3", "none")}, searches=["random"])
        >>> frame["found"].tolist()
        [1.0]
    """
    import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

    if seeds < 1 or executions < 1:
        raise InputError(f"seeds {seeds}, executions {executions}: both must be at least 1")
    named = _bugs() if bugs is None else bugs
    cells = [(name, where, search) for name, where in named.items() for search in searches]

    def row(cell: tuple[str, Bug, Search]) -> dict[str, Any]:
        name, (scenario, variant, strategy), search = cell
        case = {"scenario": scenario, "variant": variant, "strategy": strategy, "search": search}
        drawn = range(1 if search in _WITHOUT_SEED else seeds)
        found = _core.first_harm(**case, seeds=list(drawn), executions=executions)
        return {"bug": name, **case, "seeds": len(drawn), **_quartiles(found), "executions": executions}

    rows = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for done, one in enumerate(pool.map(row, cells), 1):
            rows.append(one)
            if progress:
                progress(done, len(cells))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys(_QUARTILES, "Int64"))


_bugs = bugs
_WITHOUT_SEED = {"dpor", "dfs"}
_QUARTILES = {"lower": 0.25, "median": 0.5, "upper": 0.75}
_COLUMNS = ["bug", "scenario", "variant", "strategy", "search", "seeds", "found", *_QUARTILES, "executions"]


def _quartiles(found: Sequence[int | None]) -> dict[str, Any]:
    """The share that found it, and quartiles in which those that did not are later than all others."""
    known = sorted(one for one in found if one is not None)
    ranks = {name: math.ceil(part * len(found)) - 1 for name, part in _QUARTILES.items()}
    at = {name: known[rank] if rank < len(known) else None for name, rank in ranks.items()}
    return {"found": len(known) / len(found), **at}
