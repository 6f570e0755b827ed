"""Explorations: is an order of life-cycle events, under a locking strategy, safe?

`explore` runs every interleaving of a scenario and answers a `Verdict`: a proof, a bug with a ladder and a schedule
that shows it again, or that the budget ended before either. Guaranteed: a proof holds for every interleaving within
what `Verdict.scope` names, and an exploration that was cut short never claims one. Not claimed: anything about
weaker memory orders, or about what the model leaves out.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

from pyworkbench import _core
from pyworkbench._live import counting, exploring
from pyworkbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    import pandas as pd

Answer = Literal["Proved", "Bug", "Exhausted"]
Search = Literal["dpor", "dfs", "random", "pct", "surw"]


@dataclass(frozen=True)
class Finding:
    """Something wrong that some execution shows."""

    kind: str
    """`use-after-free`, `double-free`, `deadlock`, `leak`, ..., `data-race`, `lock-order`, ..."""
    harm: bool
    """Whether it decides a verdict; data races and broken rules without harm do not."""
    object: str
    """The object, lock or domain, by its name in the kernel."""
    what: str
    """What is wrong, in a sentence."""
    steps: tuple[dict[str, Any], ...]
    """Where it comes from, as KASAN or lockdep tell it: `role` (used, allocated, freed, took, waits), `thread`, `site`,
    `action`, and `inside`, the functions around it, innermost first."""
    schedule: str
    """The schedule that shows it, for `replay_schedule` and `pwb explore --replay`."""
    switches: int
    """How often that schedule goes from one thread to another."""
    first_execution: int
    """The number of the first execution that showed it."""
    executions: int
    """How many executions showed it."""
    ladder: str
    """One column a thread, time downwards: text for a commit message; empty if no single execution shows it."""
    lines: tuple[dict[str, Any], ...] = field(repr=False)
    """The ladder line by line: `action`, `thread`, `function`, `text`, `note`."""

    def frame(self) -> pd.DataFrame:
        """The ladder as a frame, a row a line."""
        import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

        return pd.DataFrame(list(self.lines), columns=["action", "thread", "function", "text", "note"])

    def svg(self) -> str:
        """The ladder as a drawing that loads nothing."""
        from pyworkbench.ladder import svg  # noqa: PLC0415 (only notebooks and reports draw)

        return svg(self.lines, title=f"{self.kind}: {self.object}")

    def inside(self, role: str) -> list[str]:
        """Inside which functions the step of a role (`used`, `freed`, ...) is, innermost first."""
        return next((step["inside"] for step in self.steps if step["role"] == role), [])

    def as_json(self) -> dict[str, Any]:
        """The finding as one JSON object, without its ladder."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in {"ladder", "lines"}}

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """What an exploration says, and what it holds for."""

    answer: Answer
    """`Proved`: no execution does harm. `Bug`: `bug` shows one. `Exhausted`: the budget ended before either."""
    why: str | None
    """What ended an exploration that is `Exhausted`."""
    says: str | None
    """What an exhausted budget says beyond what was seen, such as PCT's bound."""
    complete: bool
    """Whether every execution up to equivalence was seen."""
    scenario: str
    """The scenario's name, or its text."""
    scenario_text: str
    """Its text: the set-up, and what each task does."""
    guest_pages: int
    """How many pages the guest has."""
    walker: str
    """How the table is walked: `upstream`, unless the set-up says `walker=fast`."""
    geometry: str
    """The table's shape; explorations use small ones."""
    variant: str
    """The kernel's."""
    strategy: str
    """The locking strategy."""
    program: str
    """The three together, as schedules name them."""
    findings: tuple[Finding, ...] = field(repr=False)
    """What was found, harm first."""
    first_kinds: tuple[str, ...]
    """Kinds of harm that can come first in an execution; all of them if the exploration is `complete`."""
    executions: int
    """Executions that were begun."""
    classes: int
    """Those that came to an end: with a reduction, the number of equivalence classes seen."""
    redundant: int
    """Those that were given up, as equivalent to others."""
    cut: int
    """Those that were cut at a bound."""
    actions: int
    """Actions of all executions."""
    longest: int
    """The most actions of one."""
    elapsed_s: float
    """The time it took; no part of the answer."""
    threads: tuple[str, ...]
    """The tasks, and `RCU` where its work is one."""
    search: str
    """The way through the executions."""
    bounds: str
    """How far it went."""
    checkers: tuple[str, ...]
    """What looked at the executions."""
    memory: str
    """The memory model."""

    @property
    def bug(self) -> Finding | None:
        """The finding that decides, if one does."""
        return self.findings[0] if self.findings and self.findings[0].harm else None

    @property
    def ladder(self) -> str | None:
        """The bug's ladder."""
        return self.bug.ladder if self.bug else None

    @property
    def schedule(self) -> str | None:
        """The bug's schedule, to be replayed."""
        return self.bug.schedule if self.bug else None

    @property
    def scope(self) -> dict[str, Any]:
        """What the verdict holds for."""
        names = [
            "scenario_text",
            "guest_pages",
            "walker",
            "geometry",
            "variant",
            "strategy",
            "threads",
            "search",
            "bounds",
            "checkers",
            "memory",
        ]
        return {name: getattr(self, name) for name in names}

    def frame(self) -> pd.DataFrame:
        """The findings as a frame, a row each, without their ladders."""
        import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

        names = ["kind", "harm", "object", "what", "switches", "first_execution", "executions", "schedule"]
        rows = [{name: getattr(one, name) for name in names} for one in self.findings]
        return pd.DataFrame(rows, columns=names)

    def as_json(self) -> dict[str, Any]:
        """The verdict as one JSON object."""
        names = [one.name for one in fields(self) if one.name != "findings"]
        ladder = [] if self.bug is None else self.bug.ladder.splitlines()
        return {
            **{name: getattr(self, name) for name in names},
            "schedule": self.schedule,
            "ladder": ladder,
            "findings": [one.as_json() for one in self.findings],
        }

    def __repr__(self) -> str:
        answer = f"{self.answer} {self.bug.kind} of {self.bug.object}" if self.bug else self.answer
        why = f" ({self.why})" if self.why else ""
        return f"<Verdict {answer}{why}: {self.program}, {self.executions} executions, {self.actions} actions>"

    def __str__(self) -> str:
        head = self.answer + (f": {self.bug}" if self.bug else f" ({self.why})" if self.why else "")
        lines = [head, *self._facts()]
        if self.bug:
            lines += ["", self.bug.ladder.rstrip(), "", f"replay: {self.bug.schedule}"]
        beside = [one for one in self.findings if not one.harm]
        if beside:
            lines += ["", "without harm:", *(f"  {one}" for one in beside)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from pyworkbench.ladder import verdict_html  # noqa: PLC0415 (only notebooks and reports draw)

        return verdict_html(self, self._facts())

    def _facts(self) -> list[str]:
        seen = "all of them up to equivalence" if self.complete else "not all there are"
        return [
            f"{self.executions} executions ({self.classes} whole, {self.redundant} redundant, {self.cut} cut), "
            f"{self.actions} actions, {self.elapsed_s:.2f} s; {seen}",
            *([self.says] if self.says else []),
            f"{self.scenario}, {self.variant}, strategy {self.strategy}",
            f"walker {self.walker}, {self.geometry}, guest pages: {self.guest_pages}",
            f"threads {', '.join(self.threads)}; search {self.search}; {self.bounds}",
            f"checkers {', '.join(self.checkers)}; {self.memory}",
        ]


@dataclass(frozen=True)
class Replayed:
    """What a schedule shows when it is run again."""

    program: str
    """The case: scenario, variant and strategy."""
    actions: int
    """How many actions the execution had."""
    findings: tuple[Finding, ...]
    """What is wrong in it, harm first."""

    @property
    def bug(self) -> Finding | None:
        """The first harm, if there is any."""
        return self.findings[0] if self.findings and self.findings[0].harm else None

    def as_json(self) -> dict[str, Any]:
        """What it shows as one JSON object."""
        ladder = [] if self.bug is None else self.bug.ladder.splitlines()
        findings = [one.as_json() for one in self.findings]
        return {"program": self.program, "actions": self.actions, "ladder": ladder, "findings": findings}

    def __str__(self) -> str:
        if self.bug:
            return f"{self.program}: {self.bug}\n\n{self.bug.ladder.rstrip()}"
        return f"{self.program}: the schedule runs ({self.actions} actions), and shows no harm"


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
        progress: called about ten times a second with executions, open choices and seconds; `False` stops. Not for
            parts. In a notebook, if not said, a line shows them while it runs.

    Raises:
        InputError: a name or a text is wrong, or the strategy does not apply to the variant.

    Example:
        >>> verdict = explore("flush-race-filled")
        >>> verdict.answer, verdict.bug.object
        ('Bug', 'kvm.arch.split_page_cache.objects')
    """
    if search in {"random", "pct", "surw"} and executions is None and time_s is None:
        raise InputError(f"search {search} never ends by itself: give executions or time_s")
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
    if executor is None:
        with exploring() if progress is None else nullcontext(progress) as show:
            return _verdict(within=[], progress=show, **how)
    if search != "dpor" or executions is not None:
        raise InputError("executor: only search dpor without a bound on executions can be done in parts")
    return _in_parts(executor, how)


def _verdict(**arguments: Any) -> Verdict:
    found = _core.explore(**arguments)
    found["findings"] = _findings(found["findings"])
    for name in ("first_kinds", "threads", "checkers"):
        found[name] = tuple(found[name])
    return Verdict(**found)


def _in_parts(executor: Executor, how: dict[str, Any]) -> Verdict:
    """Explores the subtrees of an exploration; the answer is that of one after the other, whoever is done first."""
    began = time.perf_counter()
    case = {name: how[name] for name in ("scenario", "variant", "strategy")}
    parts = next(
        parts
        for depth in range(4, _DEEPEST + 1, 4)
        if len(parts := _core.subtrees(**case, depth=depth)) >= _PARTS or depth == _DEEPEST
    )
    futures = [executor.submit(partial(_verdict, within=part, progress=None, **how)) for part in parts]
    verdicts = []
    for future in futures:
        verdicts.append(future.result())
        if how["stop_at_first"] and verdicts[-1].bug:
            break
    for future in futures:
        future.cancel()
    whole = _merged(verdicts)
    complete = whole.complete and len(verdicts) == len(parts)
    return replace(whole, complete=complete, elapsed_s=time.perf_counter() - began)


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
    """Runs a schedule again: what it shows now.

    Args:
        schedule: what `Finding.schedule` says, `pwb1:CASE:RUNS`.
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
    return Replayed(found["program"], found["actions"], _findings(found["findings"]))


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


_MATRIX = ["scenario", "variant", "strategy", "verdict", "kinds", "object", "what", "executions", "classes", "actions"]


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

    Ctrl-C ends it with what is known: the rows that were not explored say `Exhausted` (stopped).

    Args:
        scenarios: names or texts; the flush race, by what there is to free, if not said.
        variants: names; the kernels of the design's table if not said.
        strategies: names or parts; all named ones if not said.
        executor: where the combinations are explored; threads, as many as there are processors, if not said.
        progress: called with done and all combinations; in a notebook, if not said, a line shows them.
        how: what `explore` takes otherwise; unless said, every execution is seen, to know all `kinds` of harm that can
            come first.

    Returns:
        Columns `scenario`, `variant`, `strategy`, `verdict`, `kinds` (of harm, that can come first), `object` and
        `what` of the bug, `executions`, `classes`, `actions`, `complete`, `elapsed_s`, `schedule`, `ladder`.

    Example:
        >>> race = ["flush-race-filled"]
        >>> matrix = verdict_matrix(race, variants=["arm64-7.3", "mips-7.3"], strategies=["none", "claim-under-lock"])
        >>> matrix["verdict"].tolist()
        ['Bug', 'Proved', 'n/a', 'n/a']
    """
    import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

    unknown = how.keys() - _HOW
    if unknown:
        raise InputError(
            f"{', '.join(sorted(unknown))}: not an argument of explore; there are {', '.join(sorted(_HOW))}"
        )
    cells = [
        (scenario, variant, strategy)
        for scenario in scenarios
        for variant in (_named()["kernels"] if variants is None else list(variants))
        for strategy in (_named()["strategies"] if strategies is None else list(strategies))
    ]
    with counting() if progress is None else nullcontext(progress) as show:
        rows = _explore_all(cells, {"stop_at_first": False, **how}, executor, show)
    columns = [*_MATRIX, "complete", "elapsed_s", "schedule", "ladder"]
    return pd.DataFrame(rows, columns=columns)


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

    Args:
        scenario: a name or a text; the order of the steps in it counts not.
        limit: the most orders; whether these are all is in the frame's `attrs["complete"]`.
        prove: how many orders, from the first on, to explore: each task's steps in that order, those of different tasks
            overlapping in every way but where one must have happened before the other.
        variant: for `prove`.
        strategy: for `prove`.
        progress: called with done and all orders that are explored; in a notebook, if not said, a line shows them.
        how: for `prove`, what `explore` takes otherwise.

    Returns:
        Columns `order`, `flushes` (how often `kvm_arch_flush_shadow_all` runs for a VM when no steps overlap, the most
        of all VMs), `may_overlap` (whether two of them may, for any VM), `paths` (who reaches it: `exit_mmap` or
        `kvm_destroy_vm`, by which task; in brackets when it would find the VM already torn down), `scenario` (the
        order as a text for `explore`); with `prove`, also `verdict`, `kinds`, `what`, `classes`, `schedule` and
        `ladder`.

    Example:
        >>> orders = orderings("task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm")
        >>> orders.attrs["complete"], orders["may_overlap"].tolist().count(True) > 0
        (True, True)
    """
    import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

    _check_how(how)
    found, complete = _core.orderings(scenario, limit=limit)
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
            explored = dict(zip(texts, _explore_all(cells, how, None, show), strict=True))
        names = ["verdict", "kinds", "what", "classes", "schedule", "ladder"]
        for row in rows[:prove]:
            row |= {name: explored[row["scenario"]].get(name) for name in names}
        columns += names
    frame = pd.DataFrame(rows, columns=columns)
    frame.attrs["complete"] = complete
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
) -> list[dict[str, Any]]:
    stopped = threading.Event()
    own = executor is None
    pool = executor or ThreadPoolExecutor(os.cpu_count())
    # A signal reaches the main thread only; own threads are told by their progress function. Other executors' tasks
    # cannot share the event: they end by themselves, or by the signal that their processes get.
    work = partial(_cell, how=how, stopped=stopped if own else None)
    futures: list[Future[dict[str, Any]]] = [pool.submit(work, cell) for cell in cells]
    rows = []
    try:
        for done, future in enumerate(futures, 1):
            rows.append(future.result())
            if progress:
                progress(done, len(cells))
    except KeyboardInterrupt:
        stopped.set()
        for future in futures:
            future.cancel()
        for cell, future in zip(cells[len(rows) :], futures[len(rows) :], strict=True):
            rows.append(_row(cell, "Exhausted", what="stopped") if future.cancelled() else future.result())
    finally:
        stopped.set()
        if own:
            pool.shutdown(cancel_futures=True)
    return rows


