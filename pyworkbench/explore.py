"""Explorations: is an order of life-cycle events, under a locking strategy, safe?

`explore` runs every interleaving of a scenario and answers a `Verdict`: a proof, a bug with a ladder and a schedule
that shows it again, or that the budget ended before either. Guaranteed: the answer is a function of the arguments, on
whatever executor and whoever is done first, unless time or Ctrl-C ends it. Not claimed: anything about weaker memory
orders, or about what the model leaves out.
"""

from __future__ import annotations

import re
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

from pyworkbench import _core
from pyworkbench._apart import Parts, Teller, run_apart
from pyworkbench._live import exploring
from pyworkbench.errors import InputError
from pyworkbench.verdict import Finding, Replayed, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    import pandas as pd

Search = Literal["dpor", "dfs", "random", "pct", "surw"]
SEARCHES: dict[Search, str] = {
    "dpor": "source-DPOR with sleep sets: proves, with one execution for each equivalence class or a few more",
    "dfs": "depth-first without reduction: proves, if there is time",
    "random": "each choice with equal chances: only looks for bugs",
    "pct": "priorities that change at a few random places: looks for bugs, with a bound on their chance to be missed",
    "surw": "choices weighted by the actions that are left: only looks for bugs",
}


def explore(
    scenario: str,
    *,
    variant: str = "arm64-7.3",
    strategy: str = "none",
    search: Search = "dpor",
    seed: int = 0,
    preemptions: int | None = None,
    actions: int | None = None,
    executions: int | None = None,
    time_s: float | None = None,
    checkers: Sequence[str] | None = None,
    stop_at_first: bool = True,
    minimise: int = 20_000,
    executor: Executor | None = None,
    progress: Callable[[int, int, float], object] | None = None,
) -> Verdict:
    """Explores the interleavings of a scenario, under a kernel variant and a locking strategy.

    Ctrl-C ends it within a tenth of a second; the verdict then says what is known, as `Exhausted`.

    Args:
        scenario: a name (`scenarios()` lists them), or a text such as
            `setup cache=filled; task T1: exit; task T2 fds=vm: close vm`.
        variant: the kernel's teardown; `variants()` lists them.
        strategy: a name (`strategies()` lists them), or parts: `hold=arch helpers=assert cache=claim`.
        search: `dpor` proves, with one execution for each equivalence class or a few more; `dfs` proves without that
            reduction; `random`, `pct` and `surw` only look for bugs, and need a bound.
        seed: what the choices of `random`, `pct` and `surw` are a function of.
        preemptions: switches away from a thread that could go on, at most, in one execution.
        actions: the most actions of one execution.
        executions: the most executions.
        time_s: the most time, in seconds.
        checkers: those that look; all if not said.
        stop_at_first: end at the first harm; otherwise all executions are seen, and all kinds of harm.
        minimise: executions that may be spent on a shorter schedule for the bug.
        executor: where parts of the executions are explored, apart and at the same time; here if not said.
        progress: called about ten times a second with executions, open choices and seconds; `False` stops. In a
            notebook, if not said, a line shows them while it runs. With an executor, parts on other machines count
            once they are done.

    Raises:
        InputError: a name or a text is wrong, or the strategy does not apply to the variant.

    Example:
        >>> verdict = explore("flush-race-filled")
        >>> verdict.answer, verdict.bug.object
        ('Bug', 'kvm.arch.split_page_cache.objects')
    """
    if search in {"random", "pct", "surw"} and executions is None and time_s is None:
        raise InputError(f"search {search} never ends by itself: give executions or time_s (--executions, --time)")
    how = {
        "scenario": scenario,
        "variant": variant,
        "strategy": strategy,
        "search": search,
        "seed": seed,
        "preemptions": preemptions,
        "actions": actions,
        "executions": executions,
        "time_s": time_s,
        "checkers": None if checkers is None else list(checkers),
        "stop_at_first": stop_at_first,
        "minimise": minimise,
    }
    if executor is not None and (search != "dpor" or executions is not None):
        raise InputError(
            "an executor (--jobs) needs search dpor without a bound on executions: nothing else can be done in parts"
        )
    with exploring() if progress is None else nullcontext(progress) as show:
        if executor is None:
            return _verdict(within=[], progress=show, **how)
        return _in_parts(executor, how, show)


