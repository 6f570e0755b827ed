"""How many executions each search needs to see harm for the first time.

Guaranteed: a function of the seeds, the same on every machine. Not claimed: anything about the time that an execution
takes, which differs between searches, nor about bugs that are not listed.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from pyworkbench import _core
from pyworkbench._apart import Parts, Teller, run_apart
from pyworkbench._live import counting
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

    Ctrl-C ends it with what is known: fewer seeds in some rows, and the frame's `attrs["stopped"]` is true.

    Args:
        seeds: how many: 0, 1, ... `dpor` and `dfs` take none, so they run once, and all seeds have that answer.
        bugs: names, and for each scenario, variant and strategy; those of `bugs()` if not said.
        searches: as `explore` takes them. PCT looks for bugs of depth 3.
        executions: the most executions for each seed.
        progress: called with done and all combinations; `False` stops. In a notebook, if not said, a line shows them.

    Returns:
        Columns `bug`, `scenario`, `variant`, `strategy`, `search`, `seeds` (that were tried), `found` (the share of
        them that saw harm within the bound), `lower`, `median`, `upper` (quartiles over all of them, by nearest rank;
        missing where that seed saw none), `executions` (the bound).

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

    done = 0

    def goes_on(parts: Parts[list[int | None]]) -> object:
        nonlocal done
        if show is None or parts.done == done:
            return True
        done = parts.done
        return show(done, len(cells))

    with counting() if progress is None else nullcontext(progress) as show:
        works = [
            partial(_search, where=where, search=search, seeds=seeds, executions=executions)
            for _, where, search in cells
        ]
        parts = run_apart(works, None, goes_on)
    rows = [_row(cell, found or [], executions) for cell, found in zip(cells, parts.answers, strict=True)]
    frame = pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys(_QUARTILES, "Int64"))
    frame.attrs["stopped"] = parts.stopped
    return frame


def _search(told: Teller, *, where: Bug, search: Search, seeds: int, executions: int) -> list[int | None]:
    scenario, variant, strategy = where
    return _core.first_harm(
        scenario=scenario,
        variant=variant,
        strategy=strategy,
        search=search,
        seeds=1 if search in _WITHOUT_SEED else seeds,
        executions=executions,
        progress=told,
    )


def _row(cell: tuple[str, Bug, Search], found: Sequence[int | None], executions: int) -> dict[str, Any]:
    name, (scenario, variant, strategy), search = cell
    case = {"bug": name, "scenario": scenario, "variant": variant, "strategy": strategy, "search": search}
    return case | {"seeds": len(found), **_quartiles(found), "executions": executions}


_bugs = bugs
_WITHOUT_SEED = {"dpor", "dfs"}
_QUARTILES = {"lower": 0.25, "median": 0.5, "upper": 0.75}
_COLUMNS = ["bug", "scenario", "variant", "strategy", "search", "seeds", "found", *_QUARTILES, "executions"]


def _quartiles(found: Sequence[int | None]) -> dict[str, Any]:
    """The share that found it, and quartiles in which those that did not are later than all others."""
    if not found:
        return {"found": None, **dict.fromkeys(_QUARTILES)}
    known = sorted(one for one in found if one is not None)
    ranks = {name: math.ceil(part * len(found)) - 1 for name, part in _QUARTILES.items()}
    at = {name: known[rank] if rank < len(known) else None for name, rank in ranks.items()}
    return {"found": len(known) / len(found), **at}
