"""Many explorations at once: the verdict for every variant and strategy, and the legal orders of life-cycle steps.

Guaranteed: rows are in the order of what was asked for, whoever is done first; what Ctrl-C left unexplored says
`Exhausted`, and the frame's `attrs["stopped"]` is true.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from pyworkbench import _core
from pyworkbench._apart import Parts, Teller, run_apart
from pyworkbench._live import counting
from pyworkbench.errors import InputError
from pyworkbench.explore import explore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    import pandas as pd

_CELL = ["scenario", "variant", "strategy", "verdict"]
_COUNTS = ["executions", "actions", "classes"]
_FOUND = ["kinds", "object", "what", *_COUNTS, "complete", "elapsed_s", "schedule", "ladder"]


RACES = ("flush-race", "flush-race-filled", "flush-race-nested")
"""The race by what flush finds to free: the first is for every kernel, the others for those that have such things."""


def verdict_matrix(
    scenarios: Iterable[str] = RACES,
    *,
    variants: Iterable[str] | None = None,
    strategies: Iterable[str] | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], object] | None = None,
    **how: Any,
) -> pd.DataFrame:
    """The verdict for every combination: a row each, `n/a` with the reason in `what` where one has no meaning.

    Ctrl-C ends it within a tenth of a second with what is known: the rows that were not explored say `Exhausted`
    (stopped), and the frame's `attrs["stopped"]` is true.

    Args:
        scenarios: names or texts; the flush race, by what there is to free, if not said.
        variants: names; the kernels of the design's table if not said.
        strategies: names or parts; all named ones if not said.
        executor: where the combinations are explored; threads, as many as there are processors, if not said.
        progress: called with done and all combinations; `False` stops. In a notebook, if not said, a line shows them.
        how: what `explore` takes otherwise; unless said, every execution is seen, to know all `kinds` of harm that can
            come first.

    Returns:
        Columns `scenario`, `variant`, `strategy`, `verdict`, `kinds` (of harm, that can come first), `object` and
        `what` of the bug, `executions`, `actions`, `classes` (of equivalence), `complete`, `elapsed_s`, `schedule`,
        `ladder`.

    Example:
        >>> race = ["flush-race-filled"]
        >>> matrix = verdict_matrix(race, variants=["arm64-7.3", "mips-7.3"], strategies=["none", "claim-under-lock"])
        >>> matrix["verdict"].tolist()
        ['Bug', 'Proved', 'n/a', 'n/a']
    """
    import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

    _check_how(how)
    named = _core.named_cases()
    cells = [
        (scenario, variant, strategy)
        for scenario in scenarios
        for variant in (named["kernels"] if variants is None else list(variants))
        for strategy in (named["strategies"] if strategies is None else list(strategies))
    ]
    with counting() if progress is None else nullcontext(progress) as show:
        rows, stopped = _explore_all(cells, {"stop_at_first": False, **how}, executor, show)
    frame = pd.DataFrame(rows, columns=[*_CELL, *_FOUND]).astype(dict.fromkeys(_COUNTS, "Int64"))
    frame.attrs["stopped"] = stopped
    return frame


def orderings(
    scenario: str,
    *,
    limit: int = 10_000,
    prove: int = 0,
    variant: str = "arm64-7.3",
    strategy: str = "none",
    progress: Callable[[int, int], object] | None = None,
    **how: Any,
) -> pd.DataFrame:
    """All legal orders of the steps of a scenario's tasks, up to the commutation of independent steps.

    Ctrl-C ends it with what is known, and the frame's `attrs["stopped"]` is true.

    Args:
        scenario: a name or a text; the order of the steps in it counts not.
        limit: the most orders; whether these are all is in the frame's `attrs["complete"]`.
        prove: how many orders, from the first on, to explore: each task's steps in that order, those of different tasks
            overlapping in every way but where one must have happened before the other.
        variant: for `prove`.
        strategy: for `prove`.
        progress: called with done and all orders that are explored; `False` stops. In a notebook, if not said, a line
            shows them.
        how: for `prove`, what `explore` takes otherwise.

    Returns:
        Columns `order`, `flushes` (how often `kvm_arch_flush_shadow_all` runs for a VM when no steps overlap, the most
        of all VMs), `may_overlap` (whether two of them may, for any VM), `paths` (who reaches it: `exit_mmap` or
        `kvm_destroy_vm`, by which task; in brackets when it would find the VM already torn down), `scenario` (the
        order as a text for `explore`); with `prove`, also `verdict`, `kinds`, `what`, `executions`,
        `actions`, `classes`, `schedule` and `ladder`.

    Example:
        >>> orders = orderings("task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm")
        >>> orders.attrs["complete"], orders["may_overlap"].tolist().count(True) > 0
        (True, True)
    """
    import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

    _check_how(how)
    if limit < 1 or prove < 0:
        raise InputError(f"limit {limit}, prove {prove}: at least one order, and of those none or more")
    _core.does_not_apply(
        scenario=scenario, variant=variant, strategy=strategy
    )  # wrong names are refused also where nothing is explored
    found, complete, stopped = _core.orderings(scenario, limit=limit)
    rows: list[dict[str, Any]] = [
        {
            "order": one["order"],
            "flushes": max((vm["flushes"] for vm in one["vms"]), default=0),
            "may_overlap": any(vm["may_overlap"] for vm in one["vms"]),
            "paths": ", ".join(_path(path) for path in one["paths"]),
            "scenario": one["scenario"],
        }
        for one in found
    ]
    columns = ["order", "flushes", "may_overlap", "paths", "scenario"]
    if prove > 0:
        # Orders that differ in no task's own steps, nor in what must come before what, are one scenario.
        texts = list(dict.fromkeys(row["scenario"] for row in rows[:prove]))
        cells = [(text, variant, strategy) for text in texts]
        with counting() if progress is None else nullcontext(progress) as show:
            proved, now = _explore_all(cells, how, None, show, stopped=stopped)
        stopped |= now
        explored = dict(zip(texts, proved, strict=True))
        names = ["verdict", "kinds", "what", *_COUNTS, "schedule", "ladder"]
        for row in rows[:prove]:
            row |= {name: explored[row["scenario"]].get(name) for name in names}
        columns += names
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.astype(dict.fromkeys(frame.columns.intersection(_COUNTS), "Int64"))
    frame.attrs |= {"complete": complete, "stopped": stopped}
    return frame


def _path(path: dict[str, Any]) -> str:
    """`exit_mmap by T1`; with the VM's number where it is not the first; in brackets where it does not flush."""
    vm = "" if path["vm"] == 1 else f" of VM {path['vm']}"
    text = f"{path['path']}{vm} by {path['task']}"
    return text if path["flushes"] else f"({text})"