def _verdict(**arguments: Any) -> Verdict:
    found = _core.explore(**arguments)
    found["findings"] = _findings(found["findings"])
    for name in ("first_kinds", "threads", "checkers"):
        found[name] = tuple(found[name])
    return Verdict(**found)


def _in_parts(executor: Executor, how: dict[str, Any], progress: Callable[[int, int, float], object] | None) -> Verdict:
    """Explores the subtrees of an exploration; the answer is that of one after the other, whoever is done first."""
    began = time.perf_counter()
    case = {name: how[name] for name in ("scenario", "variant", "strategy")}
    choices = next(
        choices
        for depth in range(4, _DEEPEST + 1, 4)
        if len(choices := _core.subtrees(**case, depth=depth)) >= _PARTS or depth == _DEEPEST
    )
    until = None if how["time_s"] is None else time.time() + how["time_s"]
    works = [partial(_part, within=within, until=until, how=how) for within in choices]

    def goes_on(parts: Parts[Verdict]) -> bool:
        known = _first(parts.answers)
        if how["stop_at_first"] and known and known[-1].bug:
            return False
        if progress is None:
            return True
        executions = sum(one.executions for one in parts.answers if one)
        open_choices = 0
        for of_part, frontier in parts.told():
            executions += of_part
            open_choices += max(frontier, 1)  # a part that has not begun is a choice, too
        return progress(executions, open_choices, time.perf_counter() - began) is not False

    parts = run_apart(works, executor, goes_on)
    elapsed_s = time.perf_counter() - began
    verdicts = _first(parts.answers)
    if how["stop_at_first"] and verdicts and verdicts[-1].bug:
        whole = _merged(verdicts)
        return replace(whole, complete=whole.complete and len(verdicts) == len(works), elapsed_s=elapsed_s)
    known = [one for one in parts.answers if one] or [_verdict(within=[], progress=None, **how | {"executions": 0})]
    whole = replace(_merged(known), elapsed_s=elapsed_s)
    if how["time_s"] is not None:  # of a part, what was left
        whole = replace(whole, bounds=re.sub(r", [^,]* s$", f", {how['time_s']:g} s", whole.bounds))
    if not parts.stopped:
        return whole
    whole = replace(whole, complete=False)
    return whole if whole.bug else replace(whole, answer="Exhausted", why="stopped")


def _part(told: Teller, *, within: list[int], until: float | None, how: dict[str, Any]) -> Verdict:
    time_s = None if until is None else max(0.0, until - time.time())
    return _verdict(within=within, progress=told, **how | {"time_s": time_s})


def _first(verdicts: Sequence[Verdict | None]) -> list[Verdict]:
    """Those that are known one after the other, up to the first that has a bug."""
    known: list[Verdict] = []
    for one in verdicts:
        if one is None or (known and known[-1].bug):
            break
        known.append(one)
    return known


# Enough parts for a few processors, none of them the whole, and not so many that their seams cost.
_PARTS, _DEEPEST = 16, 24