def _cell(cell: tuple[str, str, str], *, how: dict[str, Any], stopped: threading.Event | None) -> dict[str, Any]:
    """Explores one combination; what has no meaning is a row, too."""
    scenario, variant, strategy = cell
    reason = _does_not_apply(scenario, variant, strategy)
    if reason:
        return _row(cell, "n/a", what=reason)
    if stopped and stopped.is_set():
        return _row(cell, "Exhausted", what="stopped")
    # Always one of its own, so that no cell shows a line in a notebook: the matrix has one.
    progress = lambda *_: stopped is None or not stopped.is_set()  # noqa: E731 (as short as it is)
    found = explore(scenario, variant=variant, strategy=strategy, progress=progress, **how)
    return _row(
        cell,
        found.answer,
        kinds=", ".join(found.first_kinds),
        object=found.bug.object if found.bug else None,
        what=found.bug.what if found.bug else found.why,
        executions=found.executions,
        classes=found.classes,
        actions=found.actions,
        complete=found.complete,
        elapsed_s=found.elapsed_s,
        schedule=found.schedule,
        ladder=found.ladder,
    )


def _does_not_apply(scenario: str, variant: str, strategy: str) -> str | None:
    """Why a combination has no meaning, if it has none; a wrong name is an error all the same."""
    return _core.does_not_apply(scenario=scenario, variant=variant, strategy=strategy)


def _row(cell: tuple[str, str, str], verdict: str, **rest: Any) -> dict[str, Any]:
    return dict(zip(_MATRIX[:4], (*cell, verdict), strict=True)) | rest


def _findings(found: list[dict[str, Any]]) -> tuple[Finding, ...]:
    return tuple(Finding(**{**one, "steps": tuple(one["steps"]), "lines": tuple(one["lines"])}) for one in found)


@cache
def _named() -> dict[str, Any]:
    return _core.named_cases()