def _check_how(how: dict[str, Any]) -> None:
    unknown = how.keys() - _HOW
    if unknown:
        raise InputError(
            f"{', '.join(sorted(unknown))}: not an argument of explore; there are {', '.join(sorted(_HOW))}"
        )


_HOW = {"search", "seed", "preemptions", "actions", "executions", "time_s", "checkers", "stop_at_first", "minimise"}


def _explore_all(
    cells: list[tuple[str, str, str]],
    how: dict[str, Any],
    executor: Executor | None,
    progress: Callable[[int, int], object] | None,
    *,
    stopped: bool = False,
) -> tuple[list[dict[str, Any]], bool]:
    """A row for each cell, and whether it was stopped; nothing is explored if it is already."""
    rows: list[dict[str, Any] | None] = [None] * len(cells)
    if not stopped:
        done = 0

        def goes_on(parts: Parts[dict[str, Any]]) -> object:
            nonlocal done
            if progress is None or parts.done == done:
                return True
            done = parts.done
            return progress(done, len(cells))

        parts = run_apart([partial(_cell, cell=cell, how=how) for cell in cells], executor, goes_on)
        rows = parts.answers
        stopped = parts.stopped
    known = [row or _row(cell, "Exhausted", what="stopped") for cell, row in zip(cells, rows, strict=True)]
    return known, stopped


def _cell(told: Teller, *, cell: tuple[str, str, str], how: dict[str, Any]) -> dict[str, Any]:
    """Explores one combination; what has no meaning is a row, too."""
    scenario, variant, strategy = cell
    # Why it has no meaning, if it has none; a wrong name is an error all the same.
    reason = _core.does_not_apply(scenario=scenario, variant=variant, strategy=strategy)
    if reason:
        return _row(cell, "n/a", what=reason)
    found = explore(scenario, variant=variant, strategy=strategy, progress=told, **how)
    return _row(
        cell,
        found.answer,
        kinds=", ".join(found.first_kinds),
        object=found.bug.object if found.bug else None,
        what=found.bug.what if found.bug else found.why,
        executions=found.executions,
        actions=found.actions,
        classes=found.classes,
        complete=found.complete,
        elapsed_s=found.elapsed_s,
        schedule=found.schedule,
        ladder=found.ladder,
    )


def _row(cell: tuple[str, str, str], verdict: str, **rest: Any) -> dict[str, Any]:
    return dict(zip(_CELL, (*cell, verdict), strict=True)) | rest