def _merged(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of those on parts of one program's executions, in their order."""
    first = verdicts[0]
    findings: dict[object, Finding] = {}
    before = 0
    for verdict in verdicts:
        for one in verdict.findings:
            key = (one.kind, one.object, tuple(sorted((step["role"], step["site"]) for step in one.steps)))
            known = findings.get(key)
            findings[key] = (
                replace(one, first_execution=one.first_execution + before)
                if known is None
                else replace(known, executions=known.executions + one.executions)
            )
        before += verdict.executions
    decides = next(
        (one for answer in ("Bug", "Exhausted") for one in verdicts if one.answer == answer),
        first,
    )
    sums = {
        name: sum(getattr(one, name) for one in verdicts)
        for name in ("executions", "classes", "redundant", "cut", "actions", "elapsed_s")
    }
    return replace(
        first,
        answer=decides.answer,
        why=decides.why,
        complete=all(one.complete for one in verdicts),
        findings=tuple(sorted(findings.values(), key=lambda one: not one.harm)),
        first_kinds=tuple(dict.fromkeys(kind for one in verdicts for kind in one.first_kinds)),
        longest=max(one.longest for one in verdicts),
        threads=max((one.threads for one in verdicts), key=len),
        **sums,
    )


def replay_schedule(schedule: str, *, every_action: bool = False) -> Replayed:
    """Runs a schedule again: what it shows now, and what changed since it was written.

    Args:
        schedule: what `Finding.schedule` says, `pwb2:CASE:RUNS:WHAT IT SHOWED`, or `pwb1:CASE:RUNS`.
        every_action: put every action into the ladders, rather than those that matter to the finding.

    Raises:
        InputError: the text is no schedule, names no case, or does not fit its case any more.

    Example:
        >>> bug = explore("flush-race-filled").bug
        >>> again = replay_schedule(bug.schedule)
        >>> (again.bug.kind, again.bug.object) == (bug.kind, bug.object)
        True
    """
    found = _core.replay_schedule(schedule, every_action=every_action)
    changes = tuple(found["changes"])
    return Replayed(found["program"], found["actions"], _findings(found["findings"]), changes)


def cases() -> pd.DataFrame:
    """What has a name: a row for each scenario, variant, strategy and search, with a line on what it is.

    Columns: `what` (`scenario`, `variant`, `strategy`, `search`), `name`, `about`, and `text`, which says the same in
    full to the argument of that name: what to begin one's own from.

    Example:
        >>> known = cases().set_index("name")
        >>> known.loc["flush-race-filled", "text"]
        'setup cache=filled; task T1: exit; task T2 fds=vm: close vm'
        >>> known.loc["slots-lock", "text"]
        'hold=nobody helpers=take table=inside nested=inside cache=slots-lock'
    """
    import pandas as pd  # noqa: PLC0415 (a command that explores does without)

    return pd.DataFrame(named_rows(), columns=["what", "name", "about", "text"])


def named_rows() -> list[dict[str, str]]:
    """The rows of `cases`."""
    named = _named()
    rows = [
        {"what": "scenario", "name": one["name"], "about": one["about"], "text": one["text"].replace("\n", "; ")}
        for one in named["scenarios"]
    ]
    rows += [
        {"what": "variant", "name": name, "about": about, "text": name}
        for name, about in zip(named["variants"], named["variants_about"], strict=True)
    ]
    rows += [
        {"what": "strategy", "name": name, **one}
        for name, one in zip(named["strategies"], named["strategies_about"], strict=True)
    ]
    return rows + [{"what": "search", "name": name, "about": about, "text": name} for name, about in SEARCHES.items()]


def scenarios() -> dict[str, str]:
    """The named scenarios, and what each shows.

    Example:
        >>> "flush-race" in scenarios()
        True
    """
    return {one["name"]: one["about"] for one in _named()["scenarios"]}


def variants() -> list[str]:
    """The named kernel variants: those of the verdict matrix, then those of the regression corpus."""
    return list(_named()["variants"])


def calls_modelled() -> list[str]:
    """The functions that call chains of the model consist of: those on which a kernel's stacks can be compared."""
    return list(_named()["calls"])


def strategies() -> list[str]:
    """The named locking strategies."""
    return list(_named()["strategies"])


def _findings(found: list[dict[str, Any]]) -> tuple[Finding, ...]:
    return tuple(
        Finding(**{**one, "steps": tuple(one["steps"]), "lines": tuple(one["lines"]), "columns": tuple(one["columns"])})
        for one in found
    )


@cache
def _named() -> dict[str, Any]:
    return _core.named_cases()
